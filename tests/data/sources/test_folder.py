"""Images and masks in folders, and error messages of invalid layouts."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfseg.data import Data, Folder, explained
from tfseg.errors import DataError
from tfseg.labels import Labels

Write = Callable[..., Path]
GRAY = np.zeros((4, 5), np.uint8)


def fill(root: Path, write: Write, *names: str) -> None:
    for name in names:
        write(root / name, GRAY)


def paths(folder: Folder, root: Path, split: str) -> list[tuple[str, ...]]:
    listing = folder.listing(root, split)
    return [tuple(Path(file).relative_to(root).as_posix() for file in files) for files in listing.files]


def test_splits_as_folders(folder: Path) -> None:
    assert Folder().splits(folder) == ("train", "val")
    listing = Folder().listing(folder, "train")
    assert listing.names == ("0", "1", "2", "3", "4")
    assert paths(Folder(), folder, "val")[1] == ("val/images/1.png", "val/masks/1.png")


def test_splits_must_have_masks(tmp_path: Path, write: Write) -> None:
    fill(tmp_path, write, "train/a.png", "trainannot/a.png", "new/b.png", "val/c.png", "valannot/c.png")
    layout = Folder(images="{split}/{name}.png", masks="{split}annot/{name}.png")
    assert layout.splits(tmp_path) == ("train", "val")


def test_split_as_part_of_a_folder_name(shared: Path) -> None:
    root = shared / "data" / "miniatures" / "pseudo_lip_dataset"
    layout = Folder(images="{split}_images/{name}.jpg", masks="{split}_segmentations/{name}.png")
    assert layout.splits(root) == ("train", "val")
    assert paths(layout, root, "val") == [("val_images/86_185913.jpg", "val_segmentations/86_185913.png")]


def test_names_with_folders(shared: Path) -> None:
    """Layout of Cityscapes: city folders in each split, and different suffixes."""
    root = shared / "data" / "miniatures" / "pseudo_cityscapes_dataset"
    layout = Folder(
        images="leftImg8bit/{split}/{name}_leftImg8bit.png", masks="gtFine/{split}/{name}_gtFine_labelTrainIds.png"
    )
    assert layout.listing(root, "val").names == ("frankfurt/frankfurt_000000_000294",)


def test_lists_of_names(shared: Path) -> None:
    root = shared / "data" / "miniatures" / "pseudo_dataset"
    layout = Folder(images="imgs/{name}_img.jpg", masks="gts/{name}_gt.png", lists="splits/{split}.txt")
    assert layout.splits(root) == ("train", "val")
    for split in ("train", "val"):
        expected = (root / "splits" / f"{split}.txt").read_text().split()
        assert list(layout.listing(root, split).names) == expected
    labels = Labels(names=tuple("abcd"))
    data = Data(source=layout, root=root, batch_size=2).open(labels)
    assert data.pixel_counts("train").classes.sum() == data.count("train") * 128 * 256


def test_lists_of_paths(tmp_path: Path, write: Write) -> None:
    """Format of SegNet and DeepLab: two paths per line, with an optional leading slash."""
    fill(tmp_path, write, "a/1.png", "a/2.png", "b/one.png", "b/two.png")
    (tmp_path / "train.txt").write_text("/a/2.png /b/two.png\n\na/1.png  b/one.png\n")
    layout = Folder(images="unused/{name}.png", lists="{split}.txt")
    assert layout.splits(tmp_path) == ("train",)
    assert layout.listing(tmp_path, "train").names == ("2", "1")
    assert paths(layout, tmp_path, "train") == [("a/2.png", "b/two.png"), ("a/1.png", "b/one.png")]


def test_fractions_partition_all_examples(tmp_path: Path, write: Write) -> None:
    names = [f"{number:02d}" for number in range(20)]
    fill(tmp_path, write, *(f"images/{name}.png" for name in names), *(f"masks/{name}.png" for name in names))
    fractions = {"train": 0.7, "val": 0.2, "test": 0.1}
    layout = Folder(images="images/{name}.png", masks="masks/{name}.png", fractions=fractions)
    assert layout.splits(tmp_path) == ("train", "val", "test")
    parts = {split: layout.listing(tmp_path, split).names for split in fractions}
    assert {split: len(part) for split, part in parts.items()} == {"train": 14, "val": 4, "test": 2}
    assert sorted(name for part in parts.values() for name in part) == names
    assert all(list(part) == sorted(part) for part in parts.values())
    assert parts["train"] != tuple(names[:14])
    elsewhere = tmp_path.parent / "elsewhere"
    shutil.copytree(tmp_path, elsewhere)
    assert layout.listing(elsewhere, "val").names == parts["val"]


def test_fractions_with_names_that_are_not_utf_8(tmp_path: Path, write: Write) -> None:
    odd = os.fsdecode(b"caf\xe9")
    fill(tmp_path, write, f"images/{odd}.png", f"masks/{odd}.png")
    layout = Folder(images="images/{name}.png", masks="masks/{name}.png", fractions={"train": 1.0})
    assert layout.listing(tmp_path, "train").names == (odd,)


def test_other_files_are_ignored(folder: Path) -> None:
    (folder / "train" / "images" / "0.xml").write_text("<box/>")
    (folder / "train" / "images" / "notes.txt").write_text("")
    assert len(Folder().listing(folder, "train").names) == 5


TWO = Labels(names=("a", "b"))


def raises(text: str) -> object:
    return pytest.raises(DataError, match=f"^{re.escape(text)}$")


def test_missing_folder(tmp_path: Path) -> None:
    with raises(f"{tmp_path / 'no'}: no such folder. Correct `data.root`, or put the data there."):
        _ = Data(source=Folder(), root=tmp_path / "no").open(TWO).splits


def test_unknown_split(data: Data, folder: Path) -> None:
    with raises(f'{folder}: no split "vaal"; expected one of: train, val; did you mean "val"?'):
        data.open(TWO).names("vaal")
    with raises('no split "x"; expected one of: train, val, test'):
        Data().open(TWO).names("x")


def test_no_splits(tmp_path: Path) -> None:
    (tmp_path / "train" / "images").mkdir(parents=True)
    with raises(
        f"{tmp_path}: contains no split. Expected files that match `{{split}}/images/{{name}}.*` and "
        "`{split}/masks/{name}.png`. Correct the patterns or `data.root`."
    ):
        Data(source=Folder(), root=tmp_path).open(TWO).names("train")
    with raises(
        f"{tmp_path}: contains no split. Expected files that match `{{split}}.txt`. "
        "Correct the patterns or `data.root`."
    ):
        Folder(lists="{split}.txt").splits(tmp_path)


def test_empty_split(folder: Path) -> None:
    for file in (folder / "val" / "images").iterdir():
        file.unlink()
    with raises(
        f"{folder}: the split `val` is empty. "
        "Expected files that match `val/images/{name}.*` and `val/masks/{name}.png`."
    ):
        Folder().listing(folder, "val")


def test_empty_list(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("\n")
    with raises(f"{tmp_path}: the split `val` is empty. Expected files that match `val.txt`."):
        Folder(lists="{split}.txt").listing(tmp_path, "val")


def test_image_without_a_mask(folder: Path) -> None:
    (folder / "train" / "masks" / "3.png").unlink()
    with raises(
        f"{folder}/train/images/3.png: has no mask. Expected `train/masks/3.png`. Add the mask or remove the image."
    ):
        Folder().listing(folder, "train")


def test_two_images_with_the_same_name(folder: Path, write: Write) -> None:
    write(folder / "train" / "images" / "3.bmp", GRAY)
    with raises(
        f"{folder}/train/images/3.png: has the same name `3` as {folder}/train/images/3.bmp. "
        "Expected `train/images/{name}.*` to match only one of them."
    ):
        Folder().listing(folder, "train")


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("0\n\n9\n", "3: `9` has no image. Expected `train/images/9.*`. Correct the list or add the image."),
        ("a b c\n", "1: cannot read the line 'a b c'. Expected a name, or the paths of an image and its mask."),
        (
            "train/images/0.png train/masks/7.png\n",
            "1: {root}/train/masks/7.png: no such file. Correct the list or restore the file.",
        ),
        (
            "train/images/0.png train/masks/0.png\nval/images/0.png val/masks/0.png\n",
            "2: two images have the name '0': {root}/train/images/0.png and {root}/val/images/0.png. "
            "Examples are named after their images; rename one of the two.",
        ),
    ],
)
def test_invalid_lists(folder: Path, lines: str, text: str) -> None:
    (folder / "train.txt").write_text(lines)
    with raises(f"{folder}/train.txt:{text.replace('{root}', str(folder))}"):
        Folder(lists="{split}.txt").listing(folder, "train")


def test_errors_name_unsupported_suffixes(folder: Path) -> None:
    for file in (folder / "val" / "images").iterdir():
        file.rename(file.with_suffix(".tif"))
    with raises(
        f"{folder}: the split `val` is empty. Expected files that match `val/images/{{name}}.*` and "
        "`val/masks/{name}.png`. Matches with unsupported suffixes: 3 with .tif. Convert TIFF and WebP files, of "
        "any number of bands, with `tfseg data convert FILE --to tfrecord` (TIFF needs pip install 'tfseg[raster]'), "
        "others to PNG; supported are .jpg, .jpeg, .png, .bmp, .gif, .npy."
    ):
        Folder().listing(folder, "val")
    mask = folder / "train" / "masks" / "0.png"
    mask.rename(mask.with_suffix(".webp"))
    with raises(
        f"{folder}/train/images/0.png: has no mask. Expected `train/masks/0.*`. Add the mask or remove the image. "
        "Matches with unsupported suffixes: 1 with .webp. Convert them to PNG; supported are .jpg, .jpeg, .png, .bmp, "
        ".gif, .npy."
    ):
        Folder(masks="{split}/masks/{name}.*").listing(folder, "train")


def test_lists_written_by_other_tools(folder: Path, write: Write) -> None:
    """Byte order mark, carriage returns, blanks in and after names, and bytes that are not UTF-8."""
    odd = os.fsdecode(b"caf\xe9")
    for name in ("my image", odd, "a\nb"):
        write(folder / "train" / "images" / f"{name}.png", GRAY)
        write(folder / "train" / "masks" / f"{name}.png", GRAY, palette=True)
    (folder / "train.txt").write_bytes(b"\xef\xbb\xbf0\r\nmy image \r\n\ncaf\xe9\n")
    layout = Folder(lists="{split}.txt")
    listing = layout.listing(folder, "train")
    assert listing.names == ("0", "my image", odd)
    assert layout.listing(folder, "train").files[2][0] == str(folder / "train" / "images" / f"{odd}.png")
    assert "a\nb" in Folder().listing(folder, "train").names
    data = Data(source=Folder(), root=folder, batch_size=2).open(Labels(names=tuple("abcd")))
    assert len(list(data.evaluation("train").as_numpy_iterator())) == 8
    (folder / "train" / "images" / f"{odd}.png").write_bytes(b"")
    with pytest.raises(DataError) as error:
        data.pixel_counts("train")
        with explained():
            list(data.training(epochs=1).as_numpy_iterator())
    assert str(error.value).startswith(f"{folder}/train/images/{odd}.png: cannot be decoded (0 bytes).")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), ": is not a file. Expected the list of a split. Correct `data.source.lists`."),
        (
            lambda path: path.write_text("0\n", encoding="utf-16"),
            ": is not UTF-8 text but binary or UTF-16. Save the list as UTF-8.",
        ),
    ],
)
def test_list_must_be_a_text_file(folder: Path, make: Callable[[Path], object], message: str) -> None:
    make(folder / "train.txt")
    with raises(f"{folder}/train.txt{message}"):
        Folder(lists="{split}.txt").listing(folder, "train")


def test_symbolic_links_are_followed_without_cycles(tmp_path: Path, write: Write) -> None:
    fill(tmp_path, write, "far/1.png", "masks/city/1.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "city").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "images")
    layout = Folder(images="images/{name}.png", masks="masks/{name}.png", fractions={"train": 1.0})
    assert layout.listing(tmp_path, "train").names == ("city/1",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.symlink_to("nowhere"), "a broken symbolic link"),
        (os.mkfifo, "not a regular file, such as a pipe"),
    ],
)
def test_images_must_be_regular_files(folder: Path, make: Callable[[Path], object], message: str) -> None:
    path = folder / "train" / "images" / "new.png"
    make(path)
    with raises(f"{path}: is {message}. Expected an image. Restore the file, or remove it."):
        Folder().listing(folder, "train")
