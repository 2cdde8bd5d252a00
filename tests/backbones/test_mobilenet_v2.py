"""MobileNetV2: equality with `keras.applications`, pretrained weights, and unfolding of their BatchNorm."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfseg.backbones import MobileNetV2, SmallCnn, unfold_batch_norm
from tfseg.backbones.applications import classifier
from tfseg.backbones.mobilenet_v2 import blocks
from tfseg.errors import WeightsError
from tfseg.spec.problems import SpecError

WEIGHTS = Path("weights/mobilenet_v2_imagenet/mobilenet_v2_1.0_imagenet_qat_dequant_keras.npz")


def built(backbone, channels: int = 3) -> keras.Model:
    image = keras.Input((None, None, channels), name="image")
    return keras.Model(image, [stage.tensor for stage in backbone(image).stages])


@pytest.fixture(scope="module")
def photographs(shared: Path) -> np.ndarray:
    files = sorted((shared / "data/camvid/train").glob("*.jpg"))[::92][:4]
    return np.stack([np.array(Image.open(file)) for file in files])


def test_stages() -> None:
    image = keras.Input((None, None, 3))
    features = MobileNetV2()(image)
    assert [(stage.name, stage.stride, stage.tensor.shape[-1]) for stage in features.stages] == [
        ("block_1_expand_relu", 2, 96),
        ("block_2_depthwise_relu", 4, 144),
        ("block_3_expand_relu", 4, 144),
        ("block_6_expand_relu", 8, 192),
        ("block_13_expand_relu", 16, 576),
        ("block_16_project_BN", 32, 320),
    ]
    for output_stride in (8, 16, 32):
        backbone = MobileNetV2(output_stride=output_stride, width_multiplier=0.1)
        assert backbone(image).strides == tuple(each for each in (2, 4, 8, 16, 32) if each <= backbone.output_stride)
        assert backbone(image).deepest.stride == output_stride


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("size", [(64, 96), (65, 33), (50, 71)])
@pytest.mark.parametrize(
    "backbone",
    [MobileNetV2(width_multiplier=0.1), MobileNetV2(width_multiplier=0.1, output_stride=8), SmallCnn(filters=2)],
)
def test_feature_map_sizes(backbone, size: tuple[int, int]) -> None:
    """The feature map of a stage of stride s has size ceil(n / s)."""
    stages = backbone(keras.Input((None, None, 3))).stages
    for stage, output in zip(stages, built(backbone)(np.zeros((1, *size, 3), np.float32)), strict=True):
        assert output.shape[1:3] == tuple(-(-side // stage.stride) for side in size)


def test_the_block_whose_stride_is_removed_keeps_its_rate() -> None:
    """Rates of the published DeepLab v3: at stride 8, rate 2 in blocks 7 to 13, rate 4 from 14 on."""
    assert [block.rate for block in blocks(8)] == [1] * 7 + [2] * 7 + [4] * 3
    assert [block.step for block in blocks(8)] == [1, 2, 1, 2] + [1] * 13


def test_early_dilation_of_model_garden() -> None:
    assert [block.rate for block in blocks(16, "early")] == [1] * 13 + [2] * 4
    assert [block.rate for block in blocks(8, "early")] == [1] * 6 + [2] * 8 + [4] * 3
    assert blocks(32, "early") == blocks(32)


def test_divisor_at_width_multipliers_below_one() -> None:
    """Block 1 of the published DeepLab v3 x0.5 has 12 filters, that of `keras.applications` 16."""
    image = keras.Input((None, None, 3))
    widths = [MobileNetV2(width_multiplier=0.5, divisor=divisor)._filters(24) for divisor in (1, 8)]
    assert widths == [12, 16]
    assert [MobileNetV2(width_multiplier=0.5, divisor=1)(image).at(stride).tensor.shape[-1] for stride in (4, 8)] == [
        72,
        96,
    ]


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_and_strided_networks_compute_the_same_values(output_stride: int) -> None:
    """At sizes 32k + 1, values are the same at the positions that both networks have."""
    strided, dilated = (
        built(MobileNetV2(width_multiplier=0.1)),
        built(MobileNetV2(width_multiplier=0.1, output_stride=output_stride)),
    )
    dilated.set_weights(strided.get_weights())
    image = np.random.default_rng(0).uniform(0, 255, (1, 65, 65, 3)).astype(np.float32)
    step = 32 // output_stride
    np.testing.assert_allclose(dilated(image)[-1][:, ::step, ::step], strided(image)[-1], atol=1e-5)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("alpha", [0.35, 1.3])
def test_weights_of_keras_applications_fit(alpha: float, tmp_path: Path) -> None:
    published = keras.applications.MobileNetV2((96, 96, 3), alpha, include_top=False, weights=None)
    path = tmp_path / "published.weights.h5"
    for layer in published.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(np.linspace(-0.1, 0.1, layer.moving_mean.shape[0]))
    published.save_weights(path)
    backbone = MobileNetV2(width_multiplier=alpha, weights=path)
    model = built(backbone)
    report = backbone.load_weights(model)
    assert (report.left_over, report.folded) == (("Conv_1", "Conv_1_bn"), ())
    image = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype(np.float32)
    trunk = keras.Model(published.input, published.get_layer("block_16_project_BN").output)
    np.testing.assert_allclose(model(image)[-1], trunk(image / 127.5 - 1), atol=1e-5)


def by_hand(arrays: dict[str, np.ndarray], image: np.ndarray) -> tf.Tensor:
    """Computes the network of the paper from the folded arrays, without Keras layers."""

    def conv(x: tf.Tensor, name: str, stride: int = 1, relu: bool = True) -> tf.Tensor:
        kernel, bias = arrays[f"{name}/kernel"], arrays[f"{name}/bias"]
        operation = tf.nn.depthwise_conv2d if name.endswith("depthwise") else tf.nn.conv2d
        x = operation(x, kernel, [1, stride, stride, 1], "SAME") + bias
        return tf.nn.relu6(x) if relu else x

    x = conv(tf.cast(image, tf.float32) / 127.5 - 1, "Conv1", 2)
    x = conv(conv(x, "expanded_conv_depthwise"), "expanded_conv_project", relu=False)
    for index in range(1, 17):
        before, name = x, f"block_{index}_"
        x = conv(conv(x, f"{name}expand"), f"{name}depthwise", 2 if index in (1, 3, 6, 13) else 1)
        x = conv(x, f"{name}project", relu=False)
        x = x + before if x.shape == before.shape else x
    return x


def test_pretrained_weights_match_a_computation_by_hand(shared: Path, photographs: np.ndarray) -> None:
    backbone = MobileNetV2(weights=shared / WEIGHTS)
    model = built(backbone)
    report = backbone.load_weights(model)
    assert (len(report.filled), report.left_over, len(report.folded)) == (102, ("Conv_1", "top"), 51)
    expected = by_hand(dict(np.load(shared / WEIGHTS)), photographs[:2])
    np.testing.assert_allclose(model(photographs[:2])[-1], expected, atol=1e-4)


@pytest.mark.slow
def test_unfolding_keeps_outputs_and_matches_training_to_inference(shared: Path, photographs: np.ndarray) -> None:
    backbone = MobileNetV2(weights=shared / WEIGHTS)
    model = built(backbone)
    backbone.load_weights(model)
    before = [np.array(output) for output in model(photographs)]
    folded = np.array(model(photographs, training=True)[-1])
    backbone.load_weights(model)  # the training call above updated the moving averages
    names = unfold_batch_norm(model, [photographs[:2], photographs[2:]])
    assert len(names) == 51
    for old, new in zip(before, model(photographs), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-4)
    moving = [np.array(model.get_layer(name).moving_mean) for name in names]
    for old, new in zip(before, model(photographs, training=True), strict=True):
        np.testing.assert_allclose(new, old, atol=0.01)
    for name, mean in zip(names, moving, strict=True):  # the training call above did not change them
        scale = float(np.sqrt(model.get_layer(name).moving_variance).max())
        np.testing.assert_allclose(model.get_layer(name).moving_mean, mean, atol=1e-3 * scale)
    assert np.abs(folded - before[-1]).max() > 5  # without unfolding, outputs differ in training


def test_an_initial_batch_norm_is_not_unfolded() -> None:
    image = keras.Input((None, None, 3))
    model = keras.Model(image, SmallCnn(filters=1)(image).deepest.tensor)
    assert unfold_batch_norm(model, []) == ()


def test_unfolding_requires_images(shared: Path) -> None:
    backbone = MobileNetV2(weights=shared / WEIGHTS)
    model = built(backbone)
    backbone.load_weights(model)
    with pytest.raises(ValueError) as error:
        unfold_batch_norm(model, [])
    assert str(error.value) == "`images` must contain at least one batch. Received: images=()"


def test_imagenet_weights_require_published_widths() -> None:
    expected = "ImageNet weights require width_multiplier to be one of 0.35, 0.5, 0.75, 1.0, 1.3, 1.4. Received: 0.6"
    with pytest.raises(SpecError, match=re.escape(expected)):
        MobileNetV2(width_multiplier=0.6, weights="imagenet")
    with pytest.raises(SpecError, match=re.escape("ImageNet weights require divisor 8. Received: 1")):
        MobileNetV2(width_multiplier=0.5, divisor=1, weights="imagenet")


def test_failed_downloads() -> None:
    def unreachable(weights: str) -> keras.Model:
        raise Exception("URL fetch failure")

    with pytest.raises(WeightsError) as error:
        classifier(unreachable, "imagenet")
    assert str(error.value) == (
        "The ImageNet weights of keras.applications.unreachable could not be downloaded: URL fetch failure. "
        "Connect to the internet, or download the .h5 file elsewhere and set model.backbone.weights to its path."
    )


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    def unfit(weights: str) -> keras.Model:
        raise ValueError("Layer count mismatch")

    path = tmp_path / "weights.h5"
    path.write_bytes(b"")
    with pytest.raises(WeightsError) as error:
        classifier(unfit, path)
    assert str(error.value) == f"{path}: weights do not fit keras.applications.unfit: Layer count mismatch"
