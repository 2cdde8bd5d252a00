"""How a mask file says which class a pixel is: by its id, by a color, or by black and white."""

from collections.abc import Callable, Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
import tensorflow as tf
from pydantic import Field

from tfseg.context import Context
from tfseg.images.png import is_png, samples
from tfseg.labels import Color, Labels
from tfseg.spec.declare import ByType, spec
from tfseg.spec.problems import FieldProblem

Decoded = tuple[tf.Tensor, tf.Tensor]
"""int32 ids `[height, width]`, and a fault: a text, empty where all is well."""
Reader = Callable[[tf.Tensor], Decoded]
"""The content of a mask file to what it says."""

_SHOWN = 10
_NOT_PNG = "the mask is not a PNG; other formats lose or shift ids. Save it as PNG."
_INVALID = -1

RawId = Annotated[int, Field(ge=0, le=65535)]


class MaskSpec:
    """What reads the classes of pixels from a mask file. One of your own needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)

    def __call__(self, labels: Labels) -> Reader:
        """What reads the content of a mask file inside the TensorFlow graph: ids and a fault."""
        raise NotImplementedError

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What does not fit the classes, as (path, message)."""
        yield from ()


@spec
class Ids(MaskSpec):
    """The pixel's value is the class id: gray, palette (the index, whatever its color) and 16-bit PNG."""

    type: Literal["ids"] = "ids"
    mapping: dict[RawId, RawId] | None = None
    """Class id for each raw id, for files that count otherwise, e.g. `{7: 0, 8: 1}`."""
    rest: RawId | None = None
    """The id for raw ids that `mapping` does not name, usually the ignore id. By default they are an error."""

    def __call__(self, labels: Labels) -> Reader:
        """What reads ids."""
        count, ignore, expected = labels.count, labels.ignore, _expected(labels)
        table = None if self.mapping is None and self.rest is None else self.table(labels)

        def decode(data: tf.Tensor) -> Decoded:
            raw, fault = samples(data)
            if table is None:  # a look-up for each pixel would take as long as decoding
                ids, wrong = raw, tf.logical_and(raw >= count, tf.not_equal(raw, ignore))
            else:
                ids = tf.gather(tf.constant(table), raw)
                wrong = ids < 0
            found = tf.logical_and(tf.reduce_any(wrong), tf.equal(fault, ""))
            return ids, tf.cond(found, lambda: _wrong_ids(raw, wrong, expected), lambda: fault)

        return _png(decode)

    def table(self, labels: Labels) -> np.ndarray:
        """int32 `[65536]`: the id of every raw value; -1 for those that must not occur."""
        table = np.full(65536, _INVALID if self.rest is None else self.rest, np.int32)
        if self.mapping is None:
            table[: labels.count] = np.arange(labels.count)
        table[labels.ignore] = labels.ignore
        for raw, identity in (self.mapping or {}).items():
            table[raw] = identity
        return table

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What does not fit the classes, as (path, message)."""
        labels = context.labels
        for raw, identity in (self.mapping or {}).items():
            if not _is_id(identity, labels):
                yield ("mapping", str(raw)), f"{_expected(labels)}; received {identity}"
        if self.rest is not None and not _is_id(self.rest, labels):
            yield ("rest",), f"{_expected(labels)}; received {self.rest}"


@spec
class Binary(MaskSpec):
    """Two classes in black and white: 0 is class 0; 255, or 1, is class 1."""

    type: Literal["binary"] = "binary"

    def __call__(self, labels: Labels) -> Reader:
        """What reads black and white."""
        return Ids(mapping={0: 0, 1: 1, 255: 1})(labels)

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What does not fit the classes, as (path, message)."""
        if (count := context.labels.count) != 2:
            yield ("type",), f"a mask in black and white has 2 classes, but `labels` has {count}"


