"""CRF as post-processing, and its errors."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfseg
from tests.exporting.toys import image, labels, network
from tfseg.errors import RunError
from tfseg.exporting import Export, export
from tfseg.inference import Crf, Ensemble, Predictor, Proposals
from tfseg.layers import McDropout
from tfseg.ops import dense_crf
from tfseg.ops.crf.parameters import PARAMETERS
from tfseg.pipeline import load
from tfseg.runs.directory import PIPELINE
from tfseg.spec.problems import SpecError
from tfseg.spec.show import dump

pytestmark = pytest.mark.usefixtures("one_isolated_worker")

MEAN, PRODUCT = (Ensemble(network=Path("b.keras"), merge=rule) for rule in ("mean_prob", "score_product"))  # type: ignore[arg-type]
CRF = Crf(parameters="deeplab_v1", iterations=3)
NAMES = ", ".join(sorted(PARAMETERS))
COLORS = (
    ": a CRF needs gray or RGB images, with 1 or 3 channels. Received: images with 4 channels. "
    "Set inference.crf to null."
)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network(seed=1)


def bayesian() -> keras.Model:
    """Builds a network with Monte Carlo dropout."""
    inputs = keras.Input((None, None, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = McDropout(0.5)(x)
    return keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same", name="logits")(x))


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("mode", ["alone", "size", "proposals", "ensemble", "product", "samples"])
def test_crf_is_applied_after_all_other_steps(model: keras.Model, mode: str) -> None:
    """The CRF refines the final probabilities at native resolution."""
    arguments: dict[str, Any] = {
        "alone": {},
        "size": {"size": (16, 24)},
        "proposals": {"proposals": Proposals(min_side=9, size=16)},
        "ensemble": {"partner": (MEAN, Predictor(network(seed=2)))},
        "product": {"partner": (PRODUCT, Predictor(network(seed=2)))},
        "samples": {"samples": 2, "seed": 3},
    }[mode]
    used = bayesian() if mode == "samples" else model
    before = Predictor(used, **arguments).probabilities(image(3))
    after = Predictor(used, crf=CRF, **arguments)
    expected = np.asarray(dense_crf(before[None], image(3)[None], parameters="deeplab_v1", iterations=3))[0]
    np.testing.assert_array_equal(after.probabilities(image(3)), expected)
    np.testing.assert_array_equal(after.predict(image(3)), expected.argmax(-1))
    assert np.any(expected.argmax(-1) != before.argmax(-1))
    if mode == "samples":
        np.testing.assert_array_equal(after.predict_with_uncertainty(image(3))[0], expected.argmax(-1))


def test_images_of_a_batch_are_refined_independently(model: keras.Model) -> None:
    refined = Predictor(model, crf=CRF)
    images = np.stack([image(3), image(4)])
    np.testing.assert_array_equal(refined.masks(images), [refined.predict(one) for one in images])


def test_crf_refines_an_exported_network(model: keras.Model, tmp_path: Path) -> None:
    """The CRF is not part of the export. It refines probabilities of any source."""
    report = export(model, labels(), tmp_path, "toy", spec=Export(tflite=None), images=[image()])
    refined = Predictor.open(report.folder, crf=CRF).probabilities(image())
    np.testing.assert_allclose(refined, Predictor(model, crf=CRF).probabilities(image()), atol=1e-4)


def test_gray_images_are_refined() -> None:
    gray = image(1, channels=1)
    assert np.any(Predictor(network(3, 1), crf=CRF).predict(gray) != Predictor(network(3, 1)).predict(gray))


TINY = """\
name: tiny
labels: {names: [ground, disc, square]}
data: {source: {type: shapes, size: 32, train: 4, val: 2}, batch_size: 2}
model: {type: graph, layers: [{name: score, layer: conv, filters: "${classes}", kernel_size: 1}]}
"""


def tiny(folder: Path, *overrides: str) -> Any:
    (folder / "tiny.yaml").write_text(TINY)
    return load(folder / "tiny.yaml", overrides)


def saved(folder: Path, *overrides: str, model: keras.Model) -> Path:
    """Creates a run directory of an untrained network."""
    folder.mkdir()
    (folder / PIPELINE).write_text(dump(tiny(folder.parent, *overrides)))
    model.save(folder / "model.keras")
    return folder


@pytest.mark.slow
def test_ensemble_of_runs_is_refined_once(model: keras.Model, tmp_path: Path) -> None:
    """`evaluate` applies the CRF of the pipeline. That of the second network is not applied."""
    crf = "crf: {parameters: deeplab_v1, iterations: 3}"
    other = saved(tmp_path / "other", f"inference={{{crf}}}", model=network(seed=2))
    first = saved(tmp_path / "first", f"inference={{ensemble: {{network: {other}}}, {crf}}}", model=model)
    report = tfseg.evaluate(first)
    ensemble = Ensemble(network=other)
    refined = Predictor(model, partner=(ensemble, Predictor(network(seed=2))), crf=CRF)
    pipeline = tfseg.Run(first).pipeline
    pairs = list(pipeline.data.open(pipeline.labels).evaluation("val").as_numpy_iterator())
    right = sum(int((refined.predict(one[0]) == mask[0]).sum()) for one, mask in pairs)
    assert report["pixel_accuracy"] == pytest.approx(right / (2 * 32 * 32))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["inference.crf.parameters=deeplab"], f".parameters: expected one of {NAMES}. Received: deeplab"),
        (
            ["inference.crf={bilateral_weight: 4, theta_alpha: 50, spatial_weight: 3}"],
            f".parameters: expected one of {NAMES}; without it, theta_beta, theta_gamma must be set too. "
            "Received: null",
        ),
        (
            ["inference.crf={parameters: crf_rnn, theta_beta: 0}"],
            ".theta_beta: expected a number greater than 0 or null; received 0",
        ),
        (
            ["inference.crf={parameters: crf_rnn, theta_gamma: 1001}"],
            ".theta_gamma: expected a number greater than 0 and of at most 1000 or null; received 1001",
        ),
        (
            ["inference.crf={parameters: crf_rnn, bilateral_weight: 1e300}"],
            ".bilateral_weight: expected a number from 0 to 1000000 or null; received 1e+300",
        ),
        (["inference.crf={parameters: crf_rnn}", "data.source.channels=4", "model.channels=4"], COLORS),
    ],
)
def test_invalid_settings(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        tiny(tmp_path, *overrides)
    (problem,) = error.value.problems
    assert f"{problem.path}: {problem.message}".startswith(f"inference.crf{message}")


def error_of(crf: Crf, model: keras.Model, sample: np.ndarray) -> str:
    """Returns the message of the error that a prediction raises."""
    with pytest.raises(RunError) as error:
        Predictor(model, crf=crf).predict(sample)
    return str(error.value)


def test_errors_during_prediction(model: keras.Model) -> None:
    assert error_of(CRF, network(3, 4), image(channels=4)) == f"inference.crf{COLORS}"
    assert error_of(Crf(parameters="crf_rnn", theta_beta=1e-4), model, image()) == (
        "inference.crf: an image of 40x52 (height x width) is too large for the lattice with these standard "
        "deviations. Use larger ones; below a theta_beta of about 0.2 color differences alone are too large. Received: "
        "theta_alpha=160, theta_beta=0.0001"
    )
    broken = keras.models.clone_model(model)
    broken.set_weights([weight * np.nan for weight in model.get_weights()])
    assert error_of(CRF, broken, image()) == (
        "inference.crf: the network's probabilities contain NaN, which would spread over the whole image. Train it "
        "again with a lower learning rate; a network with NaN weights predicts no valid masks without the CRF either."
    )
