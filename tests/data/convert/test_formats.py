"""Conversion of one scene from every format, and of details of each format."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.data.convert import scenes
from tests.data.convert.scenes import CVAT, FORMATS, HEIGHT, WIDTH, as_json, as_text, flat
from tfseg.data.convert import Options, convert
from tfseg.data.convert.regions import runs
from tfseg.labels import PUBLISHED
from tfseg.pipeline import load


def read(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        assert image.mode == "P"
        return np.asarray(image)


def converted(root: Path, kind: str, path: Path, **options: Any) -> np.ndarray:
    """Converts annotations and returns the mask of the first image."""
    images = root / "images"
    if not images.exists():
        scenes.images(root)
    convert(kind, path, images, root / "out", Options(**options))
    return read(root / "out" / "masks" / "a.png")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_masks_of_the_scene(kind: str, tmp_path: Path) -> None:
    images = scenes.images(tmp_path)
    report = convert(kind, FORMATS[kind](tmp_path), images, tmp_path / "out")
    ids = (0, 1, 2) if kind != "sbd" else (0, *scenes.SBD)
    assert np.array_equal(read(tmp_path / "out" / "masks" / "a.png"), np.array(ids)[scenes.mask()])
    assert not read(tmp_path / "out" / "masks" / "b.png").any(), "no shapes: background"
    pipeline = load(report.pipeline)
    assert pipeline.labels.names == (scenes.NAMES if kind != "sbd" else PUBLISHED["voc"]["names"])
    assert pipeline.labels.ignore == 255
    data = pipeline.data.open(pipeline.labels)
    assert sorted([*data.names("train"), *data.names("val")]) == ["a", "b"]
    assert (report.masks, report.empty) == (2, 0 if kind == "sbd" else 1)
    skipped = {"labelme": {"point": 1}, "cvat": {"polyline": 1}, "label-studio": {"choices": 1}}
    assert report.skipped == skipped.get(kind, {})


# Classes.


@pytest.mark.parametrize("kind", FORMATS)
def test_selected_classes_have_the_ids_of_the_selection(kind: str, tmp_path: Path) -> None:
    selected = ("person", "background", "car") if kind == "sbd" else ("person", "car")
    ids = converted(tmp_path, kind, FORMATS[kind](tmp_path), classes=selected)
    person, background, car = (0, 1, 2) if kind == "sbd" else (1, 0, 2)
    assert np.array_equal(ids, np.array([background, car, person])[scenes.mask()])


def test_shapes_of_other_classes_are_not_drawn(tmp_path: Path) -> None:
    ids = converted(tmp_path, "coco", scenes.write_coco(tmp_path), classes=("car",))
    assert ids.sum() == 30
    assert load(tmp_path / "out" / "pipeline.yaml").labels.names == ("background", "car")


def test_without_background_other_pixels_are_ignored(tmp_path: Path) -> None:
    ids = converted(tmp_path, "coco", scenes.write_coco(tmp_path), background=False)
    assert np.array_equal(ids, np.array([255, 0, 1])[scenes.mask()])
    assert load(tmp_path / "out" / "pipeline.yaml").labels.names == ("car", "person")


def test_a_category_named_background_is_class_0(tmp_path: Path) -> None:
    document = scenes.coco()
    document["categories"][0]["name"] = "background"
    ids = converted(tmp_path, "coco", as_json(tmp_path / "a.json", document))
    assert np.array_equal(ids, np.array([0, 1, 0])[scenes.mask()])


def test_categories_with_one_name_are_one_class(tmp_path: Path) -> None:
    document = scenes.coco()
    document["categories"][0]["name"] = "car"
    ids = converted(tmp_path, "coco", as_json(tmp_path / "a.json", document))
    assert np.array_equal(ids, np.array([0, 1, 1])[scenes.mask()])


def test_more_than_255_classes_have_16_bits(tmp_path: Path) -> None:
    document = scenes.coco()
    document["categories"] += [{"id": number, "name": f"c{number}"} for number in range(10, 300)]
    document["annotations"][0]["category_id"] = 299
    images = scenes.images(tmp_path)
    report = convert("coco", as_json(tmp_path / "a.json", document), images, tmp_path / "out")
    with Image.open(tmp_path / "out" / "masks" / "a.png") as mask:
        assert np.array_equal(np.asarray(mask), np.array([0, 1, 292])[scenes.mask()])
    assert load(report.pipeline).labels.ignore == 65535


# COCO.


COMPRESSED = "[1640i1"
"""The run lengths 43, 6, 4, 6 and 61 as `pycocotools.mask.frPyObjects` writes them."""


def with_segmentation(segmentation: Any, **fields: Any) -> dict[str, Any]:
    document = scenes.coco()
    document["annotations"][0].update(segmentation=segmentation, **fields)
    return document


@pytest.mark.parametrize(("crowd", "value"), [("ignore", 255), ("class", 2), ("skip", 0)])
def test_crowds_are_below_objects(crowd: str, value: int, tmp_path: Path) -> None:
    whole = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    document = with_segmentation(whole, iscrowd=1)
    document["annotations"].reverse()
    expected = np.full((HEIGHT, WIDTH), value)
    expected[2:7, 2:8] = 1
    assert np.array_equal(converted(tmp_path, "coco", as_json(tmp_path / "a.json", document), crowd=crowd), expected)


def test_run_lengths_go_down_the_columns(tmp_path: Path) -> None:
    for index, value in enumerate(([43, 6, 4, 6, 61], COMPRESSED)):
        document = with_segmentation({"size": [HEIGHT, WIDTH], "counts": value})
        path = as_json(tmp_path / f"{index}.json", document)
        assert np.array_equal(converted(tmp_path, "coco", path, overwrite=True), scenes.mask())


def test_several_polygons_are_a_union(tmp_path: Path) -> None:
    document = with_segmentation([flat(scenes.PERSON), [4, 3, 5, 3, 5, 4, 4, 4], [9, 0, 12, 0, 12, 2, 9, 2]])
    expected = scenes.mask()
    expected[:2, 9:12] = 2
    assert np.array_equal(converted(tmp_path, "coco", as_json(tmp_path / "a.json", document)), expected)


def test_images_are_found_in_folders(tmp_path: Path) -> None:
    """By the whole path, or else by the base name alone."""
    images = scenes.images(tmp_path, "x/a.png", "y/a.png", "z/b.png")
    document = scenes.coco()
    document["images"][0]["file_name"] = "x/a.png"
    convert("coco", as_json(tmp_path / "a.json", document), images, tmp_path / "out")
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert written == ["masks/x/a.png", "masks/z/b.png"]


def test_sizes_are_those_after_the_exif_rotation(tmp_path: Path) -> None:
    images = scenes.images(tmp_path, "b.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(images / "a.jpg", exif=exif)
    document = scenes.coco()
    document["images"][0]["file_name"] = "a.jpg"
    assert np.array_equal(converted(tmp_path, "coco", as_json(tmp_path / "a.json", document)), scenes.mask())


def test_sizes_of_numpy_images(tmp_path: Path) -> None:
    images = scenes.images(tmp_path, "b.png")
    np.save(images / "a.npy", np.zeros((HEIGHT, WIDTH, 5), np.uint8))
    document = scenes.coco()
    document["images"][0]["file_name"] = "a.npy"
    assert np.array_equal(converted(tmp_path, "coco", as_json(tmp_path / "a.json", document)), scenes.mask())


# labelme.


def test_shapes_of_labelme(tmp_path: Path) -> None:
    document = scenes.labelme()
    document["shapes"] = [
        {"label": "car", "points": [[8, 7], [2, 2]], "shape_type": "rectangle"},
        {"label": "__ignore__", "points": [[0, 0], [3, 0], [3, 1], [0, 1]]},
        {"label": "_background_", "points": [[2, 6], [8, 6], [8, 7], [2, 7]], "shape_type": None},
        {"label": "person", "points": [[10, 8], [10, 9.6]], "shape_type": "circle"},
    ]
    expected = np.zeros((HEIGHT, WIDTH))
    expected[2:6, 2:8] = 1
    expected[0, :3] = 255
    expected[7:9, 9:11] = expected[6, 9:11] = expected[9, 9:11] = expected[7:9, 8] = expected[7:9, 11] = 2
    assert np.array_equal(converted(tmp_path, "labelme", as_json(tmp_path / "a.json", document)), expected)


# CVAT.


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [
        ('<box label="person" xtl="4" ytl="3" xbr="6" ybr="9"/>', slice(3, 9), slice(4, 6)),
        ('<box label="person" xtl="3" ytl="4" xbr="9" ybr="6" rotation="90"/>', slice(2, 8), slice(5, 7)),
        ('<ellipse label="person" cx="5" cy="5" rx="1.2" ry="1.2"/>', slice(4, 6), slice(4, 6)),
        ('<mask label="person" rle="1, 2, 1" left="3" top="2" width="1" height="4"/>', slice(3, 5), slice(3, 4)),
    ],
)
def test_shapes_of_cvat(shape: str, rows: slice, columns: slice, tmp_path: Path) -> None:
    text = CVAT[: CVAT.index("    <mask")] + shape + CVAT[CVAT.index("  </image>") :]
    expected = np.zeros((HEIGHT, WIDTH))
    expected[rows, columns] = 2
    assert np.array_equal(converted(tmp_path, "cvat", as_text(tmp_path / "a.xml", text)), expected)


def test_subsets_of_cvat_are_splits(tmp_path: Path) -> None:
    text = CVAT.replace('name="a.png"', 'name="a.png" subset="Validation"').replace(
        'name="b.png"', 'name="b.png" subset="Train"'
    )
    converted(tmp_path, "cvat", as_text(tmp_path / "a.xml", text))
    pipeline = load(tmp_path / "out" / "pipeline.yaml")
    data = pipeline.data.open(pipeline.labels)
    assert (data.names("train"), data.names("val")) == (("b",), ("a",))


# Label Studio.


@pytest.mark.parametrize(
    ("kind", "value", "rows", "columns"),
    [
        ("polygonlabels", {"points": [[0, 0], [50, 0], [50, 20], [0, 20]]}, slice(0, 2), slice(0, 6)),
        ("ellipselabels", {"x": 50, "y": 50, "radiusX": 10, "radiusY": 12, "rotation": 0}, slice(4, 6), slice(5, 7)),
        (
            "rectanglelabels",
            {"x": 50, "y": 20, "width": 25, "height": 20, "rotation": 90},
            slice(2, 5),
            slice(4, 6),
        ),
    ],
)
def test_shapes_of_label_studio(kind: str, value: dict[str, Any], rows: slice, columns: slice, tmp_path: Path) -> None:
    document = scenes.label_studio()
    document[0]["annotations"][0]["result"][1].update(type=kind, value={**value, kind: ["person"]})
    expected = scenes.mask().clip(0, 1)
    expected[3:9, 4:6] = 0
    expected[2:7, 2:8] = 1
    expected[rows, columns] = 2
    assert np.array_equal(converted(tmp_path, "label-studio", as_json(tmp_path / "a.json", document)), expected)


def test_the_ground_truth_of_a_task_is_read(tmp_path: Path) -> None:
    document = scenes.label_studio()
    own = document[0]["annotations"][0]
    document[0]["annotations"] = [{"result": [], "was_cancelled": True}, {"result": []}, {**own, "ground_truth": True}]
    document[1]["annotations"] = []
    ids = converted(tmp_path, "label-studio", as_json(tmp_path / "a.json", document))
    assert np.array_equal(ids, scenes.mask())
    assert not (tmp_path / "out" / "masks" / "b.png").exists(), "a task without annotation"


# YOLO.


@pytest.mark.parametrize("layout", ["{kind}/{split}", "{split}/{kind}"])
def test_splits_of_yolo(layout: str, tmp_path: Path) -> None:
    for part, name in (("train", "a"), ("valid", "b")):
        folder = tmp_path / "set" / layout.format(split=part, kind="images")
        folder.mkdir(parents=True)
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / f"{name}.png")
    labels = scenes.write_yolo(tmp_path) / "a.txt"
    as_text(tmp_path / "set" / layout.format(split="train", kind="labels") / "a.txt", labels.read_text())
    train, val = (layout.format(split=part, kind="images") for part in ("train", "valid"))
    content = {"train": f"../{train}", "val": f"../{val}", "names": {0: "car", 1: "person"}}
    as_text(tmp_path / "set" / "data.yaml", yaml.safe_dump(content))
    report = convert("yolo", tmp_path / "set" / "data.yaml", tmp_path / "set", tmp_path / "out")
    pipeline = load(report.pipeline)
    data = pipeline.data.open(pipeline.labels)
    assert (data.names("train"), data.names("val")) == ((f"{train}/a",), (f"{val}/b",))
    assert np.array_equal(read(tmp_path / "out" / "masks" / train / "a.png"), scenes.mask())


def test_names_of_yolo_in_the_folder_beside(tmp_path: Path) -> None:
    labels = scenes.write_yolo(tmp_path)
    (labels / "classes.txt").unlink()
    as_text(tmp_path / "data.yaml", "names: [car, person]")
    assert np.array_equal(converted(tmp_path, "yolo", labels), scenes.mask())


# SBD.


def test_splits_of_sbd(tmp_path: Path) -> None:
    path = scenes.write_sbd(tmp_path)
    as_text(path / "train.txt", "b\n")
    as_text(path / "val.txt", "a\n")
    converted(tmp_path, "sbd", path / "cls")
    pipeline = load(tmp_path / "out" / "pipeline.yaml")
    assert pipeline.data.open(pipeline.labels).names("val") == ("a",)


@pytest.mark.parametrize(
    "name", ["yes", "1", "0o7", "a: b", "{c}", "# d", "Fußgänger 行人", " e", "'", '"', "null", "~"]
)
def test_names_of_classes_are_kept_as_they_are(name: str, tmp_path: Path) -> None:
    document = scenes.coco()
    document["categories"][0]["name"] = name
    converted(tmp_path, "coco", as_json(tmp_path / "a.json", document))
    assert load(tmp_path / "out" / "pipeline.yaml").labels.names == ("background", "car", name)


def test_real_masks_are_converted_without_loss(shared: Path, tmp_path: Path) -> None:
    """Masks of VOC as run lengths of COCO, void as crowds."""
    voc = shared / "data" / "voc2012"
    names = (voc / "val.txt").read_text().split()[:3]
    document: dict[str, Any] = {"images": [], "annotations": []}
    document["categories"] = [{"id": index, "name": str(index)} for index in range(1, 21)]
    for name in names:
        with Image.open(voc / "SegmentationClassAug" / f"{name}.png") as opened:
            ids = np.asarray(opened)
        document["images"].append(
            {"id": name, "file_name": f"{name}.jpg", "width": ids.shape[1], "height": ids.shape[0]}
        )
        for value in np.unique(ids[ids > 0]).tolist():
            counts = runs(value == ids.T).counts.tolist()
            segmentation = {"size": list(ids.shape), "counts": counts}
            category = {"category_id": min(value, 20), "iscrowd": int(value == 255)}
            document["annotations"].append({"image_id": name, **category, "segmentation": segmentation})
    report = convert("coco", as_json(tmp_path / "a.json", document), voc / "JPEGImages", tmp_path / "out")
    assert report.masks == 3
    for name in names:
        with Image.open(voc / "SegmentationClassAug" / f"{name}.png") as expected:
            assert np.array_equal(read(tmp_path / "out" / "masks" / f"{name}.png"), np.asarray(expected))
