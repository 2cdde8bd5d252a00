"""Prediction on proposals, compared with a NumPy reference implementation."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import tfseg
from tests.exporting.toys import constant, image, labels, network
from tfseg.errors import DataError, RunError
from tfseg.exporting import Export, Tflite, export
from tfseg.inference import Inference, Predictor, Proposals, predict_files
from tfseg.inference.proposals import windows
from tfseg.pipeline import load
from tfseg.spec.problems import SpecError

pytestmark = pytest.mark.usefixtures("one_isolated_worker")

SMALL = Proposals(min_side=9, size=16)
HEADER = "image,left,top,right,bottom\n"


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network()


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes bilinearly with half-pixel centers, with constant extrapolation."""
    values = values.astype(np.float64)
    for axis, length in enumerate(size):
        last = values.shape[axis] - 1
        position = np.clip((np.arange(length) + 0.5) * (last + 1) / length - 0.5, 0, last)
        low = np.floor(position).astype(int)
        fraction = np.expand_dims(position - low, [1 - axis, 2])
        values = values.take(low, axis) * (1 - fraction) + values.take(np.minimum(low + 1, last), axis) * fraction
    return values


def merged(model: keras.Model, sample: np.ndarray, boxes: list[list[int]], merge: str, size: int) -> np.ndarray:
    """Merges the scores of the boxes pixel by pixel, as in section 3.3 of the paper."""
    height, width, _ = sample.shape
    scores: list[list[list[np.ndarray]]] = [[[] for _ in range(width)] for _ in range(height)]
    for left, top, right, bottom in boxes:
        padded = np.zeros((bottom - top, right - left, 3), np.uint8)
        for y, x in np.ndindex(*padded.shape[:2]):
            if 0 <= y + top < height and 0 <= x + left < width:
                padded[y, x] = sample[y + top, x + left]
        inputs = np.rint(resized(padded, (size, size)))[None]
        outputs = resized(np.asarray(model(inputs, training=False))[0], padded.shape[:2])
        for y, x in np.ndindex(*padded.shape[:2]):
            if 0 <= y + top < height and 0 <= x + left < width:
                scores[y + top][x + left].append(outputs[y, x])
    zeros = np.zeros(model.output_shape[-1])
    rules = {"max": lambda each: np.max([zeros, *each], 0), "mean": lambda each: np.mean(each or [zeros], 0)}
    return np.array([[rules[merge](each) for each in row] for row in scores])


def given(folder: Path, *lines: str, **fields: Any) -> Proposals:
    path = folder / "boxes.csv"
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return replace(SMALL, boxes=path, **fields)


@pytest.mark.parametrize("merge", ["max", "mean"])
def test_scores_of_boxes_are_merged(model: keras.Model, tmp_path: Path, merge: Any) -> None:
    """Covers overlapping boxes, a box beyond the border, one too narrow, one beyond `count`, and uncovered pixels."""
    boxes = [[0, 0, 20, 24], [10, 5, 40, 25], [5, 5, 30, 13], [-4, 10, 14, 31], [25, 20, 47, 30]]
    lines = [f"a,{','.join(map(str, box))}" for box in [*boxes, [40, 25, 52, 40]]]
    predictor = Predictor(model, proposals=given(tmp_path, *lines, merge=merge, count=4))
    expected = merged(model, image(1), [box for box in boxes if box != boxes[2]], merge, 16)
    scores = predictor.scores(image(1), "a")
    np.testing.assert_allclose(scores, expected, atol=2e-4)
    assert (scores[35:] == 0).all() and (scores[:, 48:] == 0).all() and scores.dtype == np.float32
    assert (scores.min() >= 0) == (merge == "max")
    raised = np.exp(expected)
    np.testing.assert_allclose(
        predictor.probabilities(image(1), "a"), raised / raised.sum(-1, keepdims=True), atol=1e-4
    )
    np.testing.assert_array_equal(predictor.predict(image(1), "a"), scores.argmax(-1))
    assert (predictor.predict(image(1), "a")[35:] == 0).all()


