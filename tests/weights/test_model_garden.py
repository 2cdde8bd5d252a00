"""Object checkpoints of Model Garden's dilated ResNets with random weights, compared with a computation by hand."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.weights.foreign import Random, built, save_checkpoint, scores
from tfseg.backbones import Resnet
from tfseg.models import Norm, Segmenter
from tfseg.models.decoders import DeepLabV3, DeepLabV3Plus
from tfseg.weights import fill, read_arrays

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
UNITS = (3, 4, 6, 3)
ASPP = "decoder/aspp/aspp_layers"


class Garden:
    """Two published configurations: DeepLab v3 (stem v1, swish, multigrid, output stride 16, plain branches) and v3+
    (stem v0, ReLU, output stride 8, separable), with 2 filters instead of 64."""

    def __init__(self, plus: bool) -> None:
        self.plus = plus
        self.stride = 8 if plus else 16
        self.rates = (6, 12, 18) if plus else (12, 24, 36)
        self.grid = (1, 1, 1) if plus else (1, 2, 4)
        self.act = tf.nn.relu if plus else tf.nn.silu

    @property
    def spec(self) -> Segmenter:
        activation = "relu" if self.plus else "swish"
        garden = {"order": "pooling_last", "align_corners": False, "activation": activation}
        backbone = Resnet(
            depth=50, width_multiplier=1 / 32, output_stride=self.stride, multi_grid=self.grid, dilation="every_unit",
            stem="7x7" if self.plus else "3x3", stride_on="3x3", padding="same", activation=activation,
            normalize="tf",
        )  # fmt: skip
        if self.plus:
            decoder = DeepLabV3Plus(**garden, rates=self.rates, filters=4, depthwise_norm=False, low_level_filters=3)
        else:
            decoder = DeepLabV3(**garden, rates=self.rates, filters=4)
        return Segmenter(backbone=backbone, decoder=decoder, norm=Norm(epsilon=1e-3), grid=None)

    def file(self) -> Random:
        file = Random("kernel", "depthwise_kernel", "bias", "", VALUE)
        self._backbone(file)
        self._branches(file, 64)
        file.conv("head/_classifier", 1, 4, 3)
        file.bias("head/_classifier", 3)
        if self.plus:
            file.conv("head/_dlv3p_conv", 1, 8, 3)
            file.norm("head/_dlv3p_norm", 3)
            for index, channels in ((0, 7), (2, 4)):
                file.depthwise(f"head/_convs/{index}", channels)
                file.norm(f"head/_norms/{index}", channels)
                file.conv(f"head/_convs/{index + 1}", 1, channels, 4)
                file.norm(f"head/_norms/{index + 1}", 4)
        return file

    def _backbone(self, file: Random) -> None:
        stem = ((7, 3, 2),) if self.plus else ((3, 3, 2), (3, 2, 2), (3, 2, 4))
        for index, shape in enumerate(stem):
            file.conv(f"backbone/layer_with_weights-{2 * index}", *shape)
            file.norm(f"backbone/layer_with_weights-{2 * index + 1}", shape[-1])
        number, channels = 2 * len(stem), stem[-1][-1]
        for stage, count in enumerate(UNITS):
            inner = 2 * 2**stage
            for unit in range(count):
                scope = f"backbone/layer_with_weights-{number}"
                if unit == 0:
                    file.conv(f"{scope}/_shortcut", 1, channels, 4 * inner)
                    file.norm(f"{scope}/_norm0", 4 * inner)
                file.conv(f"{scope}/_conv1", 1, channels, inner)
                file.conv(f"{scope}/_conv2", 3, inner, inner)
                file.conv(f"{scope}/_conv3", 1, inner, 4 * inner)
                for part, width in ((1, inner), (2, inner), (3, 4 * inner)):
                    file.norm(f"{scope}/_norm{part}", width)
                number, channels = number + 1, 4 * inner

    def _branches(self, file: Random, channels: int) -> None:
        def unit(scope: str, size: int, channels: int, first: int = 0) -> None:
            file.conv(f"{scope}/layer_with_weights-{first}", size, channels, 4)
            file.norm(f"{scope}/layer_with_weights-{first + 1}", 4)

        unit(f"{ASPP}/0", 1, channels)
        for branch in (1, 2, 3):
            if self.plus:
                file.depthwise(f"{ASPP}/{branch}/layer_with_weights-0", channels)
            unit(f"{ASPP}/{branch}", 1 if self.plus else 3, channels, 1 if self.plus else 0)
        unit(f"{ASPP}/4/layer_with_weights-0", 1, channels)
        unit("decoder/aspp/projection", 1, 20)

    def by_hand(self, arrays: Mapping[str, np.ndarray], image: np.ndarray) -> tf.Tensor:
        """Computes the scores from the arrays without Keras layers."""

        def conv(x: tf.Tensor, scope: str, stride: int = 1, rate: int = 1) -> tf.Tensor:
            if f"{scope}/depthwise_kernel{VALUE}" in arrays:
                kernel = arrays[f"{scope}/depthwise_kernel{VALUE}"]
                return tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME", dilations=[rate, rate])
            return tf.nn.conv2d(x, arrays[f"{scope}/kernel{VALUE}"], stride, "SAME", dilations=rate)

        def norm(x: tf.Tensor, scope: str) -> tf.Tensor:
            gamma, beta, mean, variance = (
                arrays[f"{scope}/{name}{VALUE}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            return (x - mean) * gamma / tf.sqrt(variance + 1e-3) + beta

        def sequence(x: tf.Tensor, scope: str, first: int = 0, rate: int = 1) -> tf.Tensor:
            x = conv(x, f"{scope}/layer_with_weights-{first}", rate=rate)
            return self.act(norm(x, f"{scope}/layer_with_weights-{first + 1}"))

        x, number = tf.constant(image) / 127.5 - 1, 0
        for step in (2,) if self.plus else (2, 1, 1):
            x = conv(x, f"backbone/layer_with_weights-{number}", step)
            x = self.act(norm(x, f"backbone/layer_with_weights-{number + 1}"))
            number += 2
        x = tf.nn.max_pool2d(x, 3, 2, "SAME")
        stride, rate, low = 4, 1, x
        for stage, count in enumerate(UNITS):
            step = 2 if stage and stride < self.stride else 1
            rate = 2 * rate if stage and step == 1 else 1
            stride *= step
            for unit in range(count):
                scope, before = f"backbone/layer_with_weights-{number}", x
                dilated = rate * self.grid[unit] if stage == 3 else rate
                first = step if unit == 0 else 1
                if unit == 0:
                    before = norm(conv(x, f"{scope}/_shortcut", step), f"{scope}/_norm0")
                x = self.act(norm(conv(x, f"{scope}/_conv1"), f"{scope}/_norm1"))
                x = self.act(norm(conv(x, f"{scope}/_conv2", first, dilated), f"{scope}/_norm2"))
                x = self.act(before + norm(conv(x, f"{scope}/_conv3"), f"{scope}/_norm3"))
                number += 1
            low = x if stage == 0 else low
        assert stride == self.stride
        branches = [sequence(x, f"{ASPP}/0")]
        for branch, rate in enumerate(self.rates, start=1):
            scope = f"{ASPP}/{branch}"
            if self.plus:
                branches.append(sequence(conv(x, f"{scope}/layer_with_weights-0", rate=rate), scope, 1))
            else:
                branches.append(sequence(x, scope, rate=rate))
        mean = sequence(tf.reduce_mean(x, (1, 2), keepdims=True), f"{ASPP}/4/layer_with_weights-0")
        branches.append(tf.image.resize(mean, x.shape[1:3]))
        x = sequence(tf.concat(branches, -1), "decoder/aspp/projection")
        if self.plus:
            low = self.act(norm(conv(low, "head/_dlv3p_conv"), "head/_dlv3p_norm"))
            x = tf.concat([tf.image.resize(x, low.shape[1:3]), low], -1)
            for index in range(4):
                x = self.act(norm(conv(x, f"head/_convs/{index}"), f"head/_norms/{index}"))
        return conv(x, "head/_classifier") + arrays[f"head/_classifier/bias{VALUE}"]


@pytest.mark.parametrize("plus", [False, True], ids=["deeplabv3_os16", "deeplabv3plus_os8"])
def test_dilated_resnet_matches_a_computation_by_hand(plus: bool, tmp_path: Path) -> None:
    garden = Garden(plus)
    arrays = garden.file().arrays
    graph = {"_CHECKPOINTABLE_OBJECT_GRAPH": np.zeros(3, np.float32), f"save_counter{VALUE}": np.float32(1)}
    path = save_checkpoint(tmp_path / "ckpt-1", {**arrays, **graph})
    model, backbone = built(garden.spec)
    report = fill(model, read_arrays(path), "ckpt-1", required=backbone)
    assert (report.initial, report.unused, report.folded) == ((), (), ())
    image = np.random.default_rng(0).uniform(0, 255, (1, 65, 97, 3)).astype(np.float32)
    expected = garden.by_hand(arrays, image)
    assert float(tf.math.reduce_std(expected)) > 0.1
    np.testing.assert_allclose(scores(model, image), expected, atol=1e-4)
