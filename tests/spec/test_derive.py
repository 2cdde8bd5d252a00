"""Tests of fields derived from the arguments of the class that a spec builds."""

import inspect
from typing import Literal

import pytest

from tfseg.layers import AtrousSpatialPyramidPooling, CrfRnn
from tfseg.models import refine
from tfseg.models.decoders import DeepLabV3, DeepLabV3Plus
from tfseg.spec import spec
from tfseg.spec.derive import Arguments


class Blur:
    """Blurs an image.

    Args:
        size: Height and width
            of the window.
        times: Number of passes.

    Raises:
        size: Never.
    """

    def __init__(self, size: int = 3, times: int = 1, **kwargs: object) -> None:
        self.size, self.times = size, times


BLUR = Arguments(Blur)


@spec
class Blurred:
    """Spec of `Blur`."""

    type: Literal["blurred"] = "blurred"
    size: int = BLUR("size", ge=1)
    times: int = BLUR("times", 2)


def test_defaults_and_descriptions() -> None:
    fields = Blurred.__pydantic_fields__  # type: ignore[attr-defined]
    assert (fields["size"].description, fields["times"].description) == (
        "Height and width of the window.",
        "Number of passes.",
    )
    assert BLUR.of(Blurred()) == {"size": 3, "times": 2}
    with pytest.raises(Exception, match="size: expected an integer of at least 1; received 0"):
        Blurred(size=0)
    with pytest.raises(KeyError):
        BLUR("no_such_argument")


@pytest.mark.parametrize("kind", [DeepLabV3, DeepLabV3Plus, refine.CrfRnn])
def test_defaults_that_differ_from_the_layer(kind: type) -> None:
    """Checks that all other defaults are those of the layer."""
    layer = CrfRnn if kind is refine.CrfRnn else AtrousSpatialPyramidPooling
    parameters = inspect.signature(layer).parameters
    fields = kind.__pydantic_fields__  # type: ignore[attr-defined]
    both = [name for name in fields if name in parameters]
    other = {name for name in both if fields[name].default != parameters[name].default}
    assert len(both) >= 9
    assert other == {
        DeepLabV3: {"order", "dropout", "align_corners"},
        DeepLabV3Plus: {"order", "dropout", "align_corners", "separable"},
        refine.CrfRnn: set(),
    }[kind]  # fmt: skip
