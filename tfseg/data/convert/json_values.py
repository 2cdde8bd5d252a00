"""Values of a JSON file that know their position, for error messages such as `annotations[12].bbox: expected …`."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfseg.data.convert.annotation import Invalid
from tfseg.errors import DataError, first_line

CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line separators and surrogates."""
SHOWN = 60
"""Maximum length of a received value in a message."""


@dataclass(frozen=True)
class Json:
    """A value of a JSON file. Its methods return the value if it has the expected type.

    Args:
        value: Parsed value.
        file: Path of the file.
        path: Position in the file, e.g. `annotations[12].segmentation`.
    """

    value: Any
    file: Path
    path: str = ""

    def invalid(self, expected: str) -> Invalid:
        """Returns an error with the position, the expected and the received value."""
        received = shown(self.value)
        return Invalid(f"{self.file}: {self.path or 'the file'}: expected {expected}; received {received}")

    def get(self, key: str) -> "Json | None":
        """Returns the value of a key of a mapping; None if it is missing or null."""
        if not isinstance(self.value, dict):
            raise self.invalid("a mapping")
        if self.value.get(key) is None:
            return None
        return Json(self.value[key], self.file, f"{self.path}.{key}".lstrip("."))

    def __getitem__(self, key: str) -> "Json":
        """Returns the value of a required key of a mapping."""
        found = self.get(key)
        if found is None:
            raise self.invalid(f"a mapping with the key `{key}`")
        return found

    def items(self) -> list["Json"]:
        """Returns the values of a list."""
        if not isinstance(self.value, list):
            raise self.invalid("a list")
        return [Json(item, self.file, f"{self.path}[{index}]") for index, item in enumerate(self.value)]

    def text(self) -> str:
        """Returns a string that is not empty and may be part of a path or of a YAML file."""
        if not isinstance(self.value, str) or not is_plain(self.value):
            raise self.invalid("a string without control characters")
        return self.value

    def number(self, low: float = -math.inf, high: float = math.inf) -> float:
        """Returns a finite number in a range."""
        if isinstance(self.value, int | float) and not isinstance(self.value, bool):
            try:
                number = float(self.value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number) and low <= number <= high:
                return number
        within = "" if low == -math.inf else f" from {low:g} to {high:g}"
        raise self.invalid(f"a finite number{within}")

    def integer(self, low: int = 0, high: int = 2**31 - 1) -> int:
        """Returns an integer in a range. Integers that are written as floats, such as 480.0, are accepted."""
        number = self.number()
        if number != int(number) or not low <= number <= high:
            raise self.invalid(f"an integer from {low} to {high}")
        return int(number)

    def identity(self) -> int | str:
        """Returns an id: an integer or a string."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | str):
            raise self.invalid("an id (an integer or a string)")
        return self.value

    def numbers(self) -> np.ndarray:
        """Returns a list of finite numbers, float64 `[count]`."""
        if isinstance(self.value, list) and all(type(item) in (int, float) for item in self.value):
            try:
                found = np.array(self.value, np.float64)
            except OverflowError:
                found = np.array([np.inf])
            if np.isfinite(found).all():
                return found
        return np.array([item.number() for item in self.items()], np.float64)

    def points(self) -> np.ndarray:
        """Returns a list of pairs, float64 `[points, 2]`."""
        pairs = [item.numbers() for item in self.items()]
        for item, pair in zip(self.items(), pairs, strict=True):
            if len(pair) != 2:
                raise item.invalid("a pair of x and y")
        return np.array(pairs, np.float64).reshape(-1, 2)


def read_json(file: Path) -> Json:
    """Reads a JSON file as a whole.

    Raises:
        DataError: If the file cannot be read or is not JSON.
    """
    try:
        return Json(json.loads(file.read_bytes().decode("utf-8-sig")), file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}). Expected a JSON file of annotations.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: is not JSON ({first_line(error)}). Expected a file of annotations.") from error


def shown(value: Any) -> str:
    """Returns a value as JSON, cut to a length that suits a message."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):  # an integer of more digits than Python converts
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def is_plain(text: str) -> bool:
    """Returns whether a text is not empty and has neither control characters nor halves of surrogate pairs."""
    return bool(text.strip()) and not CONTROL.search(text)
