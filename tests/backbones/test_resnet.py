"""ResNet: parameter counts, dilation rates, sizes of feature maps, and weights of `keras.applications` and Caffe."""

import math
from pathlib import Path

import keras
import numpy as np
import pytest

from tfseg.backbones import Resnet
from tfseg.layers import AtrousConv2D
from tfseg.layers.norm import Normalization, normalization
from tfseg.spec.problems import SpecError
from tfseg.weights.caffe import caffe_names

TINY = {"depth": 50, "width_multiplier": 0.02}


def built(backbone, channels: int = 3) -> keras.Model:
    image = keras.Input((None, None, channels), name="image")
    return keras.Model(image, [stage.tensor for stage in backbone(image).stages])


def image(size: int = 65) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype(np.float32)


def rates(backbone: Resnet) -> list[list[int]]:
    """Returns the dilation rates of the 3x3 convolutions of each stage."""
    return [[unit.rate for unit in stage] for stage in backbone.stages]


@pytest.mark.parametrize(("depth", "parameters"), [(50, 23_508_032), (101, 42_500_160), (152, 58_143_808)])
def test_parameters(depth: int, parameters: int) -> None:
    """Parameters of convolutions, gamma and beta; 42,500,160 in the ResNet-101 of DeepLab v2."""
    with keras.StatelessScope(initialize_variables=False):
        model = built(Resnet(depth=depth))
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == parameters


