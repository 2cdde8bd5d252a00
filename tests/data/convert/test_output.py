"""Output folder of a conversion: replaced as a whole or not at all, and usable for training."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.convert import scenes
from tests.data.convert.scenes import as_json
from tests.processes import ROOT
from tfseg.cli.commands import main
from tfseg.data.convert import Options, convert, writing
from tfseg.errors import DataError
from tfseg.pipeline import check as check_pipeline
from tfseg.pipeline import load


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    scenes.images(tmp_path)
    return scenes.write_coco(tmp_path)


def opened(file: Path) -> Any:
    pipeline = load(file)
    return pipeline.data.open(pipeline.labels)


def many(root: Path, count: int, *others: str) -> Path:
    """Writes a COCO file with some images, and further images without records."""
    names = [f"{number:03d}.png" for number in range(count)]
    scenes.images(root, *names, *others)
    document = scenes.coco()
    document["images"] = [{"id": number + 7, "file_name": name} for number, name in enumerate(names)]
    return as_json(root / "coco.json", document)


def test_the_command(tmp_path: Path, coco: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "städte 1"
    words = [
        "data",
        "convert",
        "--from",
        "coco",
        str(coco),
        "--images",
        str(tmp_path / "images"),
        "--output",
        str(output),
    ]
    assert main(words) == 0
    out, err = capfd.readouterr()
    expected = ["2 masks of 3 classes", "1 image without shapes", f"Pipeline saved to {output}/pipeline.yaml"]
    assert out.startswith("2/2 - "), "the progress"
    assert (out.splitlines()[1:], err) == (expected, "")
    pipeline, description = check_pipeline(output / "pipeline.yaml")
    assert pipeline.name == "stdte1" and description
    assert main(words) == 1
    expected = ": is not empty. Choose another --output, or replace an earlier conversion with --overwrite."
    assert capfd.readouterr().err == f"{output}{expected}\n"
    assert main(["-q", *words, "--overwrite", "--classes", "person, car", "--no-background", "--skip-empty"]) == 0
    assert load(output / "pipeline.yaml").labels.names == ("person", "car")
    assert [path.name for path in (output / "masks").iterdir()] == ["a.png"]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("given", ["images", "images/a.json"])
def test_images_of_labelme_are_beside_its_files(given: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In the folder of the JSON files, or of the one file, without --images."""
    folder = scenes.images(tmp_path)
    as_json(folder / "a.json", scenes.labelme())
    words = ["data", "convert", "--from", "labelme", str(tmp_path / given), "--output", str(tmp_path / "out")]
    assert main(words) == 0, capfd.readouterr().err
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/masks/a.png")), scenes.mask())
    assert [path.name for path in (tmp_path / "out/masks").iterdir()] == ["a.png"]


def yolo(root: Path, description: str, *folders: str) -> Path:
    """Writes an annotated image per folder, such as `images/train`."""
    for number, folder in enumerate(folders):
        images = scenes.images(root / str(number), f"{number}.png")
        (root / folder).parent.mkdir(parents=True, exist_ok=True)
        images.rename(root / folder)
        labels = root / folder.replace("images", "labels")
        labels.mkdir(parents=True)
        (labels / f"{number}.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5")
    (root / "data.yaml").write_text(f"names: [car]\n{description}\n")
    return root / "data.yaml"


@pytest.mark.parametrize(
    ("description", "folders", "expected"),
    [
        ("path: .\ntrain: images/train\nval: [images/val]", ("images/train", "images/val"), ("train/0", "val/1")),
        ("train: ../train/images\nval: ../valid/images", ("train/images", "valid/images"), None),
        ("path: data\ntrain: images", ("data/images",), ("0",)),
    ],
)
def test_images_of_yolo_are_those_of_the_file(
    description: str, folders: tuple[str, ...], expected: tuple[str, ...] | None, tmp_path: Path
) -> None:
    """Below the folder of `data.yaml`, also with `..` where there is none."""
    file = yolo(tmp_path / "in", description, *folders)
    convert("yolo", file, None, tmp_path / "out")
    masks = sorted((tmp_path / "out/masks").rglob("*.png"))
    names = tuple(path.relative_to(tmp_path / "out/masks").with_suffix("").as_posix() for path in masks)
    assert names == (expected or ("train/images/0", "valid/images/1"))
    assert all(np.asarray(Image.open(path)).any() for path in masks)


