"""RGB weights in networks for images with other numbers of channels."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.backbones.test_weights import arrays
from tfseg.backbones import MobileNetV2, Resnet, SmallCnn, Vgg16
from tfseg.layers import Normalize
from tfseg.weights.stem import over_channels

BACKBONES = {
    "mobilenet_v2": (MobileNetV2, {"width_multiplier": 0.1}),
    "resnet": (Resnet, {"depth": 50, "width_multiplier": 0.05}),
    "small_cnn": (SmallCnn, {"filters": 1}),
    "vgg16": (Vgg16, {"width_multiplier": 0.01}),
}
GRAY = np.random.default_rng(0).uniform(0, 255, (1, 48, 40, 1)).astype(np.float32)


def built(backbone, channels: int) -> keras.Model:
    image = keras.Input((None, None, channels), name="image")
    return keras.Model(image, backbone(image).deepest.tensor)


def with_equal_channels(model: keras.Model) -> keras.Model:
    """Returns the RGB model with the averaged mean and scale that other channels get."""
    averaged = model.get_layer("normalize").for_channels(4)

    def clone(layer: keras.Layer) -> keras.Layer:
        config = averaged.get_config() if layer.name == "normalize" else layer.get_config()
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def test_kernel_is_the_mean_over_rgb_times_three_divided_by_the_channels() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 2, 3, 4))
    for channels in (1, 2, 5):
        expected = np.zeros((3, 2, channels, 4))
        for channel in range(channels):
            expected[:, :, channel] = (kernel[:, :, 0] + kernel[:, :, 1] + kernel[:, :, 2]) / channels
        np.testing.assert_allclose(over_channels(kernel, channels), expected, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("name", BACKBONES)
def test_equal_channels_give_the_features_of_a_gray_rgb_image(name: str, channels: int, tmp_path: Path) -> None:
    make, small = BACKBONES[name]
    source, target, path = built(make(**small), 3), built(make(**small), channels), tmp_path / "rgb.npz"
    np.savez(path, **arrays(source))
    report = make(**small, weights=path).load_weights(target)
    assert (len(report.adapted), report.initial, report.unused) == (1, (), ())
    assert f"averaged   over RGB, times 3 / channels: {report.adapted[0]}\n" in str(report)
    expected = with_equal_channels(source)(np.repeat(GRAY, 3, -1))
    actual = target(np.repeat(GRAY, channels, -1))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, atol=1e-5 * scale)  # sums of float32 in another order


def test_rgb_weights_of_rgb_images_are_unchanged(tmp_path: Path) -> None:
    source, target, path = built(SmallCnn(filters=1), 3), built(SmallCnn(filters=1), 3), tmp_path / "rgb.npz"
    np.savez(path, **arrays(source))
    report = SmallCnn(filters=1, weights=path).load_weights(target)
    assert report.adapted == () and "averaged" not in str(report)


def test_normalization_of_other_channels() -> None:
    for mode in ("caffe", "torch"):
        assert Normalize(mode).for_channels(3).mode == mode
    assert Normalize("tf").for_channels(7).mode == "tf"
    layer = Normalize(mean=(10, 20, 30), scale=(1, 2, 3), reverse=True, name="normalize").for_channels(1)
    assert (layer.mean, layer.scale, layer.reverse, layer.name) == (20.0, 2.0, False, "normalize")


def test_published_weights_for_four_channels(shared: Path) -> None:
    """The real MobileNetV2 weights of ImageNet, with the released normalization -1..1 in both networks."""
    weights = next((shared / "weights" / "mobilenet_v2_imagenet").glob("*.npz"))
    rgb, four = built(MobileNetV2(weights=weights), 3), built(MobileNetV2(weights=weights), 4)
    for model in (rgb, four):
        MobileNetV2(weights=weights).load_weights(model)
    expected, actual = rgb(np.repeat(GRAY, 3, -1)), four(np.repeat(GRAY, 4, -1))
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())
