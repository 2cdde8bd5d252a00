"""The classes of a problem: their names, their colors, and the one home of the ignore value."""

import difflib
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, GetJsonSchemaHandler, TypeAdapter, ValidationError, model_validator
from pydantic_core import CoreSchema

from tfseg.errors import RunError
from tfseg.spec.declare import spec
from tfseg.spec.problems import InvalidFields

IGNORE = 255
"""The id of a pixel that counts in no loss and no metric, unless `labels.ignore` says otherwise."""
LABELS = "labels.json"
"""The file that names the classes beside a trained network, and in a TFLite file."""

Level = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Level, Level, Level]


@spec
class Labels:
    """The classes that a network tells apart. Class `i` is `names[i]`; a mask holds these ids and `ignore`.

    In a file, `labels: camvid` (or `{type: camvid, …}`) starts from a published set; see `PUBLISHED`.

    >>> Labels(names=("background", "cell")).count
    2
    """

    names: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=2)]
    """The classes, in the order of their ids."""
    ignore: Annotated[int, Field(ge=0, le=65535)] = IGNORE
    """The id of pixels that count in no loss and no metric."""
    colors: tuple[Color, ...] | None = None
    """One RGB triple for each class; by default the colors of PASCAL VOC."""

    @model_validator(mode="before")
    @classmethod
    def _from_published(cls, value: Any) -> Any:
        """A published set's fields below the given ones, where `value` names a set."""
        given = {"type": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or "type" not in given:
            return value
        name = given["type"]
        if not isinstance(name, str) or name not in PUBLISHED:
            near = difflib.get_close_matches(str(name), PUBLISHED, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            known = ", ".join(PUBLISHED)
            message = f"expected names, or a published set ({known}); received {json.dumps(name, default=repr)}{hint}"
            raise InvalidFields((() if isinstance(value, str) else ("type",), message))
        return {**PUBLISHED[name], **{key: part for key, part in given.items() if key != "type"}}

    @model_validator(mode="after")
    def _consistent(self) -> "Labels":
        faults = []
        if twice := [name for name, times in Counter(self.names).items() if times > 1]:
            faults.append((("names",), f"each class needs a name of its own; received twice: {', '.join(twice)}"))
        if self.ignore < self.count:
            message = f"{self.ignore} is the id of the class {self.names[self.ignore]!r}; expected {self.count} or more"
            faults.append((("ignore",), message))
        if self.colors is not None and len(self.colors) != self.count:
            message = f"expected {self.count} colors, one for each name; received {len(self.colors)}"
            faults.append((("colors",), message))
        if faults:
            raise InvalidFields(*faults)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema of the fields, or of a published set with fields to put over it."""
        reference = handler(core)
        schema = handler.resolve_ref_schema(reference)
        if schema.pop("required", None):  # a second call finds the first one's work
            sets = {"type": "string", "enum": list(PUBLISHED)}
            schema["properties"] = {"type": sets, **schema["properties"]}
            fields = {key: schema.pop(key) for key in ("type", "properties", "additionalProperties")}
            named = {"anyOf": [{"required": ["names"]}, {"required": ["type"]}]}
            schema["anyOf"] = [sets, {**fields, **named}]
        return reference

    @property
    def count(self) -> int:
        """The number of classes; `ignore` is none of them."""
        return len(self.names)

    @property
    def palette(self) -> np.ndarray:
        """uint8 `[256, 3]`: the color of every id that an index PNG can hold. Given colors leave `ignore` black."""
        palette = voc_palette()
        if self.colors is not None:
            palette[min(self.ignore, 255)] = 0
            palette[: self.count] = self.colors[:256]
        return palette


def voc_palette(size: int = 256) -> np.ndarray:
    """The PASCAL VOC colors, uint8 `[size, 3]`: an id's bits, three at a time, from the highest color bit down."""
    ids = np.arange(size)
    colors = np.zeros((size, 3), np.uint8)
    for step in range(8):
        for channel in range(3):
            colors[:, channel] |= (((ids >> (3 * step + channel)) & 1) << (7 - step)).astype(np.uint8)
    return colors


def names_problem(received: Labels | None, expected: Labels | None) -> str | None:
    """Where two networks, or a network and its data, call a class by different names; None where one is not known.

    >>> names_problem(Labels(names=("road", "car")), Labels(names=("car", "road")))
    'class 0 is called road. Expected: car'
    """
    if received is None or expected is None or received.count != expected.count:
        return None
    pairs = enumerate(zip(received.names, expected.names, strict=True))
    return next((f"class {i} is called {name}. Expected: {other}" for i, (name, other) in pairs if name != other), None)


def labels_text(labels: Labels) -> str:
    """The content of `LABELS`: JSON, with a color for each class even where the labels leave them to the default."""
    colors = labels.colors or voc_palette(labels.count).tolist()
    return json.dumps({"names": labels.names, "ignore": labels.ignore, "colors": colors}, ensure_ascii=False) + "\n"


def read_labels(path: Path, text: bytes) -> Labels:
    """The classes from the content of `LABELS`; `path` is where that was found.

    Raises:
        RunError: the text is something else.
    """
    try:
        found = json.loads(text)
        if isinstance(found, dict) and "colours" in found:  # as earlier versions wrote it
            found["colors"] = found.pop("colours")
        return TypeAdapter(Labels).validate_python(found, strict=False)  # JSON knows lists, and no tuples
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path}: does not name the classes ({_first_fault(error)}). Expected JSON with `names`, `ignore` and "
            "`colors`, as `tfseg fit` writes labels.json."
        ) from error


def _first_fault(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors()[0]
    return ": ".join([".".join(map(str, fault["loc"])), fault["msg"]])


PUBLISHED: dict[str, dict[str, Any]] = {
    "voc": {
        "names": (
            *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
            *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
            "tvmonitor",
        ),
    },
    "camvid": {
        "names": (
            *("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian"),
            "Bicyclist",
        ),
        "ignore": 11,
        "colors": (
            *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0)),
            *((192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
        ),
    },
}
"""Label sets by name: PASCAL VOC's 21 classes, and CamVid's 11 with SegNet's colors (void is 11, black)."""
