"""Monte Carlo dropout samples: mean, uncertainty and reproducibility."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tests.exporting.toys import constant, image, labels, network
from tfseg.errors import RunError
from tfseg.exporting import Export, Tflite, export
from tfseg.inference import Inference, Predictor, predict_files
from tfseg.inference.sampling import mean_and_uncertainty, shade
from tfseg.layers import McDropout
from tfseg.spec.problems import SpecError

pytestmark = pytest.mark.usefixtures("one_isolated_worker")


@pytest.fixture(scope="module")
def bayesian() -> keras.Model:
    """Builds a network with two dropout layers of the same shape, which must have different masks."""
    return network(before=[McDropout(0.5, name="first"), McDropout(0.5, name="second")])


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def test_mean_and_variance() -> None:
    passes = softmax(np.random.default_rng(0).normal(size=(7, 2, 5, 6, 4))).astype(np.float32)
    mean, uncertainty = mean_and_uncertainty(iter(passes))
    np.testing.assert_allclose(mean, passes.mean(0), atol=1e-6)
    np.testing.assert_allclose(uncertainty, passes.var(0).mean(-1), atol=1e-6)
    assert (mean.dtype, uncertainty.dtype) == (np.float32, np.float32)


def test_white_is_the_maximum_uncertainty() -> None:
    """The uncertainty is maximal if each class is predicted by the same number of one-hot passes."""
    _, maximum = mean_and_uncertainty([np.eye(4)[index][None] for index in range(4)] * 2)
    assert shade(maximum, 4).tolist() == [65535]
    assert shade(maximum / 2, 4).tolist() == [32768]
    _, minimum = mean_and_uncertainty([np.eye(4)[1][None]] * 3)
    assert shade(minimum, 4).tolist() == [0]


def test_samples_are_averaged(bayesian: keras.Model) -> None:
    """The probabilities of the passes are averaged, not their logits."""
    sample, predictor = image(1), Predictor(bayesian, samples=3, seed=5)
    passes = list(predictor._engine.passes(sample[None], 3, 5))
    assert all(np.any(passes[0] != other) for other in passes[1:])
    np.testing.assert_allclose(predictor.probabilities(sample), np.mean(passes, 0)[0], atol=1e-6)
    mask, uncertainty = predictor.predict_with_uncertainty(sample)
    np.testing.assert_array_equal(mask, np.mean(passes, 0)[0].argmax(-1))
    np.testing.assert_allclose(uncertainty, np.var(passes, 0)[0].mean(-1), atol=1e-6)
    np.testing.assert_array_equal(predictor.predict(sample), mask)


def test_samples_depend_on_the_seed_only(bayesian: keras.Model, tmp_path: Path) -> None:
    bayesian.save(tmp_path / "model.keras")
    sample, predictor = image(1), Predictor(bayesian, samples=2, seed=3)
    first = predictor.probabilities(sample)
    predictor.probabilities(image(2, 20, 30))
    bayesian(sample[None].astype(np.float32))
    np.testing.assert_array_equal(predictor.probabilities(sample), first)
    np.testing.assert_allclose(
        Predictor.open(tmp_path / "model.keras", samples=2, seed=3).probabilities(sample), first, atol=1e-6
    )
    assert np.any(Predictor(bayesian, samples=2, seed=4).probabilities(sample) != first)


def test_dropout_layers_have_different_masks() -> None:
    """With one mask for both layers, half of the values would be kept; with two masks, a quarter."""
    inputs = keras.Input((None, None, 3), name="image")
    x = McDropout(0.5)(McDropout(0.5)(inputs))
    predictor = Predictor(keras.Model(inputs, x), samples=1, seed=0)
    kept = next(predictor._engine.passes(np.full((1, 60, 60, 3), 9, np.uint8), 1, 0))
    unequal = np.mean(np.isclose(kept.sum(-1), 1) & (kept.max(-1) - kept.min(-1) > 0.1))
    equal = np.mean(np.ptp(kept, -1) < 1e-6)  # all three channels dropped, or all three kept
    assert equal == pytest.approx(0.75**3 + 0.25**3, abs=0.04)
    assert unequal == pytest.approx(1 - equal, abs=0.01)


def test_without_samples_dropout_is_off(bayesian: keras.Model) -> None:
    plain = network()
    plain.set_weights(bayesian.get_weights())
    np.testing.assert_allclose(Predictor(bayesian).probabilities(image(1)), Predictor(plain).probabilities(image(1)))
    assert bayesian.get_layer("first").always_on


def test_samples_at_another_inference_size(bayesian: keras.Model) -> None:
    predictor = Predictor(bayesian, (16, 24), samples=3)
    scores, (mask, uncertainty) = predictor.probabilities(image(1)), predictor.predict_with_uncertainty(image(1))
    assert (scores.shape, mask.shape, uncertainty.shape) == ((40, 52, 3), (40, 52), (40, 52))
    np.testing.assert_array_equal(scores.argmax(-1), mask)


def test_uncertainty_maps_are_written(bayesian: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(image(1)).save(path)
    predictor = Predictor(bayesian, samples=4)
    spec = Inference(samples=4, uncertainty=True)
    written = list(predict_files(predictor, [path], tmp_path / "out", overlay=True, spec=spec))
    assert [file.name for file in written] == ["a.png", "a-overlay.png", "a-uncertainty.png"]
    mask, uncertainty = predictor.predict_with_uncertainty(image(1))
    np.testing.assert_array_equal(Image.open(written[0]), mask)
    with Image.open(written[2]) as gray:
        assert gray.mode.startswith("I;16")
        np.testing.assert_array_equal(gray, shade(uncertainty, 3))
    assert np.asarray(Image.open(written[2])).max() > 0


@pytest.mark.slow
def test_export_is_deterministic(bayesian: keras.Model, tmp_path: Path) -> None:
    """SavedModel and TFLite file match the network without dropout, and do not support samples."""
    spec = Export(tflite=Tflite(size=(24, 32)))
    report = export(bayesian, labels(), tmp_path, "bayesian", spec=spec, images=[image()])
    expected = Predictor(bayesian).probabilities(image(1, 24, 32))
    for path in (report.folder, report.tflite):
        np.testing.assert_allclose(Predictor.open(path).probabilities(image(1, 24, 32)), expected, atol=1e-5)
        assert error_of(path) == NONE.format(8)


NONE = (
    "inference.samples: this network has no MC dropout: it is a SavedModel, a TFLite file, or a network without "
    "mc_dropout. Predict with the .keras file of a network that has it, or set inference.samples to null. "
    "Received: {}"
)


def error_of(network: keras.Model | Path) -> str:
    """Returns the message of the error that a predictor with samples raises."""
    with pytest.raises(RunError) as error:
        (Predictor.open if isinstance(network, Path) else Predictor)(network, samples=8)
    return str(error.value)


def test_samples_need_mc_dropout() -> None:
    assert error_of(constant([0.0, 1.0])) == NONE.format(8)
    with pytest.raises(RunError):
        Predictor(network(before=[McDropout(0.5, always_on=False)]), samples=2)


def test_uncertainty_needs_samples() -> None:
    text = "Expected a predictor with samples, Predictor(network, samples=8). Received: samples=None"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Predictor(network()).predict_with_uncertainty(image())


@pytest.mark.parametrize("samples", [None, 1])
def test_uncertainty_needs_two_samples(samples: int | None) -> None:
    with pytest.raises(SpecError) as error:
        Inference(samples=samples, uncertainty=True)
    message = f"uncertainty: needs at least 2 samples; set samples to 2 or more. Received: samples={samples}"
    assert [str(each).partition(": ")[2] for each in error.value.problems] == [message]
