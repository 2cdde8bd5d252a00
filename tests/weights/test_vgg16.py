"""Reduction of `fc6` and `fc7` of VGG16 to smaller layers and to the branches of a decoder."""

import keras
import numpy as np
import pytest

from tests.backbones.test_vgg import thin_classifier
from tfseg.backbones import FullyConnected, Vgg16, convert_vgg16
from tfseg.errors import WeightsError
from tfseg.labels import Labels
from tfseg.models import Segmenter
from tfseg.models.decoders import DeepLabV1, DeepLabV2
from tfseg.weights import WeightsReport

LABELS = Labels(names=("road", "car", "sky"))
TINY = 1 / 64


def net(fc: FullyConnected | None, **decoder) -> keras.Model:
    backbone = Vgg16(form="deeplab", output_stride=8, width_multiplier=TINY, fc=fc)
    return Segmenter(backbone=backbone, decoder=DeepLabV2(**decoder) if decoder else DeepLabV1()).build(LABELS)


def held(model: keras.Model, layer: str) -> dict[str, keras.Variable]:
    """Returns the variables of a layer, which may be nested in a composite layer."""
    return {each.path.split("/")[-1]: each for each in model.weights if each.path.split("/")[-2] == layer}


def values(model: keras.Model, layer: str) -> tuple[np.ndarray, np.ndarray]:
    return np.array(held(model, layer)["kernel"]), np.array(held(model, layer)["bias"])


def convolutions(classifier: keras.Model) -> dict[str, dict[str, np.ndarray]]:
    """Returns the fully connected layers of the classifier as convolutions."""
    arrays = {}
    for theirs, ours, size in (("fc1", "fc6", 7), ("fc2", "fc7", 1), ("predictions", "score_fr", 1)):
        matrix, bias = map(np.array, classifier.get_layer(theirs).weights)
        arrays[ours] = {"kernel": matrix.reshape(size, size, -1, matrix.shape[1]), "bias": bias}
    return arrays


def filled(report: WeightsReport) -> set[str]:
    """Returns the last parts of the paths of the filled layers."""
    return {name.split("/")[-1] for name in report.filled}


@pytest.mark.parametrize(("kernel", "taps"), [(7, range(7)), (4, [0, 2, 4, 6]), (3, [0, 3, 6]), (1, [0])])
def test_kernels_are_subsampled_at_equal_distances(kernel: int, taps: list[int]) -> None:
    """The first and the last tap are kept, so that 3 taps at rate 12 have the extent of 7 at rate 4."""
    classifier = thin_classifier(classes=5)
    model = net(FullyConnected(kernel_size=kernel, dilation_rate=4))
    convert_vgg16(classifier, model)
    whole = convolutions(classifier)["fc6"]
    np.testing.assert_array_equal(values(model, "fc6")[0], whole["kernel"][np.ix_(taps, taps)])
    np.testing.assert_array_equal(values(model, "fc6")[1], whole["bias"])


def test_fewer_filters_are_a_reproducible_random_choice() -> None:
    """64 filters become 16; the input channels of fc7 are the filters chosen for fc6."""
    classifier = thin_classifier(classes=5)
    randomize(classifier)
    first, second = (net(FullyConnected(kernel_size=3, dilation_rate=12, filters=1024)) for _ in range(2))
    assert {"fc6", "fc7"} <= filled(convert_vgg16(classifier, first))
    convert_vgg16(classifier, second)
    whole = convolutions(classifier)
    kernel, bias = values(first, "fc6")
    chosen = [int(np.flatnonzero(whole["fc6"]["bias"] == each)[0]) for each in bias]
    assert len(set(chosen)) == 16 and chosen == sorted(chosen) and chosen != list(range(16))
    np.testing.assert_array_equal(kernel, whole["fc6"]["kernel"][::3, ::3][..., chosen])
    kernel, bias = values(first, "fc7")
    outputs = [int(np.flatnonzero(whole["fc7"]["bias"] == each)[0]) for each in bias]
    np.testing.assert_array_equal(kernel, whole["fc7"]["kernel"][:, :, chosen][..., outputs])
    for name in ("fc6", "fc7"):
        np.testing.assert_array_equal(values(first, name)[0], values(second, name)[0])


