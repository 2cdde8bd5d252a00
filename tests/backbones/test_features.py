"""Lookup of stages by stride and by name."""

import keras
import pytest

from tfseg.backbones import Features, Stage


def tensor() -> keras.KerasTensor:
    return keras.KerasTensor((None, None, None, 4))


INDICES = tensor()
FEATURES = Features((Stage("pool1", 2, tensor(), INDICES), Stage("pool2", 4, tensor()), Stage("conv3", 4, tensor())))


def test_lookup_by_stride_returns_the_deepest_stage() -> None:
    assert FEATURES.at(2).name == "pool1"
    assert FEATURES.at(4).name == "conv3"
    assert FEATURES.strides == (2, 4)
    assert FEATURES.deepest.name == "conv3"


def test_lookup_by_name() -> None:
    assert FEATURES.stage("pool2") is FEATURES.stages[1]
    assert FEATURES.stage("pool1").indices is INDICES


@pytest.mark.parametrize(
    ("lookup", "message"),
    [
        (lambda: FEATURES.at(8), "`stride` must be one of the backbone's strides (2, 4). Received: stride=8"),
        (
            lambda: FEATURES.stage("pool3"),
            "`name` must be one of the backbone's stages ('pool1', 'pool2', 'conv3'). Received: name='pool3'",
        ),
    ],
)
def test_lookup_errors_list_the_stages(lookup, message) -> None:
    with pytest.raises(ValueError) as error:
        lookup()
    assert str(error.value) == message
