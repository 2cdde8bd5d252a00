"""Initialization of networks from others, as far as their weights fit."""

import numpy as np
import pytest

from tfseg.backbones import SmallCnn
from tfseg.errors import WeightsError
from tfseg.labels import Labels
from tfseg.models import Segmenter, class_axes
from tfseg.models.decoders import DeepLabV3, Fcn
from tfseg.weights import Arrays, Classes, WeightsReport, arrays_of, initialize

THEIRS = ("ground", "disc", "ring")
NETWORK = Segmenter(backbone=SmallCnn(filters=1), decoder=Fcn(strides=(16,)))


def arrays(network: Segmenter = NETWORK, names: tuple[str, ...] = THEIRS) -> Arrays:
    rng = np.random.default_rng(3)
    random = arrays_of(network.build(Labels(names=names)))
    return {path: rng.uniform(0.1, 1, array.shape).astype(np.float32) for path, array in random.items()}


def initialized(
    names: tuple[str, ...], given: Arrays, theirs: tuple[str, ...] | None = THEIRS, network: Segmenter = NETWORK
) -> tuple[Arrays, Arrays, WeightsReport]:
    """Returns the weights before and after, and the report."""
    labels = Labels(names=names)
    model = network.build(labels)
    before = arrays_of(model)
    report = initialize(model, given, "a file", Classes(names, theirs, class_axes(network, labels)))
    return before, arrays_of(model), report


def test_classes_are_matched_by_name() -> None:
    given = arrays()
    before, after, report = initialized(("ring", "square", "ground", "star"), given)
    for name in ("kernel", "bias"):
        old, new, initial = (each[f"score_fr/{name}"] for each in (given, after, before))
        np.testing.assert_array_equal(new[..., [0, 2]], old[..., [2, 0]])
        np.testing.assert_array_equal(new[..., [1, 3]], initial[..., [1, 3]])
    assert all(np.array_equal(after[path], array) for path, array in given.items() if "score" not in path)
    assert str(report) == (
        "a file: the network's own names\n  filled     21 of 21 layers with weights\n  initial    none\n"
        "  left over  none\n"
        "  classes    matched 2: ring, ground; new 2: square, star; dropped 1: disc; filled: score_fr"
    )


def test_same_classes_are_copied_in_every_bit() -> None:
    given = arrays()
    _, after, report = initialized(THEIRS, given)
    assert all(np.array_equal(after[path], array) for path, array in given.items())
    assert report.classes == "all 3 the same"


def test_no_common_class() -> None:
    before, after, report = initialized(("cat", "dog"), arrays())
    assert report.initial == ("score_fr",)
    np.testing.assert_array_equal(after["score_fr/kernel"], before["score_fr/kernel"])
    assert report.classes == "new 2: cat, dog; dropped 3: ground, disc, ring; initial: score_fr"


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("a", "b", "c"), "filled in order: score_fr"), (("a", "b"), "initial: score_fr")],
)
def test_file_without_labels(names: tuple[str, ...], expected: str) -> None:
    given = arrays()
    _, after, report = initialized(names, given, None)
    assert report.classes == f"not matched by name, because the file has no labels; {expected}"
    assert np.array_equal(after["score_fr/kernel"], given["score_fr/kernel"]) == (len(names) == 3)


def test_labels_of_another_network_are_not_used() -> None:
    """The scores have as many classes as the network by coincidence."""
    _, _, report = initialized(("ground", "star", "ring"), arrays(), ("ground", "ring"))
    assert report.initial == ("score_fr",) and report.left_over == ("score_fr",)


def test_layers_of_other_shapes_keep_their_initial_weights() -> None:
    wide = Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16,)))
    atrous = Segmenter(backbone=SmallCnn(filters=1), decoder=DeepLabV3(filters=4, rates=()))
    bands = Segmenter(backbone=SmallCnn(filters=1), decoder=Fcn(strides=(16,)), channels=4)
    given = arrays()
    with pytest.raises(WeightsError) as error:
        initialized(THEIRS, given, network=wide)
    assert str(error.value).startswith(
        "a file, read with the network's own names, fills no layer of the network, which has stage1_down, "
    ) and str(error.value).endswith(
        " … and 15 more. Use the weights of a network with layers of the same names and shapes."
    )
    _, _, report = initialized(THEIRS, given, network=atrous)
    assert len(report.filled) == 20 and set(report.left_over) == {"score_fr"}
    _, _, report = initialized(THEIRS, given, network=bands)
    assert len(report.adapted) == 1 and not report.initial
    (four,) = initialized(THEIRS, arrays(bands))[2].initial
    assert four == report.adapted[0]


@pytest.mark.parametrize(
    ("value", "shown"), [(np.nan, "values that are not finite in float32"), (-1.0, "negative variances")]
)
def test_weights_of_a_diverged_training(value: float, shown: str) -> None:
    given = arrays()
    path = next(path for path in given if path.endswith("moving_variance"))
    given[path][0] = value
    with pytest.raises(WeightsError) as error:
        initialized(THEIRS, given)
    assert str(error.value) == f"a file: {path} contains {shown}. Use the weights of another training."
