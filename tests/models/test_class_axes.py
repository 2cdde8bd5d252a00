"""Weights of single classes: found in every decoder, and matched by name between networks."""

from typing import Any

import keras
import numpy as np
import pytest

from tests.models.cases import BACKBONE, CASES, DILATED, RELEASED, SMALL
from tfseg.errors import WeightsError
from tfseg.labels import Labels
from tfseg.models import Graph, Segmenter, class_axes
from tfseg.models.decoders import DeepLabV2, Dilation, Fcn, PspNet
from tfseg.models.decoders.decoder import Decoder
from tfseg.models.refine import CrfRnn
from tfseg.symbolic import symbolically
from tfseg.weights import Classes, arrays_of, initialize
from tfseg.weights.modules import Modules

MANY = Labels(names=tuple(f"class {index}" for index in range(37)))
"""A number of classes that is no factor of any other size in the networks below."""
ABC = Labels(names=("a", "b", "c", "d", "e"))
NETWORKS = {
    case.value.type: Segmenter(**{**case.beside, "decoder": case.value})
    for case in CASES
    if isinstance(case.value, Decoder)
}
CRF = Segmenter(backbone=SMALL, decoder=Fcn(strides=(16,)), refine=CrfRnn(kernel="convolutional", iterations=1))
LARGE = Segmenter(backbone=DILATED, decoder=Dilation(context="large"))
PERMUTED: dict[str, Segmenter] = {
    "transposed convolutions": Segmenter(backbone=BACKBONE, decoder=Fcn(upsampling="deconv", learned_upsampling=True)),
    "parallel convolutions": Segmenter(backbone=RELEASED, decoder=DeepLabV2(rates=(1, 2))),
    "context": Segmenter(backbone=DILATED, decoder=Dilation(context="basic", upsampling="deconv")),
    "auxiliary scores": Segmenter(backbone=SMALL, decoder=PspNet(filters=4, bins=(1,))),
    "CRF": CRF,
}


def randomized(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.1, 0.5, weight.shape) for weight in model.weights])
    return model


@pytest.mark.parametrize("network", [*NETWORKS.values(), CRF, LARGE], ids=[*NETWORKS, "crf", "large context"])
def test_all_axes_of_classes_are_found(network: Segmenter) -> None:
    layers = symbolically(lambda: Modules.of(network.build(MANY, training=True)).variables)
    expected = {
        (path, name): tuple(axis for axis, size in enumerate(variable.shape) if size == MANY.count)
        for path, own in layers.items()
        for name, variable in own.items()
    }
    found = class_axes(network, MANY)
    assert {(path, name): axes for path, each in found.items() for name, axes in each.single.items()} == {
        key: axes for key, axes in expected.items() if axes
    }
    multiples = {
        path for path, own in layers.items() for each in own.values() for n in each.shape if n % 37 == 0 < n - 37
    }
    assert {path for path, each in found.items() if each.others} == multiples
    assert bool(multiples) == (network is LARGE)


@pytest.mark.parametrize("network", PERMUTED.values(), ids=list(PERMUTED))
def test_permuted_classes_permute_all_outputs(network: Segmenter) -> None:
    """The weights are random, so that every layer matters."""
    theirs = randomized(network.build(ABC, training=True))
    other = Labels(names=("d", "a", "e", "c", "b"))
    ours = network.build(other, training=True)
    report = initialize(ours, arrays_of(theirs), "a file", Classes(other.names, ABC.names, class_axes(network, other)))
    assert not report.initial and not report.unused
    image = np.random.default_rng(2).integers(0, 256, (1, 33, 41, 3)).astype(np.float32)
    expected, found = theirs(image), ours(image)
    for name in expected:
        values = np.asarray(expected[name])[..., [3, 0, 4, 2, 1]]
        np.testing.assert_allclose(np.asarray(found[name]), values, rtol=1e-4, atol=1e-5 * np.abs(values).max())


def test_pairs_of_matched_classes_are_copied_in_compatibility_matrices() -> None:
    theirs, labels = randomized(CRF.build(ABC)), Labels(names=("new", "c", "a"))
    ours = CRF.build(labels)
    initialize(ours, arrays_of(theirs), "a file", Classes(labels.names, ABC.names, class_axes(CRF, labels)))
    old, new = (np.asarray(model.get_layer("crf_rnn").mu.value) for model in (theirs, ours))
    expected = [[-1, 0, 0], [0, old[2, 2], old[2, 0]], [0, old[0, 2], old[0, 0]]]
    np.testing.assert_array_equal(new, np.asarray(expected, np.float32))


def test_fixed_compatibility_matrix_does_not_fix_the_number_of_classes() -> None:
    fixed = Segmenter(
        backbone=SMALL, decoder=Fcn(strides=(16,)), refine=CrfRnn(compatibility=((-1.0, 0.0), (0.5, -1.0)))
    )
    assert list(class_axes(fixed, Labels(names=("a", "b")))) == ["score_fr", "crf_rnn"]


def test_several_channels_per_class_need_the_same_classes() -> None:
    """The hidden layers of the large context keep their initial weights, an identity, if the classes differ."""
    theirs = randomized(LARGE.build(ABC))
    for names, initial in ((ABC.names, 0), (("b", "a", "c", "d", "e"), 8)):
        ours = LARGE.build(Labels(names=names))
        axes = class_axes(LARGE, Labels(names=names))
        report = initialize(ours, arrays_of(theirs), "a file", Classes(names, ABC.names, axes))
        assert len(report.initial) == initial and all(name.startswith("context/") for name in report.initial)


def test_graph_with_a_number_of_classes_in_the_file() -> None:
    layer: dict[str, Any] = {"name": "score", "layer": "conv", "filters": 2, "kernel_size": 1}
    with pytest.raises(WeightsError) as error:
        class_axes(Graph(layers=(layer,)), Labels(names=("a", "b")))
    assert str(error.value) == (
        "training.init_from: weights of classes are found by building the network for 4 classes instead of 2, which "
        "fails: model.layers.0: the last layer must output [batch, height, width, 4], one score per class. Received: "
        "[None, None, None, 2]. Write ${classes} for the number of classes, or use weights of a network with the same "
        "classes in the same order."
    )
