"""Losses and metrics of pipeline files that do not fit each other, the classes or the network."""

from typing import Any

import keras
import pytest

from tests.training import toy
from tfseg.errors import RunError
from tfseg.labels import Labels
from tfseg.spec import SpecError
from tfseg.training import Training


def problems(**options: Any) -> str:
    """Returns the message of a training that does not fit a network with an auxiliary output."""
    training = Training(**options)
    model = training.network(toy.network_with_outputs())
    with pytest.raises(RunError) as caught:
        training.compile(model, toy.LABELS, steps_per_epoch=2)
    return str(caught.value)


def test_losses_of_a_sum_have_one_resolution() -> None:
    with pytest.raises(SpecError) as caught:
        Training(loss={"type": "sum", "terms": ({"loss": "dice"}, {"loss": {"type": "focal", "resolution": "scores"}})})
    [problem] = caught.value.problems
    assert (problem.path, problem.message) == (
        "loss.terms.1.loss.resolution",
        "expected image, the resolution of the first loss of the sum; received scores",
    )


def test_weights_in_a_sum_have_their_path() -> None:
    loss = {"type": "sum", "terms": ({"loss": "dice"}, {"loss": {"type": "focal", "class_weights": (1.0, 2.0)}})}
    assert problems(loss=loss) == (
        "training.loss.terms.1.loss.class_weights: expected 3 weights, one per class. Received: 2"
    )


def test_a_metric_twice() -> None:
    with pytest.raises(SpecError) as caught:
        Training(metrics=("dice", "recall", "dice"))
    [problem] = caught.value.problems
    assert (problem.path, problem.message) == (
        "metrics.2",
        "expected each metric once; received dice twice. Remove one of the two",
    )


def test_auxiliary_loss_without_auxiliary_outputs() -> None:
    training = Training(auxiliary_loss={"type": "dice"})
    model = training.network(toy.network())
    assert [*training.network_problems(model)] == [
        (("auxiliary_loss",), "the network has no auxiliary outputs. Received: dice. Set it to null")
    ]


def test_number_of_channels_of_auxiliary_outputs() -> None:
    assert problems(auxiliary_loss={"type": "boundary_cross_entropy"}) == (
        "training.auxiliary_loss: boundary_cross_entropy does not fit the output aux_side, which has 3 channels: "
        "boundary_cross_entropy takes one channel, all other losses one per class, 3. Set auxiliary_loss, or set "
        "auxiliary_weight to 0"
    )


def test_a_score_map_of_boundaries_is_trained() -> None:
    """The auxiliary output has one channel, and half of the size of the image."""
    full = toy.network_with_outputs()
    boundaries = keras.layers.Conv2D(1, 1, dtype="float32", name="aux_edges")(full.get_layer("relu").output)
    outputs = {"logits": full.output["logits"], "scores": full.output["scores"], "aux_edges": boundaries}
    training = Training(auxiliary_loss={"type": "boundary_cross_entropy"}, metrics=("image_miou", "calibration_error"))
    model = training.network(keras.Model(full.input, outputs, name="edges"))
    training.compile(model, toy.LABELS, steps_per_epoch=2)
    batches = training.targets(toy.batches(*toy.examples(8), 4, 5), model)
    history = model.fit(batches, steps_per_epoch=2, epochs=5, verbose=0).history
    assert history["aux_edges_loss"][-1] < history["aux_edges_loss"][0]
    assert {"image_miou", "image_miou_p5", "calibration_error"} <= set(history)


@pytest.mark.parametrize("kind", ["precision", "boundary_iou", "trimap_miou"])
def test_metrics_of_files_are_logged(kind: str) -> None:
    training = Training(metrics=(kind,))
    model = training.network(toy.network())
    training.compile(model, Labels(names=("a", "b", "c"), ignore=toy.LABELS.ignore), steps_per_epoch=2)
    batches = toy.batches(*toy.examples(4), 2)
    assert any(name.startswith(kind) for name in model.fit(batches, verbose=0).history)
