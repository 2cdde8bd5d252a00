"""Classes of a segmentation task: names, colors and the ignore label."""

import difflib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, GetJsonSchemaHandler, TypeAdapter, ValidationError, model_validator
from pydantic_core import CoreSchema

from tfseg.errors import RunError
from tfseg.spec.declare import spec
from tfseg.spec.problems import InvalidFields

IGNORE = 255
"""Default ignore label: the id of pixels that are excluded from losses and metrics."""
LABELS = "labels.json"
"""Name of the file with the class names, beside a trained model and inside a TFLite file."""
VALUES = ("dtype", "value_range")
"""Fields of that file about the values of images, see `tfseg.images.values`."""

Level = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Level, Level, Level]


@spec
class Labels:
    """Classes that a network predicts. Class `i` is `names[i]`; a mask contains these ids and `ignore`.

    In a pipeline file, `labels: camvid` (or `{type: camvid, …}`) starts from a published set; see `PUBLISHED`.

    >>> Labels(names=("background", "cell")).count
    2
    """

    names: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=2)]
    """Class names, in the order of their ids."""
    ignore: Annotated[int, Field(ge=0, le=65535)] = IGNORE
    """Id of pixels that are excluded from losses and metrics."""
    colors: tuple[Color, ...] | None = None
    """One RGB triple per class. Defaults to the colors of PASCAL VOC."""

    @model_validator(mode="before")
    @classmethod
    def _from_published(cls, value: Any) -> Any:
        """Completes `value` with the fields of the published set that it names, if any."""
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
        problems = []
        if twice := [name for name, times in Counter(self.names).items() if times > 1]:
            problems.append((("names",), f"class names must be unique; received twice: {', '.join(twice)}"))
        if self.ignore < self.count:
            message = f"{self.ignore} is the id of the class {self.names[self.ignore]!r}; expected {self.count} or more"
            problems.append((("ignore",), message))
        if self.colors is not None and len(self.colors) != self.count:
            message = f"expected {self.count} colors, one per class; received {len(self.colors)}"
            problems.append((("colors",), message))
        if problems:
            raise InvalidFields(*problems)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Returns a schema that accepts the name of a published set, or a mapping with `names` or `type`."""
        reference = handler(core)
        schema = handler.resolve_ref_schema(reference)
        if schema.pop("required", None):  # already popped in a second call
            sets = {"type": "string", "enum": list(PUBLISHED)}
            schema["properties"] = {"type": sets, **schema["properties"]}
            fields = {key: schema.pop(key) for key in ("type", "properties", "additionalProperties")}
            named = {"anyOf": [{"required": ["names"]}, {"required": ["type"]}]}
            schema["anyOf"] = [sets, {**fields, **named}]
        return reference

    @property
    def count(self) -> int:
        """Number of classes, without `ignore`."""
        return len(self.names)

    @property
    def palette(self) -> np.ndarray:
        """RGB colors of the 256 ids of a palette PNG, uint8 `[256, 3]`. With `colors`, `ignore` is black."""
        palette = voc_palette()
        if self.colors is not None:
            palette[min(self.ignore, 255)] = 0
            palette[: self.count] = self.colors[:256]
        return palette


def voc_palette(size: int = 256) -> np.ndarray:
    """Returns the PASCAL VOC colors, uint8 `[size, 3]`.

    Bits 0, 1 and 2 of an id are the highest bits of red, green and blue; bits 3, 4 and 5 the second highest; and so on.
    """
    ids = np.arange(size)
    colors = np.zeros((size, 3), np.uint8)
    for step in range(8):
        for channel in range(3):
            colors[:, channel] |= (((ids >> (3 * step + channel)) & 1) << (7 - step)).astype(np.uint8)
    return colors


def names_problem(received: Labels | None, expected: Labels | None) -> str | None:
    """Returns a message about the first class whose name differs between two sets of labels, or None.

    Labels that are unknown, or differ in the number of classes, are not compared.

    >>> names_problem(Labels(names=("road", "car")), Labels(names=("car", "road")))
    'class 0 is called road. Expected: car'
    """
    if received is None or expected is None or received.count != expected.count:
        return None
    pairs = enumerate(zip(received.names, expected.names, strict=True))
    return next((f"class {i} is called {name}. Expected: {other}" for i, (name, other) in pairs if name != other), None)


def labels_text(labels: Labels, values: Mapping[str, Any] | None = None) -> str:
    """Returns the content of `labels.json`: JSON with one color per class, including default colors.

    Args:
        labels: Labels.
        values: Fields of the values of images (`VALUES`), if they have more than 8 bits.
    """
    colors = labels.colors or voc_palette(labels.count).tolist()
    fields = {"names": labels.names, "ignore": labels.ignore, "colors": colors, **(values or {})}
    return json.dumps(fields, ensure_ascii=False) + "\n"


def read_labels(path: Path, text: bytes) -> Labels:
    """Parses the content of `labels.json`.

    Args:
        path: Path of the file, for error messages.
        text: Content of the file.

    Raises:
        RunError: If the content is not a valid labels file.
    """
    try:
        fields = json.loads(text)
        if isinstance(fields, dict) and "colours" in fields:  # written by earlier versions
            fields["colors"] = fields.pop("colours")
        if isinstance(fields, dict):
            fields = {key: value for key, value in fields.items() if key not in VALUES}
        return TypeAdapter(Labels).validate_python(fields, strict=False)  # JSON has lists but no tuples
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path}: is not a valid labels file ({_first_problem(error)}). Expected JSON with `names`, "
            "and optionally `ignore` and `colors`, as `tfseg fit` writes labels.json."
        ) from error


def _first_problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors()[0]
    return ": ".join([".".join(map(str, problem["loc"])), problem["msg"]])


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
    "cityscapes": {
        "names": (
            *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
            *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle"),
            "bicycle",
        ),
        "colors": (
            *((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153)),
            *((250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60)),
            *((255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)),
        ),
    },
    "ade20k": {
        "names": (
            *("wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass"),
            *("cabinet", "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain"),
            *("chair", "car", "water", "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field"),
            *("armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion"),
            *("base", "box", "column", "signboard", "chest of drawers", "counter", "sand", "sink"),
            *("skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs", "runway", "case"),
            *("pool table", "pillow", "screen door", "stairway", "river", "bridge", "bookcase", "blind"),
            *("coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove", "palm"),
            *("kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus"),
            *("towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television"),
            *("airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman"),
            *("bottle", "buffet", "poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy"),
            *("washer", "plaything", "swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag"),
            *("minibike", "cradle", "oven", "ball", "food", "step", "tank", "trade name", "microwave", "pot"),
            *("animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture", "hood", "sconce"),
            *("vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate", "monitor"),
            *("bulletin board", "shower", "radiator", "glass", "clock", "flag"),
        ),
        "colors": (
            *((120, 120, 120), (180, 120, 120), (6, 230, 230), (80, 50, 50), (4, 200, 3), (120, 120, 80)),
            *((140, 140, 140), (204, 5, 255), (230, 230, 230), (4, 250, 7), (224, 5, 255), (235, 255, 7)),
            *((150, 5, 61), (120, 120, 70), (8, 255, 51), (255, 6, 82), (143, 255, 140), (204, 255, 4)),
            *((255, 51, 7), (204, 70, 3), (0, 102, 200), (61, 230, 250), (255, 6, 51), (11, 102, 255)),
            *((255, 7, 71), (255, 9, 224), (9, 7, 230), (220, 220, 220), (255, 9, 92), (112, 9, 255)),
            *((8, 255, 214), (7, 255, 224), (255, 184, 6), (10, 255, 71), (255, 41, 10), (7, 255, 255)),
            *((224, 255, 8), (102, 8, 255), (255, 61, 6), (255, 194, 7), (255, 122, 8), (0, 255, 20)),
            *((255, 8, 41), (255, 5, 153), (6, 51, 255), (235, 12, 255), (160, 150, 20), (0, 163, 255)),
            *((140, 140, 140), (250, 10, 15), (20, 255, 0), (31, 255, 0), (255, 31, 0), (255, 224, 0)),
            *((153, 255, 0), (0, 0, 255), (255, 71, 0), (0, 235, 255), (0, 173, 255), (31, 0, 255)),
            *((11, 200, 200), (255, 82, 0), (0, 255, 245), (0, 61, 255), (0, 255, 112), (0, 255, 133)),
            *((255, 0, 0), (255, 163, 0), (255, 102, 0), (194, 255, 0), (0, 143, 255), (51, 255, 0)),
            *((0, 82, 255), (0, 255, 41), (0, 255, 173), (10, 0, 255), (173, 255, 0), (0, 255, 153)),
            *((255, 92, 0), (255, 0, 255), (255, 0, 245), (255, 0, 102), (255, 173, 0), (255, 0, 20)),
            *((255, 184, 184), (0, 31, 255), (0, 255, 61), (0, 71, 255), (255, 0, 204), (0, 255, 194)),
            *((0, 255, 82), (0, 10, 255), (0, 112, 255), (51, 0, 255), (0, 194, 255), (0, 122, 255)),
            *((0, 255, 163), (255, 153, 0), (0, 255, 10), (255, 112, 0), (143, 255, 0), (82, 0, 255)),
            *((163, 255, 0), (255, 235, 0), (8, 184, 170), (133, 0, 255), (0, 255, 92), (184, 0, 255)),
            *((255, 0, 31), (0, 184, 255), (0, 214, 255), (255, 0, 112), (92, 255, 0), (0, 224, 255)),
            *((112, 224, 255), (70, 184, 160), (163, 0, 255), (153, 0, 255), (71, 255, 0), (255, 0, 163)),
            *((255, 204, 0), (255, 0, 143), (0, 255, 235), (133, 255, 0), (255, 0, 235), (245, 0, 255)),
            *((255, 0, 122), (255, 245, 0), (10, 190, 212), (214, 255, 0), (0, 204, 255), (20, 0, 255)),
            *((255, 255, 0), (0, 153, 255), (0, 41, 255), (0, 255, 204), (41, 0, 255), (41, 255, 0)),
            *((173, 0, 255), (0, 245, 255), (71, 0, 255), (122, 0, 255), (0, 255, 184), (0, 92, 255)),
            *((184, 255, 0), (0, 133, 255), (255, 214, 0), (25, 194, 194), (102, 255, 0), (92, 0, 255)),
        ),
    },
}
"""Published label sets by name: PASCAL VOC (21 classes), CamVid (11) with SegNet's colors (void is 11, black), the 19
training classes of Cityscapes with the colors of its scripts, and the 150 classes of ADE20K's scene parsing benchmark
(Zhou et al. 2017) with the first name of each in its list `objectInfo150` and its colors `color150`."""
