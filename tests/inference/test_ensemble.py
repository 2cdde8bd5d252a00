"""Ensembles of two networks, with both merge rules."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfseg
from tests.exporting.toys import constant, image, labels, network
from tfseg.errors import RunError
from tfseg.exporting import Export, export
from tfseg.inference import Ensemble, Inference, Predictor, Proposals
from tfseg.pipeline import load
from tfseg.runs.directory import PIPELINE
from tfseg.spec.problems import SpecError
from tfseg.spec.show import dump

pytestmark = pytest.mark.usefixtures("one_isolated_worker")

MEAN, PRODUCT = (Ensemble(network=Path("fcn.keras"), merge=rule) for rule in ("mean_prob", "score_product"))  # type: ignore[arg-type]
BOXES = Proposals(min_side=9, size=16)


@pytest.fixture(scope="module")
def models() -> tuple[keras.Model, keras.Model]:
    return network(seed=1), network(seed=2)


def softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores.astype(np.float64))
    return raised / raised.sum(-1, keepdims=True)


def logits(model: keras.Model, sample: np.ndarray) -> np.ndarray:
    return np.asarray(model(sample[None].astype(np.float32), training=False))[0]


@pytest.mark.parametrize("proposals", [None, BOXES])
def test_both_rules(models: tuple[keras.Model, keras.Model], proposals: Proposals | None) -> None:
    first, second = models
    sample = image(3)
    scores, others = Predictor(first, proposals=proposals).scores(sample), logits(second, sample)
    expected = {
        MEAN: (softmax(scores) + softmax(others)) / 2,
        PRODUCT: softmax(scores * np.maximum(0, others)),
    }
    for ensemble, probabilities in expected.items():
        together = Predictor(first, proposals=proposals, partner=(ensemble, Predictor(second)))
        np.testing.assert_allclose(together.probabilities(sample), probabilities, atol=1e-5)
        np.testing.assert_array_equal(together.predict(sample), together.probabilities(sample).argmax(-1))
        np.testing.assert_array_equal(together.masks(np.stack([sample] * 2))[1], together.predict(sample))
    assert np.any(expected[MEAN].argmax(-1) != softmax(scores).argmax(-1))
    assert np.any(expected[MEAN].argmax(-1) != expected[PRODUCT].argmax(-1))


def test_partner_has_its_own_inference_size(models: tuple[keras.Model, keras.Model]) -> None:
    first, second = models
    partner = Predictor(second, (16, 24))
    together = Predictor(first, partner=(PRODUCT, partner))
    expected = softmax(logits(first, image(3)) * np.maximum(0, partner.scores(image(3))))
    assert partner.scores(image(3)).shape == (40, 52, 3)
    np.testing.assert_allclose(together.probabilities(image(3)), expected, atol=1e-5)
    assert np.any(partner.scores(image(3)) != Predictor(second).scores(image(3)))


OTHER_CLASSES = (
    "inference.ensemble.network: predicts {} classes from {}-channel images. Expected those of the first network: "
    "3 classes and 3 channels."
)


@pytest.mark.parametrize(("classes", "channels"), [(4, 3), (3, 1)])
def test_other_classes_or_channels_are_rejected(classes: int, channels: int) -> None:
    with pytest.raises(RunError) as error:
        Predictor(network(), partner=(MEAN, Predictor(network(classes, channels))))
    assert str(error.value) == OTHER_CLASSES.format(classes, channels)


def test_score_product_needs_logits(models: tuple[keras.Model, keras.Model], tmp_path: Path) -> None:
    report = export(models[1], labels(), tmp_path, "toy", spec=Export(tflite=None), images=[image()])
    partner = Predictor.open(report.folder)
    both = Predictor(models[0], partner=(MEAN, partner)).probabilities(image())
    expected = (softmax(logits(models[0], image())) + softmax(logits(models[1], image()))) / 2
    np.testing.assert_allclose(both, expected, atol=1e-5)
    with pytest.raises(RunError, match=r"^inference: proposals and the ensemble's score_product need logits"):
        Predictor(models[0], partner=(PRODUCT, partner))


def test_ensemble_excludes_samples() -> None:
    with pytest.raises(SpecError) as error:
        Inference(ensemble=MEAN, samples=2)
    assert [str(each).partition(": ")[2] for each in error.value.problems] == [
        "samples: the networks of an ensemble are applied once each; set samples or ensemble to null. Received: 2"
    ]


TINY = """\
name: tiny
labels: {names: [ground, disc, square]}
data: {source: {type: shapes, size: 32, train: 4, val: 2}, batch_size: 2}
model: {type: graph, layers: [{name: score, layer: conv, filters: "${classes}", kernel_size: 1}]}
training: {epochs: 1}
"""


def saved(folder: Path, *overrides: str, model: keras.Model) -> Path:
    """Creates a run directory of an untrained network."""
    folder.mkdir()
    (folder.parent / "tiny.yaml").write_text(TINY)
    (folder / PIPELINE).write_text(dump(load(folder.parent / "tiny.yaml", overrides)))
    model.save(folder / "model.keras")
    return folder


def test_ensemble_of_runs(tmp_path: Path) -> None:
    """The inference size of the second network's pipeline applies to it, its own ensemble does not."""
    other = saved(tmp_path / "other", "inference={size: 8, ensemble: {network: other}}", model=network(seed=2))
    first = saved(tmp_path / "first", f"inference={{ensemble: {{network: {other}}}}}", model=network(seed=1))
    report = tfseg.evaluate(first)
    together = Predictor(network(seed=1), partner=(MEAN, Predictor(network(seed=2), (8, 8))))
    pipeline = tfseg.Run(first).pipeline
    pairs = list(pipeline.data.open(pipeline.labels).evaluation("val").as_numpy_iterator())
    right = sum(int((together.predict(one[0]) == mask[0]).sum()) for one, mask in pairs)
    assert report["pixel_accuracy"] == pytest.approx(right / (2 * 32 * 32))


@pytest.mark.parametrize(
    ("network_", "message"),
    [
        (network(4), OTHER_CLASSES.format(4, 3)),
        (None, "{}: no such model. Expected a run directory, a .keras file"),
    ],
)
def test_partner_is_checked_before_training(tmp_path: Path, network_: Any, message: str) -> None:
    path = tmp_path / "other.keras"
    if network_ is not None:
        network_.save(path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    pipeline = load(tmp_path / "tiny.yaml", (f"inference.ensemble.network={path}",))
    with pytest.raises(RunError) as error:
        tfseg.fit(pipeline, tmp_path / "run", verbose=False)
    assert str(error.value).startswith(message.format(path))
    assert not (tmp_path / "run" / "pipeline.yaml").exists()


def test_score_product_with_nonpositive_scores() -> None:
    """Classes for which the second network's score is at most zero have the score 0."""
    together = Predictor(constant([1.0, 5.0, 2.0]), partner=(PRODUCT, Predictor(constant([1.0, 0.0, -4.0]))))
    np.testing.assert_allclose(together.probabilities(image())[0, 0], softmax(np.array([1.0, 0.0, 0.0])), atol=1e-6)
