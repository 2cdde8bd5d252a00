"""The `data` section of a pipeline file and its error messages."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tfseg.context import Context
from tfseg.data import Data, Shapes
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.spec.problems import SpecError
from tfseg.spec.source import read
from tfseg.spec.validate import validate

TWO = Labels(names=("a", "b"))


def loaded(tmp_path: Path, text: str) -> Data:
    (tmp_path / "data.yaml").write_text(text)
    return validate(Data, read(tmp_path / "data.yaml"))


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("root: x", ['root: the source shapes reads no files; expected none; received "{folder}/x"']),
        (
            "root: x\nsource: {type: folder, channels: 1}\naugment: [flip, color_jitter]",
            ["augment.1: saturation and hue must be 0 for images with 1 channels; received 0.2 and 0.02"],
        ),
        (
            "fill: [1, 2]",
            ["fill: expected 1 value, or 3 values: one per channel of the images; received 2"],
        ),
        (
            "augment: [{type: scale, min: 2, max: 1}, {type: scale, factors: []}]",
            [
                "augment.0.min: expected at most max, which is 1.0; received 2.0",
                "augment.1.factors: expected at least one factor; received none",
            ],
        ),
        (
            "root: x\nsource: {type: folder, images: a, masks: '{name}{name}', lists: b, fractions: {a: 0.7, b: 0.6}}",
            [
                "source.images: expected {name} once in the pattern; received 'a'",
                "source.masks: expected {name} once in the pattern; received '{name}{name}'",
                "source.lists: expected {split} in the path; received 'b'",
                "source.fractions: splits must be defined in exactly one way: {split} in images, or lists, or "
                "fractions; received lists and fractions",
                "source.fractions: expected a sum of at most 1; received 1.3",
            ],
        ),
        (
            "root: x\nsource: {type: folder, images: '{name}.png'}",
            [
                "source.images: splits must be defined in exactly one way: {split} in images, or lists, or fractions; "
                "received none"
            ],
        ),
        (
            "root: x\nsource: {type: folder, fractions: {a: 1}}",
            [
                "source.images: splits must be defined in exactly one way: {split} in images, or lists, or fractions; "
                "received {split} and fractions"
            ],
        ),
    ],
)
def test_invalid_fields(tmp_path: Path, text: str, problems: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, text)
    messages = [f"{problem.path}: {problem.message}" for problem in caught.value.problems]
    assert messages == [problem.replace("{folder}", str(tmp_path)) for problem in problems]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("batch_size: 4", []),
        (
            "train_split: trian",
            [(("train_split",), 'no split "trian"; expected one of: train, val, test; did you mean "train"?')],
        ),
        ("validation_split: x", [(("validation_split",), 'no split "x"; expected one of: train, val, test')]),
        ("root: nowhere\nsource: camvid\ntrain_split: anything", []),
        (
            "root: nowhere\nsource: {type: folder, mask: {type: ids, mapping: {7: 0, 8: 2, 9: 255}, rest: 3}}",
            [
                (("source", "mask", "mapping", "8"), "expected a class (0 to 1) or 255 (ignore); received 2"),
                (("source", "mask", "rest"), "expected a class (0 to 1) or 255 (ignore); received 3"),
            ],
        ),
        (
            "root: nowhere\nsource: {type: folder, mask: {type: colors, table: [[1, 2, 3]]}}",
            [(("source", "mask", "table"), "expected 2 colors, one per class; received 1")],
        ),
        ("root: nowhere\nsource: {type: folder, mask: binary}", []),
    ],
)
def test_fields_that_do_not_fit_the_labels(tmp_path: Path, text: str, problems: list[object]) -> None:
    data = loaded(tmp_path, text)
    assert [*data.problems(Context(TWO, 3)), *data.split_problems()] == problems


def test_binary_masks_require_two_classes(tmp_path: Path) -> None:
    three = Labels(names=("a", "b", "c"))
    data = loaded(tmp_path, "root: nowhere\nsource: {type: folder, mask: binary}")
    assert list(data.problems(Context(three, 3))) == [
        (("source", "mask", "type"), "a binary mask has 2 classes, but `labels` has 3")
    ]


def test_unknown_split_is_reported_if_the_root_exists(folder: Path, tmp_path: Path) -> None:
    data = loaded(tmp_path, "root: .\nsource: folder\nvalidation_split: test")
    assert list(data.split_problems()) == [(("validation_split",), 'no split "test"; expected one of: train, val')]


def test_invalid_layout_is_reported_if_the_root_exists(tmp_path: Path) -> None:
    data = loaded(tmp_path, "root: .\nsource: voc")
    message = f"{tmp_path}: no folder JPEGImages here, in VOC2012 or in VOCdevkit/VOC2012. "
    assert list(data.split_problems()) == [(("root",), message + "Correct `data.root`, or put the data there.")]


def test_sources_of_files_require_a_root(tmp_path: Path) -> None:
    data = loaded(tmp_path, "source: camvid")
    assert list(data.split_problems()) == []
    text = (
        "data.root: the source camvid reads files; expected the folder of the dataset; received none. "
        "Set it in the file, or add data.root=FOLDER to the command"
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        data.open(TWO).names("train")


def test_opened_dataset_caches_examples(data: Data, labels: Labels) -> None:
    """The spec is a value without caches: specs with equal fields stay equal."""
    before = dict(vars(data))
    opened = data.open(labels, seed=3)
    assert opened.training_examples is opened.training_examples
    opened.pixel_counts("val")
    assert vars(data) == before
    assert data.open(labels, seed=3).training_examples is not opened.training_examples


def test_class_counts_are_those_of_the_training_split(data: Data, labels: Labels) -> None:
    opened = replace(data, train_split="val", validation_split="train").open(labels)
    counts = opened.pixel_counts("val")
    pixels, image_pixels = opened.class_counts()
    np.testing.assert_array_equal(pixels, counts.classes)
    np.testing.assert_array_equal(image_pixels, counts.image_pixels)


def test_folders_are_listed_once(data: Data, folder: Path) -> None:
    opened = data.open(TWO)
    names = opened.names("train")
    for file in (folder / "train" / "images").iterdir():
        file.unlink()
    assert opened.names("train") == names and opened.count("train") == 5


def test_invalid_arguments_raise() -> None:
    data = Data(source=Shapes(size=16, train=4), batch_size=2)
    with pytest.raises(TypeError, match=r"Expected `labels` to be tfseg.Labels, such as pipeline.labels. Received: 'v"):
        data.open("voc")
    for seed in (-1, 2**31, 1.5, None):
        with pytest.raises(
            ValueError, match=re.escape(f"Expected `seed` to be an integer from 0 to 2**31 - 1. Received: {seed!r}")
        ):
            data.open(TWO, seed)
    opened = data.open(Labels(names=("ground", "disc", "square")))
    for epoch, step in ((0, 2), (0, -1), (-1, 0)):
        message = f"Expected `epoch` to be 0 or more and `step` to be from 0 to 1. Received: epoch={epoch}, step={step}"
        for method in (opened.training_batch, opened.batch_names):
            with pytest.raises(ValueError, match=message):
                method(epoch, step)
