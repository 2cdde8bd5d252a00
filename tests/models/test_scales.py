"""Multi-scale inputs: DeepLab v2's sizes, one set of weights, and a loss for each scale."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tests.models.conftest import LABELS
from tfseg.backbones import Resnet, SmallCnn, Vgg16
from tfseg.context import Context
from tfseg.layers import MultiScale
from tfseg.models import Segmenter, describe
from tfseg.models.decoders import DeepLabV2, Fcn, PspNet
from tfseg.models.heads import Resize
from tfseg.spec.problems import SpecError

SCALES = (1.0, 0.75, 0.5)
BACKBONE = Vgg16(form="deeplab", output_stride=8, width=1 / 64, fc=None)
SINGLE = Segmenter(backbone=BACKBONE, decoder=DeepLabV2(rates=(2, 4), hidden=8))
MULTI = Segmenter(backbone=BACKBONE, decoder=DeepLabV2(rates=(2, 4), hidden=8), scales=SCALES)

WIDER = Segmenter(
    backbone=Vgg16(form="deeplab", output_stride=8, width=1 / 16, fc=None),
    decoder=DeepLabV2(rates=(2, 4), hidden=8),
    scales=SCALES,
)
"""With channels enough that no layer's ReLU is dead."""


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype(np.float32)


def test_sizes_of_the_paper() -> None:
    """321 pixels are seen as 321, 241 and 161; their scores have 41, 31 and 21 places."""
    model = MULTI.build(LABELS, training=True)
    outputs = model(image(321, 33))
    assert {name: tuple(each.shape) for name, each in outputs.items()} == {
        "logits": (1, 321, 33, 3),
        "scores": (1, 41, 5, 3),
        "aux_scale_1": (1, 41, 5, 3),
        "aux_scale_0_75": (1, 31, 4, 3),
        "aux_scale_0_5": (1, 21, 3, 3),
    }
    scaled = keras.Model(model.input, [model.get_layer(f"image_{name}").output for name in ("0_75", "0_5")])
    assert [each.shape[1] for each in scaled(image(513, 9))] == [385, 257]


@pytest.mark.parametrize("fusion", ["max", "mean"])
def test_it_is_the_single_scale_net_within_multi_scale(fusion: str) -> None:
    """The layer `MultiScale` around the net of one scale, with the same weights."""
    single = SINGLE.build(LABELS)
    model = Segmenter(backbone=BACKBONE, decoder=SINGLE.decoder, scales=SCALES, fusion=fusion).build(
        LABELS, training=True
    )
    assert [weight.path for weight in model.weights] == [weight.path for weight in single.weights]
    model.set_weights(single.get_weights())
    net = keras.Model(single.input, single.get_layer("aspp").output)
    fused, *each = MultiScale(net, SCALES, fusion=fusion, outputs="all")(image(65, 33))
    outputs = model(image(65, 33))
    np.testing.assert_allclose(outputs["scores"], fused, atol=1e-5)
    for name, scores in zip(("1", "0_75", "0_5"), each, strict=True):
        np.testing.assert_allclose(outputs[f"aux_scale_{name}"], scores, atol=1e-5)
    np.testing.assert_allclose(outputs["logits"][:, ::8, ::8], fused, atol=1e-5)


def test_scales_add_no_weights_and_no_layers_but_resizes() -> None:
    assert describe(MULTI.build(LABELS)).parameters == describe(SINGLE.build(LABELS)).parameters
    names = {layer.name for layer in MULTI.build(LABELS).layers} - {layer.name for layer in SINGLE.build(LABELS).layers}
    assert names == {"image_0_75", "image_0_5", "raised_0_75", "raised_0_5", "fused"}
    assert describe(MULTI.build(LABELS)).output_stride == 8


def test_a_net_of_several_scales_is_saved_and_loaded(tmp_path) -> None:
    model = MULTI.build(LABELS)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(image(50, 41)), model(image(50, 41)), atol=1e-5)


@pytest.mark.slow
def test_every_scale_learns() -> None:
    """Each of the four losses alone reaches every kernel of the one set of weights; together their gradients add up."""
    keras.utils.set_random_seed(0)
    model = WIDER.build(LABELS, training=True)
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(image(49, 49))
        losses = {name: ops.mean(ops.square(each)) for name, each in outputs.items() if name != "logits"}
        total = sum(losses.values())
    assert set(losses) == {"scores", "aux_scale_1", "aux_scale_0_75", "aux_scale_0_5"}
    kernels = [weight for weight in model.trainable_weights if weight.path.endswith("/kernel")]
    assert len(kernels) == 13 + 2 * 3
    gradients = {name: [tape.gradient(loss, kernel.value) for kernel in kernels] for name, loss in losses.items()}
    for name, each in gradients.items():
        assert [k.path for k, grad in zip(kernels, each, strict=True) if grad is None or not np.any(grad)] == [], name
    for kernel, *parts in zip(kernels, *gradients.values(), strict=True):
        np.testing.assert_allclose(tape.gradient(total, kernel.value), sum(parts), rtol=1e-3, atol=1e-3)


def test_batch_norm_and_further_outputs_at_several_scales() -> None:
    model = Segmenter(
        backbone=Resnet(depth=50, width=0.05, output_stride=8),
        decoder=PspNet(filters=4, bins=(1, 2)),
        scales=(0.5, 1.0),
    )
    outputs = model.build(LABELS, training=True)(image(65, 65))
    assert list(outputs) == ["logits", "scores", "aux_stage", "aux_scale_0_5", "aux_scale_1"]


def test_other_decoders_see_several_scales() -> None:
    parts = {"backbone": SmallCnn(width=2), "decoder": Fcn(strides=(16, 8), channels=4), "scales": (1.0, 2.0)}
    spec = Segmenter(**parts, head=Resize(align_corners=True))
    assert spec.build(LABELS)(image(40, 33)).shape == (1, 40, 33, 3)
    words = "the image is scaled with its corners aligned"
    assert list(Segmenter(**parts).problems(Context(LABELS, 3))) == [
        (
            ("head",),
            f"{words}, and so must scores be resized: {{type: resize, align_corners: true}}. "
            "Received: resize of half pixels",
        )
    ]
    for grid, received in ((0, "0"), (None, "null")):
        assert list(Segmenter(**parts, head=spec.head, grid=grid).problems(Context(LABELS, 3))) == [
            (("grid",), f"{words}, where sizes must leave 1. Received: {received}. Set it to auto")
        ]


@pytest.mark.parametrize("scales", [(0.5,), (1.0, 0.5, 0.5)])
def test_scales_that_make_no_sense(scales: tuple[float, ...]) -> None:
    with pytest.raises(SpecError) as error:
        Segmenter(backbone=BACKBONE, decoder=DeepLabV2(), scales=scales)
    assert [str(each).partition(": ")[2] for each in error.value.problems] == [
        f"scales: must be different numbers, one of them 1, whose scores set the size. Received: {list(scales)}"
    ]
