"""FCN: parameter counts, crop offsets and sizes of the paper and the released networks."""

import keras
import numpy as np
import pytest

from tfseg.backbones import AlexNet, GoogLeNet, Resnet, SmallCnn, Vgg16
from tfseg.labels import Labels
from tfseg.models import Segmenter, describe
from tfseg.models.coordinates import coordinate_map, receptive_field
from tfseg.models.decoders import Fcn
from tfseg.spec.problems import SpecError

VOC = Labels(names=tuple(f"class {index}" for index in range(21)))


def released(strides: tuple[int, ...], width: float = 1.0, **options) -> Segmenter:
    return Segmenter(
        backbone=Vgg16(form="original", width_multiplier=width),
        decoder=Fcn(strides=strides, upsampling="deconv", **options),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strides", "options", "trainable", "non_trainable"),
    [
        ((32,), {}, 134_346_581, 1_806_336),
        ((32, 16), {}, 134_357_354, 458_640),
        ((32, 16, 8), {"scales": (0.01, 0.0001)}, 134_362_751, 127_008 + 768),
    ],
)
def test_parameters(strides: tuple[int, ...], options: dict, trainable: int, non_trainable: int) -> None:
    description = describe(released(strides, **options).build(VOC))
    assert (description.trainable, description.non_trainable) == (trainable, non_trainable)
    assert description.parameters == trainable + non_trainable
    assert (description.output_stride, description.receptive_field) == (32, 404)


def test_parameters_of_the_decoder() -> None:
    """Without scales, FCN-8s has 127,008 non-trainable parameters; every skip has a 1x1 classifier with a bias."""
    decoder = [w for w in released((32, 16, 8), 1 / 64).build(VOC).weights if w.path.startswith(("score", "upscore"))]
    assert sum(int(np.prod(w.shape)) for w in decoder if not w.trainable) == 127_008
    assert sum(int(np.prod(w.shape)) for w in decoder if w.trainable) == (64 + 8 + 4) * 21 + 3 * 21


@pytest.mark.parametrize(
    ("strides", "offsets"),
    [
        ((32,), {"score": 19}),
        ((32, 16), {"score_pool4c": 5, "score": 27}),
        ((32, 16, 8), {"score_pool4c": 5, "score_pool3c": 9, "score": 31}),
    ],
)
def test_crop_offsets(strides: tuple[int, ...], offsets: dict[str, int]) -> None:
    model = released(strides, 1 / 64).build(VOC)
    assert {layer.name: layer.offset for layer in model.layers if hasattr(layer, "offset")} == offsets


@pytest.mark.parametrize(
    ("height", "chain"),
    [
        (500, [698, 349, 175, 88, 44, 22, 16, 16, 34, 44, 70, 88, 568, 500]),
        (375, [573, 287, 144, 72, 36, 18, 12, 12, 26, 36, 54, 72, 440, 375]),
    ],
)
def test_feature_map_sizes(height: int, chain: list[int]) -> None:
    names = ["conv1_1", "pool1", "pool2", "pool3", "pool4", "pool5", "fc6", "score_fr", "upscore2", "score_pool4"]
    names += ["upscore_pool4", "score_pool3", "upscore8", "score"]
    model = released((32, 16, 8), 1 / 64).build(VOC)
    maps = keras.Model(model.input, [model.get_layer(name).output for name in names])
    outputs = maps(np.zeros((1, height, 500, 3), np.float32))
    assert [output.shape[1] for output in outputs] == chain
    assert [output.shape[2] for output in outputs] == [698, 349, 175, 88, 44, 22, 16, 16, 34, 44, 70, 88, 568, 500]


def test_upsampled_sizes_of_fcn32s_and_fcn16s() -> None:
    for strides, name, size in (((32,), "upscore", (416, 544)), ((32, 16), "upscore16", (432, 560))):
        model = released(strides, 1 / 64).build(VOC)
        maps = keras.Model(model.input, model.get_layer(name).output)
        assert maps(np.zeros((1, 375, 500, 3), np.float32)).shape[1:3] == size


def test_receptive_field() -> None:
    model = released((32,), 1 / 64).build(VOC)
    assert receptive_field(model.get_layer("score_fr").output).size == 404


