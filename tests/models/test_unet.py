"""U-Net: parameter count, backbones, image sizes and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_unpooling import LABELS, image
from tfseg.backbones import ContractingPath, MobileNetV2, Resnet, SmallCnn, Vgg16
from tfseg.context import Context
from tfseg.labels import Labels
from tfseg.models import Segmenter, describe
from tfseg.models.coordinates import coordinate_map
from tfseg.models.decoders import Unet
from tfseg.ops.geometry import CoordinateMap
from tfseg.spec.problems import SpecError

BACKBONES = {
    "contracting_path": ContractingPath(filters=2),
    "small_cnn": SmallCnn(filters=2),
    "dilated": SmallCnn(filters=2, output_stride=8),
    "mobilenet_v2": MobileNetV2(width_multiplier=0.1),
    "resnet": Resnet(depth=50, width_multiplier=1 / 32, output_stride=16),
    "vgg16": Vgg16(width_multiplier=1 / 32, fc=None),
}


def by_hand(channels: int, classes: int, width: int = 64) -> int:
    """Sums the parameters of figure 1 of the paper; every convolution has a bias."""

    def conv(inputs: int, outputs: int, size: int = 3) -> int:
        return size * size * inputs * outputs + outputs

    widths = [width * 2**level for level in range(5)]
    down = sum(conv(a, b) + conv(b, b) for a, b in zip([channels, *widths], widths, strict=False))
    up = sum(conv(2 * b, b, 2) + conv(2 * b, b) + conv(b, b) for b in widths[:-1])
    return down + up + conv(width, classes, 1)


@pytest.mark.parametrize(("channels", "classes", "expected"), [(1, 2, 31_030_658), (3, 21, 31_033_045)])
def test_parameters(channels: int, classes: int, expected: int) -> None:
    labels = Labels(names=tuple(f"class {index}" for index in range(classes)))
    with keras.StatelessScope(initialize_variables=False):
        model = Segmenter(channels=channels, backbone=ContractingPath(), decoder=Unet()).build(labels)
    description = describe(model)
    assert (description.trainable, description.non_trainable) == (expected, 0)
    assert by_hand(channels, classes) == expected
    assert description.output_stride == 16


def test_feature_map_shapes() -> None:
    model = Segmenter(backbone=ContractingPath(filters=2), decoder=Unet(), grid=None).build(LABELS)
    names = (
        [f"down{level}_2" for level in range(1, 6)] + [f"merge_down{level}" for level in range(4, 0, -1)] + ["score"]
    )
    maps = keras.Model(model.input, [model.get_layer(name).output for name in names])
    shapes = [tuple(x.shape[1:]) for x in maps(image(96, 97))]
    sizes = [(96, 97), (48, 49), (24, 25), (12, 13), (6, 7), (12, 13), (24, 25), (48, 49), (96, 97), (96, 97)]
    widths = [2, 4, 8, 16, 32, 32, 16, 8, 4, 3]
    assert shapes == [(*size, channels) for size, channels in zip(sizes, widths, strict=True)]


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("name", BACKBONES)
def test_any_backbone_and_any_image_size(name: str) -> None:
    spec = Segmenter(backbone=BACKBONES[name], decoder=Unet())
    assert list(spec.problems(Context(LABELS, 3))) == []
    model = spec.build(LABELS)
    finest = model.get_layer("score").output
    assert finest.shape[-1] == 3
    for height, width in ((1, 1), (33, 65), (46, 58)):
        assert model(image(height, width)).shape == (2, height, width, 3)


@pytest.mark.parametrize("name", ["contracting_path", "vgg16"])
def test_concatenated_features_are_aligned(name: str) -> None:
    """With fixed positions, coordinate maps prove the alignment: `merge` rejects inputs that are not aligned."""
    model = Segmenter(backbone=BACKBONES[name], decoder=Unet()).build(LABELS)
    found = coordinate_map(model.get_layer("score").output)
    assert found == (CoordinateMap() if name == "contracting_path" else coordinate_map(model.get_layer("pool1").output))


def test_custom_strides_and_filters() -> None:
    model = Segmenter(backbone=SmallCnn(filters=2), decoder=Unet(strides=(16, 4), filters=(7,), batch_norm=True)).build(
        LABELS
    )
    up = model.get_layer("up_stage2")
    assert (up.strides, up.filters) == ((4, 4), 7)
    assert model.get_layer("expand_stage2_b_bn").output.shape[-1] == 7
    assert not model.get_layer("expand_stage2_a").use_bias


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("name", ["contracting_path", "small_cnn"])
def test_every_weight_has_a_gradient(name: str, batch_norm: bool) -> None:
    keras.utils.set_random_seed(2)
    model = Segmenter(backbone=BACKBONES[name], decoder=Unet(batch_norm=batch_norm)).build(LABELS)
    for weight in model.trainable_weights:  # avoids dead ReLUs
        if "bias" in weight.path or "beta" in weight.path:
            weight.assign(tf.random.uniform(weight.shape, 0.1, 0.5))
    truth = np.random.default_rng(1).integers(0, 3, (2, 64, 96))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        value = loss(truth, model(image(64, 96), training=True))
    gradients = tape.gradient(value, [weight.value for weight in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all() and np.any(gradient), weight.path


def test_incompatible_parts_are_reported() -> None:
    beyond = "a U-Net merges features without cropping, but those of vgg16 in its {} form extend beyond the image. "
    beyond += "Set model.backbone.form to same, or the decoder to fcn"
    cases = [
        (
            Segmenter(backbone=SmallCnn(), decoder=Unet(strides=(32, 16))),
            ("decoder", "strides"),
            "small_cnn with output stride 16 has strides 2, 4, 8, 16, not 32. Received: [32, 16]",
        ),
        (
            Segmenter(backbone=SmallCnn(), decoder=Unet(filters=(8, 8))),
            ("decoder", "filters"),
            "expected 3 numbers, one per stride after the first. Received: 2",
        ),
        (Segmenter(backbone=Vgg16(form="original"), decoder=Unet()), ("decoder",), beyond.format("original")),
        (
            Segmenter(backbone=Vgg16(form="dilation", output_stride=8), decoder=Unet()),
            ("decoder",),
            beyond.format("dilation"),
        ),
    ]
    for spec, path, message in cases:
        assert list(spec.problems(Context(LABELS, 3))) == [(path, message)]


@pytest.mark.parametrize("strides", [(8, 16), (16, 16), (16, 6)])
def test_strides_must_divide_each_other(strides: tuple[int, ...]) -> None:
    with pytest.raises(SpecError) as error:
        Unet(strides=strides)
    message = f"each stride must be a proper divisor of the one before, as in [16, 8, 4]. Received: {list(strides)}"
    assert [str(each).partition(": ")[2] for each in error.value.problems] == [f"strides: {message}"]
