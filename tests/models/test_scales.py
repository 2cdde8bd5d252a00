"""Multi-scale inputs: sizes of DeepLab v2, shared weights, and a loss per scale."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import tfseg
from tests.layers.reference import interpolated
from tests.layers.test_attention_to_scale import fused
from tests.models.conftest import LABELS
from tfseg.backbones import ContractingPath, Resnet, SmallCnn, Vgg16
from tfseg.context import Context
from tfseg.models import Segmenter, describe
from tfseg.models.decoders import DeepLabV1, DeepLabV2, DeepLabV3, DeepLabV3Plus, Fcn, PspNet, SegNet, Unet
from tfseg.models.heads import Resize
from tfseg.pipeline import load
from tfseg.spec.problems import SpecError
from tfseg.symbolic import symbolically

SCALES = (1.0, 0.75, 0.5)
BACKBONE = Vgg16(form="deeplab", output_stride=8, width_multiplier=1 / 64, fc=None)
SINGLE = Segmenter(backbone=BACKBONE, decoder=DeepLabV2(rates=(2, 4), filters=8))
MULTI = Segmenter(backbone=BACKBONE, decoder=DeepLabV2(rates=(2, 4), filters=8), scales=SCALES)

WIDER = Segmenter(
    backbone=Vgg16(form="deeplab", output_stride=8, width_multiplier=1 / 16, fc=None),
    decoder=DeepLabV2(rates=(2, 4), filters=8),
    scales=SCALES,
)
"""Enough channels that no layer's ReLU is dead."""


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype(np.float32)


def test_fusion_of_a_single_scale_is_reported() -> None:
    spec = Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16,)), fusion="attention")
    assert list(spec.problems(Context(LABELS, 3))) == [
        (("fusion",), "fusion needs more than one scale. Received: attention. Leave it out")
    ]


def test_sizes_of_the_paper() -> None:
    """Inputs of 321 pixels are resized to 321, 241 and 161; their scores have sides of 41, 31 and 21."""
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


