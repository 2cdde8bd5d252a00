"""DeepLab v1 and v2 and the dilation network: published parameter counts, receptive fields and sizes."""

import keras
import numpy as np
import pytest

from tests.models.conftest import LABELS
from tfseg import layers as tl
from tfseg.backbones import FullyConnected, MobileNetV2, Resnet, SmallCnn, Vgg16
from tfseg.context import Context
from tfseg.labels import Labels
from tfseg.models import ModelError, Segmenter, describe
from tfseg.models.coordinates import coordinate_map, receptive_field
from tfseg.models.decoders import DeepLabV1, DeepLabV2, Dilation, Fcn

VOC = Labels(names=tuple(f"class {index}" for index in range(21)))
LARGE_FOV = FullyConnected(kernel_size=3, dilation_rate=12, filters=1024)
TINY = 1 / 64


def deeplab(width: float = TINY, **options) -> Vgg16:
    return Vgg16(form="deeplab", output_stride=8, width_multiplier=width, **options)


def dilation(width: float = TINY, **decoder) -> Segmenter:
    return Segmenter(
        backbone=Vgg16(form="dilation", output_stride=8, width_multiplier=width), decoder=Dilation(**decoder)
    )


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype(np.float32)


def outputs(model: keras.Model, *names: str) -> keras.Model:
    return keras.Model(model.input, [model.get_layer(name).output for name in names])


NETS = {
    "7x7": (Segmenter(backbone=deeplab(1.0), decoder=DeepLabV1()), 134_346_581, 419),
    "4x4": (Segmenter(backbone=deeplab(1.0, fc=FullyConnected(kernel_size=4)), decoder=DeepLabV1()), 65_140_565, 323),
    "4x4, rate 8": (
        Segmenter(backbone=deeplab(1.0, fc=FullyConnected(kernel_size=4, dilation_rate=8)), decoder=DeepLabV1()),
        65_140_565,
        419,
    ),
    "LargeFOV": (Segmenter(backbone=deeplab(1.0, fc=LARGE_FOV, pool5a=True), decoder=DeepLabV1()), 20_505_429, 435),
    "LargeFOV of v2": (
        Segmenter(backbone=deeplab(1.0, fc=None), decoder=DeepLabV2(rates=(12,), filters=1024)),
        20_505_429,
        419,
    ),
    "ASPP-L": (Segmenter(backbone=deeplab(1.0, fc=None), decoder=DeepLabV2(filters=1024)), 37_877_652, 611),
    "ASPP-S": (
        Segmenter(backbone=deeplab(1.0, fc=None), decoder=DeepLabV2(rates=(2, 4, 8, 12), filters=1024)),
        37_877_652,
        419,
    ),
    "ResNet-101": (Segmenter(backbone=Resnet(depth=101, output_stride=8), decoder=DeepLabV2()), 44_048_532, None),
    "front end": (dilation(1.0), 134_346_581, 380),
    "basic context": (dilation(1.0, context="basic"), 134_346_581 + 28_392, 380 + 66 * 8),
    "large context": (dilation(1.0, context="large"), 141_149_720, 380 + 66 * 8),
}


@pytest.mark.parametrize("name", NETS)
def test_parameters_and_receptive_fields(name: str) -> None:
    """Parameters are counted symbolically: gamma and beta of BatchNorm are included, moving averages are not."""
    net, parameters, field = NETS[name]
    with keras.StatelessScope(initialize_variables=False):
        description = describe(net.build(VOC))
    assert description.trainable == parameters
    assert description.output_stride == 8
    assert field in (None, description.receptive_field)


def test_parameters_of_multi_scale_features() -> None:
    """There are five branches of a 3x3 and a 1x1 convolution with 128 filters and a classifier each; or 640 channels
    are scored with fc7."""
    sizes = (3, 64, 128, 256, 512)
    branches = sum(9 * size * 128 + 128 + 128 * 128 + 128 for size in sizes)
    for fusion, scores in (("sum", 5 * (128 + 1) * 21), ("concatenation", 640 * 21)):
        net = Segmenter(
            backbone=deeplab(1.0, fc=FullyConnected(kernel_size=4)), decoder=DeepLabV1(multi_scale=True, fusion=fusion)
        )
        with keras.StatelessScope(initialize_variables=False):
            assert describe(net.build(VOC)).trainable == 65_140_565 + branches + scores


@pytest.mark.parametrize(
    ("size", "chain"), [(321, [161, 81, 41, 41, 41, 41, 321]), (513, [257, 129, 65, 65, 65, 65, 513])]
)
def test_feature_map_sizes(size: int, chain: list[int]) -> None:
    model = Segmenter(backbone=deeplab(fc=LARGE_FOV, pool5a=True), decoder=DeepLabV1()).build(VOC)
    maps = outputs(model, "pool1", "pool2", "pool3", "pool4", "pool5a", "fc8", "interp")(image(size, 16))
    assert [each.shape[1] for each in maps] == chain
    assert maps[-1].shape == (1, size, 16, 21)
    assert maps[-2].shape[2] == 3  # 16 pixels are padded to 17


