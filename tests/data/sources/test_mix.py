"""Several datasets as one source: class names, splits, order, sources in training masks, and messages."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfseg.context import Context
from tfseg.data import (
    ClassCrop,
    ClassMix,
    ClassSampling,
    Colors,
    CopyPaste,
    Cutout,
    Data,
    Dataset,
    Flip,
    Folder,
    Mix,
    MixedSource,
    Mosaic,
    ObjectBoxes,
    Python,
    Rotate,
    Scale,
    Shapes,
    TfRecord,
    reading,
)
from tfseg.data.convert.tfrecord import to_tfrecord
from tfseg.data.doctor import examine
from tfseg.data.show import contact_sheet
from tfseg.data.skipping import invalid_examples
from tfseg.data.sources.class_map import class_map
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.ops.label_maps import split_source
from tfseg.spec import SpecError

OURS = Labels(names=("road", "tree", "sky", "car"))
FIRST, SECOND = Labels(names=("sky", "road", "bush", "tree")), Labels(names=("void", "car", "Straße"), ignore=7)
IGNORED = 255
FIRST_TABLE = {0: 2, 1: 0, 2: 1, 3: 1, 255: IGNORED}
SECOND_TABLE = {0: IGNORED, 1: 3, 2: 0, 7: IGNORED}
"""Our id per id of the two datasets, written by hand: `bush` becomes `tree`, `Straße` becomes `road`."""
ANNOTATED = ((True, True, True, False), (True, False, False, True))

PAIRS = {(0, 0), (0, 1), (0, 2), (1, 0), (1, 3)}
"""Number of the dataset and class of labeled pixels."""
SCENES = Mix(
    sources=(
        MixedSource(source=Shapes(size=16, train=5, val=2), labels=FIRST, classes={"bush": "tree"}),
        MixedSource(source=Shapes(size=16, train=3, val=2, seed=1), labels=SECOND, classes={"Straße": "road"}),
    )
)
"""Scenes with the same labels as the files of `mix`, which take less time."""


@pytest.fixture
def mix(tmp_path: Path, write: Callable[..., Path]) -> Mix:
    """Five training and two validation examples of the first dataset, three training examples of the second; the red
    channel is the number of the dataset, the green one that of the example."""
    random = np.random.default_rng(0)
    for owner, (split, count, ids) in enumerate((("train", 5, [0, 1, 2, 3, 255]), ("train", 3, [0, 1, 2, 7]))):
        root = tmp_path / f"set{owner}" / split
        for number in range(count):
            _pair(root, str(number), (owner, number), random.choice(ids, (20 + number, 30)), write)
    for number in range(2):
        _pair(tmp_path / "set0/val", str(number), (0, number), random.integers(0, 4, (21, 22)), write)
    return Mix(
        sources=(
            MixedSource(source=Folder(), root=tmp_path / "set0", labels=FIRST, classes={"bush": "tree"}),
            MixedSource(source=Folder(), root=tmp_path / "set1", labels=SECOND, classes={"Straße": "road"}),
        )
    )


def _pair(root: Path, name: str, numbers: tuple[int, int], mask: np.ndarray, write: Callable[..., Path]) -> None:
    write(root / "images" / f"{name}.png", np.broadcast_to(np.array([*numbers, 9]), (*mask.shape, 3)))
    write(root / "masks" / f"{name}.png", mask)


def opened(mix: Mix, seed: int = 3, **fields: Any) -> Dataset:
    return Data(source=mix, **{"batch_size": 2, **fields}).open(OURS, seed)


def epochs(data: Dataset, **options: int) -> list[np.ndarray]:
    return [part for pair in data.training(**{"epochs": 2, **options}).as_numpy_iterator() for part in pair]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def table(owner: int) -> dict[int, int]:
    return (FIRST_TABLE, SECOND_TABLE)[owner]


def test_class_names_are_mapped(mix: Mix, tmp_path: Path) -> None:
    data = opened(mix)
    assert data.names("train") == (*(f"0/{number}" for number in range(5)), *(f"1/{number}" for number in range(3)))
    assert data.annotated == ANNOTATED
    examples = data.examples("train")
    for index, name in enumerate(data.names("train")):
        owner, number = map(int, name.split("/"))
        image, mask, problem = examples.load(index)
        raw = np.asarray(Image.open(tmp_path / f"set{owner}/train/masks/{number}.png"))
        expected = np.vectorize(table(owner).get)(raw)
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(examples.mask(index)[0], expected)
        assert image[0, 0].numpy().tolist() == [owner, number, 9] and problem.numpy() == b""
        assert examples.files(index).numpy().decode().split("\n") == list(data.files("train")[index])


def test_null_ignores_a_class_of_the_same_name() -> None:
    """A class without a mapping keeps its name; two classes may become one."""
    entry = replace(SCENES.sources[1], classes={"Straße": "road", "car": None, "void": "road"})
    assert entry.annotates(OURS) == (True, False, False, False)
    assert class_map(SECOND, OURS, entry.renamed)[:9].tolist() == [0, IGNORED, 0, *[IGNORED] * 6]


def test_splits_of_single_datasets(mix: Mix) -> None:
    """The second dataset has no validation split, so that it has no validation examples."""
    data = opened(mix)
    assert data.splits == ("train", "val") and data.names("val") == ("0/0", "0/1")
    masks = [mask for _, mask in data.evaluation("val").as_numpy_iterator()]
    assert len(masks) == 2 and set(np.unique(masks[0])) <= {0, 1, 2}, "evaluation masks have no sources"
    assert data.pixel_counts("val").classes.sum() == 2 * 21 * 22
    assert list(replace(data.spec, validation_split="valid").split_problems()) == [
        (("validation_split",), 'no split "valid"; expected one of: train, val; did you mean "val"?')
    ]


def owners(data: Dataset, epoch: int) -> list[int]:
    """Returns the number of the dataset of each example of an epoch, in order."""
    return [int(name[0]) for step in range(data.steps_per_epoch) for name in data.batch_names(epoch, step)]


def labeled(mask: np.ndarray) -> set[tuple[int, int]]:
    """Returns the pairs of a dataset and a class in a mask."""
    ids, source = split_source(mask[mask != IGNORED])
    return set(zip(source.tolist(), ids.tolist(), strict=True))


def test_training_masks_contain_the_source_of_labeled_pixels() -> None:
    """No class comes from a dataset that does not annotate it. Arrays of single batches have plain ids."""
    data = opened(SCENES, crop=20)
    masks = np.concatenate(epochs(data)[1::2])
    ids, source = split_source(masks)
    known = masks != IGNORED
    assert masks.dtype == np.int32 and (source[~known] == -1).all()
    expected = np.array(owners(data, 0) + owners(data, 1))[:, None, None]
    np.testing.assert_array_equal(source[known], np.broadcast_to(expected, source.shape)[known])
    assert labeled(masks) == PAIRS
    np.testing.assert_array_equal(data.training_batch(1, 0)[1], ids[8:10])


def test_mixed_images_keep_the_source_of_each_pixel() -> None:
    """Copy-paste of `car`, which only the second dataset has, and ops that mix all classes."""
    car = CopyPaste(probability=1.0, classes=("car",), flip=0.0)
    for op, pasted in ((car, {(1, 3)}), (ClassMix(probability=1.0), PAIRS), (Mosaic(probability=1.0), PAIRS)):
        data = opened(SCENES, crop=16, augment=(Rotate(), op, Cutout(), Flip()), batch_size=8)
        masks = np.concatenate(epochs(data, epochs=4)[1::2])
        pairs = [labeled(mask) for mask in masks]
        assert set.union(*pairs) <= PAIRS
        own = [each for epoch in range(4) for each in owners(data, epoch)]
        foreign = {pair for each, owner in zip(pairs, own, strict=True) for pair in each if pair[0] != owner}
        assert foreign and foreign <= pasted


def test_masks_are_plain_if_every_dataset_annotates_all_classes() -> None:
    whole = replace(SCENES.sources[0], classes={"bush": "car"})
    data = opened(Mix(sources=(whole, replace(whole, weight=2.0))))
    assert data.annotated is None
    assert {int(each) for mask in epochs(data)[1::2] for each in np.unique(mask)} == {0, 1, 2, 3}


def test_order_depends_on_seed_epoch_and_position_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"crop": 12, "augment": (Scale(), Flip())}
    expected = epochs(opened(SCENES, **fields), epochs=3)
    assert same(epochs(opened(SCENES, **fields), epochs=3, initial_epoch=2), expected[2 * 8 :])
    assert not same(epochs(opened(SCENES, 4, **fields), epochs=1), expected[:8])
    assert not same(expected[:8], expected[8:16])
    monkeypatch.setattr(reading, "PARALLEL", 1)
    assert same(epochs(opened(SCENES, **fields, cache=True), epochs=3), expected)


def test_weights_determine_the_proportions() -> None:
    """An example that an epoch has twice is augmented differently."""
    data = opened(weighted(3.0), crop=8)
    names = [[name for step in range(4) for name in data.batch_names(epoch, step)] for epoch in range(2)]
    for epoch in names:
        assert sorted(Counter(epoch).values()) == [1, 1, 2, 2, 2] and Counter(name[0] for name in epoch)["1"] == 6
    assert names[0] != names[1]
    images = np.concatenate(epochs(data, epochs=1)[::2])
    crops = {(name, image.tobytes()) for name, image in zip(names[0], images, strict=True)}
    assert len(crops) > len(set(names[0]))
    with pytest.raises(DataError) as caught:
        opened(weighted(0.01)).training(epochs=1)
    assert str(caught.value) == (
        "data.source.sources.1.weight: an epoch of 8 examples has none of this dataset. Expected a larger weight. "
        "Received: 0.01 of 1.01"
    )


def weighted(weight: float) -> Mix:
    """Returns scenes in which the second dataset has a weight; the first one has 1."""
    return Mix(sources=(SCENES.sources[0], replace(SCENES.sources[1], weight=weight)))


def test_boxes_and_crops_chosen_by_class() -> None:
    boxes = opened(SCENES, boxes=ObjectBoxes(min_pixels=1, size=16), batch_size=32)
    crops = opened(SCENES, crop=ClassCrop(size=8, around="rare"))
    for data in (boxes, crops):
        masks = epochs(data)[1::2]
        assert {int(each) for mask in masks for each in np.unique(split_source(mask)[1])} >= {0, 1}


def test_invalid_masks_are_found_and_skipped(mix: Mix, tmp_path: Path, write: Callable[..., Path]) -> None:
    """The message names the classes of the dataset of the mask, not those of the pipeline."""
    file = write(tmp_path / "set1/train/masks/1.png", np.full((21, 30), 3))
    (tmp_path / "set0/train/images/2.png").write_bytes(b"no image")
    invalid = invalid_examples(opened(mix), "train", lambda: None)
    assert list(invalid) == ["0/2", "1/1"]
    assert invalid["1/1"].startswith(f"{file}: the mask contains 3; expected a class (0 to 2) or 7 (ignore).")
    data = Data(source=mix, batch_size=2).open(OURS, 0, {"train": tuple(invalid)})
    assert data.names("train") == ("0/0", "0/1", "0/3", "0/4", "1/0", "1/2")
    assert len(epochs(data, epochs=1)) == 6


def test_check_and_sheet(mix: Mix, tmp_path: Path, write: Callable[..., Path]) -> None:
    for number, split in enumerate(("train", "val")):
        _pair(tmp_path / "set1" / split, "blank", (1, 8 + number), np.zeros((20, 30)), write)
    (tmp_path / "set1/train/images/alone.tif").write_bytes(b"")
    report = examine(opened(mix))
    assert [(each.level, each.kind) for each in report.findings] == [
        ("warning", "unlabeled"),
        ("warning", "unlabeled"),
        ("warning", "unused_file"),
    ]
    assert report.findings[0].message == (
        "train: 1 of 9 examples have no pixel of a class of `labels`, for example 1/blank. They have no effect on the "
        "training: map their classes, or leave them out."
    )
    assert report.findings[1].message == (
        "val: 1 of 3 examples have no pixel of a class of `labels`, for example 1/blank. Metrics do not count them, "
        "and their loss is 0: map their classes, or leave them out."
    )
    assert contact_sheet(opened(SCENES), count=2).dtype == np.uint8


def test_conversion_is_rejected(mix: Mix, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        to_tfrecord(opened(mix), tmp_path / "out")
    assert str(caught.value) == (
        "data.source: mix cannot be converted, because records do not contain the dataset of an example. Convert each "
        "of data.source.sources by itself, and mix the results: {source: tfrecord, root: OUTPUT}."
    )


def test_missing_folders_and_files(mix: Mix, tmp_path: Path) -> None:
    gone = Mix(sources=(mix.sources[0], replace(mix.sources[1], root=tmp_path / "gone")))
    assert not Data(source=gone).is_there and Data(source=mix).is_there
    with pytest.raises(DataError) as caught:
        opened(gone).names("train")
    assert str(caught.value) == (
        f"{tmp_path}/gone: no such folder. Correct `data.source.sources.1.root`, or put the data there."
    )
    (tmp_path / "set1/train/masks/0.png").unlink()
    with pytest.raises(DataError, match=r"set1/train/images/0\.png: has no mask"):
        opened(mix).names("train")
    empty = Mix(sources=(mix.sources[0], replace(mix.sources[1], source=Folder(lists="{split}.txt"))))
    ((path, message),) = Data(source=empty).split_problems()
    assert path == ("source",) and "Correct the patterns or `data.source.sources.1.root`" in message


def problems(*sources: MixedSource, labels: Labels = OURS) -> list[tuple[tuple[str | int, ...], str]]:
    return list(Data(source=Mix(sources=sources)).problems(Context(labels, 3)))


def test_wrong_class_names(tmp_path: Path) -> None:
    own = MixedSource(source=Folder(), root=tmp_path)
    assert problems(own) == []
    assert problems(own, replace(own, labels=SECOND, classes={"Strasse": "road", "void": "tre", "car": None})) == [
        (
            ("source", "sources", 1, "classes", "Strasse"),
            'no class "Strasse" of this dataset; expected one of: void, car, Straße; did you mean "Straße"?',
        ),
        (
            ("source", "sources", 1, "classes", "void"),
            'no class "tre" in `labels` of the pipeline; expected one of: road, tree, sky, car; did you mean "tree"?',
        ),
        (
            ("source", "sources", 1, "classes"),
            "no class of this dataset has the name of a class of the pipeline, so that all its pixels would be "
            "ignored; expected a mapping, such as {void: road}",
        ),
    ]
    assert problems(replace(own, labels=FIRST)) == [
        (("source", "sources"), "expected a dataset that annotates every class of `labels`; none annotates 'car'")
    ]


def test_problems_of_the_inner_source_have_its_path(tmp_path: Path) -> None:
    """The encoding of masks is checked with the labels of the dataset."""
    colors = Folder(mask=Colors(table=((0, 0, 0), (1, 1, 1), (2, 2, 2))))
    entry = MixedSource(source=colors, root=tmp_path, labels=SECOND)
    own = MixedSource(source=Folder(), root=tmp_path)
    assert problems(own, entry) == []
    assert problems(own, replace(entry, labels=None)) == [
        (("source", "sources", 1, "source", "mask", "table"), "expected 4 colors, one per class; received 3")
    ]


def test_combinations_that_are_not_possible(tmp_path: Path) -> None:
    scenes, files = MixedSource(source=Shapes()), MixedSource(source=Folder(), root=tmp_path)
    for entry, path, message in (
        ({"source": Mix(sources=(scenes,))}, "source", "expected a source of files or scenes; received mix"),
        ({"source": Python()}, "source", "expected a source of files or scenes; received python"),
        ({"source": Folder()}, "root", "the source folder reads files; expected the folder of the dataset"),
        ({"source": Shapes(), "root": tmp_path}, "root", "the source shapes reads no files; expected none; received"),
        ({"source": Shapes(channels=1)}, "source", "expected images of 3 channels, as in the first dataset; rec"),
        ({"source": Shapes(), "weight": -1.0}, "weight", "expected a number from 0 to 1000000.0; received -1.0"),
        ({"source": Shapes(), "weight": 1e7}, "weight", "expected a number from 0 to 1000000.0; received 10000000.0"),
        ({"source": "shpes"}, "source", 'did you mean "shapes"?'),
    ):  # fmt: skip
        with pytest.raises(SpecError) as caught:
            Data(source={"type": "mix", "sources": (files, entry)})
        assert f"source.sources.1.{path}: " in str(caught.value) and message in str(caught.value)
    with pytest.raises(SpecError) as caught:
        Data(source=Mix(sources=(scenes, files)), root=tmp_path, sampling=ClassSampling())
    assert [(each.path, each.message) for each in caught.value.problems] == [
        ("root", f'the source mix has a root per source; expected none; received "{tmp_path}"'),
        ("sampling", "the source mix draws examples by the weights of its sources; expected no sampling"),
    ]


def test_records_as_a_part(tmp_path: Path, mix: Mix) -> None:
    """A part may have a listing of its own kind; examples that are left out do not shift the others."""
    records = tmp_path / "records"
    entry = mix.sources[0]
    to_tfrecord(Data(source=Folder(), root=entry.root).open(FIRST), records, shards=2)
    mixed = Mix(sources=(replace(entry, source=TfRecord(), root=records), mix.sources[1]))
    of_files, of_records = opened(mix), opened(mixed)
    for index in range(of_files.count("train")):
        number = tf.constant(index, tf.int64)
        for found, expected in zip(
            of_records.examples("train").load(number), of_files.examples("train").load(number), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
    names = of_records.names("train")
    left = Data(source=mixed, batch_size=2).open(OURS, skipped={"train": {names[1], names[6]}})
    kept = [number for number in range(len(names)) if number not in (1, 6)]
    assert left.names("train") == tuple(names[number] for number in kept)
    for index, number in enumerate(kept):
        pair = (tf.constant(each, tf.int64) for each in (index, number))
        found, expected = (each.examples("train").load(n)[1] for each, n in zip((left, of_records), pair, strict=True))
        np.testing.assert_array_equal(found, expected)


def test_a_dataset_without_the_training_split(mix: Mix) -> None:
    """It is an error unless another split has its role or its weight is 0, and other commands warn."""
    first, second = mix.sources
    entry = replace(second, splits={"other": "train"})
    without = Mix(sources=(first, entry))
    data = opened(without)
    assert data.names("train") == opened(mix).names("train")[:5]
    assert data.names("other") == opened(mix).names("train")[5:]
    with pytest.raises(DataError) as caught:
        data.training(epochs=1)
    assert str(caught.value).startswith(
        "data.source.sources.1: has no example in the training split; its splits are other. Expected the training "
        "split: name it, for example splits: {train: train_aug}, or set weight: 0 for a dataset that is only validated."
    )
    [warning] = data.listing("train").skipped
    assert warning == (
        "data.source.sources.1: the dataset has no split `train`, so that no example of it is used. It has the splits "
        "other; `splits` gives them other names"
    )
    allowed = opened(Mix(sources=(first, replace(entry, weight=0.0))))
    assert all(name.startswith("0/") for step in range(3) for name in allowed.batch_names(0, step))
    renamed = Mix(sources=(first, replace(second, splits={"val": "train"})))
    assert opened(renamed).names("val") == ("0/0", "0/1", "1/0", "1/1", "1/2")
    with pytest.raises(DataError) as caught:
        opened(Mix(sources=(first, replace(second, splits={"train": "trian"})))).names("train")
    assert str(caught.value) == (
        "data.source.sources.1.splits.train: no split 'trian' in this dataset. Expected one of: train"
    )
    with pytest.raises(SpecError, match="expected at least one dataset with a weight above 0"):
        Mix(sources=(replace(first, weight=0.0),))


def test_paths_in_messages_are_not_taken_for_keys(tmp_path: Path, mix: Mix) -> None:
    root = tmp_path / "data.root" / "data.source"
    with pytest.raises(DataError) as caught:
        opened(Mix(sources=(mix.sources[0], replace(mix.sources[1], root=root)))).names("train")
    assert str(root) in str(caught.value)
    assert "`data.source.sources.1.root`" in str(caught.value)