def test_upsampling_is_bilinear_and_optionally_trainable() -> None:
    for learned in (False, True):
        model = released((32, 16, 8), 1 / 64, learned_upsampling=learned).build(VOC)
        names = ("upscore2", "upscore_pool4", "upscore8")
        assert [bool(model.get_layer(name).trainable_weights) for name in names] == [learned, learned, False]
        kernel = np.array(model.get_layer("upscore2").kernel)
        np.testing.assert_allclose(kernel[:, 1, 3, 3], np.array([0.25, 0.75, 0.75, 0.25]) * 0.75)
        assert not kernel[:, :, 3, 4].any()


def test_scores_are_initialized_to_zero() -> None:
    """A new skip changes nothing, and the scores of the deepest stage are upsampled unchanged."""
    model = released((32, 16, 8), 1 / 64).build(VOC)
    assert not np.any(model(np.full((1, 40, 40, 3), 100.0)))
    model.get_layer("score_fr").bias.assign(np.arange(21.0))
    np.testing.assert_allclose(model(np.full((1, 200, 200, 3), 100.0))[0, 100, 100], np.arange(21), atol=1e-4)


def test_scales_are_applied_to_the_scored_features() -> None:
    model = released((32, 16, 8), 1 / 64, scales=(0.01, 0.0001)).build(VOC)
    for pool, factor, channels in (("pool4", 0.01, 8), ("pool3", 0.0001, 4)):
        scale = model.get_layer(f"scale_{pool}")
        np.testing.assert_allclose(scale.scale, np.full(channels, factor))
        assert model.get_layer(f"score_{pool}").input is scale.output


@pytest.mark.parametrize("strides", [(32,), (32, 16), (32, 16, 8), (32, 16, 8, 4, 2), (16, 8)])
@pytest.mark.parametrize("upsampling", ["deconv", "resize"])
def test_deconv_and_resize_align_scores_alike(strides: tuple[int, ...], upsampling: str) -> None:
    """Both kinds of upsampling align scores with the same pixels: inside an even image they agree closely.

    Scores that increase linearly from left to right remain linear, with the same slope and no shift.
    """
    model = Segmenter(
        backbone=Vgg16(width_multiplier=1 / 64), decoder=Fcn(strides=strides, upsampling=upsampling)
    ).build(VOC)
    first = model.get_layer("score_fr").output
    side = -(-256 // strides[0])
    ramp = np.broadcast_to(np.arange(side, dtype=np.float32)[:, None], (1, side, side, 21))
    after = keras.Model([model.input, first], model.output)
    columns = np.array(after([np.zeros((1, 256, 256, 3), np.float32), ramp]))[0, 128, :, 0]
    inside = slice(strides[0], 256 - strides[0])
    expected = (np.arange(256) + 0.5) / strides[0] - 0.5
    np.testing.assert_allclose(columns[inside], expected[inside], atol=1e-3)


def test_feature_pyramid_is_scored_once_at_the_finest_stride() -> None:
    decoder = Fcn(strides=(16, 8, 4), filters=6)
    model = Segmenter(backbone=SmallCnn(filters=2), decoder=decoder, grid=None).build(VOC)
    shapes = {name: model.get_layer(name).output.shape[-1] for name in ("lateral_stage5", "smooth_stage2", "score")}
    assert shapes == {"lateral_stage5": 6, "smooth_stage2": 6, "score": 21}
    score = keras.Model(model.input, model.get_layer("score").output)
    assert score(np.zeros((1, 50, 70, 3))).shape == (1, 13, 18, 21)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"strides": (8, 16)},
            "strides: each stride must be a proper divisor of the one before, as in [32, 16, 8]. Received: [8, 16]",
        ),
        (
            {"strides": (32, 12)},
            "strides: each stride must be a proper divisor of the one before, as in [32, 16, 8]. Received: [32, 12]",
        ),
        ({"scales": (0.5,)}, "scales: expected 2 factors, one per stride after the first. Received: 1"),
        (
            {"filters": 8, "upsampling": "deconv"},
            "filters: requires upsampling resize, because transposed convolutions upsample scores only. "
            "Set upsampling to resize, or filters to null. Received: 8",
        ),
        (
            {"filters": 8, "scales": (0.5, 0.5)},
            "scales: apply to scores only; with filters, set them to null. Received: [0.5, 0.5]",
        ),
        (
            {"learned_upsampling": True},
            "learned_upsampling: resize has no weights to train; set upsampling to deconv. Received: true",
        ),
    ],
)
def test_conflicting_options_are_rejected(arguments: dict, message: str) -> None:
    with pytest.raises(SpecError) as error:
        Fcn(**arguments)
    assert [str(each).partition(": ")[2] for each in error.value.problems] == [message]


