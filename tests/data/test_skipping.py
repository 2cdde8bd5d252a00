"""Invalid examples that datasets leave out, and their limit."""

from pathlib import Path

import pytest

from tfseg.data import Data, Folder, ObjectBoxes
from tfseg.data.skipping import invalid_examples, limit_problem
from tfseg.labels import Labels


def test_skipped_examples_are_left_out(data: Data, labels: Labels) -> None:
    opened = data.open(labels, skipped={"train": {"1": "", "3": ""}, "val": ["unknown"]})
    assert opened.names("train") == ("0", "2", "4")
    assert [files[0][-5:] for files in opened.files("train")] == ["0.png", "2.png", "4.png"]
    assert opened.names("val") == ("0", "1", "2")
    reds = [int(image[0, 0, 0, 0]) for image, _ in opened.evaluation("train")]
    assert reds == [0, 2, 4]


def test_fractions_do_not_depend_on_skipped_examples(folder: Path, labels: Labels) -> None:
    source = Folder(
        images="train/images/{name}.png", masks="train/masks/{name}.png", fractions={"train": 0.6, "val": 0.4}
    )
    data = Data(source=source, root=folder)
    names = data.open(labels).names("train")
    assert data.open(labels, skipped={"train": [names[0]]}).names("train") == names[1:]
    assert data.open(labels, skipped={"train": [names[0]]}).names("val") == data.open(labels).names("val")


def test_box_files_may_contain_skipped_examples(folder: Path, labels: Labels) -> None:
    file = folder / "boxes.csv"
    file.write_text("image,left,top,right,bottom,class\n0,2,2,20,18,1\n1,2,2,20,18,1\n")
    data = Data(source=Folder(), root=folder, boxes=ObjectBoxes(file=file, min_pixels=1, size=16))
    examples = data.open(labels, skipped={"train": ["1", "2", "3", "4"]}).training_examples
    assert {name.partition("@")[0].split("#")[0][:1] for name in examples.listing.names} == {"0"}


def test_invalid_examples_are_found(folder: Path, data: Data, labels: Labels) -> None:
    image = folder / "train/images/0.png"
    image.write_bytes(image.read_bytes()[:60])
    (folder / "train/images/1.png").write_bytes(b"RIFF....WEBP")
    calls: list[int] = []
    found = invalid_examples(data.open(labels), "train", lambda: calls.append(0))
    assert list(found) == ["0", "1"] and len(calls) == 5
    assert found["0"].startswith(f"{image}: cannot be decoded (60 bytes).")
    assert found["1"].startswith(f"{folder}/train/images/1.png: the image is a WebP file.")


@pytest.mark.parametrize("count", [100, 300, 700])
def test_exactly_the_limit_is_allowed(count: int) -> None:
    """Products such as 0.29 * 100 are less than the integer in floating point."""
    for percent in range(1, 100):
        number = percent * count // 100
        invalid = {str(index): "bad" for index in range(number)}
        assert limit_problem("train", invalid, count, percent / 100) is None
        assert limit_problem("train", invalid | {"more": "bad"}, count, percent / 100) is not None


def test_message_about_the_limit() -> None:
    invalid = {str(index): f"{index}.png: cannot be decoded." for index in range(5)}
    assert limit_problem("train", invalid, 20, 0.01) == (
        "train: 5 of 20 examples cannot be used. Expected at most 1.00% (data.max_skipped). Correct the files, or "
        "raise the limit:\n  0.png: cannot be decoded.\n  1.png: cannot be decoded.\n  2.png: cannot be decoded.\n"
        "  and 2 more"
    )
    assert limit_problem("val", {"0": "0.png: cannot be decoded."}, 1, 1.0) == (
        "val: 1 of 1 examples cannot be used. Expected at least one valid example. Correct the files:\n"
        "  0.png: cannot be decoded."
    )
    assert limit_problem("val", {}, 0, 0.0) is None
