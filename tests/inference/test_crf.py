"""The CRF behind a network: what it is applied to, and what is refused."""

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
    ": the distance of two colors is that of gray or RGB images, of 1 or 3 channels; set it to null. Received: "
    "images of 4 channels"
)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network(seed=1)


def dropping() -> keras.Model:
    """A network with Monte Carlo dropout."""
    picture = keras.Input((None, None, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(picture)
    x = McDropout(0.5)(x)
    return keras.Model(picture, keras.layers.Conv2D(3, 3, padding="same", name="logits")(x))


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("how", ["alone", "size", "proposals", "ensemble", "product", "samples"])
def test_it_refines_what_all_the_rest_gives(model: keras.Model, how: str) -> None:
    """One CRF, of probabilities at the image's own size, after everything else."""
    arguments: dict[str, Any] = {
        "alone": {},
        "size": {"size": (16, 24)},
        "proposals": {"proposals": Proposals(min_side=9, size=16)},
        "ensemble": {"partner": (MEAN, Predictor(network(seed=2)))},
        "product": {"partner": (PRODUCT, Predictor(network(seed=2)))},
        "samples": {"samples": 2, "seed": 3},
    }[how]
    seen = dropping() if how == "samples" else model
    before = Predictor(seen, **arguments).probabilities(image(3))
    after = Predictor(seen, crf=CRF, **arguments)
    expected = np.asarray(dense_crf(before[None], image(3)[None], parameters="deeplab_v1", iterations=3))[0]
    np.testing.assert_array_equal(after.probabilities(image(3)), expected)
    np.testing.assert_array_equal(after.predict(image(3)), expected.argmax(-1))
    assert np.any(expected.argmax(-1) != before.argmax(-1))
    if how == "samples":
        np.testing.assert_array_equal(after.predict_with_uncertainty(image(3))[0], expected.argmax(-1))


def test_a_batch_is_refined_image_by_image(model: keras.Model) -> None:
    refined = Predictor(model, crf=CRF)
    images = np.stack([image(3), image(4)])
    np.testing.assert_array_equal(refined.masks(images), [refined.predict(one) for one in images])


def test_an_exported_network_is_refined_too(model: keras.Model, tmp_path: Path) -> None:
    """The export itself has no CRF: that is laid over whatever gives probabilities."""
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
    """A run directory of a network that was trained elsewhere."""
    folder.mkdir()
    (folder / PIPELINE).write_text(dump(tiny(folder.parent, *overrides)))
    model.save(folder / "model.keras")
    return folder


@pytest.mark.slow
def test_runs_are_refined_once(model: keras.Model, tmp_path: Path) -> None:
    """What evaluate measures has the CRF that the pipeline asks for; that of a partner is left out."""
    crf = "crf: {parameters: deeplab_v1, iterations: 3}"
    other = saved(tmp_path / "other", f"inference={{{crf}}}", model=network(seed=2))
    first = saved(tmp_path / "first", f"inference={{ensemble: {{network: {other}}}, {crf}}}", model=model)
    report = tfseg.evaluate(first)
    how = Ensemble(network=other)
    refined = Predictor(model, partner=(how, Predictor(network(seed=2))), crf=CRF)
    pipeline = tfseg.Run(first).pipeline
    pairs = list(pipeline.data.open(pipeline.labels).evaluation("val").as_numpy_iterator())
    right = sum(int((refined.predict(one[0]) == mask[0]).sum()) for one, mask in pairs)
    assert report["pixel_accuracy"] == pytest.approx(right / (2 * 32 * 32))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["inference.crf.parameters=deeplab"], f".parameters: expected one of {NAMES}. Received: deeplab"),
        (
            ["inference.crf={bilateral_weight: 4, theta_alpha: 50, spatial_weight: 3}"],
            f".parameters: expected one of {NAMES}, or values for theta_beta, theta_gamma as well. Received: null",
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
def test_what_check_finds(overrides: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        tiny(tmp_path, *overrides)
    (problem,) = error.value.problems
    assert f"{problem.path}: {problem.message}".startswith(f"inference.crf{told}")


def refusal(crf: Crf, model: keras.Model, picture: np.ndarray) -> str:
    with pytest.raises(RunError) as error:
        Predictor(model, crf=crf).predict(picture)
    return str(error.value)


def test_what_is_refused_while_running(model: keras.Model) -> None:
    assert refusal(CRF, network(3, 4), image(channels=4)) == f"inference.crf{COLORS}"
    assert refusal(Crf(parameters="crf_rnn", theta_beta=1e-4), model, image()) == (
        "inference.crf: an image of 40x52 (height x width) is too large for the lattice when it is measured in units "
        "so small. Take larger ones; below a theta_beta of about 0.2 contrasts alone are too large. Received: "
        "theta_alpha=160, theta_beta=0.0001"
    )
    broken = keras.models.clone_model(model)
    broken.set_weights([weight * np.nan for weight in model.get_weights()])
    assert refusal(CRF, broken, image()) == (
        "inference.crf: the network's probabilities hold NaN, which would spread over the whole image. Train it again "
        "with a lower learning rate; a network with NaN among its weights gives no masks without the CRF either."
    )
