"""Run-length encodings of COCO and of Label Studio."""

import numpy as np

COCO_OFFSET, COCO_LAST = 48, 111
"""Characters of COCO's strings are 6-bit values plus 48."""
DIGITS = 13
"""Maximum number of characters of a run length: 5 bits each, 64 bits."""


def coco_counts(text: str) -> list[int]:
    """Decodes a compressed RLE of COCO to run lengths.

    Every length is written in groups of 5 bits, the lowest first, in the characters from `0` (48) on; bit 5 marks that
    more groups follow. From the fourth length on, the difference to the length before the previous one is written
    (`rleToString` of `maskApi.c` in pycocotools).

    >>> coco_counts("52203")
    [5, 2, 2, 2, 5]

    Raises:
        ValueError: If the text is not such a string.
    """
    counts: list[int] = []
    value = shift = 0
    for character in map(ord, text):
        digit = character - COCO_OFFSET
        if not 0 <= digit <= COCO_LAST - COCO_OFFSET or shift >= 5 * DIGITS:
            raise ValueError("a character or a length that COCO does not write")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the string ends inside a length")
    return counts


class Bits:
    """Reader of big-endian bit fields.

    Args:
        data: Bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8))
        self._position = 0

    def field(self, width: int) -> int:
        """Returns the next integer of `width` bits."""
        return int(self.fields(1, width)[0])

    def fields(self, count: int, width: int) -> np.ndarray:
        """Returns the next integers of `width` bits each, int64 `[count]`.

        Raises:
            ValueError: If the data ends before.
        """
        end = self._position + count * width
        if end > len(self._bits):
            raise ValueError("the data ends too early")
        bits = self._bits[self._position : end].reshape(count, width)
        self._position = end
        return bits.astype(np.int64) @ (1 << np.arange(width - 1, -1, -1))


def brush_alpha(data: bytes, height: int, width: int) -> np.ndarray:
    """Decodes the RLE of a brush of Label Studio to its alpha channel, uint8 `[height, width]`.

    The encoding is that of the library `@thi.ng/rle-pack`: the number of words (32 bits), their width minus 1 (5 bits),
    four widths of run lengths minus 1 (4 bits each), and then, for every run, a bit that marks repetition, the index of
    a width (2 bits), the length minus 1, and one word or as many words as the length. The words are the bytes of RGBA.

    Raises:
        ValueError: If the data is not of that encoding, or of another size.
    """
    bits = Bits(data)
    count, word = bits.field(32), bits.field(5) + 1
    if count != height * width * 4 or word != 8:
        raise ValueError(f"{count} words of {word} bits instead of {height * width * 4} words of 8 bits")
    widths = (bits.fields(4, 4) + 1).tolist()
    values = np.zeros(count, np.uint8)
    position = 0
    while position < count:
        repeated = bits.field(1)
        length = bits.field(widths[bits.field(2)]) + 1
        if position + length > count:
            raise ValueError("the runs are longer than the image")
        values[position : position + length] = bits.field(word) if repeated else bits.fields(length, word)
        position += length
    return values.reshape(height, width, 4)[:, :, 3]