@pytest.mark.parametrize("decoder", [DeepLabV1(), DeepLabV1(multi_scale=True), DeepLabV2(rates=(2,))])
def test_images_of_any_size_are_padded_with_the_mean(decoder) -> None:
    """Logits equal those of an image padded with the mean color, cropped to the image."""
    model = Segmenter(backbone=deeplab(), decoder=decoder).build(LABELS)
    x = image(42, 50)
    larger = np.broadcast_to(np.array([122.675, 116.669, 104.008], np.float32), (1, 49, 57, 3)).copy()
    larger[:, :42, :50] = x
    np.testing.assert_allclose(model(x), model(larger)[:, :42, :50], atol=1e-5)
    assert np.std(model(x)) > 0


def test_scores_are_interpolated_with_aligned_corners() -> None:
    model = Segmenter(backbone=deeplab(), decoder=DeepLabV1()).build(LABELS)
    scores, logits = outputs(model, "fc8", "logits")(image(65, 81))
    np.testing.assert_allclose(logits[:, ::8, ::8], scores, atol=1e-6)


def test_multi_scale_features_match_the_released_network() -> None:
    """Layers are those of the authors' MSc prototxt. Every branch has the resolution of fc7 and small initial
    weights."""
    keras.utils.set_random_seed(0)
    model = Segmenter(backbone=deeplab(), decoder=DeepLabV1(multi_scale=True)).build(LABELS)
    assert model.get_layer("data_conv").input is model.get_layer("normalize").output
    for name, stride in (("data", 8), ("pool1", 4), ("pool2", 2), ("pool3", 1), ("pool4", 1)):
        first, second = model.get_layer(f"{name}_conv"), model.get_layer(f"{name}_fc")
        assert (first.strides, first.filters, first.kernel_size) == ((stride, stride), 128, (3, 3))
        assert np.std(second.kernel) == pytest.approx(0.005 if name == "pool4" else 0.001, rel=0.1)
        assert np.std(model.get_layer(f"{name}_ms").kernel) == pytest.approx(0.01, rel=0.2)
        assert coordinate_map(second.output) == coordinate_map(model.get_layer("fc7").output)
    scores = outputs(
        model, "fc_fusion", "fc8", *(f"{name}_ms" for name in ("data", "pool1", "pool2", "pool3", "pool4"))
    )
    fused, *parts = scores(image(41, 49))
    assert fused.shape == (1, 6, 7, 3)
    np.testing.assert_allclose(fused, sum(np.array(part) for part in parts), atol=1e-5)


def test_sum_and_concatenation_are_equivalent() -> None:
    summed, joined = (
        Segmenter(backbone=deeplab(), decoder=DeepLabV1(multi_scale=True, filters=4, fusion=fusion)).build(LABELS)
        for fusion in ("sum", "concatenation")
    )
    for layer in joined.layers:
        if layer.weights and layer.name != "fc8":
            layer.set_weights(summed.get_layer(layer.name).get_weights())
    names = [*(f"{name}_ms" for name in ("data", "pool1", "pool2", "pool3", "pool4")), "fc8"]
    kernels, biases = zip(*(summed.get_layer(name).get_weights() for name in names), strict=True)
    joined.get_layer("fc8").set_weights([np.concatenate(kernels, axis=2), sum(biases)])
    np.testing.assert_allclose(joined(image(41, 49)), summed(image(41, 49)), atol=1e-5)


def test_large_fov_of_v1_and_v2_are_the_same_network() -> None:
    """A single branch of the parallel classifier equals fc6, fc7 and fc8."""
    first = Segmenter(backbone=deeplab(fc=LARGE_FOV), decoder=DeepLabV1()).build(LABELS)
    second = Segmenter(backbone=deeplab(fc=None), decoder=DeepLabV2(rates=(12,), filters=16)).build(LABELS)
    for layer in second.layers:
        if layer.weights and layer.name != "aspp":
            layer.set_weights(first.get_layer(layer.name).get_weights())
    for name in ("fc6", "fc7", "fc8"):
        second.get_layer("aspp").sublayers[f"{name}_1"].set_weights(first.get_layer(name).get_weights())
    np.testing.assert_allclose(first(image(41, 33)), second(image(41, 33)), atol=1e-5)


@pytest.mark.parametrize(("size", "rows"), [(528, 66), (521, 66), (129, 17), (5, 1)])
@pytest.mark.parametrize("upsampling", ["zoom", "deconv"])
def test_feature_map_sizes_of_the_dilation_network(size: int, rows: int, upsampling: str) -> None:
    model = dilation(context="basic", upsampling=upsampling).build(LABELS)
    final, context = outputs(model, "final", "context")(image(size, 9))
    assert final.shape == context.shape == (1, rows, 2, 3)
    assert model(image(size, 9)).shape == (1, size, 9, 3)


