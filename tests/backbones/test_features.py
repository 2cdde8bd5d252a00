"""Features: asked by stride or name, they answer or say what there is."""

import keras
import pytest

from tfseg.backbones import Features, Stage


def tensor() -> keras.KerasTensor:
    return keras.KerasTensor((None, None, None, 4))


INDICES = tensor()
FEATURES = Features((Stage("pool1", 2, tensor(), INDICES), Stage("pool2", 4, tensor()), Stage("conv3", 4, tensor())))


def test_asked_by_stride_the_deepest_answers() -> None:
    assert FEATURES.at(2).name == "pool1"
    assert FEATURES.at(4).name == "conv3"
    assert FEATURES.strides == (2, 4)
    assert FEATURES.deepest.name == "conv3"


def test_asked_by_name() -> None:
    assert FEATURES.stage("pool2") is FEATURES.stages[1]
    assert FEATURES.stage("pool1").indices is INDICES


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (lambda: FEATURES.at(8), "No stage of the backbone has this stride; it has (2, 4). Received: stride=8"),
        (
            lambda: FEATURES.stage("pool3"),
            "No stage of the backbone has this name; it has ('pool1', 'pool2', 'conv3'). Received: name='pool3'",
        ),
    ],
)
def test_what_does_not_exist_is_answered_by_what_does(question, answer) -> None:
    with pytest.raises(ValueError) as error:
        question()
    assert str(error.value) == answer
