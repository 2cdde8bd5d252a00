"""Small cases of the specs of the data section."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.checks import Given, SpecCase
from tfseg.data import (
    Ade20k,
    Affine,
    Binary,
    Blur,
    CamVid,
    Cityscapes,
    Clahe,
    ClassCrop,
    ClassMix,
    ClassSampling,
    CocoStuff,
    ColorJitter,
    Colors,
    CopyPaste,
    Cutout,
    Data,
    Elastic,
    Flip,
    Folder,
    Gamma,
    Gray,
    GridDistortion,
    Ids,
    Jpeg,
    Mapillary,
    Mix,
    MixedSource,
    Mosaic,
    Noise,
    ObjectBoxes,
    OneOf,
    Pad,
    ProposalBoxes,
    Python,
    RandAugment,
    Rot90,
    Rotate,
    Scale,
    Shapes,
    Sometimes,
    TfRecord,
    Voc,
)
from tfseg.data.augment import Chain, View
from tfseg.data.segmentation_record import serialized
from tfseg.labels import Labels

LABELS = Labels(names=("ground", "disc"))
SEEDS = [tf.constant([5, number], tf.int64) for number in range(6)]
MASKS = [np.random.default_rng(number).integers(0, 2, (16, 16)).astype(np.int32) for number in range(4)]
FOLDER = tempfile.TemporaryDirectory()
ROOT = Path(FOLDER.name)
"""Folder of the files, which `files` writes on first use."""


def named(classes: int) -> dict[str, Any]:
    """Returns labels with a number of classes, for pipelines of published datasets."""
    return {"labels": Labels(names=tuple(map(str, range(classes))))}


def augmented(op: Any) -> Any:
    """Returns images and masks for a few seeds."""
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    mask = np.arange(256, dtype=np.int32).reshape(16, 16)
    outputs = [op(tf.constant(image), tf.constant(mask), seed, View(255)) for seed in SEEDS]
    return [part.numpy().tolist() for pair in outputs for part in pair]


def mixed(op: Any) -> Any:
    """Returns images and masks of an example that is mixed with others."""
    rng = np.random.default_rng(0)
    sides = [(tf.constant(rng.integers(0, 256, (16, 16, 3), np.uint8)), tf.constant(ids)) for ids in MASKS]
    view = View(255, labels=LABELS)

    def load(number: int) -> Any:
        return *sides[1 + number], tf.constant("")

    outputs = [Chain((op,), view).finished(*sides[0], seed, load)[:2] for seed in SEEDS]
    return [part.numpy().tolist() for pair in outputs for part in pair]


def decoded(mask: Any) -> Any:
    """Returns ids and problem of a gray mask and of a color-coded mask."""
    gray = np.array([[0, 1, 9, 200]], np.uint8)
    colors = np.array([[[0, 0, 0], [1, 2, 3], [128, 0, 0]]], np.uint8)
    outputs = [mask(LABELS)(tf.io.encode_png(values)) for values in (gray[:, :, None], colors)]
    return [[ids.numpy().tolist(), problem.numpy().decode()] for ids, problem in outputs]


def cut_out(boxes: Any) -> Any:
    """Returns the names of the boxes of a few scenes, and the first example."""
    files()
    examples = Data(source=Shapes(size=32, train=3), boxes=boxes).open(LABELS).training_examples
    image, mask, _ = examples.load(tf.constant(0, tf.int64))
    return [examples.listing.names, image.numpy().tolist(), mask.numpy().tolist()]


def batch(**fields: Any) -> Any:
    """Returns the images of a few batches of scenes, each of one or two shapes."""
    source = Shapes(size=32, train=12, objects=2)
    data = Data(source=source, batch_size=12, **fields).open(Labels(names=("ground", "disc", "square")))
    return [data.training_batch(epoch, 0)[0].tolist() for epoch in range(4)]


def listed(source: Any) -> Any:
    """Returns splits, counts, names and first examples of a source, in a folder with files for all layouts."""
    root = files() / "all"
    splits = source.splits(root)
    listings = [source.listing(root, split) for split in splits]
    names = [[file.removeprefix(f"{root}/") for pair in part.files for file in pair] for part in listings]
    first = [source.examples(part, LABELS).load(tf.constant(0, tf.int64)) for part in listings]
    counts = [len(part.names) for part in listings]
    return [splits, counts, names, [[part.numpy().tolist() for part in parts[:2]] for parts in first]]


def blended(entry: MixedSource) -> Any:
    """Returns the order of a dataset mixed with scenes, its first example and its splits."""
    files()
    mix = Mix(sources=(entry, MixedSource(source=Shapes(size=16, train=6))))
    data = Data(source=mix, batch_size=1).open(LABELS)
    names = [data.batch_names(0, step) for step in range(data.steps_per_epoch)]
    examples = data.examples("train")
    first = [part.numpy().tolist() for part in examples.load(tf.constant(0, tf.int64))[:2]]
    return [names, data.annotated, first, data.splits]


def readable(source: Any) -> Any:
    """Returns the channels of a source that has no files, and whether its data can be read."""
    data = Data(source=source)
    return [data.channels, data.is_there]


@functools.cache
def files() -> Path:
    """Writes two folders of tiny images in the layouts of all sources, and a box file for synthetic scenes."""
    for home, lightest in (("all", 0), ("other", 100)):
        _fill(ROOT / home, lightest)
    (ROOT / "boxes.csv").write_text("image,left,top,right,bottom,class\ntrain_000000,4,4,28,28,1\n")
    return ROOT


def _fill(root: Path, lightest: int) -> None:
    for number in range(6):
        for split in ("train", "val"):
            _save(root / f"images/{split}/{number}.png", lightest + number)
            _save(root / f"masks/{split}/{number}.png", 1)
            _save(root / f"other/{split}/{number}.png", 0)
    for year in ("2007", "2012"):
        home = root / f"VOC{year}"
        for folder in ("JPEGImages", "SegmentationClass", "Mine"):
            _save(home / folder / (f"a{year}.jpg" if folder == "JPEGImages" else f"a{year}.png"), 1)
        (home / "val.txt").write_text(f"a{year}\n")
    (root / "train.txt").write_text("1\n3\n")
    for split in ("train", "trainannot"):
        _save(root / split / "c.png", 1)
    _save_published(root)
    for split, value in (("train", 1), ("other", 0)):
        gray = tf.io.encode_png(np.full((3, 4, 1), value, np.uint8)).numpy()
        with tf.io.TFRecordWriter(str(root / f"{split}-0.tfrecord")) as writer:
            writer.write(serialized(gray, gray, (3, 4), ("png", "png"), "a"))


def _save_published(root: Path) -> None:
    """Writes the files of the published datasets; a mask of id 7 is valid in all of them."""
    for folder in ("leftImg8bit", "gtFine", "gtCoarse"):
        kind = folder if folder == "leftImg8bit" else f"{folder}_labelIds"
        _save(root / folder / "val" / "ulm" / f"ulm_{kind}.png", 11 if folder == "gtCoarse" else 7)
    for folder in ("images", "annotations"):
        _save(root / folder / "training" / "ade.png", 7)
        _save(root / folder / "val2017" / "coco.png", 7)
    for folder in ("images", "v1.2/labels", "v2.0/labels"):
        _save(root / "training" / folder / "street.png", 9 if folder.startswith("v2") else 7)


def _save(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((3, 4), value, np.uint8)).save(path)


LAYOUT = Folder(images="images/{split}/{name}.png", masks="masks/{split}/{name}.png")
CUT = Folder(images="images/train/{name}.png", masks="masks/train/{name}.png", fractions={"train": 0.5, "val": 0.5})
SCENES = Data(source=Shapes(size=16, train=5, val=2), batch_size=2)
BOXES = ROOT / "boxes.csv"

CASES = [
    SpecCase(
        SCENES,
        None,
        {
            "source": Shapes(size=16, train=5, val=2, seed=1),
            "root": Given(ROOT / "other", {"source": LAYOUT, "root": ROOT / "all"}),
            "boxes": ObjectBoxes(min_pixels=9, size=16),
            "sampling": ClassSampling(),
            "crop": (8, 12),
            "fill": Given(9, {"crop": 40}),
            "value_range": Given((0, 100), {"source": LAYOUT, "root": ROOT / "all"}),
            "batch_size": 3,
            "augment": (ColorJitter(),),
            "train_split": "test",
            "validation_split": "test",
        },
        elsewhere={
            "cache": "test_cached_examples_are_not_read_again",
            "on_error": "test_invalid_examples_are_left_out",
            "max_skipped": "test_too_many_invalid_examples",
        },
    ),
    SpecCase(
        Shapes(size=16, train=2, val=2, test=2),
        listed,
        {
            "type": LAYOUT,
            "size": (16, 20),
            "train": 3,
            "val": 3,
            "test": 3,
            "objects": 2,
            "channels": 2,
            "seed": 9,
        },
    ),
    SpecCase(
        LAYOUT,
        listed,
        {
            "type": CamVid(),
            "images": "other/{split}/{name}.png",
            "masks": "other/{split}/{name}.png",
            "lists": "{split}.txt",
            "fractions": Given({"train": 0.2, "val": 0.8}, {"images": CUT.images, "fractions": CUT.fractions}),
            "mask": Ids(mapping={1: 0}),
            "channels": 1,
        },
    ),
    SpecCase(
        Python(train=3, val=2),
        readable,
        {"type": Shapes(size=16), "channels": 1},
        elsewhere=dict.fromkeys(("train", "val"), "test_resuming_with_another_number_of_examples"),
    ),
    SpecCase(
        TfRecord(pattern="{split}-*.tfrecord"),
        listed,
        {"type": LAYOUT, "pattern": "t{split}-*.tfrecord", "mask": Ids(mapping={1: 0, 0: 1}), "channels": 1},
    ),
    SpecCase(
        Mix(sources=(MixedSource(source=LAYOUT, root=ROOT / "all"),)),
        listed,
        {"type": CamVid(), "sources": (MixedSource(source=LAYOUT, root=ROOT / "other"),)},
    ),
    SpecCase(
        MixedSource(source=LAYOUT, root=ROOT / "all"),
        blended,
        {
            "source": CUT,
            "root": ROOT / "other",
            "weight": 3.0,
            "splits": {"extra": "val"},
            "labels": Labels(names=("disc", "ground")),
            "classes": {"disc": "ground", "ground": "disc"},
        },
    ),
    SpecCase(CamVid(), listed, {"type": LAYOUT}),
    SpecCase(Ade20k(), listed, {"type": LAYOUT}, beside=named(150)),
    SpecCase(Cityscapes(), listed, {"type": LAYOUT, "annotation": "coarse"}, beside=named(19)),
    SpecCase(CocoStuff(), listed, {"type": LAYOUT}, beside=named(171)),
    SpecCase(Mapillary(), listed, {"type": LAYOUT}, elsewhere={"version": "test_mapillary"}, beside=named(65)),
    SpecCase(Voc(), listed, {"type": LAYOUT, "year": "2007", "masks": "Mine"}),
    SpecCase(
        ObjectBoxes(min_pixels=9, size=16),
        cut_out,
        {
            "type": ProposalBoxes(min_pixels=9, size=16),
            "file": BOXES,
            "context": 2.0,
            "min_pixels": 60,
            "size": (16, 20),
        },
    ),
    SpecCase(
        ProposalBoxes(min_pixels=9, size=16, overlap=0.01),
        cut_out,
        {
            "type": ObjectBoxes(min_pixels=9, size=16),
            "file": BOXES,
            "overlap": 0.8,
            "min_pixels": 60,
            "jitter": 0.1,
            "per_object": 3,
            "size": (16, 20),
        },
    ),
    SpecCase(
        ClassSampling(temperature=0.05),
        lambda sampling: batch(sampling=sampling),
        {"classes": "balanced_images", "temperature": 50.0, "min_pixels": 60},
    ),
    SpecCase(
        ClassCrop(size=12),
        lambda crop: batch(crop=crop),
        {
            "size": (12, 10),
            "around": "rare",
            "max_share": 0.4,
            "temperature": Given(0.05, {"around": "rare"}),
        },
    ),
    SpecCase(Ids(), decoded, {"type": Binary(), "mapping": {0: 1, 1: 0, 9: 1, 200: 0}, "rest": 255}),
    SpecCase(Binary(), decoded, {"type": Ids()}),
    SpecCase(Colors(), decoded, {"type": Ids(), "table": ((1, 2, 3), (0, 0, 0)), "ignore": ((1, 2, 3),)}),
    SpecCase(
        Scale(),
        augmented,
        {
            "type": Rotate(),
            "min": 1.5,
            "max": 0.75,
            "factors": (1.25,),
            "aspect": 2.0,
            "probability": 0.5,
        },
    ),
    SpecCase(Rotate(), augmented, {"type": Scale(), "degrees": 60.0, "probability": 0.5}),
    SpecCase(Flip(), augmented, {"type": ColorJitter(), "axis": "vertical", "probability": 1.0}),
    SpecCase(
        ColorJitter(),
        augmented,
        {
            "type": Flip(),
            "brightness": 0.0,
            "contrast": 0.0,
            "saturation": 0.0,
            "hue": 0.0,
            "probability": 0.5,
        },
    ),
    SpecCase(
        Affine(),
        augmented,
        {
            "type": Rotate(),
            "scale": (1.5, 2.0),
            "aspect": 2.0,
            "shear": 0.0,
            "degrees": 60.0,
            "translate": 0.5,
            "probability": 0.5,
        },
    ),
    SpecCase(Elastic(), augmented, {"type": Rotate(), "alpha": 2.0, "sigma": 3.0, "probability": 0.5}),
    SpecCase(GridDistortion(), augmented, {"type": Rotate(), "steps": 3, "distortion": 0.8, "probability": 0.5}),
    SpecCase(Pad(), augmented, {"type": Rotate(), "size": (20, 16), "fraction": 1.0, "probability": 0.5}),
    SpecCase(Rot90(), augmented, {"type": Flip(), "probability": 0.1}),
    SpecCase(Gamma(), augmented, {"type": Gray(), "gamma": (2.0, 3.0), "probability": 0.5}),
    SpecCase(Gray(), augmented, {"type": Gamma(), "probability": 1.0}),
    SpecCase(
        Clahe(tiles=1, probability=1.0),
        augmented,
        {"type": Gamma(), "clip_limit": (8.0, 90.0), "tiles": 2, "probability": 0.2},
    ),
    SpecCase(Blur(probability=1.0), augmented, {"type": Gamma(), "sigma": (1.0, 3.0), "probability": 0.2}),
    SpecCase(Noise(probability=1.0), augmented, {"type": Gamma(), "std": (0.2, 0.3), "probability": 0.2}),
    SpecCase(Jpeg(probability=1.0), augmented, {"type": Gamma(), "quality": (5, 10), "probability": 0.2}),
    SpecCase(
        Cutout(probability=1.0),
        augmented,
        {
            "type": Gamma(),
            "count": 3,
            "area": (0.4, 0.5),
            "aspect": 1.0,
            "mask": "keep",
            "probability": 0.2,
        },
    ),
    SpecCase(Mosaic(), mixed, {"type": ClassMix(), "probability": 1.0, "margin": 0.0}),
    SpecCase(
        CopyPaste(),
        mixed,
        {"type": ClassMix(), "probability": 1.0, "classes": ("ground",), "flip": 1.0, "shift": 0.5},
    ),
    SpecCase(ClassMix(), mixed, {"type": Mosaic(), "probability": 1.0}),
    SpecCase(
        Sometimes(ops=(Flip(),)),
        augmented,
        {"type": RandAugment(), "ops": (ColorJitter(),), "probability": 1.0},
    ),
    SpecCase(
        OneOf(ops=(Flip(), ColorJitter())),
        augmented,
        {"type": RandAugment(), "ops": (Rotate(), Flip()), "weights": (1.0, 9.0)},
    ),
    SpecCase(
        RandAugment(),
        augmented,
        {"type": Flip(), "n": 1, "magnitude": 0.9, "ops": ("flip", "hue")},
    ),
]
