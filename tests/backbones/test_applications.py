"""Networks of `keras.applications` by name: preprocessing, stages, weights and equality of outputs."""

import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.tiers import rotating
from tfseg.backbones import Applications
from tfseg.backbones.applications_graph import GraphRebuilder, NotDilatable
from tfseg.backbones.applications_net import names, preprocessing_of
from tfseg.layers import AtrousConv2D, Normalize
from tfseg.layers.norm import Normalization, normalization
from tfseg.models.backbone_features import backbone_features
from tfseg.spec.problems import SpecError

NAMES = tuple(name for name in dir(keras.applications) if name[0].isupper() and not name.startswith("NASNet"))


def built(backbone: Applications, channels: int = 3) -> keras.Model:
    image = keras.Input((None, None, channels), name="image")
    return keras.Model(image, [stage.tensor for stage in backbone(image).stages])


def image(*size: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (1, *size, channels)).astype(np.float32)


def test_every_network_of_keras_is_available() -> None:
    assert names() == NAMES
    assert len(NAMES) >= 38


def module(name: str):
    """Returns the public module of a network, which has its `preprocess_input`."""
    source = getattr(keras.applications, name).__module__.rpartition(".")[2]
    return importlib.import_module(f"keras.applications.{source}")


def own_preprocessing(name: str, pixels: np.ndarray) -> np.ndarray:
    """Applies the preprocessing layers of the published network."""
    with keras.StatelessScope(initialize_variables=False):
        model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(None, None, 3))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Rescaling):
            pixels = pixels * np.array(layer.scale) + np.array(layer.offset)
        elif isinstance(layer, keras.layers.Normalization):
            # the weight files of EfficientNet v1 hold the ImageNet statistics
            own = layer.input_mean is not None
            mean = np.array(layer.input_mean if own else [0.485, 0.456, 0.406])
            std = np.sqrt(layer.input_variance) if own else np.array([0.229, 0.224, 0.225])
            pixels = (pixels - mean) / std
        elif layer.weights:
            return pixels
    raise AssertionError("a network without weights")


FAMILIES = (
    *("ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "EfficientNetV2S", "MobileNet"),
    *("MobileNetV3Small", "ResNet50", "ResNet50V2", "VGG16", "Xception"),
)


@pytest.mark.parametrize(
    "name", [name if name in FAMILIES else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_preprocessing_equals_that_of_the_published_network(name: str) -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 4, 5, 3)).astype(np.float32)
    expected = own_preprocessing(name, module(name).preprocess_input(pixels.copy()))
    found = Normalize(**preprocessing_of(name))(pixels)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


STAGES = {
    "ResNet50": ["conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"],
    "ResNet50V2": ["conv1_conv", "conv2_block2_out", "conv3_block3_out", "conv4_block5_out", "post_relu"],
    "EfficientNetV2B0": [
        "block1a_project_activation",
        "block2b_add",
        "block4a_expand_activation",
        "block6a_expand_activation",
        "top_activation",
    ],
    "MobileNetV2": [
        "block_1_expand_relu",
        "block_3_expand_relu",
        "block_6_expand_relu",
        "block_13_expand_relu",
        "out_relu",
    ],
    "VGG16": ["block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3", "block5_pool"],
    "InceptionV3": ["activation_3", "activation_5", "mixed2", "mixed7", "mixed10"],
    "DenseNet121": ["conv1_relu", "pool2_conv", "pool3_conv", "pool4_conv", "relu"],
}


@pytest.mark.parametrize("name", rotating(STAGES, {"MobileNetV2", "VGG16"}))
def test_stages_are_selected_by_stride(name: str) -> None:
    backbone = Applications(name=name)
    with keras.StatelessScope(initialize_variables=False):
        stages = backbone(keras.Input((None, None, 3))).stages
    assert [(stage.name, stage.stride) for stage in stages] == list(zip(STAGES[name], (2, 4, 8, 16, 32), strict=True))
    if name not in ("InceptionV3", "DenseNet121"):
        assert backbone_features(dataclasses.replace(backbone, output_stride=8), 3).strides == (2, 4, 8)


def randomize(model: keras.Model) -> None:
    """Assigns random statistics, factors and biases."""
    random = np.random.default_rng(0)
    for layer in model._flatten_layers():
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            if variable.name in ("beta", "bias", "moving_mean"):
                variable.assign(random.normal(0, 0.05, variable.shape))
            elif variable.name in ("moving_variance", "gamma"):
                variable.assign(random.uniform(0.5, 1.5, variable.shape))


def check_published_outputs(name: str, folder: Path, size: int = 64) -> None:
    """Checks that the last features equal those of the published network with the same weight file."""
    theirs = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(size, size, 3))
    randomize(theirs)
    path = folder / f"{name}.weights.h5"
    theirs.save_weights(path)
    backbone = Applications(name=name, weights=path)
    model = built(backbone)
    report = backbone.load_weights(model)
    assert report.unused == ()
    assert set(report.filled) == {layer.name for layer in model.layers if layer.weights}
    pixels = image(size, size)
    expected = np.array(theirs(module(name).preprocess_input(pixels.copy())))
    found = model(pixels)[-1]
    assert np.std(expected) > 0.01 * np.abs(expected).max()
    np.testing.assert_allclose(found / np.abs(expected).max(), expected / np.abs(expected).max(), atol=1e-4)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("name", ["MobileNetV3Small", "MobileNet"])