ADVICE = "Give the folder of the annotated images with --images."


def test_yolo_without_a_folder_of_images(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (tmp_path / "other").mkdir()
    file = yolo(folder, "val: ", "images/train", "images/extra")
    for description, expected in (
        ("val: ", f"{file}: lists no folder of images. {ADVICE}"),
        ("train: list.txt", f"{file}: the images 'list.txt' are no folder in {folder}. {ADVICE}"),
        ("train: ../../other", f"{file}: the images '../../other' are no folder in {folder}. {ADVICE}"),
        (f"train: {tmp_path}/other", f"{file}: the images '{tmp_path}/other' are no folder in {folder}. {ADVICE}"),
        (
            "train: images/train\nval: images",
            None,
        ),
        (
            "train: images/train\nval: images/val",
            f"{file}: the image {folder}/images/extra/1.png is in none of the folders images/train, images/val. "
            + ADVICE,
        ),
    ):
        file.write_text(f"names: [car]\n{description}\n")
        if "images/val" in description:
            (folder / "images/val").mkdir()
        if expected is None:
            convert("yolo", file, None, tmp_path / "out")
            continue
        with pytest.raises(DataError) as error:
            convert("yolo", file, None, tmp_path / "none")
        assert str(error.value) == expected
    with pytest.raises(DataError) as error:
        convert("yolo", folder / "labels", None, tmp_path / "none")
    assert str(error.value) == (f"{folder}/labels: is a folder of label files, which do not name the images. {ADVICE}")


EITHER = "Expected either --to tfrecord, for a dataset, or --from FORMAT, for annotations."


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["x.json", "--output", "out"],
            EITHER,
        ),
        (
            ["x.json", "--output", "out", "--from", "coco", "--to", "tfrecord"],
            EITHER,
        ),
        (
            ["x.json", "--output", "out", "--from", "coco", "--images", "d", "--shards", "2"],
            "--shards applies to --to tfrecord only. Remove it.",
        ),
        (
            ["x.yaml", "--output", "out", "--to", "tfrecord", "--skip-empty"],
            "--skip-empty applies to --from FORMAT only. Remove it.",
        ),
        (
            ["x.json", "--output", "out", "--from", "coco"],
            "--from coco needs the folder of the annotated images: --images DIR",
        ),
        (
            ["x", "--output", "out", "--from", "tfds", "--images", "d"],
            "--from tfds reads the images of the dataset. Remove --images d",
        ),
        (["x.json", "--output", "out", "--from", "coko"], "'coko' is not one of"),
        (
            ["x", "--output", "out", "--from", "sbd", "--images", "d", "--crowd", "skip"],
            "--crowd applies to COCO's crowds. Remove it for --from sbd",
        ),
        (
            ["x", "--output", "out", "--from", "sbd", "--images", "d", "--mask-key", "a"],
            "--image-key and --mask-key apply to tfds and huggingface. Remove them for --from sbd",
        ),
    ],
)
def test_invalid_commands(words: list[str], expected: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "convert", *words]) == 2
    assert expected in capfd.readouterr().err


def test_the_formats_of_the_command_are_those_of_the_package() -> None:
    from tfseg.cli.annotation_options import FORMATS, WITH_IMAGES
    from tfseg.data.convert import FORMATS as expected
    from tfseg.data.convert.conversion import READERS

    assert expected == FORMATS and tuple(READERS) == WITH_IMAGES


