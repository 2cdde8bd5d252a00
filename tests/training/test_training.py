"""The section `training`, with a toy network."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training import toy
from tfseg.context import Context
from tfseg.errors import RunError
from tfseg.losses import CrossEntropy
from tfseg.metrics import SegmentationMetrics
from tfseg.spec.problems import SpecError
from tfseg.spec.source import read
from tfseg.spec.validate import validate
from tfseg.training import Training, explain
from tfseg.training.objectives import CrossEntropy as Objective
from tfseg.training.optimizers import AdamW, Sgd
from tfseg.training.schedules import Constant, Poly

IMAGES, MASKS = toy.examples(8)


def compiled(training: Training, seed: int = 1, **network) -> keras.Model:
    with training.scope(seed):
        model = toy.network(**network)
        training.compile(model, toy.LABELS, steps_per_epoch=2)
    return model


def fitted(training: Training, masks: np.ndarray = MASKS, **network) -> tuple[keras.Model, dict]:
    model = compiled(training, **network)
    data = toy.batches(IMAGES, masks, 4, training.epochs)
    history = model.fit(data, steps_per_epoch=2, epochs=training.epochs, shuffle=False, verbose=0)
    return model, history.history


def test_training_reduces_the_loss():
    training = Training(epochs=30, optimizer=AdamW(learning_rate=0.03))
    _, history = fitted(training)
    assert history["loss"][-1] < 0.3 < history["loss"][0]
    assert history["miou"][-1] > 0.8


def test_compiled_model_is_an_ordinary_keras_model():
    """`jit_compile` is always set explicitly."""
    model = compiled(Training(optimizer=Sgd(learning_rate=0.2), schedule=Constant()))
    assert type(model) is type(toy.network())
    assert isinstance(model.loss, CrossEntropy)
    assert [type(metric) for metric in model._compile_metrics.metrics] == [SegmentationMetrics]
    assert float(model.optimizer.learning_rate) == pytest.approx(0.2)
    assert model.jit_compile is False
    assert compiled(Training(jit_compile=True)).jit_compile is True


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(precision):
    """Layers compute in half precision, but weights, logits, loss and metrics are float32."""
    training = Training(epochs=8, precision=precision, optimizer=AdamW(learning_rate=0.02))
    model, history = fitted(training)
    assert model.get_layer("conv").compute_dtype == precision.removeprefix("mixed_")
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.output.dtype == "float32"
    assert model.loss.dtype == "float32"
    assert model.optimizer.loss_scale.numpy() == (2.0**15 if precision == "mixed_float16" else 1.0)
    _, exact = fitted(Training(epochs=8, optimizer=AdamW(learning_rate=0.02)))
    np.testing.assert_allclose(history["loss"], exact["loss"], rtol=0.05)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
def test_jit_compile_trains_equally():
    options = {"epochs": 2, "optimizer": Sgd(learning_rate=0.1)}
    jit, plain = fitted(Training(jit_compile=True, **options)), fitted(Training(**options))
    np.testing.assert_allclose(jit[1]["loss"], plain[1]["loss"], rtol=1e-5)
    np.testing.assert_allclose(jit[1]["miou"], plain[1]["miou"], rtol=1e-5)


def test_scope_restores_the_dtype_policy_after_an_error():
    with pytest.raises(KeyError), Training(precision="mixed_bfloat16").scope():
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        raise KeyError
    assert keras.config.dtype_policy().name == "float32"


def test_scope_sets_the_seed():
    first, again, other = (compiled(Training(), seed).get_layer("conv").kernel.numpy() for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_frozen_batch_norm_keeps_all_variables():
    model, _ = fitted(Training(epochs=1, batch_norm="frozen"))
    before = [weight.numpy() for weight in toy.network().get_layer("norm").weights]
    for weight, value in zip(model.get_layer("norm").weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    trained, _ = fitted(Training(epochs=1))
    for weight, value in zip(trained.get_layer("norm").weights, before, strict=True):
        assert np.abs(weight.numpy() - value).max() > 0


def test_frozen_layers_keep_their_weights():
    start = compiled(Training())
    model, _ = fitted(Training(epochs=1, freeze=("^conv$",)))
    np.testing.assert_array_equal(model.get_layer("conv").kernel.numpy(), start.get_layer("conv").kernel.numpy())
    assert np.abs(model.get_layer("score").kernel.numpy() - start.get_layer("score").kernel.numpy()).max() > 0
    assert [weight.path for weight in model.trainable_weights] == [
        "norm/gamma",
        "norm/beta",
        "score/kernel",
        "score/bias",
    ]


def test_multipliers_scale_the_updates():
    """One step without momentum and weight decay changes a weight by rate x factor x gradient."""
    updates = {}
    for factor in (1.0, 3.0):
        optimizer = Sgd(learning_rate=0.01, momentum=0.0, weight_decay=0.0, lr_multipliers={"score/": factor})
        model = compiled(Training(optimizer=optimizer))
        before = {weight.path: weight.numpy() for weight in model.trainable_weights}
        model.fit(IMAGES[:4], MASKS[:4], batch_size=4, verbose=0)
        updates[factor] = {weight.path: weight.numpy() - before[weight.path] for weight in model.trainable_weights}
    for path, update in updates[1.0].items():
        assert np.abs(update).max() > 1e-7
        scale = 3.0 if path.startswith("score/") else 1.0
        np.testing.assert_allclose(updates[3.0][path], scale * update, rtol=1e-2, atol=1e-7, err_msg=path)


def test_loss_has_computed_class_weights():
    pixels, image_pixels = np.array([60, 30, 10]), np.array([100, 60, 50])
    training = Training(loss={"type": "cross_entropy", "class_weights": "median_frequency"})
    with training.scope():
        model = toy.network()
        training.compile(model, toy.LABELS, steps_per_epoch=1, counts=lambda: (pixels, image_pixels))
    assert model.loss.class_weights == pytest.approx((0.5 / 0.6, 1.0, 2.5))


def test_classes_are_counted_at_most_once():
    """Both losses have the weights. Counting reads every mask, and is only needed for computed weights."""
    calls = []

    def counts():
        calls.append(None)
        return np.array([60, 30, 10]), np.array([100, 60, 50])

    for loss, times in (({"class_weights": "median_frequency"}, 1), ({}, 0), ({"class_weights": (1.0, 2.0, 3.0)}, 0)):
        calls.clear()
        training = Training(loss={"type": "cross_entropy", **loss})
        with training.scope():
            model = training.network(toy.network_with_outputs())
            training.compile(model, toy.LABELS, steps_per_epoch=1, counts=counts)
        assert len(model.loss) == 2 and len({each.class_weights for each in model.loss.values()}) == 1
        assert len(calls) == times


def test_batch_without_labels_changes_nothing():
    """Loss and gradient are 0, so without momentum and weight decay the weights are unchanged."""
    optimizer = Sgd(momentum=0.0, weight_decay=0.0)
    model, history = fitted(Training(epochs=1, optimizer=optimizer), masks=np.full_like(MASKS, toy.LABELS.ignore))
    assert history["loss"] == [0.0]
    start = compiled(Training(optimizer=optimizer))
    for weight, before in zip(model.trainable_weights, start.trainable_weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), before.numpy())


def test_labels_out_of_range_stop_the_training():
    masks = MASKS.copy()
    masks[5, 0, 0] = 9
    template = (
        "training stopped: Labels must be classes 0 to 2, or the ignore label 255. Received: {}. "
        "Run `tfseg data check` to find the files"
    )
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        fitted(Training(epochs=1), masks=masks)
    message = str(explain(caught.value))
    assert message in (template.format("0 to 9"), template.format("9"))  # of the loss or of the metric


def test_explain_returns_errors_that_users_can_fix():
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8,512]\nmore")
    assert str(explain(error)) == (
        "training ran out of memory (OOM when allocating tensor with shape[8,512]). Use a smaller data.batch_size or "
        "data.crop, or training.precision: mixed_bfloat16"
    )
    assert explain(tf.errors.InvalidArgumentError(None, None, "something else")) is None
    assert explain(KeyError()) is None


def test_expressions_without_match_are_rejected():
    training = Training(freeze=("conv1_",), optimizer=Sgd(lr_multipliers={"fc8": 10.0}))
    with pytest.raises(RunError) as caught:
        compiled(training)
    assert str(caught.value) == (
        "training.freeze: matches none of the 7 layer names of the network (image, rescaling, conv, …, relu, score, "
        "logits). Received: conv1_\n"
        "training.optimizer.lr_multipliers.fc8: matches none of the 7 variable paths of the network (conv/kernel, "
        "norm/gamma, norm/beta, …, norm/moving_variance, score/kernel, score/bias). Received: fc8"
    )


def test_number_of_class_weights_is_checked():
    training = Training(loss={"type": "cross_entropy", "class_weights": (1.0, 2.0)})
    assert list(training.problems(Context(toy.LABELS, 3))) == [
        (("loss", "class_weights"), "expected 3 weights, one per class. Received: 2")
    ]
    with pytest.raises(RunError) as caught:
        compiled(training)
    assert str(caught.value) == "training.loss.class_weights: expected 3 weights, one per class. Received: 2"


def test_jit_compile_is_rejected_with_mirrored():
    message = (
        "jit_compile: not supported with strategy: mirrored, because XLA cannot access variables of other devices. "
        "Received: jit_compile=true, strategy=mirrored. Remove one of the two"
    )
    with pytest.raises(SpecError, match=re.escape(message)):
        Training(jit_compile=True, strategy="mirrored")


def test_several_workers_are_rejected(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}')
    with pytest.raises(RunError) as caught, Training().scope():
        raise AssertionError("not reached")
    assert str(caught.value) == (
        "the environment variable TF_CONFIG defines several workers, but Keras 3 does not support multi-worker "
        "training. Received: 2 workers (a:1, b:2). Unset TF_CONFIG. To use all GPUs of one machine, set "
        "training.strategy: mirrored"
    )


@pytest.mark.parametrize("text", ["{", "[1]", '{"cluster": {"worker": 3}}', '{"a":' * 100_000], ids=range(4))
def test_invalid_tf_config(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(RunError) as caught, Training().scope():
        raise AssertionError("not reached")
    assert str(caught.value) == (
        'the environment variable TF_CONFIG cannot be read. Expected JSON such as {"cluster": {"worker": '
        f'["host:port"]}}}}. Received: {text[:60]!r}. Unset TF_CONFIG, or correct it'
    )


def test_tf_config_with_one_worker(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}}')
    with Training().scope() as scope:
        assert scope.replicas == 1


def test_default_types_apply_if_no_type_is_given(tmp_path):
    """A file or an override without `type` changes fields of the default."""
    (tmp_path / "training.yaml").write_text("optimizer: {learning_rate: 0.5}\n")
    overrides = ("schedule.power=2.0", "loss.resolution=scores")
    training = validate(Training, read(tmp_path / "training.yaml", overrides))
    assert (training.optimizer, training.schedule) == (AdamW(learning_rate=0.5), Poly(power=2.0))
    assert training.loss == Objective(resolution="scores")
    default = Training()
    assert [type(slot) for slot in (default.optimizer, default.schedule, default.loss)] == [AdamW, Poly, Objective]


def test_deterministic_operations(monkeypatch):
    """They cannot be disabled again, so that the call is only recorded here."""
    calls = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: calls.append(1))
    with Training().scope():
        assert calls == []
    with Training(deterministic=True).scope():
        assert calls == [1]
