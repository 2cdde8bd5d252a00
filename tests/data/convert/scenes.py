"""A scene of two objects, annotated in every format."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from PIL import Image

from tfseg.data.convert.regions import runs

HEIGHT, WIDTH = 10, 12
CAR = ((2, 2), (8, 2), (8, 7), (2, 7))
PERSON = ((4, 3), (6, 3), (6, 9), (4, 9))
"""Corners of a car, and of a person in front of it: x and y."""
NAMES = ("background", "car", "person")
SBD = (7, 15)
"""Ids of the car and the person in SBD."""


def mask() -> np.ndarray:
    """The expected mask: 1 is the car, 2 the person."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[2:7, 2:8] = 1
    ids[3:9, 4:6] = 2
    return ids


def images(root: Path, *names: str) -> Path:
    """Writes images and returns their folder."""
    folder = root / "images"
    for name in names or ("a.png", "b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 100, np.uint8)).save(folder / name)
    return folder


def coco() -> dict[str, Any]:
    """COCO: polygons in an order in which the larger one would cover the smaller one; the second image is empty."""
    return {
        "images": [
            {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for number, name in ((7, "a.png"), (8, "b.png"))
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 9, "segmentation": [flat(PERSON)], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 3, "segmentation": [flat(CAR)]},
        ],
        "categories": [{"id": 9, "name": "person"}, {"id": 3, "name": "car"}],
    }


def labelme(name: str = "a.png", with_objects: bool = True) -> dict[str, Any]:
    """labelme: a polygon, and a mask in front of it."""
    png = io.BytesIO()
    Image.fromarray(np.ones((6, 2), bool)).save(png, "PNG")
    encoded = base64.b64encode(png.getvalue()).decode()
    shapes = [
        {"label": "car", "points": CAR, "shape_type": "polygon"},
        {"label": "person", "points": [[4, 3], [5, 8]], "shape_type": "mask", "mask": encoded},
        {"label": "person", "points": [[1, 1]], "shape_type": "point"},
    ]
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH, "imageData": None}
    return {"imagePath": f"..\\images\\{name}", **size, "shapes": shapes if with_objects else []}


def label_studio() -> list[dict[str, Any]]:
    """Label Studio: a rectangle, and a brush in front of it; the second task has an empty annotation."""
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    x, y = 100 / WIDTH, 100 / HEIGHT
    box = {"x": 2 * x, "y": 2 * y, "width": 6 * x, "height": 5 * y, "rotation": 0, "rectanglelabels": ["car"]}
    brush = {"format": "rle", "rle": brush_rle(mask() == 2), "brushlabels": ["person"]}
    result = [
        {"type": "rectanglelabels", **size, "value": box},
        {"type": "brushlabels", **size, "value": brush},
        {"type": "choices", "value": {"choices": ["day"]}},
    ]
    return [
        {"data": {"image": "/data/upload/1/1a2b3c4d-a.png"}, "annotations": [{"result": result}]},
        {"data": {"image": "/data/local-files/?d=images/b.png"}, "annotations": [{"result": []}]},
    ]


CVAT = f"""\
<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><job><labels>
    <label><name>car</name><color>#ff0000</color></label><label><name>person</name></label>
  </labels></job></meta>
  <image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">
    <mask label="person" rle="0, 12" left="4" top="3" width="2" height="6" z_order="1"></mask>
    <polygon label="car" points="2.00,2.00;8.00,2.00;8.00,7.00;2.00,7.00" z_order="0"></polygon>
    <polyline label="car" points="1.00,1.00;5.00,5.00" z_order="0"></polyline>
  </image>
  <image id="1" name="b.png" width="{WIDTH}" height="{HEIGHT}"></image>
</annotations>
"""


def write_coco(root: Path) -> Path:
    return as_json(root / "coco.json", coco())


def write_labelme(root: Path) -> Path:
    for name in ("a", "b"):
        as_json(root / "labelme" / f"{name}.json", labelme(f"{name}.png", name == "a"))
    return root / "labelme"


def write_label_studio(root: Path) -> Path:
    return as_json(root / "export.json", label_studio())


def write_cvat(root: Path) -> Path:
    return as_text(root / "annotations.xml", CVAT)


def write_yolo(root: Path) -> Path:
    as_text(root / "labels" / "classes.txt", "car\nperson\n")
    lines = (f"{index} " + " ".join(f"{x / WIDTH:.9f} {y / HEIGHT:.9f}" for x, y in ring) for index, ring in _OBJECTS)
    as_text(root / "labels" / "a.txt", "\n".join(lines))
    return root / "labels"


def write_sbd(root: Path) -> Path:
    raw = np.array([0, *SBD], np.uint8)[mask()]
    for name, values in (("a", raw), ("b", raw * 0)):
        write_mat(root / "sbd" / "cls" / f"{name}.mat", values)
    return root / "sbd"


FORMATS: dict[str, Callable[[Path], Path]] = {
    "coco": write_coco,
    "yolo": write_yolo,
    "labelme": write_labelme,
    "cvat": write_cvat,
    "label-studio": write_label_studio,
    "sbd": write_sbd,
}
_OBJECTS = ((1, PERSON), (0, CAR))


def write_mat(file: Path, values: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(file, {"GTcls": {"Segmentation": values, "CategoriesPresent": 0}})
    return file


def flat(ring: tuple[tuple[int, int], ...]) -> list[int]:
    return [value for point in ring for value in point]


def as_json(file: Path, content: Any) -> Path:
    return as_text(file, json.dumps(content))


def as_text(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def brush_rle(region: np.ndarray) -> list[int]:
    """Encodes a region as a brush of Label Studio: every run of pixels, opaque or transparent, is one run of bytes."""
    counts = runs(region).counts.tolist()
    bits = f"{region.size * 4:032b}{7:05b}" + "".join(f"{width - 1:04b}" for width in (1, 4, 8, 16))
    for index, count in enumerate(counts):
        if count == 1:  # literal
            bits += f"0{2:02b}{3:08b}" + f"{255 * (index % 2):08b}" * 4
        elif count:
            bits += f"1{3:02b}{count * 4 - 1:016b}{255 * (index % 2):08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]