def test_stages() -> None:
    with keras.StatelessScope(initialize_variables=False):
        stages = Resnet(depth=50)(keras.Input((None, None, 3))).stages
    assert [(stage.name, stage.stride, stage.tensor.shape[-1]) for stage in stages] == [
        ("conv1_relu", 2, 64),
        ("conv2_block3_out", 4, 256),
        ("conv3_block4_out", 8, 512),
        ("conv4_block6_out", 16, 1024),
        ("conv5_block3_out", 32, 2048),
    ]


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_feature_map_sizes(output_stride: int) -> None:
    backbone = Resnet(**TINY, output_stride=output_stride)
    stages = backbone(keras.Input((None, None, 3)))
    assert stages.deepest.stride == output_stride
    for stage, output in zip(stages.stages, built(backbone)(image()), strict=True):
        assert output.shape[1:3] == (-(-65 // stage.stride),) * 2


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(("size", "chain"), [(321, [161, 81, 41, 41, 41]), (513, [257, 129, 65, 65, 65])])
def test_feature_map_sizes_of_deeplab(size: int, chain: list[int]) -> None:
    with keras.StatelessScope(initialize_variables=False):
        stages = Resnet(output_stride=8)(keras.Input((size, size, 3))).stages
    assert [stage.tensor.shape[1] for stage in stages] == chain


def test_caffe_padding_rounds_the_pool_size_up() -> None:
    """224 -> 112 -> 57, whereas TensorFlow and Keras compute 56."""
    assert [output.shape[1] for output in built(Resnet(**TINY))(image(224))] == [112, 57, 29, 15, 8]
    assert [output.shape[1] for output in built(Resnet(**TINY, padding="same"))(image(224))] == [112, 56, 28, 14, 7]


def test_dilation_rates_of_deeplab() -> None:
    assert rates(Resnet(depth=101, output_stride=8)) == [[1] * 3, [1] * 4, [2] * 23, [4] * 3]
    assert rates(Resnet(depth=101, output_stride=16)) == [[1] * 3, [1] * 4, [1] * 23, [2] * 3]


def test_dilation_rates_with_the_stride_on_the_3x3() -> None:
    form = {"depth": 50, "stride_on": "3x3", "output_stride": 8}
    assert rates(Resnet(**form)) == [[1] * 3, [1] * 4, [1, *[2] * 5], [2, 4, 4]]
    assert rates(Resnet(**form, dilation="every_unit")) == [[1] * 3, [1] * 4, [2] * 6, [4] * 3]


def test_multi_grid_multiplies_the_rates_of_the_last_stage() -> None:
    """DeepLab v3, section 3.2: 2, 4 and 8 at output stride 16 with (1, 2, 4)."""
    assert rates(Resnet(depth=50, output_stride=16, multi_grid=(1, 2, 4)))[2:] == [[1] * 6, [2, 4, 8]]
    garden = Resnet(depth=50, output_stride=16, multi_grid=(1, 2, 4), stride_on="3x3", dilation="every_unit")
    assert rates(garden)[2:] == [[1] * 6, [2, 4, 8]]


def test_stride_on_selects_the_strided_convolution() -> None:
    def strided(backbone: Resnet) -> list[str]:
        return [
            layer.name
            for layer in built(backbone).layers
            if isinstance(layer, AtrousConv2D) and layer.strides != (1, 1)
        ]

    assert strided(Resnet(**TINY))[1:] == [f"conv{i}_block1_{part}_conv" for i in (3, 4, 5) for part in (1, 0)]
    assert strided(Resnet(**TINY, stride_on="3x3"))[1:] == [
        f"conv{i}_block1_{part}_conv" for i in (3, 4, 5) for part in (2, 0)
    ]


def test_the_stem_of_three_convolutions() -> None:
    model = built(Resnet(depth=50, width_multiplier=0.25, stem="3x3", activation="swish"))
    shapes = [model.get_layer(f"conv1_{index}_conv").kernel.shape for index in (1, 2, 3)]
    assert [tuple(shape) for shape in shapes] == [(3, 3, 3, 16), (3, 3, 16, 16), (3, 3, 16, 32)]
    assert model.outputs[0] is model.get_layer("conv1_3_swish").output


def published(depth: int = 50) -> keras.Model:
    """Returns `keras.applications.ResNet50` with random weights and variances of different magnitudes."""
    model = getattr(keras.applications, f"ResNet{depth}")(weights=None, include_top=False, input_shape=(None, None, 3))
    random = np.random.default_rng(0)
    for layer in model.layers:
        for variable in layer.weights:
            if variable.name in ("bias", "beta", "moving_mean"):
                variable.assign(random.normal(0, 0.1, variable.shape))
            if variable.name == "moving_variance":  # small ones only in the last layer, whose outputs are not amplified
                least = -6 if layer.name == "conv5_block3_3_bn" else -0.3
                variable.assign(10 ** random.uniform(least, 0.3, variable.shape))
            if variable.name == "gamma":
                variable.assign(random.uniform(0.1, 0.4, variable.shape))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_weights_of_keras_applications_fit(suffix: str, epsilon: float, tmp_path: Path) -> None:
    """Biases and another epsilon, with variances down to below the epsilon."""
    theirs = published()
    path = tmp_path / f"published{suffix}"
    theirs.save_weights(path) if suffix == ".weights.h5" else theirs.save(path)
    backbone = Resnet(depth=50, weights=path)
    with normalization(Normalization(epsilon=epsilon)):
        model = built(backbone)
    report = backbone.load_weights(model)
    assert (len(report.filled), report.unused, report.folded) == (106, (), ())
    pixels = keras.Model(model.input, model.get_layer("normalize").output)(image())
    names = [stage.name for stage in backbone(keras.Input((None, None, 3))).stages]
    expected = keras.Model(theirs.input, [theirs.get_layer(name).output for name in names])(pixels)
    for ours, other in zip(model(image()), expected, strict=True):
        scale = float(np.abs(other).max())
        np.testing.assert_allclose(np.array(ours) / scale, np.array(other) / scale, atol=1e-4)
        assert np.std(other) > 0.01 * scale


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_every_layer_has_a_caffe_name(depth: int) -> None:
    backbone = Resnet(depth=depth)
    names = caffe_names([len(stage) for stage in backbone.stages])
    assert {name for name in backbone.layer_names(3) if name.endswith(("_conv", "_bn"))} <= set(names.values())


def test_caffe_names() -> None:
    names = {ours: theirs for theirs, ours in caffe_names((3, 4, 23, 3)).items() if theirs.startswith("res")}
    found = [names[f"conv{unit}_conv"] for unit in ("2_block3_0", "3_block2_1", "4_block23_3", "5_block1_2")]
    assert found == ["res2c_branch1", "res3b1_branch2a", "res4b22_branch2c", "res5a_branch2b"]
    assert caffe_names((3, 4, 6, 3))["scale4f_branch2c"] == "conv4_block6_3_bn"


def test_weights_with_caffe_names(tmp_path: Path) -> None:
    """Statistics and factors of a BatchNorm are two layers in Caffe."""
    source, target = built(Resnet(**TINY)), built(Resnet(**TINY))
    theirs = {}
    for theirs_name, ours in caffe_names((3, 4, 6, 3)).items():
        if ours not in {layer.name for layer in source.layers}:
            continue  # projections, which only the first unit of a stage has
        for variable in source.get_layer(ours).weights:
            statistic = variable.name.startswith("moving")
            if ours.endswith("_conv") or theirs_name.startswith("bn") == statistic:
                theirs[f"{theirs_name}/{variable.name}"] = np.array(variable)
    path = tmp_path / "caffe.npz"
    np.savez(path, **theirs)
    report = Resnet(**TINY, weights=path).load_weights(target)
    assert (len(report.filled), report.unused) == (106, ())
    np.testing.assert_array_equal(source(image())[-1], target(image())[-1])


def test_preprocessing_depends_on_channels() -> None:
    assert built(Resnet(**TINY)).get_layer("normalize").mode == "caffe"
    assert built(Resnet(**TINY), 4).get_layer("normalize").mean == pytest.approx(114.451, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"width_multiplier": 0.5, "weights": "imagenet"},
            "width_multiplier: must be 1.0 with ImageNet weights. Received: 0.5",
        ),
        ({"stem": "3x3", "weights": "imagenet"}, "stem: must be 7x7 with ImageNet weights. Received: 3x3"),
        ({"stride_on": "3x3", "weights": "imagenet"}, "stride_on: must be first with ImageNet weights. Received: 3x3"),
        (
            {"activation": "swish", "weights": "imagenet"},
            "activation: must be relu with ImageNet weights. Received: swish",
        ),
        (
            {"multi_grid": (1, 2)},
            "multi_grid: must have 3 factors, one per unit of the last stage. Received: [1, 2]",
        ),
        (
            {"multi_grid": (2, 4, 8), "stride_on": "3x3"},
            "multi_grid: must start with 1 at output stride 32: the first 3x3 convolution is strided and "
            "cannot be dilated. "
            "Received: [2, 4, 8]",
        ),
    ],
)
def test_incompatible_options(arguments: dict, message: str) -> None:
    with pytest.raises(SpecError) as error:
        Resnet(**arguments)
    assert [str(each).partition(": ")[2] for each in error.value.problems] == [message]
