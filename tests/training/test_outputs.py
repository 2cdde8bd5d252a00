"""Training of networks with several outputs."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training import toy
from tests.training.test_callbacks import Kill, rows
from tfseg.errors import RunError
from tfseg.layers import CropLike
from tfseg.losses import CrossEntropy, subsample
from tfseg.training import State, Training, restore
from tfseg.training.objectives import CrossEntropy as Spec
from tfseg.training.optimizers import AdamW, Sgd

IMAGES, MASKS = toy.examples(8, size=9)
METRICS = ["loss", "miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"]


def compiled(training: Training, **network: object) -> keras.Model:
    with training.scope(seed=1):
        model = training.network(toy.network_with_outputs(**network))
        training.compile(model, toy.LABELS, steps_per_epoch=2)
    return model


def train(
    folder: Path, training: Training, *, resume: bool = False, more: tuple = (), **network: object
) -> keras.Model:
    model = compiled(training, **network)
    state = restore(model, folder) if resume else State()
    callbacks = training.callbacks(
        folder, toy.LABELS, steps_per_epoch=2, state=state, samples=[(IMAGES[0], MASKS[0])],
        batch=lambda epoch, step: (IMAGES[4 * step : 4 * step + 4], MASKS[4 * step : 4 * step + 4]),
    )  # fmt: skip
    model.fit(
        training.targets(toy.batches(IMAGES, MASKS, 4, training.epochs - state.epoch), model),
        steps_per_epoch=2,
        epochs=training.epochs,
        initial_epoch=state.epoch,
        shuffle=False,
        verbose=0,
        validation_data=training.targets(toy.batches(IMAGES, MASKS, 4), model),
        callbacks=[*callbacks, *more],
    )
    return model


@pytest.mark.parametrize(
    ("resolution", "weight", "outputs"),
    [
        ("image", 1.0, ["logits", "aux_side"]),
        ("scores", 1.0, ["logits", "scores", "aux_side"]),
        ("scores", 0.0, ["logits", "scores"]),
    ],
)
def test_outputs_without_loss_or_metric_are_removed(resolution: str, weight: float, outputs: list[str]) -> None:
    training = Training(loss=Spec(resolution=resolution), auxiliary_weight=weight)
    model = training.network(toy.network_with_outputs())
    assert sorted(model.output) == sorted(outputs)
    assert ("side" in [layer.name for layer in model.layers]) == ("aux_side" in outputs)


def test_network_with_one_output_is_unchanged() -> None:
    training = Training(auxiliary_weight=0.0)
    full = toy.network_with_outputs()
    model = training.network(full)
    assert model.output is full.output["logits"]
    alone = toy.network()
    assert training.network(alone) is alone


@pytest.mark.parametrize("resolution", ["image", "scores"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_is_the_weighted_sum(resolution: str, reduction: str) -> None:
    """It equals the sum of Keras losses on outputs and labels resized by hand."""
    training = Training(loss=Spec(resolution=resolution, reduction=reduction), auxiliary_weight=0.4)
    model = compiled(training)
    outputs = model(IMAGES)
    small = np.asarray(subsample(MASKS, (5, 5)))
    np.testing.assert_array_equal(small, MASKS[:, ::2, ::2])
    loss, resized = CrossEntropy(reduction=reduction), CrossEntropy(reduction=reduction, resolution="image")
    if resolution == "scores":
        expected = loss(small, outputs["scores"]) + 0.4 * loss(small, outputs["aux_side"])
    else:
        expected = loss(MASKS, outputs["logits"]) + 0.4 * resized(MASKS, outputs["aux_side"])
    targets = dict.fromkeys(outputs, MASKS)
    np.testing.assert_allclose(model.compute_loss(None, targets, outputs), expected, rtol=1e-6)


@pytest.mark.parametrize("precision", ["float32", pytest.param("mixed_float16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("resolution", ["image", "scores"])
def test_run_directory_is_as_with_one_output(tmp_path: Path, resolution: str, precision: str) -> None:
    training = Training(
        epochs=2, loss=Spec(resolution=resolution), optimizer=AdamW(learning_rate=0.02), precision=precision
    )
    model = train(tmp_path, training)
    table = rows(tmp_path)
    assert {"epoch", "seconds", "learning_rate", *METRICS, *(f"val_{name}" for name in METRICS)} <= set(table[0])
    parts = {"logits": {"logits_loss", "aux_side_loss"}, "scores": {"scores_loss", "aux_side_loss"}}
    assert parts["scores" if resolution == "scores" else "logits"] <= set(table[0])
    assert list((tmp_path / "logs" / "validation").iterdir())
    for name in ("model.keras", "last.keras"):
        saved = keras.models.load_model(tmp_path / name)
        assert [tensor.shape for tensor in saved.outputs] == [(None, None, None, 3)]
        assert not [layer.name for layer in saved.layers if "side" in layer.name]
    np.testing.assert_allclose(saved(IMAGES), model(IMAGES)["logits"], atol=1e-6)
    alone = Training()
    alone.compile(saved, toy.LABELS, steps_per_epoch=1)
    measured = saved.evaluate(toy.batches(IMAGES, MASKS, 4), verbose=0, return_dict=True)
    if precision == "float32":
        assert measured["miou"] == pytest.approx(float(table[-1]["val_miou"]), abs=1e-6)


def test_every_output_trains_its_branch() -> None:
    """The auxiliary loss trains its branch and the trunk. With `scores`, so does the loss of the scores."""
    for resolution in ("image", "scores"):
        training = Training(epochs=1, loss=Spec(resolution=resolution), optimizer=Sgd(weight_decay=0.0))
        model = compiled(training)
        before = {weight.path: weight.numpy() for weight in model.trainable_weights}
        model.fit(training.targets(toy.batches(IMAGES, MASKS, 4), model), shuffle=False, verbose=0)
        unchanged = [path for path, value in before.items() if np.array_equal(value, _weight(model, path))]
        assert not unchanged


def _weight(model: keras.Model, path: str) -> np.ndarray:
    return next(weight.numpy() for weight in model.weights if weight.path == path)


@pytest.mark.slow
def test_resume_is_exact(tmp_path: Path) -> None:
    training = Training(epochs=3, loss=Spec(resolution="scores"), optimizer=AdamW(learning_rate=0.02))
    whole = train(tmp_path / "whole", training, dropout=0.3)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", training, dropout=0.3, more=(Kill(epoch=1),))
    resumed = train(tmp_path / "parts", training, dropout=0.3, resume=True)
    for mine, theirs in zip(
        [*resumed.variables, *resumed.optimizer.variables], [*whole.variables, *whole.optimizer.variables], strict=True
    ):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=mine.path)
    for mine, theirs in zip(rows(tmp_path / "parts"), rows(tmp_path / "whole"), strict=True):
        assert {**mine, "seconds": ""} == {**theirs, "seconds": ""}


def test_nonfinite_loss_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        train(tmp_path, Training(epochs=2, optimizer=Sgd(learning_rate=1e30), schedule="constant"))
    assert "not finite at epoch 1, step 2 of 2\n" in str(caught.value)
    assert "first nonfinite layer: none" not in str(caught.value)
    assert not list(tmp_path.glob("*.keras"))


@pytest.mark.slow
def test_xla_trains_equally() -> None:
    """Without interpolation, that is with the loss at the resolution of the scores."""
    losses = []
    for jit in (True, False):
        training = Training(epochs=2, loss=Spec(resolution="scores"), optimizer=Sgd(learning_rate=0.1), jit_compile=jit)
        with training.scope(seed=1):
            full = toy.network_with_outputs()
            outputs = {**full.output, "logits": keras.layers.UpSampling2D(2, name="logits")(full.output["scores"])}
            model = training.network(keras.Model(full.input, outputs))
            training.compile(model, toy.LABELS, steps_per_epoch=2)
        images, masks = toy.examples(8)
        data = training.targets(toy.batches(images, masks, 4, 2), model)
        losses.append(model.fit(data, steps_per_epoch=2, epochs=2, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_interpolation_is_rejected_with_xla() -> None:
    with pytest.raises(RunError) as caught:
        compiled(Training(jit_compile=True))
    assert str(caught.value) == (
        "training.jit_compile: resizing gives wrong values under XLA (resize, aux_side). Received: true. "
        "Set jit_compile to "
        "false"
    )


def test_network_without_scores_is_rejected() -> None:
    training = Training(loss=Spec(resolution="scores"))
    with pytest.raises(RunError) as caught:
        training.compile(toy.network(), toy.LABELS, steps_per_epoch=1)
    assert str(caught.value) == (
        "training.loss.resolution: the network has no output `scores`; build it with training=True. Received: scores"
    )


def test_cropped_scores_are_rejected() -> None:
    image = keras.Input((None, None, 3), name="image")
    scores = keras.layers.Conv2D(3, 1, name="score")(keras.layers.ZeroPadding2D(4)(image))
    outputs = {"logits": CropLike(4)([scores, image]), "scores": scores}
    named = {name: keras.layers.Activation("linear", name=name)(tensor) for name, tensor in outputs.items()}
    training = Training(loss=Spec(resolution="scores"))
    with pytest.raises(RunError) as caught:
        training.compile(keras.Model(image, named), toy.LABELS, steps_per_epoch=1)
    assert str(caught.value) == (
        "training.loss.resolution: the scores of this network extend beyond the image and are cropped, so that labels "
        "cannot be subsampled at their positions. Received: scores. Set resolution to image"
    )


def test_expressions_match_nested_layers() -> None:
    """Freezes batch normalization inside of another layer and of a nested model."""
    inner = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.BatchNormalization(name="nested")], name="part"
    )
    image = keras.Input((None, None, 3), name="image")
    model = keras.Model(
        image, keras.layers.Conv2D(3, 1, name="logits")(keras.layers.TimeDistributed(inner)(image[:, None])[:, 0])
    )
    training = Training(batch_norm="frozen", freeze=("^nested$",))
    training.compile(model, toy.LABELS, steps_per_epoch=1)
    assert [weight.path for weight in model.trainable_weights] == ["logits/kernel", "logits/bias"]
