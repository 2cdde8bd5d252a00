"""fc6 and fc7 of VGG16, as small as a net wants them, and once for every branch of a classifier."""

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
    """The variables of a layer, also of one within a composite layer."""
    return {each.path.split("/")[-1]: each for each in model.weights if each.path.split("/")[-2] == layer}


def values(model: keras.Model, layer: str) -> tuple[np.ndarray, np.ndarray]:
    return np.array(held(model, layer)["kernel"]), np.array(held(model, layer)["bias"])


def convolutions(classifier: keras.Model) -> dict[str, dict[str, np.ndarray]]:
    """The classifier's fully connected layers as convolutions."""
    arrays = {}
    for theirs, ours, size in (("fc1", "fc6", 7), ("fc2", "fc7", 1), ("predictions", "score_fr", 1)):
        matrix, bias = map(np.array, classifier.get_layer(theirs).weights)
        arrays[ours] = {"kernel": matrix.reshape(size, size, -1, matrix.shape[1]), "bias": bias}
    return arrays


def filled(report: WeightsReport) -> set[str]:
    """The last parts of the paths of what was filled."""
    return {name.split("/")[-1] for name in report.filled}


@pytest.mark.parametrize(("kernel", "taps"), [(7, range(7)), (4, [0, 2, 4, 6]), (3, [0, 3, 6]), (1, [0])])
def test_taps_lie_at_equal_distances(kernel: int, taps: list[int]) -> None:
    """From the first to the last, so that 3 taps at rate 12 look where 7 at rate 4 do."""
    classifier = thin_classifier(classes=5)
    model = net(FullyConnected(kernel_size=kernel, dilation_rate=4))
    convert_vgg16(classifier, model)
    whole = convolutions(classifier)["fc6"]
    np.testing.assert_array_equal(values(model, "fc6")[0], whole["kernel"][np.ix_(taps, taps)])
    np.testing.assert_array_equal(values(model, "fc6")[1], whole["bias"])


def test_fewer_filters_are_a_choice_that_does_not_change() -> None:
    """64 channels become 16; fc7 reads those that were chosen of fc6."""
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


def test_every_branch_begins_as_fc6_and_fc7() -> None:
    classifier = thin_classifier(classes=5)
    randomize(classifier)
    model = net(None, rates=(2, 4), hidden=16)
    report = convert_vgg16(classifier, model)
    assert {"fc6_1", "fc6_2", "fc7_1", "fc7_2", "conv1_1"} <= filled(report)
    assert "fc8_1" not in filled(report)
    single = net(FullyConnected(kernel_size=3, dilation_rate=12, filters=1024))
    convert_vgg16(classifier, single)
    for name in ("fc6", "fc7"):
        for branch in (f"{name}_1", f"{name}_2"):
            for found, expected in zip(values(model, branch), values(single, name), strict=True):
                np.testing.assert_array_equal(found, expected)


def test_a_backbone_fills_the_branches_of_its_decoder(tmp_path) -> None:
    """By its `weights`, from a file; a file that has the branches themselves is taken as it is."""
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


def test_what_is_too_small_is_refused_by_name() -> None:
    """More filters than the file has: nothing is invented."""
    classifier = thin_classifier(classes=5)
    model = net(FullyConnected(filters=8192))
    with pytest.raises(WeightsError) as error:
        convert_vgg16(classifier, model)
    assert str(error.value) == (
        f"classifier {classifier.name!r}: read by names of keras.applications' VGG16, does not fill 2 of the network's "
        "16 layers with weights:\n"
        "  fc6: fc1/kernel is (7, 7, 8, 64) in the file, kernel is (7, 7, 8, 128) in the network\n"
        "  fc7: fc2/kernel is (1, 1, 64, 64) in the file, kernel is (1, 1, 128, 128) in the network\n"
        "  left over in the file: fc1, fc2, predictions\n"
        "  Nothing was changed. Give weights of this very backbone, or start without."
    )


@pytest.mark.slow
def test_the_real_classifier_becomes_large_fov() -> None:
    """A randomly weighted VGG16 of full size: 7x7 to 3x3, 4096 to 1024 filters."""
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
    """Biases too, so that each tells which filter it belongs to."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
