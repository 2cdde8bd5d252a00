"""CRF-RNN after the head: input image, initial values and training."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfseg
from tests.models.conftest import LABELS
from tfseg import layers
from tfseg.backbones import SmallCnn
from tfseg.context import Context
from tfseg.exporting import Export
from tfseg.models import Graph, ModelError, Segmenter, describe
from tfseg.models.coordinates import NoCoordinates, coordinate_map, receptive_field
from tfseg.models.decoders import Fcn
from tfseg.models.refine import CrfRnn
from tfseg.ops.geometry import CoordinateMap
from tfseg.pipeline import Pipeline, check, load
from tfseg.training import Training
from tfseg.training.optimizers import Sgd

THETAS = {"theta_alpha": 8.0, "theta_beta": 30.0, "theta_gamma": 2.0}
FORMS = [CrfRnn(**THETAS), CrfRnn(**THETAS, kernel="convolutional", window=5, normalization="symmetric")]
IMAGE = np.random.default_rng(0).integers(0, 256, (2, 33, 41, 3), np.uint8)


def segmenter(refine: CrfRnn | None = FORMS[0], **options: Any) -> Segmenter:
    decoder = Fcn(strides=(16, 8), filters=4)
    return Segmenter(**{"backbone": SmallCnn(filters=2), "decoder": decoder, "refine": refine, **options})


def randomized(model: keras.Model) -> keras.Model:
    """Randomizes the kernels of the scores, which are initialized to zero."""
    keras.utils.set_random_seed(0)
    for layer in model.layers:
        if layer.name.startswith("score") and layer.weights:
            layer.kernel.assign(3 * keras.random.normal(layer.kernel.shape))
    return model


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("refine", FORMS, ids=lambda spec: spec.kernel)
def test_logits_are_refined_by_the_crf(refine: CrfRnn) -> None:
    model = randomized(segmenter(refine).build(LABELS, training=True))
    assert list(model.output) == ["logits", "scores"] and model.output["scores"].shape[-1] == 3
    plain = segmenter(None).build(LABELS)
    names = [layer.name for layer in segmenter(refine).build(LABELS).layers]
    assert names == [*(layer.name for layer in plain.layers[:-1]), "crf_rnn", "logits"]
    plain.set_weights(model.get_weights()[: len(plain.weights)])
    arguments = {name: value for name, value in vars(refine).items() if name != "type"}
    expected = layers.CrfRnn(**arguments)([plain(IMAGE), IMAGE])
    found = model(IMAGE.astype(np.float32))["logits"]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found - plain(IMAGE)).max() > 0.5


def test_gray_images() -> None:
    model = randomized(segmenter(FORMS[1], channels=1).build(LABELS))
    assert model(IMAGE[..., :1]).shape == (2, 33, 41, 3)


def test_logits_are_float32_under_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = randomized(segmenter().build(LABELS))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("crf_rnn").compute_dtype == "float32"
    assert model(IMAGE).dtype == "float32" and np.isfinite(model(IMAGE)).all()


def test_weights_of_a_network_without_crf_can_be_loaded(tmp_path: Path) -> None:
    plain = randomized(segmenter(None).build(LABELS))
    plain.save(tmp_path / "model.keras")
    spec = segmenter(
        CrfRnn(bilateral_weight=0.0, spatial_weight=0.0),
        backbone=SmallCnn(filters=2, weights=tmp_path / "model.keras"),
    )
    model = spec.build(LABELS)
    report = spec.load_weights(model)
    assert report is not None and not report.unused
    np.testing.assert_allclose(model(IMAGE), plain(IMAGE), atol=1e-6)
    again = Path(tmp_path / "refined.keras")
    model.save(again)
    other = segmenter(backbone=SmallCnn(filters=2, weights=again))
    filled = other.build(LABELS)
    other.load_weights(filled)
    assert not np.any(filled.get_layer("crf_rnn").bilateral_weights)


def test_crf_adds_its_matrices_and_keeps_the_description() -> None:
    plain, refined = (describe(segmenter(refine).build(LABELS)) for refine in (None, FORMS[0]))
    assert refined.trainable == plain.trainable + 3 * 3 * 3
    assert (refined.receptive_field, refined.output_stride) == (plain.receptive_field, plain.output_stride)
    image = keras.Input((None, None, 3))
    logits = layers.CrfRnn(name="crf_rnn")([keras.layers.Conv2D(3, 3, padding="same")(image), image])
    assert coordinate_map(logits) == CoordinateMap()
    with pytest.raises(NoCoordinates, match=r"of layer 'crf_rnn' is unbounded: CrfRnn compares all pixels\."):
        receptive_field(logits)


def pipeline(**options: Any) -> Pipeline:
    data = {"source": {"type": "shapes", "size": 32, "train": 2, "val": 1}, "batch_size": 2}
    values = {"name": "tiny", "labels": LABELS, "data": data, "model": segmenter(), "export": Export(tflite=None)}
    return Pipeline(**{**values, **options})


def test_retargeted_networks_keep_the_crf() -> None:
    model = segmenter(decoder=Fcn(strides=(16,)), backbone=SmallCnn(filters=2, output_stride=16))
    retargeted = tfseg.retarget(pipeline(model=model), 8)
    assert retargeted.model.refine == FORMS[0]
    before, after = randomized(model.build(LABELS)), retargeted.build()
    after.set_weights(before.get_weights())
    assert after(IMAGE).shape == before(IMAGE).shape


def test_learning_rate_multipliers_and_freezing_of_the_crf() -> None:
    model = segmenter().build(LABELS)
    rates = {"crf_rnn/.*_weights$": 1e4, "crf_rnn/compatibility": 1e3}
    Training(optimizer=Sgd(lr_multipliers=rates)).compile(model, LABELS, steps_per_epoch=1)
    factors = {weight.path: model.optimizer._factors[i] for i, weight in enumerate(model.trainable_variables)}
    found = {path.removeprefix("crf_rnn/"): factor for path, factor in factors.items() if factor != 1}
    assert found == {"bilateral_weights": 1e4, "spatial_weights": 1e4, "compatibility": 1e3}
    Training(freeze=("^crf_rnn$",)).compile(model, LABELS, steps_per_epoch=1)
    assert not [weight.path for weight in model.trainable_weights if "crf_rnn" in weight.path]
    model = segmenter().build(LABELS)
    Training(freeze=("^stage", "^score", "^lateral", "^smooth")).compile(model, LABELS, steps_per_epoch=1)
    assert {weight.path.partition("/")[0] for weight in model.trainable_weights} == {"crf_rnn"}


@pytest.mark.parametrize(
    ("model", "path", "message"),
    [
        (
            segmenter(channels=5),
            ("refine",),
            "the CRF supports 1 or 3 image channels, and model.channels is 5. Set refine to null",
        ),
        (
            segmenter(CrfRnn(compatibility=((0.0, 1.0), (1.0, 0.0)))),
            ("refine", "compatibility"),
            "must have 3 rows and columns, one per class. Received: 2 rows",
        ),
    ],
)
def test_problems_are_reported_before_building(model: Segmenter, path: tuple[str, ...], message: str) -> None:
    assert list(model.problems(Context(LABELS, 3))) == [(path, message)]
    with pytest.raises(ModelError):
        model.build(LABELS)


FILE = """\
name: tiny
labels: {names: [ground, disc, square]}
data: {source: {type: shapes, size: 32}}
model:
  backbone: {type: small_cnn, filters: 2}
  decoder: {type: fcn, strides: [16]}
  refine: crf_rnn