def test_the_pipeline_finds_images_and_masks_from_any_working_directory(tmp_path: Path) -> None:
    coco = many(tmp_path, 10)
    report = convert("coco", coco, tmp_path / "images", tmp_path / "deep" / "er" / "out")
    assert "fractions" in report.pipeline.read_text()
    data = opened(report.pipeline)
    assert (data.count("train"), data.count("val")) == (8, 2)
    (tmp_path / "moved").mkdir()
    for name in ("images", "deep"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    assert opened(tmp_path / "moved" / "deep" / "er" / "out" / "pipeline.yaml").count("val") == 2


def test_images_without_records_are_not_examples(tmp_path: Path) -> None:
    coco = many(tmp_path, 10, "x/other image.png", "001 b.png")
    report = convert("coco", coco, tmp_path / "images", tmp_path / "out")
    data = opened(report.pipeline)
    assert sorted([*data.names("train"), *data.names("val")]) == [f"{number:03d}" for number in range(10)]
    assert data.count("val") == 2
    both = convert("coco", many(tmp_path / "2", 10), tmp_path / "2" / "images", tmp_path / "2" / "out")
    assert set(opened(both.pipeline).names("val")) == set(data.names("val")), "lists are those of the fractions"


def test_names_with_spaces_in_lists(tmp_path: Path) -> None:
    scenes.images(tmp_path, "a b.png", "c d.png", "e.png")
    document = scenes.coco()
    for image, name in zip(document["images"], ("a b.png", "c d.png"), strict=True):
        image["file_name"] = name
    report = convert("coco", as_json(tmp_path / "a.json", document), tmp_path / "images", tmp_path / "out")
    data = opened(report.pipeline)
    assert {*data.names("train"), *data.names("val")} == {"a b", "c d"}


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    labels = scenes.write_yolo(tmp_path)
    scenes.images(tmp_path, os.fsdecode(b"\xff.png"), "ü.png", "c.png", "d.png")
    (labels / "a.txt").rename(labels / os.fsdecode(b"\xff.txt"))
    convert("yolo", labels, tmp_path / "images", tmp_path / "out")
    names = sorted(os.listdir(os.fsencode(tmp_path / "out" / "masks")))
    assert names == [b"c.png", b"d.png", "ü.png".encode(), b"\xff.png"]
    assert opened(tmp_path / "out" / "pipeline.yaml").count("train") == 3


def test_an_output_inside_the_images(tmp_path: Path) -> None:
    """Masks are not read as images, neither in training nor in a second conversion."""
    images = scenes.images(tmp_path, "a.png", "b.png", "c.png")
    labels = scenes.write_yolo(tmp_path)
    for overwrite in (False, True):
        report = convert("yolo", labels, images, images / "out", Options(overwrite=overwrite))
        assert report.masks == 3
        data = opened(report.pipeline)
        assert {*data.names("train"), *data.names("val")} == {"a", "b", "c"}
    report = convert("yolo", labels, images, images, Options(overwrite=True))
    assert report.masks == 6, "the masks of the other output"


def test_the_images_may_be_in_the_output(tmp_path: Path, coco: Path) -> None:
    report = convert("coco", coco, tmp_path / "images", tmp_path, Options(overwrite=True))
    assert "images: images/{name}.*" in report.pipeline.read_text()
    assert opened(report.pipeline).count("train") == 1


def test_other_files_of_the_output_are_kept(tmp_path: Path, coco: Path) -> None:
    output = tmp_path / "out"
    for name in ("notes.txt", "masks/old.png", "splits/old.txt", "images/x.png"):
        scenes.as_text(output / name, "x")
    convert("coco", coco, tmp_path / "images", output, Options(overwrite=True))
    kept = sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
    assert kept == ["images/x.png", "masks/a.png", "masks/b.png", "notes.txt", "pipeline.yaml"]


def test_links_are_not_followed_when_deleting(tmp_path: Path, coco: Path) -> None:
    precious = scenes.as_text(tmp_path / "precious" / "a.png", "x")
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "masks").symlink_to(precious.parent)
    report = convert("coco", coco, tmp_path / "images", tmp_path / "out", Options(overwrite=True))
    assert precious.read_text() == "x"
    assert (tmp_path / "real" / "masks" / "b.png").is_file() and not (tmp_path / "real" / "masks").is_symlink()
    assert opened(report.pipeline).count("val") == 1


def test_images_behind_a_link(tmp_path: Path, coco: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "images")
    report = convert("coco", coco, tmp_path / "link", tmp_path / "out")
    assert opened(report.pipeline).count("train") == 1