def at_each_scale(net: keras.Model, x: np.ndarray, scales: tuple[float, ...]) -> list[list[np.ndarray]]:
    """Returns the outputs of a single-scale network for the image at each scale, resized bilinearly in NumPy."""
    sides = [[(side - 1) * round(4 * scale) // 4 + 1 for side in x.shape[1:3]] for scale in scales]
    images = [x if scale == 1 else interpolated(x, tuple(size)) for scale, size in zip(scales, sides, strict=True)]
    return [[np.asarray(each) for each in net(scaled.astype(np.float32))] for scaled in images]


def combined(
    fusion: str, scores: list[np.ndarray], features: list[np.ndarray], weights: list[np.ndarray]
) -> np.ndarray:
    if fusion == "attention":
        return fused(weights, scores, features)
    return np.max(scores, axis=0) if fusion == "max" else np.mean(scores, axis=0)


@pytest.mark.parametrize("fusion", ["max", "mean", "attention"])
def test_multi_scale_network_matches_single_scale_networks(fusion: str) -> None:
    """The reference is computed with the same weights and NumPy's resizing and fusion. Scores are of order 1, and 1e-4
    is the tolerance."""
    single = SINGLE.build(LABELS)
    model = Segmenter(backbone=BACKBONE, decoder=SINGLE.decoder, scales=SCALES, fusion=fusion).build(
        LABELS, training=True
    )
    own = [weight.path for weight in single.weights]
    assert [weight.path for weight in model.weights if not weight.path.startswith("attention/")] == own
    random, by_path = np.random.default_rng(3), {weight.path: weight for weight in model.weights}
    for weight in single.weights:
        by_path[weight.path].assign(weight)
    attention = [weight for weight in model.weights if weight.path not in own]
    for weight in attention:
        weight.assign(random.normal(size=weight.shape) / 30)
    aspp = single.get_layer("aspp")
    net = keras.Model(single.input, [aspp.output, aspp.input])
    results = at_each_scale(net, image(65, 33), SCALES)
    size = results[0][0].shape[1:3]
    scores, features = ([interpolated(outputs[index], size) for outputs in results] for index in (0, 1))
    expected = combined(fusion, scores, features, [weight.numpy() for weight in attention])
    outputs = model(image(65, 33))
    np.testing.assert_allclose(outputs["scores"], expected, atol=1e-4)
    for name, (alone, _) in zip(("1", "0_75", "0_5"), results, strict=True):
        np.testing.assert_allclose(outputs[f"aux_scale_{name}"], alone, atol=1e-4)
    np.testing.assert_allclose(outputs["logits"][:, ::8, ::8], expected, atol=1e-4)


DECODERS = {
    "score": (SmallCnn(filters=2), Fcn(strides=(16, 8))),
    "pyramid": (SmallCnn(filters=2), Fcn(strides=(16, 8), filters=5)),
    "pspnet": (SmallCnn(filters=2), PspNet(filters=6, bins=(1,))),
    "deeplab_v3": (SmallCnn(filters=2), DeepLabV3(filters=7, rates=(1,))),
    "deeplab_v3_plus": (SmallCnn(filters=2), DeepLabV3Plus(filters=9, rates=(1,))),
    "unet": (ContractingPath(filters=2), Unet()),
    "segnet": (Vgg16(width_multiplier=1 / 32, indices=True, fc=None), SegNet()),
    "deeplab_v1": (Vgg16(form="deeplab", output_stride=8, width_multiplier=1 / 64), DeepLabV1()),
}
CHANNELS = {"score": 16, "pyramid": 5, "pspnet": 6, "deeplab_v3": 7, "deeplab_v3_plus": 9, "unet": 2, "segnet": 2}


@pytest.mark.parametrize("name", DECODERS)
def test_attention_uses_the_scored_features(name: str) -> None:
    """Attention uses the inputs of the last convolution, at both scales."""
    backbone, decoder = DECODERS[name]
    head = Resize(align_corners=True) if decoder.head == "resize" else None
    spec = Segmenter(backbone=backbone, decoder=decoder, head=head, scales=(1.0, 0.5), fusion="attention")
    model = symbolically(lambda: spec.build(LABELS))
    read = [each.shape[-1] for each in model.get_layer("attention").input[2:]]
    assert read == [CHANNELS.get(name, 64)] * 2


@pytest.mark.slow
def test_attention_trains_and_exports(tmp_path: Path) -> None:
    """A network for synthetic shapes is trained, exported, and compared with both artifacts."""
    pipeline = load(
        "shapes",
        [
            "data.source={type: shapes, size: 64, train: 32, val: 8}", "data.batch_size=8", "training.epochs=3",
            "model.scales=[1, 0.75, 0.5]", "model.fusion=attention", "model.head={type: resize, align_corners: true}",
        ],
    )  # fmt: skip
    run = tfseg.fit(pipeline, tmp_path / "run", verbose=False)
    losses = [row["loss"] for row in run.history]
    assert losses[-1] < 0.9 * losses[0], losses
    assert {"loss", "aux_scale_0_75_loss", "aux_scale_0_5_loss"} <= set(run.history[0])
    assert "attention" in {layer.name for layer in run.model().layers}
    report = tfseg.export(run, tmp_path / "saved")
    assert report.tflite is not None and all(one.mask_agreement == 1 for one in report.comparisons)


def test_scales_add_only_resizing_layers() -> None:
    assert describe(MULTI.build(LABELS)).parameters == describe(SINGLE.build(LABELS)).parameters
    names = {layer.name for layer in MULTI.build(LABELS).layers} - {layer.name for layer in SINGLE.build(LABELS).layers}
    assert names == {"image_0_75", "image_0_5", "raised_0_75", "raised_0_5", "fused"}
    assert describe(MULTI.build(LABELS)).output_stride == 8


def test_multi_scale_network_can_be_saved_and_loaded(tmp_path) -> None:
    model = MULTI.build(LABELS)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(image(50, 41)), model(image(50, 41)), atol=1e-5)


@pytest.mark.slow
def test_every_scale_has_gradients() -> None:
    """Each of the four losses has a gradient for every shared kernel, and the gradients add up."""
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


def test_batch_norm_and_auxiliary_outputs_at_several_scales() -> None:
    model = Segmenter(
        backbone=Resnet(depth=50, width_multiplier=0.05, output_stride=8),
        decoder=PspNet(filters=4, bins=(1, 2)),
        scales=(0.5, 1.0),
    )
    outputs = model.build(LABELS, training=True)(image(65, 65))
    assert list(outputs) == ["logits", "scores", "aux_stage", "aux_scale_0_5", "aux_scale_1"]


def test_other_decoders_at_several_scales() -> None:
    parts = {"backbone": SmallCnn(filters=2), "decoder": Fcn(strides=(16, 8), filters=4), "scales": (1.0, 2.0)}
    spec = Segmenter(**parts, head=Resize(align_corners=True))
    assert spec.build(LABELS)(image(40, 33)).shape == (1, 40, 33, 3)
    reason = "images are scaled with aligned corners"
    assert list(Segmenter(**parts).problems(Context(LABELS, 3))) == [
        (
            ("head",),
            f"{reason}, and so must be the scores: {{type: resize, align_corners: true}}. "
            "Received: resize with half-pixel centers",
        )
    ]
    for grid, received in ((0, "0"), (None, "null")):
        assert list(Segmenter(**parts, head=spec.head, grid=grid).problems(Context(LABELS, 3))) == [
            (("grid",), f"{reason}, which requires a remainder of 1. Received: {received}. Set grid to auto")
        ]


@pytest.mark.parametrize("scales", [(0.5,), (1.0, 0.5, 0.5)])
def test_invalid_scales_are_rejected(scales: tuple[float, ...]) -> None:
    with pytest.raises(SpecError) as error:
        Segmenter(backbone=BACKBONE, decoder=DeepLabV2(), scales=scales)
    assert [str(each).partition(": ")[2] for each in error.value.problems] == [
        f"scales: must be distinct and include 1, to which other scales are resized. Received: {list(scales)}"
    ]
