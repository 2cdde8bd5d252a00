"""Forms of VGG16: sizes of feature maps, receptive fields, and consistency across output strides."""

import dataclasses

import keras
import numpy as np
import pytest

from tfseg.backbones import FullyConnected, Vgg16
from tfseg.layers import AtrousMaxPooling2D, MirrorPadding2D
from tfseg.models.coordinates import coordinate_map, receptive_field
from tfseg.spec.problems import SpecError

TINY = 1 / 64
LARGE_FOV = FullyConnected(kernel_size=3, dilation_rate=12, filters=1024)


def built(backbone: Vgg16, channels: int = 3) -> keras.Model:
    image = keras.Input((None, None, channels), name="image")
    return keras.Model(image, {stage.name: stage.tensor for stage in backbone(image).stages})


def deeplab(**options) -> Vgg16:
    return Vgg16(form="deeplab", output_stride=8, width_multiplier=TINY, **options)


@pytest.mark.parametrize(
    "fc",
    [FullyConnected(), FullyConnected(kernel_size=3, filters=1024), FullyConnected(kernel_size=4, dilation_rate=2)],
)
@pytest.mark.parametrize("size", [33, 65])
def test_every_output_stride_computes_the_same_values(fc: FullyConnected, size: int) -> None:
    """Values of strides 16 and 32 equal those of stride 8 at every second or fourth position, with the same weights."""
    spec = Vgg16(width_multiplier=1 / 32, fc=fc)
    keras.utils.set_random_seed(0)
    coarse = built(spec)
    image = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype(np.float32)
    expected = coarse(image)
    for stride in (16, 8):
        fine = built(dataclasses.replace(spec, output_stride=stride))
        assert [layer.name for layer in fine.layers] == [layer.name for layer in coarse.layers]
        fine.set_weights(coarse.get_weights())
        found = fine(image)
        for name, step in (
            ("pool3", 1),
            ("pool4", max(16 // stride, 1)),
            ("pool5", 32 // stride),
            ("fc7", 32 // stride),
        ):
            assert np.std(expected[name]) > 0
            np.testing.assert_allclose(
                found[name][:, ::step, ::step], expected[name], rtol=1e-4, atol=1e-3, err_msg=name
            )


def test_weight_files_fit_every_output_stride(tmp_path) -> None:
    """Also `.weights.h5`, which identifies layers by class and order."""
    coarse = built(Vgg16(width_multiplier=TINY))
    coarse.save_weights(tmp_path / "vgg.weights.h5")
    fine = built(Vgg16(width_multiplier=TINY, output_stride=8))
    fine.load_weights(tmp_path / "vgg.weights.h5")
    for one, other in zip(fine.get_weights(), coarse.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_the_same_form_dilates_pools() -> None:
    rates = {layer.name: layer.dilation_rate for layer in built(Vgg16(width_multiplier=TINY,
    output_stride=8)).layers[1:]
             if isinstance(layer, AtrousMaxPooling2D)}  # fmt: skip
    assert rates == {"pool4": (1, 1), "pool5": (2, 2)}
    released = built(deeplab())
    assert [(released.get_layer(f"pool{i}").pool_size, released.get_layer(f"pool{i}").strides) for i in (3, 4, 5)] == [
        ((3, 3), (2, 2)),
        ((3, 3), (1, 1)),
        ((3, 3), (1, 1)),
    ]
    assert released.get_layer("conv5_1").dilation_rate == (2, 2)


@pytest.mark.parametrize(("size", "chain"), [(321, [161, 81, 41, 41, 41, 41]), (513, [257, 129, 65, 65, 65, 65])])
def test_feature_map_sizes_of_deeplab(size: int, chain: list[int]) -> None:
    outputs = built(deeplab(pool5a=True, fc=LARGE_FOV))(np.zeros((1, size, 9, 3), np.float32))
    names = ("pool1", "pool2", "pool3", "pool4", "pool5a", "fc7")
    assert [outputs[name].shape[1] for name in names] == chain
    assert [outputs[name].shape[2] for name in names] == [5, 3, 2, 2, 2, 2]


@pytest.mark.parametrize("size", [33, 41, 321])
def test_positions_of_deeplab_are_at_every_eighth_pixel(size: int) -> None:
    features = deeplab(pool5a=True, fc=LARGE_FOV)(keras.Input((None, None, 3)))
    position = coordinate_map(features.deepest.tensor)
    assert (position.scale, position.offset) == (1 / 8, 0)
    assert built(deeplab())(np.zeros((1, size, size, 3), np.float32))["fc7"].shape[1] == (size - 1) // 8 + 1


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"fc": LARGE_FOV}, 419),
        ({"fc": LARGE_FOV, "pool5a": True}, 435),
        ({"fc": FullyConnected(kernel_size=4)}, 323),
        ({"fc": FullyConnected(kernel_size=4, dilation_rate=8)}, 419),
        ({"fc": FullyConnected(kernel_size=7)}, 419),
    ],
)
def test_receptive_fields_of_deeplab(options: dict, size: int) -> None:
    features = deeplab(**options)(keras.Input((None, None, 3)))
    assert receptive_field(features.deepest.tensor).size == size


def test_the_average_pool_counts_the_padding() -> None:
    keras.utils.set_random_seed(0)
    model = built(deeplab(pool5a=True))
    pooled, averaged = (model.get_layer(name).output for name in ("pool5", "pool5a"))
    before, after = keras.Model(model.input, [pooled, averaged])(np.full((1, 33, 33, 3), 200.0))
    windows = np.pad(np.array(before), ((0, 0), (1, 1), (1, 1), (0, 0)))
    assert np.std(before) > 0
    expected = sum(windows[:, i : i + 5, j : j + 5] for i in range(3) for j in range(3)) / 9
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "length"), [(528, 66), (521, 66), (128, 16), (1, 1), (9, 2)])
def test_feature_map_sizes_of_the_dilation_network(size: int, length: int) -> None:
    """528 pixels and 186 on both sides are the 900 of the released network, whose output is 66x66."""
    model = built(Vgg16(form="dilation", output_stride=8, width_multiplier=TINY))
    maps = keras.Model(model.input, [model.get_layer("pad").output, model.output["conv5_3"], model.output["fc7"]])
    padded, deep, deepest = maps(np.zeros((1, size, 8, 3), np.float32))
    assert padded.shape[1] == 8 * length + 2 * 186
    assert deep.shape[1:3] == (length + 24, 25)
    assert deepest.shape[1:3] == (length, 1)


