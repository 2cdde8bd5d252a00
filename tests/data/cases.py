"""The specs of the data section, tiny."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.checks import Given, SpecCase
from tfseg.data import (
    Binary,
    CamVid,
    Colour,
    Colours,
    Data,
    Flip,
    Folder,
    Ids,
    ObjectBoxes,
    ProposalBoxes,
    Rotate,
    Scale,
    Shapes,
    Voc,
)
from tfseg.data.augment import View
from tfseg.labels import Labels

FOUR = Labels(names=("a", "b", "c", "d"))
SEEDS = [tf.constant([5, number], tf.int64) for number in range(6)]


def batches(data: Data) -> Any:
    """The batches of one epoch and the names of the validation examples; of what is cached, the ops that read it."""
    dataset = data.training(FOUR, seed=1, epochs=1)
    return [
        [part.tolist() for batch in dataset.as_numpy_iterator() for part in batch],
        data.names(data.validation_split),
    ]


def pictures(shapes: Shapes) -> Any:
    """The first scenes of every split and how many there are."""
    data = Data(source=shapes)
    found = {split: list(data.evaluation(split, FOUR).take(2).as_numpy_iterator()) for split in data.splits()}
    return [(data.count(split), [part.tolist() for pair in found[split] for part in pair]) for split in data.splits()]


def augmented(op: Any) -> Any:
    """Image and mask after a few draws."""
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    mask = np.arange(256, dtype=np.int32).reshape(16, 16)
    made = [op(tf.constant(image), tf.constant(mask), seed, View(255)) for seed in SEEDS]
    return [part.numpy().tolist() for pair in made for part in pair]


def decoded(mask: Any) -> Any:
    """Ids and fault of a grey mask with few ids, and of a coloured one."""
    grey = np.array([[0, 1, 9, 200]], np.uint8)
    colours = np.array([[[0, 0, 0], [1, 2, 3], [128, 0, 0]]], np.uint8)
    made = [mask(tf.io.encode_png(values), FOUR) for values in (grey[:, :, None], colours)]
    return [[ids.numpy().tolist(), fault.numpy().decode()] for ids, fault in made]


def cut_out(boxes: Any) -> Any:
    """The boxes of a few scenes and what lies in the first one."""
    examples = Data(source=Shapes(size=32, train=3), boxes=boxes).training_examples(FOUR)
    image, mask, _ = examples.load(tf.constant(0, tf.int64))
    return [examples.listing.names, image.numpy().tolist(), mask.numpy().tolist()]


def listed(source: Any) -> Any:
    """Splits, examples and their channels in a folder that many layouts find something in."""
    with tempfile.TemporaryDirectory() as name:
        _fill(Path(name))
        root = Path(name) / "camvid" if isinstance(source, CamVid) else Path(name)
        splits = source.splits(root)
        found = [source.listing(root, split) for split in splits]
        files = [[Path(file).relative_to(root).as_posix() for pair in part.files for file in pair] for part in found]
        examples = source.examples(found[0], FOUR)
        image, mask, fault = examples.load(tf.constant(0, tf.int64))
        return [splits, files, image.numpy().tolist(), mask.numpy().tolist(), bool(fault.numpy())]


def _fill(root: Path) -> None:
    for number in range(6):
        for folder in ("train/images", "train/masks", "val/images", "val/masks", "train/other", "val/other"):
            _save(root / folder / f"{number}.png", number if folder == "train/images" else 1)
    for year in ("2007", "2012"):
        home = root / f"VOC{year}"
        for folder in ("JPEGImages", "SegmentationClass", "Mine"):
            _save(home / folder / (f"a{year}.jpg" if folder == "JPEGImages" else f"a{year}.png"), 1)
        (home / "val.txt").write_text(f"a{year}\n")
    (root / "train.txt").write_text("1\n3\n")
    for split in ("train", "trainannot"):
        _save(root / "camvid" / split / "c.png", 2)


def _save(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((3, 4), value, np.uint8)).save(path)


LAYOUT = Folder(images="{split}/images/{name}.png")
ALL = Folder(images="train/images/{name}.png", masks="train/masks/{name}.png", fractions={"train": 0.5, "val": 0.5})
SCENES = Data(source=Shapes(size=16, train=5, val=2), batch_size=2)

CASES = [
    SpecCase(
        SCENES,
        batches,
        {
            "source": Shapes(size=16, train=5, val=2, seed=1),
            "boxes": ObjectBoxes(smallest=9, size=16),
            "crop": (8, 12),
            "fill": Given(9, {"crop": (40, 40)}),
            "batch_size": 3,
            "augment": (Colour(),),
            "train_split": "test",
            "validation_split": "test",
        },
        elsewhere={"root": "test_a_missing_folder", "cache": "test_nothing_is_read_again_from_memory"},
    ),
    SpecCase(
        Shapes(size=16, train=2, val=2, test=2),
        pictures,
        {"size": (16, 20), "train": 3, "val": 3, "test": 3, "objects": 2, "channels": 2, "seed": 9},
    ),
    SpecCase(
        LAYOUT,
        listed,
        {
            "images": "{split}/other/{name}.png",
            "masks": "{split}/other/{name}.png",
            "lists": "{split}.txt",
            "fractions": Given({"train": 0.2, "val": 0.8}, {"images": ALL.images, "fractions": ALL.fractions}),
            "mask": Ids(mapping={1: 3}),
            "channels": 1,
        },
    ),
    SpecCase(
        ObjectBoxes(smallest=9, size=16),
        cut_out,
        {"context": 2.0, "smallest": 60, "size": (16, 20)},
        elsewhere={"file": "test_a_file_gives_the_objects"},
    ),
    SpecCase(
        ProposalBoxes(smallest=9, size=16),
        cut_out,
        {"overlap": 0.8, "smallest": 60, "jitter": 0.1, "per_object": 3, "size": (16, 20)},
        elsewhere={"file": "test_a_file_gives_the_proposals"},
    ),
    SpecCase(CamVid(), listed, {}),
    SpecCase(Voc(), listed, {"year": "2007", "masks": "Mine"}),
    SpecCase(Ids(), decoded, {"mapping": {0: 1, 1: 0, 9: 2, 200: 3}, "rest": 255}),
    SpecCase(Binary(), decoded, {}),
    SpecCase(Colours(), decoded, {"table": ((1, 2, 3), (0, 0, 0), (128, 0, 0), (9, 9, 9)), "ignore": ((1, 2, 3),)}),
    SpecCase(Scale(), augmented, {"min": 1.5, "max": 0.75, "factors": (1.25,)}),
    SpecCase(Rotate(), augmented, {"degrees": 60.0}),
    SpecCase(Flip(), augmented, {"axis": "vertical", "probability": 1.0}),
    SpecCase(Colour(), augmented, {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}),
]