def test_context_is_initialized_as_the_identity() -> None:
    model = dilation(context="basic").build(LABELS)
    final, context = outputs(model, "final", "context")(image(65, 65))
    assert np.abs(final).max() > 0
    np.testing.assert_allclose(context, np.maximum(final, 0), atol=1e-5)


def test_zoom_and_deconv_align_scores_differently() -> None:
    """`zoom` aligns scores with pixels 0, 8, 16, …; `deconv` aligns them with the centers of their receptive fields,
    between pixels 3 and 4."""
    zoomed, upsampled = (dilation(upsampling=upsampling).build(LABELS) for upsampling in ("zoom", "deconv"))
    upsampled.set_weights([*zoomed.get_weights(), upsampled.get_layer("upscore").get_weights()[0]])
    scores, logits = outputs(zoomed, "final", "logits")(image(65, 65))
    np.testing.assert_allclose(logits[:, ::8, ::8], scores, atol=1e-6)
    logits = np.array(upsampled(image(65, 65)))
    expected = np.array(tl.ResizeLike()([scores, np.zeros((1, 72, 72, 1), np.float32)]))[:, :65, :65]
    np.testing.assert_allclose(logits[:, 4:60, 4:60], expected[:, 4:60, 4:60], atol=1e-5)


def test_small_images_are_reflected_repeatedly() -> None:
    """The reflection padding is 186 pixels wide for every image size."""
    model = dilation().build(LABELS)
    padded = keras.Model(model.input, model.get_layer("pad").output)(image(3, 2))
    normalized = np.array(model.get_layer("normalize")(image(3, 2)))
    np.testing.assert_array_equal(
        padded, np.pad(normalized, [(0, 0), (186, 186 + 5), (186, 186 + 6), (0, 0)], mode="reflect")
    )
    assert np.isfinite(model(image(1, 1))).all()


BACKBONES = [
    Resnet(depth=50, width_multiplier=0.05, output_stride=8),
    SmallCnn(filters=2, output_stride=8),
    MobileNetV2(width_multiplier=0.1, output_stride=16),
    Vgg16(width_multiplier=TINY, output_stride=8),
]


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.type)
@pytest.mark.parametrize("decoder", [DeepLabV1(), DeepLabV2(rates=(1, 2), filters=4), Dilation(context="basic")])
def test_decoders_accept_every_backbone(backbone, decoder) -> None:
    model = Segmenter(backbone=backbone, decoder=decoder).build(LABELS)
    assert model(image(43, 30)).shape == (1, 43, 30, 3)


def test_receptive_field_of_the_scores() -> None:
    model = Segmenter(backbone=deeplab(fc=LARGE_FOV), decoder=DeepLabV1()).build(LABELS)
    assert receptive_field(model.get_layer("fc8").output).size == 419


BEYOND = (
    "features of vgg16 in its original form extend beyond the image, and this decoder does not crop its scores. Set "
    "model.backbone.form to another form, or the decoder to fcn"
)
PROBLEMS = [
    *((Segmenter(backbone=Vgg16(form="original"), decoder=each), ("decoder",), BEYOND)
      for each in (DeepLabV1(), DeepLabV2(), Dilation())),
    (
        Segmenter(backbone=Vgg16(output_stride=8), decoder=DeepLabV1(multi_scale=True)),
        ("decoder", "multi_scale"),
        "requires the stages data, pool1, pool2, pool3, pool4 of strides 1 to 8, but vgg16 has strides 2, 4, 8. "
        "Set model.backbone to vgg16 with form deeplab, or multi_scale to false. Received: true",
    ),
    (
        Segmenter(backbone=SmallCnn(), decoder=Dilation(upsampling="deconv")),
        ("decoder", "upsampling"),
        "deconv crops scores at a fixed offset, but the feature positions of small_cnn depend on the image size. "
        "Set upsampling to zoom. Received: deconv",
    ),
    (
        Segmenter(backbone=Vgg16(), decoder=Fcn(upsampling="deconv"), scales=(1.0, 0.5)),
        ("scales",),
        "scores at several scales are resized to one size, but those of this decoder must be cropped. "
        "Set model.decoder.upsampling to a value other than deconv, or scales to [1]. Received: [1.0, 0.5]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "path", "message"), PROBLEMS)
def test_incompatible_parts_are_reported(spec: Segmenter, path: tuple[str, ...], message: str) -> None:
    assert list(spec.problems(Context(LABELS, 3))) == [(path, message)]
    with pytest.raises(ModelError) as error:
        spec.build(LABELS)
    assert str(error.value) == f"model.{'.'.join(path)}: {message}"