export: {tflite: null}
"""
LATTICE = (
    "export.tflite: TFLite has no operations for the permutohedral lattice. Set the kernel of {} to convolutional, or "
    "export.tflite to null to export the SavedModel only. Received: a TFLite file, which is the default"
)
GRAPH = (
    "model={type: graph, layers: [{name: score, layer: conv, filters: '${classes}', kernel_size: 1}, "
    "{name: crf, layer: crf_rnn, inputs: [score, image]}]}"
)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("export={}",), LATTICE.format("crf_rnn")),
        (("export={}", GRAPH), LATTICE.format("crf")),
        (("model.refine.window=4",), "model.refine.window: must be odd, to be centered on a pixel. Received: 4"),
        (
            ("model.refine.compatibility=[[0, 1]]",),
            "model.refine.compatibility: must be a square matrix. Received: rows of lengths 2",
        ),
        (("model.refine.theta_beta=0",), "model.refine.theta_beta: "),
    ],
)
def test_invalid_files_are_rejected_by_check(overrides: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(FILE)
    with pytest.raises(tfseg.SpecError) as caught:
        check(tmp_path / "tiny.yaml", overrides)
    assert message in str(caught.value)
    check(tmp_path / "tiny.yaml", ("export={}", "model.refine.kernel=convolutional"))


def test_training_options_that_conflict_with_the_crf() -> None:
    scores = "training.loss.resolution: scores are the input of crf_rnn, which would not be trained. Received: scores. "
    with pytest.raises(ModelError, match=f"{scores}Set resolution to image"):
        pipeline(training=Training(loss={"type": "cross_entropy", "resolution": "scores"})).describe()
    model = segmenter().build(LABELS)
    xla = (
        "XLA cannot compile the lattice of crf_rnn. Received: true. "
        "Set jit_compile to false, or the layer's kernel to convolut"
    )
    messages = [message for _, message in Training(jit_compile=True).network_problems(model)]
    assert messages[0].startswith(xla)
    assert "crf_rnn" not in messages[1]


def test_crf_in_a_graph() -> None:
    nodes = (
        {"name": "score", "layer": "conv", "filters": "${classes}", "kernel_size": 1},
        {"name": "crf", "layer": "crf_rnn", "inputs": ("score", "image"), **THETAS, "kernel": "convolutional"},
    )
    graph = Graph(layers=nodes)
    assert not list(graph.problems(Context(LABELS, 3)))
    assert graph.build(LABELS)(IMAGE).shape == (2, 33, 41, 3)


@pytest.mark.slow
def test_crf_trains_end_to_end_from_a_trained_network(tmp_path: Path) -> None:
    """Training with the CRF decreases the loss, gives a higher mIoU than training the network alone for as long, and
    changes every CRF weight."""
    (tmp_path / "tiny.yaml").write_text(FILE)
    common = (
        "data.source={type: shapes, size: 48, train: 32, val: 8}", "data.batch_size=4",
        "model.backbone.filters=8", "model.decoder={type: fcn, strides: [16, 8]}",
        "training={epochs: 4, schedule: constant, optimizer: {type: adamw, learning_rate: 0.003}}",
    )  # fmt: skip
    alone = tfseg.fit(load(tmp_path / "tiny.yaml", (*common, "model.refine=null")), tmp_path / "alone", verbose=False)
    weights = f"model.backbone.weights={alone.folder / 'model.keras'}"
    thetas = "model.refine={type: crf_rnn, theta_alpha: 10, theta_beta: 15, theta_gamma: 2}"
    rates = "training.optimizer.lr_multipliers={crf_rnn/: 10}"
    runs = {
        "longer": load(tmp_path / "tiny.yaml", (*common, "model.refine=null", weights)),
        "refined": load(tmp_path / "tiny.yaml", (*common, weights, thetas, rates)),
    }
    found = {name: tfseg.fit(each, tmp_path / name, verbose=False) for name, each in runs.items()}
    losses = {name: [float(row["loss"]) for row in run.history] for name, run in found.items()}
    assert losses["refined"][-1] < losses["refined"][0]
    assert found["refined"].metrics["val"]["miou"] > found["longer"].metrics["val"]["miou"]
    crf = found["refined"].model().get_layer("crf_rnn")
    for weight, start in zip(crf.weights, (5 * np.eye(3), 3 * np.eye(3), -np.eye(3)), strict=True):
        assert np.abs(weight - start).max() > 0.02