def test_several_batches_of_boxes(model: keras.Model) -> None:
    boxes = SMALL.open().select(40, 52, None)
    assert len(boxes) > 16
    expected = merged(model, image(2), boxes.tolist(), "max", 16)
    np.testing.assert_allclose(Predictor(model, proposals=SMALL).scores(image(2)), expected, atol=2e-4)


def test_merged_scores_are_logits(tmp_path: Path) -> None:
    """With `max` no merged score is negative. All scores are zero at uncovered pixels."""
    proposals = given(tmp_path, "a,0,0,20,40", min_side=1)
    scores = Predictor(constant([-3.0, 2.0, -1.0]), proposals=proposals).scores(image(), "a")
    np.testing.assert_allclose(scores[:, :20], np.broadcast_to([0, 2, 0], (40, 20, 3)))
    assert (scores[:, 20:] == 0).all()
    mean = replace(proposals, merge="mean")
    scores = Predictor(constant([-3.0, 2.0, -1.0]), proposals=mean).scores(image(), "a")
    np.testing.assert_allclose(scores[:, :20], np.broadcast_to([-3, 2, -1], (40, 20, 3)))


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333), (40, 52), (113, 112)])
def test_windows_cover_the_image(height: int, width: int) -> None:
    found = windows(height, width, Proposals().scales)
    assert (found[:, :2] >= 0).all() and (found[:, 2:] <= [width, height]).all()
    assert len(found) == 1 + 4 + 9 + 25
    for scale, count in ((1.0, 1), (0.75, 2), (0.5, 3), (0.35, 5)):
        some = found[found[:, 2] - found[:, 0] == math.ceil(width * scale)]
        starts = np.unique(some[:, 0])
        assert len(starts) == count
        assert (starts[0], starts[-1]) == (0, width - math.ceil(width * scale))
        assert np.all(np.diff(starts) <= width * scale / 2 + 1)


@pytest.mark.parametrize(("height", "width"), [(100, 300), (111, 500), (30, 30)])
def test_small_images_are_one_box(model: keras.Model, height: int, width: int) -> None:
    """None of the windows is large enough. Without a box, all pixels would have the first class."""
    assert Proposals().open().select(height, width, None).tolist() == [[0, 0, width, height]]
    sample = image(height, width)
    whole = Proposals(scales=(1.0,), min_side=1)
    np.testing.assert_array_equal(
        Predictor(model, proposals=Proposals()).probabilities(sample),
        Predictor(model, proposals=whole).probabilities(sample),
    )


def test_defaults_are_those_of_the_released_code() -> None:
    assert (Proposals().count, Proposals().min_side, Proposals().size, Proposals().merge) == (50, 112, 224, "max")
    assert len(Proposals().open().select(375, 500, None)) == 39
    assert len(Proposals().open().select(300, 500, None)) == 14, "windows with less than 112 rows are skipped"


