"""Checkpoints with TF-slim names and unfolded BatchNorm, as the authors of DeepLab published them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.weights.foreign import Random, built, save_checkpoint, scores
from tfseg.backbones import MobileNetV2, Resnet
from tfseg.models import Segmenter
from tfseg.models.decoders import DeepLabV3, DeepLabV3Plus
from tfseg.weights import fill, read_arrays

Arrays = Mapping[str, np.ndarray]
WIDTHS = ((8, 1, 1, 1), (8, 2, 6, 2), (8, 3, 6, 2), (8, 4, 6, 2), (12, 3, 6, 1), (20, 3, 6, 2), (40, 1, 6, 1))
"""Filters, blocks, expansion and stride of each group of MobileNetV2 x0.125 with at least 8 filters."""


def slim() -> Random:
    return Random("weights", "depthwise_weights", "biases", "/BatchNorm")


def unit(file: Random, scope: str, size: int, channels: int, filters: int) -> None:
    file.conv(scope, size, channels, filters)
    file.norm(scope, filters)


def depthwise_unit(file: Random, scope: str, channels: int) -> None:
    file.depthwise(scope, channels)
    file.norm(scope, channels)


def head(file: Random, channels: int, filters: int, branches: int, classes: int = 3) -> None:
    unit(file, "concat_projection", 1, filters * branches, filters)
    file.conv("logits/semantic", 1, filters, classes)
    file.bias("logits/semantic", classes)
    unit(file, "image_pooling", 1, channels, filters)
    unit(file, "aspp0", 1, channels, filters)


def mobilenet_v2(classes: int = 3) -> Random:
    """Returns the arrays of a DeepLab v3 on MobileNetV2 without 3x3 branches."""
    file = slim()
    unit(file, "MobilenetV2/Conv", 3, 3, 8)
    channels, index = 8, 0
    for filters, count, expansion, _ in WIDTHS:
        for _ in range(count):
            scope = f"MobilenetV2/expanded_conv_{index}" if index else "MobilenetV2/expanded_conv"
            if expansion > 1:
                unit(file, f"{scope}/expand", 1, channels, channels * expansion)
            depthwise_unit(file, f"{scope}/depthwise", channels * expansion)
            unit(file, f"{scope}/project", 1, channels * expansion, filters)
            channels, index = filters, index + 1
    head(file, channels, 4, 2, classes)
    return file


def normed(x: tf.Tensor, arrays: Arrays, scope: str, epsilon: float) -> tf.Tensor:
    gamma, beta, mean, variance = (
        arrays[f"{scope}/BatchNorm/{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return (x - mean) * gamma / tf.sqrt(variance + epsilon) + beta


def by_hand(arrays: Arrays, image: np.ndarray) -> tf.Tensor:
    """Computes the scores of that DeepLab v3 at output stride 16 from its arrays without Keras layers."""

    def conv(x: tf.Tensor, scope: str, stride: int = 1, rate: int = 1, epsilon: float = 1e-3) -> tf.Tensor:
        with tf.name_scope(scope):  # for the names in converted files
            if scope.endswith("depthwise"):
                kernel, options = arrays[f"{scope}/depthwise_weights"], {"dilations": [rate, rate], "name": "depthwise"}
                x = tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME", **options)
            else:
                x = tf.nn.conv2d(x, arrays[f"{scope}/weights"], stride, "SAME", name="Conv2D")
            return normed(x, arrays, scope, epsilon)

    x = tf.nn.relu6(conv(tf.convert_to_tensor(image) / 127.5 - 1, "MobilenetV2/Conv", 2))
    index, output_stride = 0, 2
    for _, count, expansion, stride in WIDTHS:
        for number in range(count):
            scope = f"MobilenetV2/expanded_conv_{index}" if index else "MobilenetV2/expanded_conv"
            before, step = x, stride if number == 0 else 1
            rate = 2 if index > 13 else 1  # block 13 loses its stride and keeps its rate
            step = 1 if index == 13 else step
            if expansion > 1:
                x = tf.nn.relu6(conv(x, f"{scope}/expand"))
            x = conv(tf.nn.relu6(conv(x, f"{scope}/depthwise", step, rate)), f"{scope}/project")
            x = x + before if x.shape == before.shape else x
            index, output_stride = index + 1, output_stride * step
    assert output_stride == 16
    mean = tf.nn.relu(conv(tf.reduce_mean(x, (1, 2), keepdims=True), "image_pooling", epsilon=1e-5))
    branches = [tf.broadcast_to(mean, (*x.shape[:3], 4)), tf.nn.relu(conv(x, "aspp0", epsilon=1e-5))]
    x = tf.nn.relu(conv(tf.concat(branches, -1), "concat_projection", epsilon=1e-5))
    with tf.name_scope("logits/semantic"):
        x = tf.nn.conv2d(x, arrays["logits/semantic/weights"], 1, "SAME", name="Conv2D")
        return tf.add(x, arrays["logits/semantic/biases"], name="BiasAdd")


MOBILE = Segmenter(
    backbone=MobileNetV2(width_multiplier=0.125, divisor=4, output_stride=16), decoder=DeepLabV3(rates=(), filters=4)
)


@pytest.mark.parametrize("kind", ["checkpoint", "npz"])
def test_mobilenet_v2_matches_a_computation_by_hand(kind: str, tmp_path: Path) -> None:
    file = mobilenet_v2()
    state = {"global_step": np.int64(9), "MobilenetV2/Conv/weights/Momentum": np.zeros((3, 3, 3, 8), np.float32)}
    path = tmp_path / "arrays.npz"
    if kind == "npz":
        np.savez(path, **file.arrays)
    else:
        path = save_checkpoint(tmp_path / "model.ckpt-9", {**file.arrays, **state})
    model, backbone = built(MOBILE)
    report = fill(model, read_arrays(path), str(path), required=backbone)
    assert (report.initial, report.unused, report.folded) == ((), (), ())
    assert len(report.filled) == 109
    image = np.random.default_rng(0).uniform(0, 255, (2, 65, 81, 3)).astype(np.float32)
    np.testing.assert_allclose(scores(model, image), by_hand(file.arrays, image), atol=1e-4)


RESNET = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def resnet(depth: int, *, beta: bool, separable: bool, plus: bool) -> Random:
    """Returns the arrays of a DeepLab v3 or v3+ on ResNet, with 2 filters instead of 64."""
    file, root = slim(), f"resnet_v1_{depth}"
    if beta:
        unit(file, f"{root}/conv1_1", 3, 3, 2)
        unit(file, f"{root}/conv1_2", 3, 2, 2)
        unit(file, f"{root}/conv1_3", 3, 2, 4)
    else:
        unit(file, f"{root}/conv1", 7, 3, 2)
    channels = 4 if beta else 2
    for block, count in enumerate(RESNET[depth], start=1):
        inner = 2**block
        for number in range(1, count + 1):
            scope = f"{root}/block{block}/unit_{number}/bottleneck_v1"
            if number == 1:
                unit(file, f"{scope}/shortcut", 1, channels, 4 * inner)
            unit(file, f"{scope}/conv1", 1, channels, inner)
            unit(file, f"{scope}/conv2", 3, inner, inner)
            unit(file, f"{scope}/conv3", 1, inner, 4 * inner)
            channels = 4 * inner
    head(file, channels, 4, 5)
    for number in (1, 2, 3):
        unit_3x3(file, f"aspp{number}", f"aspp{number}", channels, separable)
    if plus:
        unit(file, "decoder/feature_projection0", 1, 8, 3)
        both = ("decoder_conv0/decoder_conv0_1", "decoder_conv0/decoder_conv0_2")
        unit_3x3(file, "decoder/decoder_conv0", f"decoder/{both[0]}", 4 + 3, separable)
        unit_3x3(file, "decoder/decoder_conv1", f"decoder/{both[1]}", 4, separable)
    return file


def unit_3x3(file: Random, separable_scope: str, scope: str, channels: int, separable: bool) -> None:
    """Adds a 3x3 convolution with four filters."""
    if separable:
        depthwise_unit(file, f"{separable_scope}_depthwise", channels)
        unit(file, f"{separable_scope}_pointwise", 1, channels, 4)
    else:
        unit(file, scope, 3, channels, 4)


@pytest.mark.parametrize(
    ("depth", "beta", "separable", "plus"),
    [
        (50, True, False, False),
        pytest.param(101, False, True, True, marks=pytest.mark.slow),
        pytest.param(50, False, False, True, marks=pytest.mark.slow),
    ],
)
def test_every_variable_of_resnet_is_filled(
    depth: int, beta: bool, separable: bool, plus: bool, tmp_path: Path
) -> None:
    """Every variable is filled with the array of its scope."""
    file = resnet(depth, beta=beta, separable=separable, plus=plus)
    path = save_checkpoint(tmp_path / "model.ckpt", file.arrays)
    options = {"filters": 4, "separable": separable}
    decoder = DeepLabV3Plus(**options, low_level_filters=3) if plus else DeepLabV3(**options)
    stem = "3x3" if beta else "7x7"
    spec = Segmenter(
        backbone=Resnet(depth=depth, width_multiplier=1 / 32, output_stride=16, stem=stem), decoder=decoder
    )
    model, backbone = built(spec)
    report = fill(model, read_arrays(path), "checkpoint", required=backbone)
    assert (report.initial, report.unused, report.folded) == ((), (), ())
    root = f"resnet_v1_{depth}"
    for layer, variable, name in (
        ("conv1_1_conv" if beta else "conv1_conv", "kernel", f"{root}/{'conv1_1' if beta else 'conv1'}/weights"),
        ("conv2_block1_0_conv", "kernel", f"{root}/block1/unit_1/bottleneck_v1/shortcut/weights"),
        ("conv4_block6_2_conv", "kernel", f"{root}/block3/unit_6/bottleneck_v1/conv2/weights"),
        ("conv5_block3_3_bn", "gamma", f"{root}/block4/unit_3/bottleneck_v1/conv3/BatchNorm/gamma"),
        ("conv5_block3_3_bn", "moving_mean", f"{root}/block4/unit_3/bottleneck_v1/conv3/BatchNorm/moving_mean"),
        ("aspp", "atrous_3/kernel", f"aspp3{'_pointwise' if separable else ''}/weights"),
        ("aspp", "pooling_norm/beta", "image_pooling/BatchNorm/beta"),
        ("score", "bias", "logits/semantic/biases"),
        *([("low_level_bn", "beta", "decoder/feature_projection0/BatchNorm/beta")] if plus else []),
    ):
        found = {each.path: each for each in model.get_layer(layer).weights}[f"{layer}/{variable}"]
        np.testing.assert_array_equal(found, file.arrays[name], err_msg=name)


def resnet_by_hand(arrays: Arrays, image: np.ndarray) -> tf.Tensor:
    """Computes the scores of DeepLab v3 on ResNet-50 `beta` at output stride 16 and multigrid 1, 2, 4 as TF-slim does:
    the 3x3 of the last unit of a block has the stride and pads equally on both sides; its shortcut is subsampled."""

    def conv(x: tf.Tensor, scope: str, stride: int = 1, rate: int = 1) -> tf.Tensor:
        kernel = arrays[f"{scope}/weights"]
        if stride > 1:
            x = tf.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
        padding = "SAME" if stride == 1 else "VALID"
        return normed(tf.nn.conv2d(x, kernel, stride, padding, dilations=rate), arrays, scope, 1e-5)

    root, relu = "resnet_v1_50", tf.nn.relu
    x = tf.constant(image) / 127.5 - 1
    for number, step in ((1, 2), (2, 1), (3, 1)):
        x = relu(conv(x, f"{root}/conv1_{number}", step))
    x, output_stride, rate = tf.nn.max_pool2d(x, 3, 2, "SAME"), 4, 1
    for block, count in enumerate(RESNET[50], start=1):
        for number in range(1, count + 1):
            scope = f"{root}/block{block}/unit_{number}/bottleneck_v1"
            wanted = 2 if number == count and block < 4 else 1
            step, later = (wanted, rate) if output_stride < 16 else (1, rate * wanted)
            shortcut = conv(x, f"{scope}/shortcut") if number == 1 else x[:, ::step, ::step]
            grid = (1, 2, 4)[number - 1] if block == 4 else 1
            inner = relu(conv(relu(conv(x, f"{scope}/conv1")), f"{scope}/conv2", step, rate * grid))
            x = relu(shortcut + conv(inner, f"{scope}/conv3"))
            output_stride, rate = output_stride * step, later
    assert (output_stride, rate) == (16, 2)
    mean = relu(conv(tf.reduce_mean(x, (1, 2), keepdims=True), "image_pooling"))
    branches = [tf.broadcast_to(mean, (*x.shape[:3], 4)), relu(conv(x, "aspp0"))]
    branches += [relu(conv(x, f"aspp{index}", rate=6 * index)) for index in (1, 2, 3)]
    x = relu(conv(tf.concat(branches, -1), "concat_projection"))
    return tf.nn.conv2d(x, arrays["logits/semantic/weights"], 1, "SAME") + arrays["logits/semantic/biases"]


def test_resnet_matches_a_computation_by_hand(tmp_path: Path) -> None:
    """A stride on the last 3x3 of a block equals one on the first 1x1 of the next: both subsample the same map."""
    file = resnet(50, beta=True, separable=False, plus=False)
    path = save_checkpoint(tmp_path / "model.ckpt", file.arrays)
    backbone = Resnet(
        depth=50, width_multiplier=1 / 32, output_stride=16, multi_grid=(1, 2, 4), stem="3x3", normalize="tf"
    )
    model, names = built(Segmenter(backbone=backbone, decoder=DeepLabV3(filters=4)))
    fill(model, read_arrays(path), "checkpoint", required=names)
    image = np.random.default_rng(0).uniform(0, 255, (1, 65, 97, 3)).astype(np.float32)
    expected = resnet_by_hand(file.arrays, image)
    assert float(tf.math.reduce_std(expected)) > 0.1
    np.testing.assert_allclose(scores(model, image), expected, atol=1e-4)
