"""The same weights at any output stride: dilated networks compute the values of the strided one, at more positions."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.tiers import rotating
from tfseg.backbones import AlexNet, Applications, GoogLeNet, MobileNetV2, Resnet, SmallCnn

BACKBONES: dict[str, Any] = {
    "small_cnn": SmallCnn(filters=2),
    "mobilenet_v2": MobileNetV2(width_multiplier=0.1),
    "alexnet": AlexNet(width_multiplier=0.03),
    "googlenet": GoogLeNet(width_multiplier=0.05),
    "resnet": Resnet(depth=50, width_multiplier=0.05),
    "resnet v3": Resnet(depth=50, width_multiplier=0.05, multi_grid=(1, 2, 4)),
    "resnet 3x3": Resnet(depth=50, width_multiplier=0.05, stride_on="3x3", stem="3x3"),
    "resnet same": Resnet(depth=50, width_multiplier=0.05, stride_on="3x3", padding="same", activation="swish"),
}
APPLICATIONS: dict[str, Any] = {
    name: Applications(name=name)
    for name in (
        "MobileNet",
        "MobileNetV3Small",
        "EfficientNetB0",
        "EfficientNetV2B0",
        "ResNet50V2",
        "VGG16",
    )
}


def built(backbone: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, [stage.tensor for stage in backbone(image).stages])


@functools.cache
def network(backbone: Any) -> keras.Model:
    """Returns a network shared by the tests of a session."""
    return randomized(built(backbone))


def randomized(model: keras.Model) -> keras.Model:
    """Assigns random statistics to the BatchNorms, so that no feature is close to zero."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(random.uniform(0.0, 0.5, layer.beta.shape))
            layer.moving_mean.assign(random.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(random.uniform(0.5, 2, layer.moving_variance.shape))
    return model


def image(size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype(np.float32)


def check_consistency(backbone: Any, size: int) -> None:
    strided = network(backbone)
    expected = [np.array(stage) for stage in strided(image(size))]
    assert np.std(expected[-1]) > 1e-3 * np.abs(expected[-1]).max() > 0
    for output_stride in (16, 8):
        retargeted = dataclasses.replace(backbone, output_stride=output_stride)
        dilated = network(retargeted)
        dilated.set_weights(strided.get_weights())
        triples = zip(backbone(strided.input).stages, dilated(image(size)), expected, strict=True)
        for stage, found, values in triples:
            step = max(stage.stride // output_stride, 1)
            assert found.shape[1] >= (values.shape[1] - 1) * step + 1
            scale = np.abs(values).max()
            np.testing.assert_allclose(found[:, ::step, ::step] / scale, values / scale, atol=2e-5)


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("size", [pytest.param(33, marks=pytest.mark.slow), 65])
@pytest.mark.parametrize("name", rotating(BACKBONES, BACKBONES.keys() - {"resnet v3", "resnet same"}))
def test_dilated_and_strided_networks_compute_the_same_values(name: str, size: int) -> None:
    check_consistency(BACKBONES[name], size)


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_dilated_and_strided_applications_compute_the_same_values(name: str) -> None:
    check_consistency(APPLICATIONS[name], 65)


@pytest.mark.slow
def test_an_application_with_gates_is_consistent() -> None:
    """Gates are global pools, which use the positions of the strided network only."""
    check_consistency(APPLICATIONS["MobileNetV3Small"], 65)


@pytest.mark.slow
def test_xception_is_consistent_where_its_third_feature_map_has_size_32k_plus_1() -> None:
    """The first two convolutions do not pad: 71 -> 35 -> 33."""
    check_consistency(Applications(name="Xception"), 71)


@pytest.mark.slow
def test_adjacent_windows_are_consistent_where_they_cover_the_image() -> None:
    check_consistency(Applications(name="ConvNeXtTiny"), 64)


def test_dilation_of_every_unit_changes_the_values() -> None:
    """Values differ under Model Garden's rule with the stride on the 3x3, so it is not the default."""
    backbone = dataclasses.replace(BACKBONES["resnet 3x3"], dilation="every_unit")
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_consistency(backbone, 65)


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("name", rotating(BACKBONES, BACKBONES.keys() - {"resnet v3", "resnet same", "resnet 3x3"}))
def test_weight_files_fit_every_output_stride(name: str, tmp_path: Path) -> None:
    """Names and order of the layers are the same, for `set_weights`, `.weights.h5` and `.npz`."""
    backbone = BACKBONES[name]
    strided, path = network(backbone), tmp_path / "model.weights.h5"
    strided.save_weights(path)
    arrays = {f"{layer.name}/{each.name}": np.array(each) for layer in strided.layers for each in layer.weights}
    np.savez(tmp_path / "model.npz", **arrays)
    for output_stride in (16, 8):
        retargeted = dataclasses.replace(backbone, output_stride=output_stride)
        dilated = built(retargeted)
        assert [layer.name for layer in dilated.layers] == [layer.name for layer in strided.layers]
        assert [weight.path for weight in dilated.weights] == [weight.path for weight in strided.weights]
        dilated.load_weights(path)
        for old, new in zip(strided.get_weights(), dilated.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
        report = dataclasses.replace(retargeted, weights=tmp_path / "model.npz").load_weights(built(retargeted))
        assert report.unused == ()
