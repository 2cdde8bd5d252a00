"""The classes of a problem: their names, their colours, and the one home of the ignore value."""

from typing import Annotated

import numpy as np
from pydantic import Field

from tfseg.spec.declare import spec

IGNORE = 255
"""The id of a pixel that counts in no loss and no metric, unless `labels.ignore` says otherwise."""

Colour = tuple[
    Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]
]


@spec
class Labels:
    """The classes that a network tells apart. Class `i` is `names[i]`; a mask holds these ids and `ignore`."""

    names: Annotated[tuple[str, ...], Field(min_length=2)]
    """The classes, in the order of their ids."""
    ignore: Annotated[int, Field(ge=0, le=65535)] = IGNORE
    """The id of pixels that count in no loss and no metric."""
    colours: tuple[Colour, ...] | None = None
    """One RGB triple for each class; by default the colours of PASCAL VOC."""

    @property
    def count(self) -> int:
        """The number of classes; `ignore` is none of them."""
        return len(self.names)

    @property
    def palette(self) -> np.ndarray:
        """uint8 `[256, 3]`: the colour of every id that an index PNG can hold."""
        palette = voc_palette()
        if self.colours is not None:
            palette[: len(self.colours)] = self.colours
        return palette


def voc_palette(size: int = 256) -> np.ndarray:
    """The PASCAL VOC colours, uint8 `[size, 3]`: the bits of an id, three at a time, from the highest colour bit down."""
    ids = np.arange(size)
    colours = np.zeros((size, 3), np.uint8)
    for step in range(8):
        for channel in range(3):
            colours[:, channel] |= (((ids >> (3 * step + channel)) & 1) << (7 - step)).astype(np.uint8)
    return colours