def test_sources_are_not_deleted(tmp_path: Path, coco: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (tmp_path / "images").rename(output / "masks")
    with pytest.raises(
        DataError, match=r"masks: is in .*/out/masks, which would be replaced. Choose another --output."
    ):
        convert("coco", coco, output / "masks", output, Options(overwrite=True))
    assert len(list((output / "masks").iterdir())) == 2


def test_outputs_that_cannot_be_created(tmp_path: Path, coco: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    broken = f"{tmp_path / 'dangling'} is a broken symbolic link"
    for name, reason in (
        ("dangling", broken),
        ("dangling/x", broken),
        ("loop", f"{tmp_path / 'loop'} is a broken symbolic link"),
        ("coco.json/x", "Not a directory"),
        ("n" * 300, "File name too long"),
        ("/proc/x", "No such file or directory"),
    ):
        with pytest.raises(DataError) as error:
            convert("coco", coco, tmp_path / "images", tmp_path / name)
        assert str(error.value) == (
            f"{tmp_path / name}: cannot be written ({reason}). Expected a writable folder, or one that can be created. "
            "Choose another --output."
        )


def test_folders_of_a_failed_conversion_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    bad = scenes.as_text(tmp_path / "a.json", "{")
    images = scenes.images(tmp_path)
    for output in (tmp_path / "kept/a/b/c", tmp_path / "kept"):
        with pytest.raises(DataError, match="is not JSON"):
            convert("coco", bad, images, output)
        assert list((tmp_path / "kept").iterdir()) == []


def test_a_link_to_itself_among_the_images(tmp_path: Path, coco: Path) -> None:
    loop = tmp_path / "images/loop"
    loop.symlink_to("loop")
    with pytest.raises(DataError) as error:
        convert("coco", coco, tmp_path / "images", tmp_path / "out")
    assert str(error.value) == (
        f"{loop}: cannot be read (Too many levels of symbolic links). Expected a readable file or folder. Restore it, "
        "or remove it."
    )
    assert not (tmp_path / "out").exists()


def test_outputs_that_cannot_be_written(tmp_path: Path, coco: Path) -> None:
    with pytest.raises(DataError, match=r"coco.json: is not a folder. Choose another --output."):
        convert("coco", coco, tmp_path / "images", coco)
    (tmp_path / "a*b").mkdir()
    (tmp_path / "images").rename(tmp_path / "a*b" / "images")
    expected = (
        ": the path contains *, {name}, {split} or control characters, which the pattern of a source cannot contain. "
        "Rename the folder."
    )
    with pytest.raises(DataError, match=re.escape(expected)):
        convert("coco", coco, tmp_path / "a*b" / "images", tmp_path / "out")


def test_a_failure_while_writing_leaves_the_earlier_conversion(
    tmp_path: Path, coco: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The disk is full after the first mask."""
    written = []

    def write(path: Path, ids: np.ndarray, palette: np.ndarray) -> None:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        path.write_bytes(b"x")

    output = tmp_path / "out"
    words = [
        "data",
        "convert",
        "--from",
        "coco",
        str(coco),
        "--images",
        str(tmp_path / "images"),
        "--output",
        str(output),
    ]
    monkeypatch.setattr(writing, "write_mask", write)
    assert main(words) == 1
    assert capfd.readouterr().err.endswith("No space left on device. Free disk space and rerun the command\n")
    assert not output.exists()
    monkeypatch.undo()
    assert main(words) == 0
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    written.clear()
    monkeypatch.setattr(writing, "write_mask", write)
    assert main([*words, "--overwrite"]) == 1
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


KILLED = """
import os, signal, sys
from pathlib import Path
from tfseg.data.convert import convert, writing

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

writing.write_mask = kill
convert("coco", sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.mark.slow
def test_a_killed_conversion_can_be_repeated(tmp_path: Path, coco: Path) -> None:
    words = [sys.executable, "-c", KILLED, coco, tmp_path / "images", tmp_path / "out"]
    assert subprocess.run(words, cwd=ROOT, check=False, capture_output=True).returncode == -9
    assert [path.name[:7] for path in (tmp_path / "out").iterdir()] == [".masks-"]
    convert("coco", coco, tmp_path / "images", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["masks", "pipeline.yaml"]


def test_images_of_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(scenes.images(tmp_path, "b.png") / "a.png")
    document = scenes.coco()
    document["images"][0].update(width=1, height=1)
    document["annotations"] = [
        {"image_id": 7, "category_id": 3, "segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]]},
        {"image_id": 7, "category_id": 9, "segmentation": [[0.6, 0.6, 1, 0.6, 1, 1]]},
    ]
    convert("coco", as_json(tmp_path / "a.json", document), tmp_path / "images", tmp_path / "out")
    with Image.open(tmp_path / "out" / "masks" / "a.png") as mask:
        assert np.asarray(mask).tolist() == [[1]]