@spec
class Colors(MaskSpec):
    """The pixel's color says the class."""

    type: Literal["colors"] = "colors"
    table: tuple[Color, ...] | None = None
    """One color for each class; by default those of `labels`."""
    ignore: tuple[Color, ...] = ()
    """Colors of pixels that count nowhere, beside the one that `labels` gives to the ignore id."""

    def __call__(self, labels: Labels) -> Reader:
        """What reads colors."""
        known, ids = self.codes(labels)

        def decode(data: tf.Tensor) -> Decoded:
            codes = _code(tf.cast(tf.io.decode_png(data, 3), tf.int32))
            place = tf.searchsorted(tf.constant(known), tf.reshape(codes, [-1]))
            place = tf.reshape(tf.minimum(place, len(known) - 1), tf.shape(codes))
            right = tf.equal(tf.gather(tf.constant(known), place), codes)
            decoded = tf.where(right, tf.gather(tf.constant(ids), place), _INVALID)
            return decoded, tf.cond(tf.reduce_all(right), lambda: "", lambda: _wrong_colors(codes, right))

        return _png(decode)

    def codes(self, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
        """The known colors as sorted 24-bit numbers, and their ids. A class wins over an equal color for ignore."""
        colors = [tuple(color) for color in (self.table or labels.palette[: labels.count].tolist())]
        void = [tuple(labels.palette[labels.ignore].tolist())] if labels.ignore < 256 and self.table is None else []
        ids = {_number(color): labels.ignore for color in (*void, *self.ignore)}
        ids |= {_number(color): identity for identity, color in enumerate(colors)}
        known = np.array(sorted(ids), np.int32)
        return known, np.array([ids[code] for code in known.tolist()], np.int32)

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What does not fit the classes, as (path, message)."""
        count = context.labels.count
        if self.table is not None and len(self.table) != count:
            yield ("table",), f"expected {count} colors, one for each class; received {len(self.table)}"


Mask = Annotated[Ids | Binary | Colors, ByType(contract=MaskSpec)]


def _is_id(identity: int, labels: Labels) -> bool:
    return identity < labels.count or identity == labels.ignore


def _expected(labels: Labels) -> str:
    return f"expected a class (0 to {labels.count - 1}) or {labels.ignore} (ignore)"


def _number(color: tuple[int, ...]) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]


def _code(colors: tf.Tensor) -> tf.Tensor:
    return colors[:, :, 0] * 65536 + colors[:, :, 1] * 256 + colors[:, :, 2]


def _png(decode: Reader) -> Reader:
    """`decode` for files that are PNG; the fault of all others is that they are not."""

    def read(data: tf.Tensor) -> Decoded:
        blank = tf.zeros([0, 0], tf.int32)
        ids, fault = tf.cond(is_png(data), lambda: decode(data), lambda: (blank, tf.constant(_NOT_PNG)))
        return tf.ensure_shape(ids, [None, None]), tf.convert_to_tensor(fault)

    return read


def _wrong_ids(raw: tf.Tensor, wrong: tf.Tensor, expected: str) -> tf.Tensor:
    wrong = tf.sort(tf.unique(tf.boolean_mask(raw, wrong)).y)
    shown = tf.strings.reduce_join(tf.strings.as_string(wrong[:_SHOWN]), separator=", ")
    more = tf.where(tf.size(wrong) > _SHOWN, ", ...", "")
    told = f"; {expected}. Correct the mask or `labels`, or translate the ids with `data.source.mask`."
    return tf.strings.join(["the mask holds ", shown, more, told])


def _wrong_colors(codes: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    wrong = tf.sort(tf.unique(tf.boolean_mask(codes, tf.logical_not(right))).y)
    parts = [tf.strings.as_string(wrong[:_SHOWN] // step % 256) for step in (65536, 256, 1)]
    shown = tf.strings.reduce_join(tf.strings.join(["[", tf.strings.join(parts, ", "), "]"]), separator=", ")
    more = tf.where(tf.size(wrong) > _SHOWN, ", ...", "")
    told = ". Correct the mask, or name them in `labels.colors` or in the table or ignore of `data.source.mask`."
    return tf.strings.join(["the mask has colors that no class has: ", shown, more, told])
