"""Run-length encodings of COCO and Label Studio."""

import numpy as np
import pytest

from tests.data.convert.scenes import brush_rle
from tfseg.data.convert.rle import brush_alpha, coco_counts


def coco_text(counts: list[int]) -> str:
    """Encodes run lengths like `rleToString` of `maskApi.c`."""
    text = ""
    for index, count in enumerate(counts):
        value, more = count - (counts[index - 2] if index > 2 else 0), True
        while more:
            digit, value = value & 31, value >> 5
            more = value != (-1 if digit & 16 else 0)
            text += chr(48 + digit + 32 * more)
    return text


@pytest.mark.parametrize("largest", [3, 40, 100_000])
def test_strings_of_coco(largest: int) -> None:
    counts = np.random.default_rng(0).integers(0, largest, 50).tolist()
    assert coco_counts(coco_text(counts)) == counts
    assert coco_counts("") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5é", "a character or a length that COCO does not write"),
        ("5 ", "a character or a length that COCO does not write"),
        ("o" * 14, "a character or a length that COCO does not write"),
        ("5o", "the string ends inside a length"),
    ],
)
def test_other_strings_are_rejected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coco_counts(text)


def test_brushes_of_label_studio() -> None:
    region = np.random.default_rng(0).random((9, 13)) > 0.6
    region[3] = True
    alpha = brush_alpha(bytes(brush_rle(region)), 9, 13)
    assert np.array_equal(alpha, region * 255)


def test_a_published_brush_of_label_studio() -> None:
    """The runs of the documentation of `@thi.ng/rle-pack`: one repeated word, then four literal words."""
    bits = (
        f"{8:032b}{7:05b}"
        + "0010" * 4
        + "1"
        + "00"
        + "011"
        + f"{9:08b}"
        + "0"
        + "01"
        + "011"
        + "".join(f"{value:08b}" for value in (1, 2, 3, 200))
    )
    bits += "0" * (-len(bits) % 8)
    data = bytes(int(bits[start : start + 8], 2) for start in range(0, len(bits), 8))
    assert brush_alpha(data, 1, 2).tolist() == [[9, 200]]


def test_invalid_brushes_are_rejected() -> None:
    data = bytes(brush_rle(np.eye(5) > 0))
    with pytest.raises(ValueError, match="100 words of 8 bits instead of 120 words of 8 bits"):
        brush_alpha(data, 5, 6)
    with pytest.raises(ValueError, match="the data ends too early"):
        brush_alpha(data[:-3], 5, 5)
    with pytest.raises(ValueError, match="the data ends too early"):
        brush_alpha(b"", 5, 5)
    head = f"{4:032b}{7:05b}" + "1111" * 4 + "100" + f"{9:016b}" + "0" * 8
    with pytest.raises(ValueError, match="the runs are longer than the image"):
        brush_alpha(bytes(int(head[start : start + 8], 2) for start in range(0, 80, 8)), 1, 1)
