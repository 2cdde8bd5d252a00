"""What a network asks of a decoder spec."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import keras

from tfseg.backbones.features import Features
from tfseg.context import Context
from tfseg.models.outputs import Scores
from tfseg.spec.problems import FieldProblem

Needed = Literal["crop", "interp", "resize", "resize_corners", "zoom"]
"""Heads that a decoder may ask for, see `tfseg.models.heads`."""


class Decoder:
    """From features to scores of the classes. One of your own needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)
    PLACES: ClassVar[tuple[str, ...]] = ()
    """The fields that count places of the deepest map; to see the same pixels at another stride, they follow it."""

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> keras.KerasTensor | Scores:
        """Scores, one channel for each class, of whatever height and width; the head brings them to the image's."""
        raise NotImplementedError

    @property
    def head(self) -> Needed | None:
        """How its scores come to the image's size; None where they have it."""
        return "resize"

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from scoring `features`, which have no values, each as (path, message)."""
        yield from ()
