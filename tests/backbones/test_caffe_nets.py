"""AlexNet and GoogLeNet: parameter counts, sizes of feature maps, grouped convolutions and preprocessing."""

import math

import keras
import numpy as np
import pytest

from tests.models.conftest import LABELS
from tfseg.backbones import AlexNet, GoogLeNet
from tfseg.context import Context
from tfseg.labels import Labels
from tfseg.models import Segmenter
from tfseg.models.decoders import Fcn
from tfseg.spec.problems import SpecError

NETS = {"alexnet": AlexNet, "googlenet": GoogLeNet}


def built(backbone, channels: int = 3) -> keras.Model:
    image = keras.Input((None, None, channels), name="image")
    return keras.Model(image, [stage.tensor for stage in backbone(image).stages])


def image(*size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (1, *size, 3)).astype(np.float32)


def test_stages() -> None:
    with keras.StatelessScope(initialize_variables=False):
        stages = {name: net()(keras.Input((None, None, 3))).stages for name, net in NETS.items()}
    found = {name: [(each.name, each.stride, each.tensor.shape[-1]) for each in all_] for name, all_ in stages.items()}
    assert found == {
        "alexnet": [("conv1", 4, 96), ("pool1", 8, 96), ("pool2", 16, 256), ("pool5", 32, 256), ("fc7", 32, 4096)],
        "googlenet": [
            ("conv1_7x7_s2", 2, 64),
            ("conv2_3x3", 4, 192),
            ("inception_3b_output", 8, 480),
            ("inception_4e_output", 16, 832),
            ("pool5_drop_7x7_s1", 32, 1024),
        ],
    }


def test_parameters_of_googlenet() -> None:
    """Parameters of BVLC's network without its three classifiers."""
    with keras.StatelessScope(initialize_variables=False):
        model = built(GoogLeNet())
    assert sum(math.prod(weight.shape) for weight in model.weights) == 5_973_552


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("size", [pytest.param((64, 96), marks=pytest.mark.slow), (65, 33), (50, 71)])
def test_feature_maps_of_the_same_form_cover_the_image(name: str, size: tuple[int, int], output_stride: int) -> None:
    backbone = NETS[name](width_multiplier=0.02, output_stride=output_stride)
    stages = backbone(keras.Input((None, None, 3))).stages
    for stage, output in zip(stages, built(backbone)(image(*size)), strict=True):
        assert output.shape[1:3] == tuple(-(-side // stage.stride) for side in size)


@pytest.mark.parametrize(
    ("backbone", "chain"),
    [
        (AlexNet(form="original", width_multiplier=0.02), [173, 86, 43, 21, 16]),
        (GoogLeNet(form="original", width_multiplier=0.02), [347, 173, 86, 43, 21]),
        (GoogLeNet(form="original", width_multiplier=0.02, average_pool=True), [347, 173, 86, 43, 15]),
    ],
)
def test_feature_map_sizes_of_the_original_form(backbone, chain: list[int]) -> None:
    assert [stage.tensor.shape[1] for stage in backbone(keras.Input((500, 500, 3))).stages] == chain


@pytest.mark.parametrize(
    "backbone",
    [
        AlexNet(form="original", width_multiplier=0.02),
        GoogLeNet(form="original", width_multiplier=0.02),
        GoogLeNet(form="original", width_multiplier=0.02, average_pool=True),
    ],
)
def test_the_original_form_supports_images_smaller_than_its_windows(backbone) -> None:
    model = Segmenter(backbone=backbone, decoder=Fcn(strides=(32,), upsampling="deconv")).build(
        Labels(names=("a", "b"))
    )
    for size in (1, 28, 29):
        scores = np.asarray(model(image(size, size)))
        assert scores.shape == (1, size, size, 2) and np.isfinite(scores).all()


def test_groups_are_independent_and_trainable() -> None:
    """The first half of the input channels of `conv4` does not affect the second half of its filters."""
    model = built(AlexNet(width_multiplier=0.1))
    conv = model.get_layer("conv4")
    channels = conv.input.shape[-1]
    assert conv.kernel.shape[2] == channels // 2
    x = np.random.default_rng(0).normal(size=(1, 5, 5, channels)).astype(np.float32)
    changed = np.concatenate([x[..., : channels // 2] + 1, x[..., channels // 2 :]], axis=-1)
    before, after = np.array(conv(x)), np.array(conv(changed))
    half = conv.filters // 2
    np.testing.assert_array_equal(before[..., half:], after[..., half:])
    assert not np.allclose(before[..., :half], after[..., :half])
    model.compile("sgd", loss=[None] * 4 + ["mse"])
    kernels = [np.array(model.get_layer(name).kernel) for name in ("conv2", "conv4", "conv5")]
    model.train_on_batch(image(65, 65), [None] * 4 + [np.ones((1, 3, 3, model.outputs[-1].shape[-1]), np.float32)])
    for name, kernel in zip(("conv2", "conv4", "conv5"), kernels, strict=True):
        assert not np.array_equal(model.get_layer(name).kernel, kernel)


@pytest.mark.parametrize("name", NETS)
def test_preprocessing_depends_on_channels(name: str) -> None:
    assert built(NETS[name](width_multiplier=0.02), 3).get_layer("normalize").mode == "caffe"
    for channels in (1, 4):
        layer = built(NETS[name](width_multiplier=0.02), channels).get_layer("normalize")
        assert (layer.mean, layer.scale) == (pytest.approx(114.451, abs=1e-3), 1.0)
        assert not list(NETS[name]().problems(Context(LABELS, channels)))


@pytest.mark.parametrize(
    ("net", "arguments", "message"),
    [
        (net, {"form": "original"}, "must be 32 with form original; set form to same for other strides. Received: 16")
        for net in (AlexNet, GoogLeNet)
    ]
    + [
        (
            GoogLeNet,
            {"average_pool": True},
            "must be 32 with average_pool; set average_pool to false for other strides. Received: 16",
        )
    ],
)
def test_unsupported_output_strides(net, arguments: dict, message: str) -> None:
    with pytest.raises(SpecError) as error:
        net(**arguments, output_stride=16)
    assert [str(each).partition(": ")[2] for each in error.value.problems] == [f"output_stride: {message}"]
