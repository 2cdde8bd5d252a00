"""Training on a mixed dataset whose datasets annotate different classes."""

from pathlib import Path

import keras
import numpy as np
import pytest

import tfseg
from tfseg.ops.label_maps import split_source
from tfseg.pipeline import Pipeline, load

TINY = """\
name: tiny
labels: {names: [ground, disc, square]}
data:
  source:
    type: mix
    sources:
      - {source: {type: shapes, size: 32, train: 6, val: 2}, labels: {names: [ground, disc, other]}}
      - {source: {type: shapes, size: 32, train: 4, val: 2, seed: 1}, labels: {names: [back, box]}, classes: {box: square}}
  batch_size: 2
  augment: [flip]
model:
  backbone: {type: small_cnn, filters: 2}
  decoder: {type: fcn, strides: [16, 8, 4]}
training: {epochs: 1, loss: {type: cross_entropy, class_weights: median_frequency}}
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    (tmp_path / "tiny.yaml").write_text(TINY.replace("class_weights: median_frequency", "class_weights: null"))
    return load(tmp_path / "tiny.yaml")


def test_training_leaves_out_classes_and_counts_metrics_without_sources(pipeline: Pipeline, tmp_path: Path) -> None:
    """Loss and metrics of the first step are those of the batch, computed by NumPy from the scores."""
    seen: list[dict[str, float]] = []
    first = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(dict(logs)))
    scores: list[np.ndarray] = []

    class Scores(keras.callbacks.Callback):
        def on_train_begin(self, logs: object = None) -> None:
            scores.append(np.asarray(self.model(images, training=True), np.float64))

    data = pipeline.data.open(pipeline.labels, pipeline.seed)
    images, masks = next(data.training(epochs=1).as_numpy_iterator())
    run = tfseg.fit(pipeline, tmp_path / "run", callbacks=[Scores(), first], verbose=False)
    ids, source = split_source(masks)
    known = masks != pipeline.labels.ignore
    rows = np.array(((True,) * 3, *data.annotated))[source + 1]
    powers = np.where(rows, np.exp(scores[0]), 0)
    likelihood = np.take_along_axis(powers / powers.sum(-1, keepdims=True), np.where(known, ids, 0)[..., None], -1)
    assert seen[0]["loss"] == pytest.approx(-np.log(likelihood[..., 0][known]).mean(), rel=1e-4)
    assert seen[0]["pixel_accuracy"] == pytest.approx((scores[0].argmax(-1) == ids)[known].mean(), abs=1e-6)
    assert run.metrics["val"]["images"] == 4 and np.isfinite(run.metrics["val"]["miou"])
    assert tfseg.evaluate(run, "test", verbose=False)["images"] == 200
