"""Messages about invalid annotations: file, position, received and expected value. Nothing is written."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.convert import scenes
from tests.data.convert.scenes import CVAT, FORMATS, HEIGHT, WIDTH, as_json, as_text
from tfseg.data.convert import Options, convert
from tfseg.errors import DataError

DELETED = object()
"""Value of a key to delete."""


def changed(document: Any, path: str, value: Any) -> Any:
    """Replaces or deletes the value at a path such as `annotations.0.segmentation`."""
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    parent = document
    for key in parents:
        parent = parent[key]
    if value is DELETED:
        del parent[last]
    else:
        parent[last] = value
    return document


def message(kind: str, path: Path, root: Path, **options: Any) -> str:
    """Returns the error of a conversion, which leaves no output."""
    images = root / "images"
    if not images.exists():
        scenes.images(root)
    with pytest.raises(DataError) as caught:
        convert(kind, path, images, root / "out", Options(**options))
    assert not (root / "out").exists()
    return str(caught.value)


SEGMENTATION = "annotations.0.segmentation"
LONG = "a finite number; received"
ODD = "pairs of x and y, but the number of coordinates is odd ("
BOX = " pixels, the size of the box of its points"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("annotations", DELETED, "the file: expected a mapping with the key `annotations`; received"),
        ("annotations", {}, "annotations: expected a list; received {}"),
        ("annotations.1", 5, "annotations[1]: expected a mapping; received 5"),
        ("images.0.file_name", 5, "images[0].file_name: expected a string without control characters; received 5"),
        ("images.0.file_name", "a\0.png", "images[0].file_name: expected a string without control characters"),
        ("images.0.file_name", "c.png", "images[0].file_name: no image 'c.png' in {}/images. Correct --images, or add"),
        ("images.0.file_name", "../../c.tif", "no image '../../c.tif' in {}/images. Convert the images to PNG"),
        ("images.0.file_name", "b.png", "2 records have the image 'b'. Expected one record per image."),
        ("images.0.width", 13, "images[0]: the size is 13x10 (width x height), but {}/images/a.png is 12x10. Use the"),
        ("images.0.width", True, "images[0].width: expected a finite number; received true"),
        ("images.0.width", 1.5, "images[0].width: expected an integer from 1 to 2147483647; received 1.5"),
        ("images.0.id", 8, "images[1].id: the id 8 occurs twice. Expected unique ids"),
        ("images.0.id", [], "images[0].id: expected an id (an integer or a string); received []"),
        ("categories.0.name", " ", "categories[0].name: expected a string without control characters"),
        ("annotations.0.image_id", 99, "annotations[0].image_id: 99 is not the id of a record in `images`"),
        ("annotations.0.category_id", "9", "annotations[0].category_id: '9' is not the id of a record in `categories`"),
        ("annotations.0.iscrowd", 2, "annotations[0].iscrowd: expected an integer from 0 to 1; received 2"),
        (SEGMENTATION, DELETED, "annotations[0]: expected a mapping with the key `segmentation`; received"),
        (SEGMENTATION, [], "segmentation: expected a polygon or run lengths; objects with boxes only cannot be drawn"),
        (
            SEGMENTATION,
            [[1, 2, 3, 4, 5]],
            f"segmentation[0]: expected {ODD}5)",
        ),
        (SEGMENTATION, [[1, 2, 3, 4]], "segmentation[0]: expected at least 3 points; received 2"),
        (SEGMENTATION, [[1, 2, 3, 4, 5, "6"]], 'segmentation[0][5]: expected a finite number; received "6"'),
        (SEGMENTATION, [[1, 2, 3, 4, 5, float("nan")]], "segmentation[0][5]: expected a finite number; received NaN"),
        (SEGMENTATION, [[1, 2, 3, 4, 5, 10**400]], f"segmentation[0][5]: expected {LONG} 1000000"),
        (
            SEGMENTATION,
            [[1, 2, 3, 4, 13.1, 6]],
            "segmentation[0]: point 2 (13.1, 6) is outside the image of 12x10 pixels",
        ),
        (SEGMENTATION, {"size": [12, 10], "counts": []}, "segmentation.size: expected the size of the image, [10, 12]"),
        (SEGMENTATION, {"size": [10, 12], "counts": [5]}, "counts: expected run lengths with a sum of 120, the pixels"),
        (SEGMENTATION, {"size": [10, 12], "counts": [121, -1]}, "counts: expected run lengths with a sum of 120"),
        (SEGMENTATION, {"size": [10, 12], "counts": "5o"}, "counts: expected a compressed RLE (the string ends inside"),
    ],
)
def test_invalid_files_of_coco(path: str, value: Any, expected: str, tmp_path: Path) -> None:
    file = as_json(tmp_path / "coco.json", changed(scenes.coco(), path, value))
    text = message("coco", file, tmp_path)
    assert re.match(rf"{file}: \d problems? in the annotations; nothing was written.\n{file}: ", text)
    assert expected.replace("{}", str(tmp_path)) in text or expected in text


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "shapes.0.shape_type",
            "cube",
            "shapes[0].shape_type: expected one of polygon, rectangle, circle, mask, point",
        ),
        ("shapes.0.points", [[1, 2], [3]], "shapes[0].points[1]: expected a pair of x and y; received [3]"),
        ("shapes.0.shape_type", "circle", "shapes[0].points: expected the two points of a circle; received"),
        (
            "shapes.1.points",
            [[4, 3], [5, 9.9]],
            f"shapes[1].mask: expected a gray PNG of 2x7{BOX}",
        ),
        ("shapes.1.points", [[11, 3], [12, 8]], "shapes[1].mask: expected a mask inside the image of 12x10 pixels"),
        ("shapes.1.mask", "AAAA", 'shapes[1].mask: expected a PNG in base64; received "AAAA"'),
        ("shapes.1.mask", "*", 'shapes[1].mask: expected a PNG in base64; received "*"'),
        ("shapes.0.label", None, "shapes[0]: expected a mapping with the key `label`; received"),
        ("imageWidth", 10, "imageHeight: the size is 10x10 (width x height), but"),
    ],
)
def test_invalid_files_of_labelme(path: str, value: Any, expected: str, tmp_path: Path) -> None:
    file = as_json(tmp_path / "labelme" / "a.json", changed(scenes.labelme(), path, value))
    text = message("labelme", tmp_path / "labelme", tmp_path)
    assert f"\n{file}: {expected}" in text


def test_two_files_of_labelme_for_one_image(tmp_path: Path) -> None:
    for name in ("a", "b"):
        as_json(tmp_path / "labelme" / f"{name}.json", scenes.labelme())
    assert "2 records have the image 'a'. Expected one record per image." in message(
        "labelme", tmp_path / "labelme", tmp_path
    )


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("0.data.image", "http://[", "[0].data.image: expected the address of an image; received"),
        ("0.data.image", "c.png", "[0].data.image: no image 'c.png' in"),
        ("0.annotations.0.result.0.original_width", 9, "[0].annotations[0].result[0]: the size is 9x10"),
        ("0.annotations.0.result.0.image_rotation", 90, "expected 0: annotations of rotated images are not read"),
        (
            "0.annotations.0.result.0.value.rectanglelabels",
            [],
            "value.rectanglelabels: expected one label; received []",
        ),
        (
            "0.annotations.0.result.0.value.width",
            101,
            "value.width: expected a finite number from 0 to 100; received 101",
        ),
        ("0.annotations.0.result.1.value.format", "png", 'value.format: expected rle; received "png"'),
        ("0.annotations.0.result.1.value.rle", [256], "value.rle: expected bytes, 0 to 255; received [256]"),
        (
            "0.annotations.0.result.1.value.rle",
            [1],
            "value.rle: expected the run lengths of a brush (the data ends too",
        ),
        ("0.annotations", DELETED, "[0]: expected a mapping with the key `annotations`; received"),
    ],
)
def test_invalid_files_of_label_studio(path: str, value: Any, expected: str, tmp_path: Path) -> None:
    file = as_json(tmp_path / "export.json", changed(scenes.label_studio(), path, value))
    assert expected in message("label-studio", file, tmp_path)


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "<annotations>",
            f"{BOMB}<annotations>",
            "is not the XML of CVAT (document types (<!DOCTYPE …>) are not accepted)",
        ),
        ("</annotations>", "", "is not the XML of CVAT (no element found"),
        ('encoding="utf-8"', 'encoding="x"', "is not the XML of CVAT (unknown encoding"),
        ("<image ", "<frame ", "is not the XML of CVAT (mismatched tag"),
        ('name="a.png"', "", "image 1: name: expected a string; received none"),
        ('width="12"', 'width="12.5"', "image 1: width: expected an integer; received '12.5'"),
        ('width="12"', 'width="1e999"', "image 1: width: expected a finite number; received '1e999'"),
        ('height="10"', 'height="11"', "image 1: the size is 12x11"),
        (
            'label="car"',
            'label="cat"',
            "polygon 2: label: expected one of the labels in <meta>: car, person; received 'cat'",
        ),
        ("8.00,2.00", "8.00", "polygon 2: points: expected points as x,y;x,y;…; received '2.00,2.00;8.00;8.00,7.00"),
        ("8.00,2.00", "8.00,nan", "polygon 2: points: expected points as x,y;x,y;…; received '2.00,2.00;8.00,nan"),
        (
            "8.00,2.00",
            "18.00,2.00",
            "polygon 2: points: point 1 (18, 2) is outside the image of 12x10 pixels by more than",
        ),
        ("polyline", "sphere", "sphere 3: expected one of polygon, box, ellipse, mask, polyline, points, tag"),
        (
            "0, 12",
            "0, 11",
            "mask 1: rle: expected run lengths with a sum of 12, the pixels of the mask; received '0, 11'",
        ),
        ("0, 12", "13, -1", "mask 1: rle: expected run lengths separated by commas; received '13, -1'"),
        ('left="4"', 'left="11"', "mask 1: expected a mask inside the image of 12x10 pixels"),
    ],
)
def test_invalid_files_of_cvat(old: str, new: str, expected: str, tmp_path: Path) -> None:
    text = CVAT.replace(old, new) if old in ("polyline", "</annotations>") else CVAT.replace(old, new, 1)
    assert expected in message("cvat", as_text(tmp_path / "a.xml", text), tmp_path)


def test_shapes_far_from_the_image(tmp_path: Path) -> None:
    shape = '<ellipse label="car" cx="5" cy="5" rx="90" ry="1"/></image>'
    path = as_text(tmp_path / "a.xml", CVAT.replace("</image>", shape, 1))
    assert "ellipse 4: expected a shape in the image of 12x10 pixels" in message("cvat", path, tmp_path)


def test_files_of_cvat_without_images(tmp_path: Path) -> None:
    path = as_text(tmp_path / "a.xml", "<annotations></annotations>")
    expected = "has no valid <image>. Expected a file in the format CVAT for images 1.1."
    assert expected in message("cvat", path, tmp_path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 0.5 0.5 0.1 0.1", "a.txt:2: has a box. Expected a polygon: class x1 y1 x2 y2 x3 y3 …"),
        (
            "0 0 0 1 0 1 1 0",
            "a.txt:2: expected pairs of x and y after the class; received 7 coordinates, an odd number",
        ),
        ("0 0 0 1 0 1 x", "a.txt:2: expected numbers (could not convert string to float: 'x')"),
        ("0 0 0 1 0 1 nan", "a.txt:2: point 2 (12, nan) is outside the image of 12x10 pixels by more than a pixel"),
        ("0 0 0 1 0 3 1", "a.txt:2: point 2 (36, 10) is outside the image"),
        ("2 0 0 1 0 1 1", "a.txt:2: expected the number of a class, 0 to 1; received '2'"),
        ("-1 0 0 1 0 1 1", "a.txt:2: expected the number of a class, 0 to 1; received '-1'"),
    ],
)
def test_invalid_lines_of_yolo(line: str, expected: str, tmp_path: Path) -> None:
    labels = scenes.write_yolo(tmp_path)
    as_text(labels / "a.txt", f"0 0 0 1 0 1 1\n{line}\n")
    assert expected in message("yolo", labels, tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("data.yaml", "names: [a, 5]", '`names` is ["a", 5]. Expected a list of strings, or a mapping from 0, 1'),
        (
            "data.yaml",
            "names: {1: a}",
            'is {"1": "a"}. Expected a list of strings, or a mapping from 0, 1, … to strings.',
        ),
        (
            "data.yaml",
            "path: x",
            "data.yaml: has no `names`. Expected the names of the classes, in the order of their numbers.",
        ),
        ("data.yaml", "names: [", "). Expected `names`, and optionally splits."),
        ("classes.txt", "car\n\nperson\n", "classes.txt:2: expected the name of a class on each line; received ''"),
        ("c.txt", "", "c.txt: no image of this name in {}/images. Add the image or remove the file."),
        ("a.txt", "\udcff", "a.txt: is not UTF-8 text. Expected the format of YOLO segmentation."),
    ],
)
def test_invalid_files_of_yolo(file: str, content: str, expected: str, tmp_path: Path) -> None:
    labels = scenes.write_yolo(tmp_path)
    (labels / file).write_bytes(content.encode("utf-8", "surrogateescape"))
    assert expected.replace("{}", str(tmp_path)) in message("yolo", labels, tmp_path)


def test_missing_files_of_yolo(tmp_path: Path) -> None:
    images = scenes.images(tmp_path)
    assert "names of the classes are missing. Expected classes.txt or data.yaml there" in message(
        "yolo", images, tmp_path
    )
    assert "none.yaml: no such file. Expected data.yaml" in message("yolo", tmp_path / "none.yaml", tmp_path)
    expected = "none: is neither a folder nor a YAML file. Expected the label files of YOLO, or data.yaml"
    assert expected in message("yolo", tmp_path / "none", tmp_path)
    as_text(tmp_path / "data.yaml", "names: [a, b]")
    images.rename(tmp_path / "photos")
    with pytest.raises(
        DataError, match=re.escape(": is in no folder `images`, beside which data.yaml expects `labels`.")
    ):
        convert("yolo", tmp_path / "data.yaml", tmp_path / "photos", tmp_path / "out")


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda file: file.write_bytes(b"x"), "is not a file with GTcls.Segmentation ("),
        (lambda file: file.write_bytes(b""), "is not a file with GTcls.Segmentation ("),
        (
            lambda file: scenes.write_mat(file, np.full((10, 12), 21)),
            "expected class ids from 0 to 20, [height, width]",
        ),
        (lambda file: scenes.write_mat(file, np.zeros((2, 10, 12), np.uint8)), "expected class ids from 0 to 20"),
        (
            lambda file: scenes.write_mat(file, np.zeros((12, 10), np.uint8)),
            "a.mat: the size is 10x12 (width x height)",
        ),
        (lambda file: file.rename(file.with_name("c.mat")), "c.mat: no image 'c.jpg' in"),
    ],
)
def test_invalid_files_of_sbd(write: Callable[[Path], Any], expected: str, tmp_path: Path) -> None:
    path = scenes.write_sbd(tmp_path)
    write(path / "cls" / "a.mat")
    assert expected in message("sbd", path, tmp_path)


@pytest.mark.parametrize("kind", FORMATS)
def test_missing_annotations(kind: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    text = message(kind, tmp_path / "empty", tmp_path)
    expected = {
        "yolo": "empty: the names of the classes are missing. Expected classes.txt",
        "labelme": "empty: contains no JSON file. Expected the files of labelme (`*.json`).",
        "sbd": "empty: contains no .mat file. Expected the folder `cls` of SBD.",
    }
    for_json = "empty: cannot be read (Is a directory). Expected a JSON file of annotations."
    expected["cvat"] = "empty: cannot be read (Is a directory). Expected an XML file of CVAT."
    assert expected.get(kind, for_json) in text


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000, b"\xef\xbb\xbf{}x"])
def test_files_that_are_not_json(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert re.search(
        r"a\.json: is not JSON \(.+\)\. Expected a file of annotations\.",
        message("coco", tmp_path / "a.json", tmp_path),
    )


# Images.


def test_missing_folders_of_images(tmp_path: Path) -> None:
    path = scenes.write_coco(tmp_path)
    with pytest.raises(
        DataError, match=r"none: no such folder. Expected the folder of the annotated images \(--images\)."
    ):
        convert("coco", path, tmp_path / "none", tmp_path / "out")


def test_images_that_cannot_be_read(tmp_path: Path) -> None:
    images = scenes.images(tmp_path)
    (images / "a.png").write_bytes(b"text")
    np.save(images / "c.npy", np.zeros(5))
    document = scenes.coco()
    document["images"].append({"id": 1, "file_name": "c.npy"})
    text = message("coco", as_json(tmp_path / "a.json", document), tmp_path)
    assert f"images[0].file_name: {images}/a.png is not an image that can be read (cannot identify image file" in text
    assert "c.npy is not an image that can be read (an array of shape [5]). Restore the file." in text
    assert "2 problems" in text, "the annotations of the images are not reported again"


@pytest.mark.parametrize("content", [b"", b"PK\3\4 and more", b"\x93NUMPY\1\0\4\0{(\n ", b"\x93NUMPY\1\0"])
def test_arrays_that_cannot_be_read(content: bytes, tmp_path: Path) -> None:
    images = scenes.images(tmp_path)
    (images / "c.npy").write_bytes(content)
    document = {**scenes.coco(), "images": [{"id": 7, "file_name": "c.npy"}], "annotations": []}
    text = message("coco", as_json(tmp_path / "a.json", document), tmp_path)
    assert re.search(r"images\[0\]\.file_name: .*/c\.npy is not an image that can be read \(.+\)\. Restore the", text)


def test_two_images_with_one_name(tmp_path: Path) -> None:
    path = scenes.write_coco(tmp_path)
    scenes.images(tmp_path, "a.png", "a.bmp", "b.png")
    assert "has the same name `a` as" in message("coco", path, tmp_path)


def test_base_names_of_two_images(tmp_path: Path) -> None:
    path = scenes.write_coco(tmp_path)
    scenes.images(tmp_path, "x/a.png", "y/a.png", "b.png")
    expected = f"the image 'a.png' matches x/a.png and y/a.png. Expected the path below {tmp_path}/images."
    assert expected in message("coco", path, tmp_path)


def test_sizes_before_the_exif_rotation(tmp_path: Path) -> None:
    images = scenes.images(tmp_path, "b.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(images / "a.jpg", exif=exif)
    document = changed(scenes.coco(), "images.0.file_name", "a.jpg")
    expected = "a.jpg is 10x12 after the rotation by its EXIF orientation. Use the images that were annotated."
    assert expected in message("coco", as_json(tmp_path / "a.json", document), tmp_path)


def test_names_that_lists_cannot_contain(tmp_path: Path) -> None:
    scenes.images(tmp_path, "a .png", "b.png")
    document = changed(scenes.coco(), "images.0.file_name", "a .png")
    expected = "the image name 'a ' begins or ends with white space, or has several lines."
    assert expected in message("coco", as_json(tmp_path / "a.json", document), tmp_path)


# Classes.


def test_invalid_selections_of_classes(tmp_path: Path) -> None:
    path = scenes.write_coco(tmp_path)
    expected = f"{path}: no classes tram, bus, which --classes selects. Expected: car, person."
    assert message("coco", path, tmp_path, classes=("tram", "car", "bus")) == expected
    expected = "--classes: expected unique names; received twice: car."
    assert message("coco", path, tmp_path, classes=("car", "car")) == expected
    advice = ". Expected at least 2 classes, one of which may be the background. Correct --classes, or add annotations."
    expected = f"{path}: 1 class to convert: car{advice}"
    assert message("coco", path, tmp_path, classes=("car",), background=False) == expected


def test_files_without_records(tmp_path: Path) -> None:
    path = as_json(tmp_path / "a.json", {"images": [], "annotations": [], "categories": [{"id": 1, "name": "car"}]})
    assert "has no annotated image. Expected at least one." in message("coco", path, tmp_path)
    path = as_json(tmp_path / "a.json", changed(changed(scenes.coco(), "categories", []), "annotations", []))
    assert "a.json: 1 class to convert: background. Expected at least 2 classes" in message("coco", path, tmp_path)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    document = scenes.coco()
    document["annotations"] *= 15
    for each in document["annotations"]:
        each["category_id"] = 0
    text = message("coco", as_json(tmp_path / "a.json", document), tmp_path)
    assert "30 problems in the annotations" in text
    assert text.splitlines()[-1] == "… and 10 more"
    assert len(text.splitlines()) == 22


def test_label_files_of_yolo_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, read = scenes.write_yolo(tmp_path), Path.read_text

    def refuse(path: Path, **options: Any) -> str:
        if path.suffix == ".txt":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert message("yolo", labels, tmp_path).endswith(
        "classes.txt: cannot be read (Permission denied). Expected a text file."
    )
