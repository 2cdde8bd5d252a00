"""Base class of decoder specs."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import keras

from tfseg.backbones.features import Features
from tfseg.context import Context
from tfseg.models.outputs import Scores
from tfseg.spec.problems import FieldProblem

Needed = Literal["crop", "interp", "resize", "resize_corners", "zoom"]
"""Heads that a decoder can require, see `tfseg.models.heads`."""


class Decoder:
    """Base class of decoders, which compute class scores from features. A custom one needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)
    STRIDE_DEPENDENT: ClassVar[tuple[str, ...]] = ()
    """Fields measured in positions of the deepest feature map; they are scaled when the output stride changes."""

    def __call__(self, features: Features, image: keras.KerasTensor, classes: int) -> keras.KerasTensor | Scores:
        """Returns scores of any size with one channel per class; the head resizes or crops them to the image size."""
        raise NotImplementedError

    @property
    def head(self) -> Needed | None:
        """Name of the head that resizes or crops the scores to the image size; None if they already have that size."""
        return "resize"

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities of symbolic `features` with the decoder, as pairs `(path, message)`."""
        yield from ()
