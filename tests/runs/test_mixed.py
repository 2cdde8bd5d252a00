"""Training on a mixed dataset whose datasets annotate different classes."""

from pathlib import Path

import keras
import numpy as np
import pytest

import tfseg
from tests.training import toy
from tfseg.ops.label_maps import split_source, with_source
from tfseg.pipeline import Pipeline, load
from tfseg.training import Training

TINY = """\
name: tiny
labels: {names: [ground, disc, square]}
data:
  source:
    type: mix
    sources:
      - source: {type: shapes, size: 32, train: 6, val: 2, test: 2}
        labels: {names: [ground, disc, other]}
      - source: {type: shapes, size: 32, train: 4, val: 2, test: 2, seed: 1}
        labels: {names: [back, box]}
        classes: {box: square}
  batch_size: 2
  augment: [flip]
model:
  backbone: {type: small_cnn, filters: 2}
  decoder: {type: fcn, strides: [16, 8, 4]}
training: {epochs: 1}
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    (tmp_path / "tiny.yaml").write_text(TINY)
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
    assert tfseg.evaluate(run, "test", verbose=False)["images"] == 4


@pytest.mark.parametrize(
    "loss",
    [
        {"type": "cross_entropy", "class_weights": "median_frequency"},
        {"type": "cross_entropy", "resolution": "scores"},
        {"type": "top_k_cross_entropy", "pixels": 9},
    ],
)
def test_all_losses_of_a_network_leave_out_classes(loss: dict[str, object]) -> None:
    """A class that is left out of every pixel gets no gradient in the main and in the auxiliary scores."""
    annotated = ((True, True, False),)
    images, masks = toy.examples(2)
    labeled = masks < 2
    masks = np.where(labeled, with_source(masks, np.int32(0)), toy.LABELS.ignore)
    training = Training(optimizer={"type": "sgd", "momentum": 0.0, "weight_decay": 0.0}, loss=loss)
    with training.scope():
        model = training.network(toy.network_with_outputs())
        counts = np.array([60, 30, 10]), np.array([100, 60, 50])
        training.compile(model, toy.LABELS, steps_per_epoch=1, counts=lambda: counts, annotated=annotated)
    before = {name: model.get_layer(name).get_weights() for name in ("score", "side_score")}
    history = model.fit(training.targets(toy.batches(images, masks, 2), model), verbose=0).history
    assert np.isfinite(history["loss"][0]) and len(model.loss) == 2
    for name, (kernel, bias) in before.items():
        new_kernel, new_bias = model.get_layer(name).get_weights()
        np.testing.assert_array_equal(new_kernel[..., 2], kernel[..., 2])
        assert new_bias[2] == bias[2] and (new_bias[:2] != bias[:2]).all()