def test_every_branch_is_filled_with_fc6_and_fc7() -> None:
    classifier = thin_classifier(classes=5)
    randomize(classifier)
    model = net(None, rates=(2, 4), filters=16)
    report = convert_vgg16(classifier, model)
    assert {"fc6_1", "fc6_2", "fc7_1", "fc7_2", "conv1_1"} <= filled(report)
    assert "fc8_1" not in filled(report)
    single = net(FullyConnected(kernel_size=3, dilation_rate=12, filters=1024))
    convert_vgg16(classifier, single)
    for name in ("fc6", "fc7"):
        for branch in (f"{name}_1", f"{name}_2"):
            for found, expected in zip(values(model, branch), values(single, name), strict=True):
                np.testing.assert_array_equal(found, expected)


def test_backbone_weights_fill_the_branches_of_the_decoder(tmp_path) -> None:
    """Branches are filled from a file of the classifier, or unchanged from a file that has them."""
    classifier = thin_classifier(classes=5)
    randomize(classifier)
    np.savez(tmp_path / "vgg.npz", **{each.path: np.array(each) for each in classifier.weights})
    backbone = Vgg16(form="deeplab", output_stride=8, width_multiplier=TINY, fc=None, weights=tmp_path / "vgg.npz")
    spec = Segmenter(backbone=backbone, decoder=DeepLabV2(rates=(2, 4), filters=16))
    model = spec.build(LABELS)
    spec.load_weights(model)
    chosen = np.flatnonzero(np.isin(classifier.get_layer("fc1").bias, values(model, "fc6_2")[1]))
    whole = convolutions(classifier)["fc6"]["kernel"]
    np.testing.assert_array_equal(values(model, "fc6_2")[0], whole[::3, ::3][..., chosen])
    held(model, "fc6_2")["bias"].assign(np.full(16, 3.0))
    model.save(tmp_path / "model.keras")
    again = Vgg16(form="deeplab", output_stride=8, width_multiplier=TINY, fc=None, weights=tmp_path / "model.keras")
    other = Segmenter(backbone=again, decoder=spec.decoder).build(LABELS)
    report = again.load_weights(other)
    assert report is not None and "fc8_2" in filled(report)
    for name in ("fc6_2", "fc8_1", "conv5_3"):
        for found, taken in zip(values(other, name), values(model, name), strict=True):
            np.testing.assert_array_equal(found, taken)


def test_arrays_that_are_too_small() -> None:
    """More filters than in the file are an error."""
    classifier = thin_classifier(classes=5)
    model = net(FullyConnected(filters=8192))
    with pytest.raises(WeightsError) as error:
        convert_vgg16(classifier, model)
    assert str(error.value) == (
        f"classifier {classifier.name!r}, read with keras.applications VGG16 names, does not fill 2 of the 16 "
        "layers with weights of the network:\n"
        "  fc6: fc1/kernel has shape (7, 7, 8, 64) in the file, but kernel has shape (7, 7, 8, 128) in the network\n"
        "  fc7: fc2/kernel has shape (1, 1, 64, 64) in the file, but kernel has shape (1, 1, 128, 128) in the network\n"
        "  left over in the file: fc1, fc2, predictions\n"
        "  Nothing was changed. Use weights of this backbone, or start from random weights."
    )


@pytest.mark.slow
def test_reduction_of_the_full_size_classifier_to_large_fov() -> None:
    """VGG16 of full size with random weights: 7x7 to 3x3, 4096 to 1024 filters."""
    classifier = keras.applications.VGG16(weights=None)
    model = Segmenter(
        backbone=Vgg16(
            form="deeplab",
            output_stride=8,
            pool5a=True,
            fc=FullyConnected(kernel_size=3, dilation_rate=12, filters=1024),
        ),
        decoder=DeepLabV1(),
    ).build(LABELS)
    report = convert_vgg16(classifier, model)
    assert len(report.filled) == 15
    assert report.left_over == ("predictions",)
    assert np.std(values(model, "fc7")[0]) == pytest.approx(np.std(classifier.get_layer("fc2").kernel), rel=0.02)


def randomize(model: keras.Model) -> None:
    """Assigns random weights, so that each bias identifies its filter."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
