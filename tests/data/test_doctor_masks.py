"""Findings of `examine` about encodings of masks and EXIF rotation, and its proposals."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.data.findings import found, kinds
from tests.tiers import rotating
from tfseg.context import Grid
from tfseg.data import Binary, Data, Folder, Ids
from tfseg.data.doctor import Use, as_yaml, examine
from tfseg.labels import Labels, voc_palette
from tfseg.pipeline import load

Write = Callable[..., Path]
Mask = Callable[[np.ndarray], Image.Image]
PIPELINE = """\
name: tiny
labels: {labels}
data: {{source: {source}, root: {root}, batch_size: 2, validation_split: train}}
model:
  backbone: {{type: small_cnn, filters: 4}}
  decoder: {{type: fcn, strides: [16, 8, 4]}}
training: {{epochs: 1}}
"""
FOUR = Labels(names=("ground", "disc", "square", "ring"))


def rewrite(folder: Path, convert: Mask) -> None:
    """Replaces all masks, whose ids are 0 to 3."""
    for file in folder.rglob("masks/*.png"):
        convert(np.asarray(Image.open(file))).save(file)


def gray(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8))


def colored(ids: np.ndarray) -> Image.Image:
    return Image.fromarray(voc_palette()[ids])


CASES: dict[str, tuple[Labels, str, Mask, str, str]] = {
    "black and white": (
        Labels(names=("a", "b")), "folder", lambda ids: gray(np.where(ids > 1, 255, 0)),
        "data.source.mask", "binary",
    ),
    "black and white, another ignore label": (
        Labels(names=("a", "b"), ignore=2), "folder", lambda ids: gray(np.where(ids > 1, 255, 0)),
        "data.source.mask", "binary",
    ),
    "two other values": (
        Labels(names=("a", "b")), "folder", lambda ids: gray(np.where(ids > 1, 128, 7)),
        "data.source.mask", "{type: ids, mapping: {7: 0, 128: 1}}",
    ),
    "colors read as ids": (FOUR, "folder", colored, "data.source.mask", "colors"),
    "ids read as colors": (FOUR, "{type: folder, mask: colors}", gray, "data.source.mask", "ids"),
    "colors converted to gray": (
        FOUR, "folder", lambda ids: colored(ids).convert("L"),
        "data.source.mask", "{type: ids, mapping: {0: 0, 38: 1, 75: 2, 113: 3, 220: 255}}",
    ),
    "another ignore label": (
        FOUR, "folder", lambda ids: gray(np.where(ids == 3, 250, ids)), "labels.ignore", "250",
    ),
    "a second ignore label": (
        FOUR, "folder", lambda ids: gray(np.where(ids == 3, 250, np.where(ids == 2, 255, ids))),
        "data.source.mask", "{type: ids, mapping: {0: 0, 1: 1, 2: 2, 3: 3, 250: 255}}",
    ),
}  # fmt: skip
"""Labels, source, conversion of masks with ids 0 to 3, and the expected proposal."""


@pytest.mark.parametrize("case", rotating(CASES, ("black and white",)))
def test_proposals_make_the_masks_valid(case: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each is accepted as an override, and no mask is invalid with it."""
    labels, source, convert, key, value = CASES[case]
    rewrite(folder, convert)
    file = tmp_path_factory.mktemp("pipeline") / "tiny.yaml"
    named = f"{{names: [{', '.join(labels.names)}], ignore: {labels.ignore}}}"
    file.write_text(PIPELINE.format(labels=named, source=source, root=folder))
    before = load(file)
    report = examine(before.data.open(before.labels))
    assert report.errors
    assert [(each.key, each.value) for each in report.proposals if "crop" not in each.key] == [(key, value)]
    after = load(file, [f"{key}={value}"])
    assert examine(after.data.open(after.labels)).errors == ()


def test_crop_and_class_weights_are_accepted(folder: Path, write: Write, tmp_path: Path) -> None:
    for file in folder.rglob("masks/*.png"):
        ids = np.zeros_like(np.asarray(Image.open(file)))
        ids[0, :3] = 1, 2, 3
        write(file, ids)
    file = tmp_path / "tiny.yaml"
    file.write_text(PIPELINE.format(labels="{names: [ground, disc, square, ring]}", source="folder", root=folder))
    pipeline = load(file)
    use = Use(pipeline.model.crop_grid, "training.loss.class_weights")
    found = examine(pipeline.data.open(pipeline.labels), use).proposals
    assert as_yaml(found) == (
        "data:\n"
        "  crop: [16, 16]  # training images of different sizes are padded to the largest of a batch\n"
        "training:\n"
        "  loss:\n"
        "    class_weights: median_frequency  # ground has 611 times as many pixels as disc"
    )
    pasted = yaml.safe_load(as_yaml(found))
    base = yaml.safe_load(file.read_text())
    base["data"].update(pasted["data"])
    base.setdefault("training", {}).update(pasted["training"])
    edited = tmp_path / "pasted.yaml"
    edited.write_text(yaml.safe_dump(base))
    assert load(edited).training.loss.class_weights == "median_frequency"
    changed = load(file, [f"{each.key}={each.value}" for each in found])
    assert changed.data.crop == (16, 16)
    assert changed.training.loss.class_weights == "median_frequency"
    larger = load(file, ["data.crop=64"])
    (proposal,) = examine(larger.data.open(larger.labels), Use(Grid(8, 8, 0))).proposals
    assert proposal.reason == "5 of 5 training images are smaller than the crop, 64x64"
    assert (proposal.key, proposal.value) == ("data.crop", "[16, 24]")