def test_boxes_are_read_by_the_stem_of_the_file(model: keras.Model, tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.fromarray(image(5)).save(tmp_path / f"{name}.png")
    predictor = Predictor(model, proposals=given(tmp_path, "a,0,0,52,40", "b,0,0,20,20"))
    files = list(predict_files(predictor, [tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out"))
    for file, name in zip(files, ("a", "b"), strict=True):
        np.testing.assert_array_equal(Image.open(file), predictor.predict(image(5), name))
    assert np.any(predictor.predict(image(5), "a") != predictor.predict(image(5), "b"))


def test_image_without_boxes(model: keras.Model, tmp_path: Path) -> None:
    proposals = given(tmp_path, "a,0,0,52,40")
    with pytest.raises(DataError) as error:
        Predictor(model, proposals=proposals).predict(image(), "b")
    assert str(error.value) == (
        f"{proposals.boxes}: has no box for the image 'b'. Expected at least one line per image to predict, with the "
        "name of its file without suffix. Add the missing lines, or set inference.proposals.boxes to null "
        "for sliding windows."
    )
    with pytest.raises(DataError, match=r":2: the box \[0, 0, 52, 40\] lies outside the image a, which is 20x10"):
        Predictor(model, proposals=proposals).predict(image(0, 10, 20), "a")


def test_files_without_logits(model: keras.Model, tmp_path: Path) -> None:
    report = export(model, labels(), tmp_path, "toy", spec=Export(tflite=Tflite(size=(24, 32))), images=[image()])
    for path in (report.folder, report.tflite):
        with pytest.raises(RunError) as error:
            Predictor.open(path, proposals=SMALL)
        assert str(error.value) == (
            "inference: proposals and the ensemble's score_product need logits, and a SavedModel or a TFLite file "
            "outputs probabilities. Use the run directory or its .keras file, or set inference.proposals to null and "
            "inference.ensemble.merge to mean_prob."
        )


def test_network_with_a_fixed_input_size() -> None:
    inputs = keras.Input((20, 20, 3), name="image")
    fixed = keras.Model(inputs, keras.layers.Conv2D(2, 1, name="logits")(inputs))
    assert Predictor(fixed, proposals=replace(SMALL, size=20)).predict(image()).shape == (40, 52)
    with pytest.raises(RunError) as error:
        Predictor(fixed, proposals=SMALL)
    assert str(error.value) == (
        "inference.proposals.size: boxes are resized to squares of this size, but the input of the network is "
        "fixed to 20x20 (height x width). Set it to that size if it is a square, otherwise set inference.proposals "
        "to null. Received: 16."
    )


@pytest.mark.parametrize(("field", "value"), [("size", 8), ("samples", 3)])
def test_proposals_exclude_size_and_samples(field: str, value: int) -> None:
    with pytest.raises(SpecError) as error:
        Inference(proposals=SMALL, **{field: value})
    assert [str(each).partition(": ")[2] for each in error.value.problems] == [
        f"{field}: boxes are predicted once each, at proposals.size; set {field} or proposals to null. Received: "
        f"{value}"
    ]


TINY = """\
name: tiny
labels: {names: [ground, disc, square]}
data:
  source: {type: shapes, size: 32, train: 4, val: 2}
  batch_size: 2
  boxes: {type: objects, min_pixels: 9, size: 24}
model: {backbone: {type: small_cnn, filters: 2}, decoder: {type: fcn, strides: [16, 8]}}
training: {epochs: 1}
inference: {proposals: {min_side: 8, size: 24}}
"""


@pytest.mark.slow
def test_fit_evaluate_and_predict_with_boxes(tmp_path: Path) -> None:
    """Boxes may be used with any backbone."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    pipeline = load(tmp_path / "tiny.yaml")
    done = tfseg.fit(pipeline, tmp_path / "run", verbose=False)
    predictor = Predictor(done.model(), proposals=pipeline.inference.proposals)
    pairs = list(pipeline.data.open(pipeline.labels).evaluation("val").as_numpy_iterator())
    assert done.metrics["val"]["images"] == 2
    right = sum(int((predictor.predict(one[0]) == mask[0]).sum()) for one, mask in pairs)
    assert done.metrics["val"]["pixel_accuracy"] == pytest.approx(right / (2 * 32 * 32))
    Image.fromarray(pairs[0][0][0]).save(tmp_path / "a.png")
    (file,) = tfseg.predict(done, [tmp_path / "a.png"], tmp_path / "out")
    np.testing.assert_array_equal(Image.open(file), predictor.predict(pairs[0][0][0]))


def test_boxes_of_the_validation_split_are_checked_before_training(tmp_path: Path) -> None:
    proposals = given(tmp_path, "val_000000,0,0,32,32")
    (tmp_path / "tiny.yaml").write_text(TINY)
    pipeline = load(tmp_path / "tiny.yaml", (f"inference.proposals.boxes={proposals.boxes}",))
    with pytest.raises(DataError, match="has no box for the image 'val_000001'"):
        tfseg.fit(pipeline, tmp_path / "run", verbose=False)
    assert not (tmp_path / "run" / "pipeline.yaml").exists()


def test_samples_are_not_supported(model):
    with pytest.raises(ValueError) as error:
        Predictor(model, samples=8, proposals=SMALL)
    assert str(error.value) == (
        "`samples` is not supported with `proposals`: each box is predicted once. Set one of them to None. "
        f"Received: samples=8, proposals={SMALL}"
    )
