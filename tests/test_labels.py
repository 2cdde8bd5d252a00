"""Labels: names, ids, colors and published sets."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfseg.labels import IGNORE, PUBLISHED, Labels, voc_palette
from tfseg.spec import SpecError, dump, read, spec, validate


@spec
class File:
    """Pipeline file with labels only."""

    labels: Labels
    """Labels."""


def load(folder: Path, text: str, *overrides: str) -> Labels:
    (folder / "x.yaml").write_text(text)
    return validate(File, read(folder / "x.yaml", overrides)).labels


def test_custom_names(tmp_path: Path) -> None:
    labels = load(tmp_path, "labels: {names: [cell, membrane]}")
    assert labels == Labels(names=("cell", "membrane"))
    assert (labels.count, labels.ignore, labels.colors) == (2, IGNORE, None)
    np.testing.assert_array_equal(labels.palette, voc_palette())


def test_voc(tmp_path: Path) -> None:
    labels = load(tmp_path, "labels: voc")
    assert (labels.count, labels.ignore) == (21, 255)
    assert (labels.names[0], labels.names[15], labels.names[20]) == ("background", "person", "tvmonitor")
    colors = labels.palette[[0, 1, 15, 20, 255]].tolist()
    assert colors == [[0, 0, 0], [128, 0, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192]]


def test_camvid(tmp_path: Path) -> None:
    labels = load(tmp_path, "labels: camvid")
    assert (labels.count, labels.ignore) == (11, 11)
    assert labels.names[:4] == ("Sky", "Building", "Pole", "Road")
    assert labels.palette[[0, 3, 4, 10, 11]].tolist() == [
        *([128, 128, 128], [128, 64, 128], [60, 40, 222], [0, 128, 192]),
        [0, 0, 0],
    ]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sets_are_valid_and_dumped_in_full(name: str, tmp_path: Path) -> None:
    labels = load(tmp_path, f"labels: {name}")
    assert load(tmp_path, dump(File(labels=labels))) == labels
    assert len(set(labels.names)) == labels.count


def test_fields_override_a_published_set(tmp_path: Path) -> None:
    camvid = load(tmp_path, "labels: camvid")
    assert load(tmp_path, "labels: {type: camvid, ignore: 255}") == Labels(names=camvid.names, colors=camvid.colors)
    assert load(tmp_path, "labels: camvid", "labels.ignore=255").ignore == 255


def test_palette_of_more_than_256_classes() -> None:
    labels = Labels(
        names=tuple(f"class {number}" for number in range(300)),
        ignore=65535,
        colors=tuple((number % 256, 1, 2) for number in range(300)),
    )
    assert labels.palette.shape == (256, 3)
    assert labels.palette[255].tolist() == [255, 1, 2]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("labels: {names: [a]}", ["labels.names: expected a list of at least 2 strings; received a list of 1 item"]),
        ("labels: {names: [a, '']}", ['labels.names.1: expected a string of at least 1 character; received ""']),
        ("labels: {names: [a, b, a]}", ["labels.names: class names must be unique; received twice: a"]),
        (
            "labels: {names: [a, b], ignore: 1, colors: [[0, 0, 0]]}",
            [
                "labels.ignore: 1 is the id of the class 'b'; expected 2 or more",
                "labels.colors: expected 2 colors, one per class; received 1",
            ],
        ),
        (
            "labels: {names: [a, b], ignore: 70000}",
            ["labels.ignore: expected an integer from 0 to 65535; received 70000"],
        ),
        (
            "labels: camvd",
            [
                'labels: expected names, or a published set (voc, camvid, cityscapes, ade20k); received "camvd"; '
                'did you mean "camvid"?'
            ],
        ),
        (
            "labels: {type: 3}",
            ["labels.type: expected names, or a published set (voc, camvid, cityscapes, ade20k); received 3"],
        ),
        (
            "labels: [a, b]",
            ["labels: expected a mapping with keys among names, ignore, colors; received a list of 2 items"],
        ),
    ],
)
def test_error_messages(text: str, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        validate(File, read("x.yaml"))
    assert str(caught.value).split("\n") == [f"x.yaml:1: {line}" for line in lines]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"names": ("a", "a")}, "names: class names must be unique; received twice: a"),
        ({"names": ("a", "b"), "ignore": 0}, "ignore: 0 is the id of the class 'a'; expected 2 or more"),
    ],
)
def test_constructor_validates_like_files(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^Labels: {re.escape(message)}$"):
        Labels(**wrong)