def test_the_dilation_network_does_not_pad() -> None:
    """Positions are 8 pixels apart, at the centers of 8 pixels, and receptive fields include no padding."""
    features = Vgg16(form="dilation", output_stride=8, width_multiplier=TINY)(keras.Input((None, None, 3)))
    position = coordinate_map(features.deepest.tensor)
    assert (position.scale, position.offset) == (1 / 8, -3.5 / 8)
    assert [stage.name for stage in features.stages] == ["pool1", "pool2", "pool3", "conv4_3", "conv5_3", "fc7"]
    model = built(Vgg16(form="dilation", output_stride=8, width_multiplier=TINY))
    assert isinstance(model.get_layer("pad"), MirrorPadding2D)
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.padding for layer in convs} == {"valid"}
    assert {layer.name: layer.dilation_rate[0] for layer in convs if layer.dilation_rate[0] > 1} == {
        "conv5_1": 2, "conv5_2": 2, "conv5_3": 2, "fc6": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("form", "mean"), [("deeplab", [104.008, 116.669, 122.675]), ("dilation", [102.93, 111.36, 116.52])]
)
def test_means_of_the_forms(form: str, mean: list[float]) -> None:
    backbone = Vgg16(form=form, output_stride=8, width_multiplier=TINY)
    normalize = built(backbone).get_layer("normalize")
    np.testing.assert_allclose(normalize(np.zeros((1, 1, 1, 3))), [[[[-each for each in mean]]]], rtol=1e-6)
    red = np.array([[[[255.0, 0, 0]]]])
    np.testing.assert_allclose(normalize(red)[0, 0, 0, 2], 255 - mean[2], rtol=1e-6)
    np.testing.assert_allclose(built(backbone, channels=4).get_layer("normalize").mean, np.mean(mean), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "deeplab"}, "output_stride: must be 8 with form deeplab. Received: 32"),
        ({"form": "dilation"}, "output_stride: must be 8 with form dilation. Received: 32"),
        ({"form": "original", "output_stride": 16}, "output_stride: must be 32 with form original. Received: 16"),
        (
            {"pool5a": True},
            "pool5a: requires form deeplab. Set form to deeplab, or pool5a to false. Received: true, form=same",
        ),
        (
            {"indices": True, "output_stride": 16},
            "indices: argmax indices require pools of stride 2: set form to original or same, and output_stride "
            "to 32. Received: true, form=same, output_stride=16",
        ),
        (
            {"form": "deeplab", "output_stride": 8, "fc": FullyConnected(kernel_size=4, dilation_rate=3)},
            "fc.dilation_rate: must be even if kernel_size is even, so that the window is centered on a position. "
            "Received: kernel_size=4, dilation_rate=3",
        ),
        (
            {"fc": FullyConnected(kernel_size=2)},
            "fc.dilation_rate: must be even if kernel_size is even, so that the window is centered on a position. "
            "Received: kernel_size=2, dilation_rate=1",
        ),
    ],
)
def test_incompatible_options(arguments: dict, message: str) -> None:
    with pytest.raises(SpecError) as error:
        Vgg16(**arguments)
    assert [str(each).partition(": ")[2] for each in error.value.problems] == [message]