def test_low_contrast_masks_are_valid_ids(folder: Path) -> None:
    """Masks of the ids 0 and 1 look black in a viewer. They need no other encoding, nor do those of 0, 1 and 255."""
    two = Labels(names=("a", "b"))
    rewrite(folder, lambda ids: gray(np.where(ids == 3, 255, ids > 0)))
    for mask in (Ids(), Binary()):
        data = Data(source=Folder(mask=mask), root=folder, batch_size=1, validation_split="train")
        report = examine(data.open(two))
        assert report.findings == () and report.proposals == ()


@pytest.mark.slow
def test_masks_after_a_lossy_compression(folder: Path, data: Data, labels: Labels) -> None:
    rewrite(folder, lambda ids: gray(ids * 20 + np.arange(ids.shape[1]) % 7))
    assert found(one_split(data).open(labels), "scattered_ids").message == (
        "train: the masks contain 24 ids of no class, as after JPEG compression or resizing with interpolation. Export "
        "the masks again as PNG, and resize them with nearest neighbor only."
    )


def one_split(data: Data) -> Data:
    """Returns a dataset whose validation split is the training split, so that one split is examined."""
    return replace(data, validation_split="train")


@pytest.mark.slow
def test_masks_stored_as_jpeg(folder: Path, data: Data, labels: Labels) -> None:
    mask = folder / "train/masks/1.png"
    Image.fromarray(np.zeros((21, 29), np.uint8)).save(mask, format="JPEG")
    finding = found(one_split(data).open(labels), "jpeg_mask")
    assert (finding.level, finding.names, finding.files[1]) == ("error", ("1",), str(mask))
    assert finding.message.startswith(f"{mask}: the mask is a JPEG, whose compression changes ids at borders.")


def rotated(folder: Path, name: str, orientation: int, size: tuple[int, int]) -> Path:
    """Replaces a training image by a JPEG with an EXIF orientation, and its mask by one of the stored size."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    (folder / f"train/images/{name}.png").unlink()
    file = folder / f"train/images/{name}.jpg"
    Image.fromarray(np.random.default_rng(orientation).integers(0, 256, (*size, 3), np.uint8)).save(file, exif=exif)
    Image.fromarray(np.zeros(size, np.uint8)).save(folder / f"train/masks/{name}.png")
    return file


def test_masks_of_the_size_before_an_exif_rotation(folder: Path, data: Data, labels: Labels) -> None:
    files = [rotated(folder, str(orientation - 4), orientation, (20, 30)) for orientation in (5, 6, 7, 8)]
    findings = examine(one_split(data).open(labels)).findings
    assert [(each.level, each.kind, each.names) for each in findings] == [
        ("error", "exif_rotation", (str(number),)) for number in (1, 2, 3, 4)
    ]
    assert findings[0].message == (
        f"{files[0]}: the image is 20x30, but its mask {folder}/train/masks/1.png is 30x20, the size before the EXIF "
        "rotation of the image. Images are rotated upright: rotate the mask as well, or remove the EXIF orientation "
        "from the image."
    )
    for number in (1, 2, 3, 4):
        Image.fromarray(np.zeros((30, 20), np.uint8)).save(folder / f"train/masks/{number}.png")
    assert kinds(one_split(data).open(labels)) == [], "masks of the upright images"


def test_exif_orientations_that_keep_the_size(folder: Path, data: Data, labels: Labels) -> None:
    files = rotated(folder, "1", 3, (20, 30)), rotated(folder, "2", 6, (20, 20))
    finding = found(one_split(data).open(labels), "exif_orientation")
    assert (finding.level, finding.names) == ("warning", ("1", "2"))
    assert finding.message == (
        f"train: 2 images have an EXIF orientation that keeps the size, for example {files[0]}, {files[1]}. Images are "
        "rotated upright. Check that the masks were drawn on the upright images."
    )


def test_palettes_with_permuted_colors(folder: Path, data: Data) -> None:
    """One mask has the colors of the classes at other ids; others have the right ones, or colors of no class."""
    labels = Labels(names=FOUR.names, colors=((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)))
    swapped = np.array([[0, 0, 0], [0, 0, 255], [0, 255, 0], [255, 0, 0]], np.uint8)
    for name, palette in (("1", swapped), ("2", np.array(labels.colors, np.uint8)), ("3", voc_palette(4))):
        file = folder / f"train/masks/{name}.png"
        mask = Image.fromarray(np.asarray(Image.open(file)), "P")
        mask.putpalette(palette.tobytes())
        mask.save(file)
    report = examine(one_split(data).open(labels))
    (finding,) = report.findings
    assert (finding.level, finding.kind, finding.names) == ("warning", "palette", ("1",))
    assert finding.message == (
        "train: the palettes of 1 mask have colors of classes at the ids of other classes, for example "
        f"{folder}/train/masks/1.png, where 1 (disc) has the color of ring. The ids of a palette PNG are its indices. "
        "If the colors are right, set `data.source.mask: colors`."
    )
    assert ("data.source.mask", "colors") in [(each.key, each.value) for each in report.proposals]