ORIGINAL = {
    "alexnet": (lambda **options: AlexNet(form="original", **options), 355, 18, [173, 86, 43, 21, 16, 543]),
    "googlenet": (lambda **options: GoogLeNet(form="original", **options), 715, 98, [347, 173, 86, 43, 21, 703]),
    "googlenet with its average pool": (
        lambda **options: GoogLeNet(form="original", average_pool=True, **options),
        907,
        2,
        [347, 173, 86, 43, 15, 511],
    ),
}


@pytest.mark.parametrize(("name", "trainable", "non_trainable"), [
    ("alexnet", 56_954_261, 1_750_329), ("googlenet", 5_995_077, 1_750_329),
])  # fmt: skip
def test_parameters_of_other_backbones(name: str, trainable: int, non_trainable: int) -> None:
    """FCN-AlexNet's file has 58,704,590 parameters, with a non-trainable 63x63 transposed convolution for 21
    classes."""
    spec = Segmenter(backbone=ORIGINAL[name][0](), decoder=Fcn(strides=(32,), upsampling="deconv"))
    with keras.StatelessScope(initialize_variables=False):
        description = describe(spec.build(VOC))
    assert (description.trainable, description.non_trainable) == (trainable, non_trainable)


@pytest.mark.parametrize("name", ORIGINAL)
def test_odd_kernels_if_even_ones_give_fractional_crop_offsets(name: str) -> None:
    make, field, crop, sizes = ORIGINAL[name]
    spec = Segmenter(backbone=make(width_multiplier=0.02), decoder=Fcn(strides=(32,), upsampling="deconv"))
    model = spec.build(VOC)
    assert model.get_layer("upscore").kernel_size == (63, 63)
    assert model.get_layer("score").offset == crop
    assert receptive_field(model.get_layer("score_fr").output).size == field
    tensors = [stage.tensor for stage in spec.backbone(model.input).stages]
    names = [
        tensor._keras_history.operation.name for tensor in tensors if "fc7" not in tensor._keras_history.operation.name
    ]
    wanted = [*names, "score_fr", "upscore", "score"]
    outputs = keras.Model(model.input, [model.get_layer(each).output for each in wanted])(np.zeros((1, 500, 500, 3)))
    assert list(dict.fromkeys(output.shape[1] for output in outputs)) == [*sizes, 500]
    for size in (33, 64, 257):
        assert model(np.zeros((1, size, size + 3, 3), np.float32)).shape[1:3] == (size, size + 3)


@pytest.mark.parametrize("strides", [(32,), (32, 16), (32, 16, 8)])
@pytest.mark.parametrize(
    ("backbone", "first"),
    [
        (AlexNet(width_multiplier=0.02), 16),
        (GoogLeNet(width_multiplier=0.02), 0),
        pytest.param(Resnet(depth=50, width_multiplier=0.02), 0, marks=pytest.mark.slow),
        (AlexNet(width_multiplier=0.02, form="original"), None),
        pytest.param(GoogLeNet(width_multiplier=0.02, form="original"), None, marks=pytest.mark.slow),
    ],
)
def test_scores_of_other_backbones_are_aligned_with_the_image(
    backbone, first: int | None, strides: tuple[int, ...]
) -> None:
    """Scores that increase by 1 per position increase by 1/32 per pixel, from the pixel of the first position on.

    `first`: pixel of the first position of the deepest stage.
    """
    model = Segmenter(backbone=backbone, decoder=Fcn(strides=strides, upsampling="deconv")).build(VOC)
    score = model.get_layer("score_fr").output
    deep = keras.Model(model.input, score)
    positions = coordinate_map(score)
    size = 257
    shape = deep(np.zeros((1, size, size, 3), np.float32)).shape
    ramp = np.broadcast_to(np.arange(shape[2], dtype=np.float32)[:, None], shape)
    after = keras.Model([model.input, score], model.output)
    columns = np.array(after([np.zeros((1, size, size, 3), np.float32), ramp]))[0, size // 2, :, 0]
    inside = slice(64, 192)
    expected = float(positions.scale) * np.arange(size) + float(positions.offset)
    np.testing.assert_allclose(columns[inside], expected[inside], atol=1e-3)
    if first is not None:
        assert -positions.offset / positions.scale == first
