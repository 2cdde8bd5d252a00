"""DeconvNet's recipe from the shipped pipeline, with its documented commands, on small synthetic images."""

from pathlib import Path

import keras
import numpy as np
import pytest

import tfseg
from tfseg.inference import Predictor
from tfseg.pipeline import load
from tfseg.runs.fit import training_images

pytestmark = pytest.mark.slow

TINY = (
    "data.source={type: shapes, size: 64, train: 3, val: 2}",
    "data.crop=32",
    "data.batch_size=2",
    "model.backbone.width_multiplier=0.015625",
    "model.decoder.filters=4",
    "training.gradient_accumulation_steps=1",
    "training.steps=2",
    "training.batch_norm_batches=1",
    "inference.proposals={min_side: 16, size: 32}",
)
FIRST = ("data.boxes={type: objects, min_pixels: 20, size: 40}", "model.backbone.weights=null")
SECOND = ("data.boxes={type: proposals, min_pixels: 20, size: 40}",)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tfseg.Run:
    folder = tmp_path_factory.mktemp("deconvnet")
    return tfseg.fit(load("deconvnet_vgg16_voc", (*TINY, *FIRST)), folder / "first", verbose=False)


def test_second_stage_starts_from_the_first(first: tfseg.Run, tmp_path: Path) -> None:
    """Every layer is filled, including the decoder and the statistics; then the network trains on proposals."""
    pipeline = load("deconvnet_vgg16_voc", (*TINY, *SECOND, f"model.backbone.weights={first.best}"))
    model = pipeline.build()
    pipeline.model.load_weights(model, training_images(pipeline.data.open(pipeline.labels, pipeline.seed)))
    for weight, expected in zip(model.get_weights(), first.model().get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    second = tfseg.fit(pipeline, tmp_path / "second", verbose=False)
    names = second.pipeline.data.open(pipeline.labels).training_examples.listing.names
    assert len(names) > first.pipeline.data.open(pipeline.labels).training_examples.count
    assert any(np.any(a != b) for a, b in zip(second.model().get_weights(), model.get_weights(), strict=True))
    assert second.metrics["val"]["images"] == 2


def test_statistics_are_computed_on_boxes(first: tfseg.Run) -> None:
    """The first BatchNorm uses one batch of boxes: its moving mean is the mean of its input on that batch."""
    pipeline, model = first.pipeline, first.model()
    steps = pipeline.data.open(pipeline.labels).steps_per_epoch
    epoch = pipeline.training.length(steps).epochs
    image, _ = pipeline.data.open(pipeline.labels, pipeline.seed).training_batch(epoch, 0)
    below = keras.Model(model.input, model.get_layer("conv1_1").output)(image.astype(np.float32))
    norm = model.get_layer("conv1_1_bn")
    np.testing.assert_allclose(norm.moving_mean, np.mean(below, (0, 1, 2)), rtol=1e-3, atol=1e-3)


def test_ensemble_is_evaluated(first: tfseg.Run, tmp_path: Path) -> None:
    """With both merge rules, the metrics of the ensemble are those of a predictor of both networks."""
    fcn = load("fcn8s_vgg16_voc", (*TINY[:3], "model.backbone.width_multiplier=0.015625"))
    fcn.build().save(tmp_path / "fcn.keras")
    for merge in ("mean_prob", "score_product"):
        override = f"inference.ensemble={{network: {tmp_path / 'fcn.keras'}, merge: {merge}}}"
        pipeline = load("deconvnet_vgg16_voc", (*TINY, *FIRST, override))
        report = tfseg.evaluate(first.best, pipeline=pipeline)  # in a run directory, its own inference settings apply
        assert report["miou"] == first.metrics["val"]["miou"]
        first.best.rename(tmp_path / "alone.keras")
        try:
            report = tfseg.evaluate(tmp_path / "alone.keras", pipeline=pipeline)
        finally:
            (tmp_path / "alone.keras").rename(first.best)
        inference = pipeline.inference
        assert inference.ensemble is not None
        partner = (inference.ensemble, Predictor.open(tmp_path / "fcn.keras"))
        predictor = Predictor(first.model(), proposals=inference.proposals, partner=partner)
        pairs = pipeline.data.open(pipeline.labels).evaluation("val").as_numpy_iterator()
        correct = sum(int((predictor.predict(image[0]) == mask[0]).sum()) for image, mask in pairs)
        assert report["pixel_accuracy"] == pytest.approx(correct / (2 * 64 * 64))