def test_outputs_of_small_networks_equal_the_published_network(name: str, tmp_path: Path) -> None:
    check_published_outputs(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EfficientNetV2B0", "ResNet50", "ResNet50V2", "ConvNeXtTiny"])
def test_outputs_equal_the_published_network(name: str, tmp_path: Path) -> None:
    check_published_outputs(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Xception", "InceptionV3", "DenseNet121"])
def test_outputs_of_networks_with_unnamed_layers_or_odd_sizes(name: str, tmp_path: Path) -> None:
    """Keras numbers unnamed layers per process; here they are numbered per network."""
    keras.layers.Conv2D(1, 1), keras.layers.BatchNormalization()
    check_published_outputs(name, tmp_path, 96)


def test_unnamed_layers_are_numbered_per_network() -> None:
    first, second = (built(Applications(name="Xception", output_stride=stride)) for stride in (32, 16))
    assert [each.path for each in first.weights] == [each.path for each in second.weights]


def test_weights_round_trip_through_npz(tmp_path: Path) -> None:
    source = built(Applications(name="MobileNet"))
    randomize(source)
    path = tmp_path / "weights.npz"
    np.savez(path, **{f"{layer.name}/{each.name}": np.array(each) for layer in source.layers for each in layer.weights})
    backbone = Applications(name="MobileNet", output_stride=8, weights=path)
    target = built(backbone)
    assert backbone.load_weights(target).unused == ()
    for old, new in zip(source.get_weights(), target.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_other_channels_and_momentum() -> None:
    with normalization(Normalization(momentum=0.8)):
        model = built(Applications(name="MobileNet"), channels=5)
    assert model.get_layer("normalize").mode == "tf"
    assert model.get_layer("conv1").kernel.shape[2] == 5
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {layer.momentum for layer in norms} == {0.8}


def test_every_node_is_a_layer_with_the_current_dtype_policy() -> None:
    """Keras operations are replaced by layers, and the dtype policy is the current one, whatever was built before."""
    built(Applications(name="MobileNetV3Small"))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = built(Applications(name="MobileNetV3Small", output_stride=16))
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(isinstance(operation, keras.layers.Layer) for operation in model.operations)
    assert {layer.compute_dtype for layer in model.layers if layer.weights} == {"bfloat16"}
    assert {type(layer).__name__ for layer in model.layers if layer.name.endswith("conv") and layer.weights} == {
        AtrousConv2D.__name__
    } | {"Conv2D"}


def test_gates_pool_the_positions_of_the_strided_network() -> None:
    model = built(Applications(name="MobileNetV3Small", output_stride=8))
    subsampled = [layer.strides[0] for layer in model.layers if layer.name.endswith("_sample")]
    assert subsampled == [2, 2, 2, 2, 2, 4, 4, 4][: len(subsampled)] and set(subsampled) == {2, 4}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV3Small", "ConvNeXtTiny", "InceptionResNetV2"])
def test_saved_networks_load_with_only_the_layers_imported(name: str, tmp_path: Path) -> None:
    model = built(Applications(name=name, output_stride=32))
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "arrays.npz", image=image(96, 96), features=model(image(96, 96))[-1])
    script = (
        "import numpy as np, keras, tfseg.layers\n"
        f"a = np.load(r'{tmp_path}/arrays.npz'); m = keras.models.load_model(r'{tmp_path}/model.keras')\n"
        "np.testing.assert_allclose(m(a['image'])[-1], a['features'], atol=1e-4, rtol=1e-4)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])


def test_layers_that_cannot_be_dilated() -> None:
    """No current network of Keras has such layers."""
    x = keras.Input((None, None, 3))
    even = keras.layers.Conv2D(4, 8, 8, padding="same", name="first")(x)
    even = keras.layers.Conv2D(4, 4, 2, padding="same", name="even")(even)
    operation = keras.ops.abs(keras.layers.Conv2D(4, 8, 8, name="first")(x))
    messages = (
        "its layer even has an even kernel, which dilation would shift",
        "its layer absolute_1 is the operation Absolute, which has no equivalent layer",
    )
    for output, message in zip((even, operation), messages, strict=True):
        with pytest.raises(NotDilatable) as error:
            GraphRebuilder(8).run(keras.Model(x, output), keras.Input((None, None, 3)))
        assert str(error.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "Resnet50"},
            'name: not a network of keras.applications; did you mean "ResNet50"? Received: Resnet50',
        ),
        (
            {"name": "NASNetMobile"},
            "name: not supported, because Keras builds it for a single image size. Received: NASNetMobile",
        ),
        ({"name": "Transformer"}, "name: not a network of keras.applications. Received: Transformer"),
        (
            {"name": "DenseNet121", "output_stride": 8},
            "output_stride: must be 32 for DenseNet121: its layer pool3_pool is an average pool, which cannot "
            "be dilated. Received: 8",
        ),
        (
            {"name": "InceptionV3", "output_stride": 16},
            "output_stride: must be 32 for InceptionV3: its layer max_pooling2d_4 is an overlapping max pool without "
            "padding. Received: 16",
        ),
    ],
)
def test_unknown_networks_and_unsupported_output_strides(arguments: dict, message: str) -> None:
    with pytest.raises(SpecError) as error:
        Applications(**arguments)
    assert [str(each).partition(": ")[2] for each in error.value.problems] == [message]
