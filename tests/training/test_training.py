"""The Training spec: from a toy network to a trained one."""

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

IMAGES, MASKS = toy.pictures(8)


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


def test_it_learns():
    training = Training(epochs=30, optimizer=AdamW(learning_rate=0.03))
    _, history = fitted(training)
    assert history["loss"][-1] < 0.3 < history["loss"][0]
    assert history["miou"][-1] > 0.8


def test_compiled_with_keras_alone():
    """What `compile` leaves is an ordinary compiled model, and XLA is never a matter of chance."""
    model = compiled(Training(optimizer=Sgd(learning_rate=0.2), schedule=Constant()))
    assert type(model) is type(toy.network())
    assert isinstance(model.loss, CrossEntropy)
    assert [type(metric) for metric in model._compile_metrics.metrics] == [SegmentationMetrics]
    assert float(model.optimizer.learning_rate) == pytest.approx(0.2)
    assert model.jit_compile is False
    assert compiled(Training(jit_compile=True)).jit_compile is True


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(precision):
    """Layers compute in half precision; weights, logits, loss and metrics do not; and it learns the same."""
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
def test_jit_compile_trains_the_same():
    options = {"epochs": 2, "optimizer": Sgd(learning_rate=0.1)}
    jit, plain = fitted(Training(jit_compile=True, **options)), fitted(Training(**options))
    np.testing.assert_allclose(jit[1]["loss"], plain[1]["loss"], rtol=1e-5)
    np.testing.assert_allclose(jit[1]["miou"], plain[1]["miou"], rtol=1e-5)


def test_scope_restores_the_policy_after_an_error():
    with pytest.raises(KeyError), Training(precision="mixed_bfloat16").scope():
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        raise KeyError
    assert keras.config.dtype_policy().name == "float32"


def test_scope_makes_the_same_network_from_the_same_seed():
    first, again, other = (compiled(Training(), seed).get_layer("conv").kernel.numpy() for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_frozen_batch_norm_keeps_everything():
    model, _ = fitted(Training(epochs=1, batch_norm="frozen"))
    before = [weight.numpy() for weight in toy.network().get_layer("norm").weights]
    for weight, value in zip(model.get_layer("norm").weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    trained, _ = fitted(Training(epochs=1))
    for weight, value in zip(trained.get_layer("norm").weights, before, strict=True):
        assert np.abs(weight.numpy() - value).max() > 0


def test_freeze():
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


def test_multipliers_reach_the_weights():
    """After one step without momentum and decay, a weight has moved by rate x factor x gradient."""
    moves = {}
    for factor in (1.0, 3.0):
        optimizer = Sgd(learning_rate=0.01, momentum=0.0, weight_decay=0.0, lr_multipliers={"score/": factor})
        model = compiled(Training(optimizer=optimizer))
        before = {weight.path: weight.numpy() for weight in model.trainable_weights}
        model.fit(IMAGES[:4], MASKS[:4], batch_size=4, verbose=0)
        moves[factor] = {weight.path: weight.numpy() - before[weight.path] for weight in model.trainable_weights}
    for path, move in moves[1.0].items():
        assert np.abs(move).max() > 1e-7
        scale = 3.0 if path.startswith("score/") else 1.0
        np.testing.assert_allclose(moves[3.0][path], scale * move, rtol=1e-2, atol=1e-7, err_msg=path)


def test_class_weights_reach_the_loss():
    pixels, image_pixels = np.array([60, 30, 10]), np.array([100, 60, 50])
    training = Training(loss={"type": "cross_entropy", "class_weights": "median_frequency"})
    with training.scope():
        model = toy.network()
        training.compile(model, toy.LABELS, steps_per_epoch=1, counts=lambda: (pixels, image_pixels))
    assert model.loss.class_weights == pytest.approx((0.5 / 0.6, 1.0, 2.5))


def test_classes_are_counted_once_and_only_for_a_loss_that_weighs_them():
    """Of the network's scores and its auxiliary ones, each loss has the weights; counting reads every mask."""
    calls = []

    def counts():
        calls.append(None)
        return np.array([60, 30, 10]), np.array([100, 60, 50])

    for loss, times in (({"class_weights": "median_frequency"}, 1), ({}, 0), ({"class_weights": (1.0, 2.0, 3.0)}, 0)):
        calls.clear()
        training = Training(loss={"type": "cross_entropy", **loss})
        with training.scope():
            model = training.network(toy.several())
            training.compile(model, toy.LABELS, steps_per_epoch=1, counts=counts)
        assert len(model.loss) == 2 and len({each.class_weights for each in model.loss.values()}) == 1
        assert len(calls) == times


def test_a_batch_without_any_label_changes_nothing():
    """Loss 0, gradient 0: without momentum and decay the weights stand still."""
    optimizer = Sgd(momentum=0.0, weight_decay=0.0)
    model, history = fitted(Training(epochs=1, optimizer=optimizer), masks=np.full_like(MASKS, toy.LABELS.ignore))
    assert history["loss"] == [0.0]
    start = compiled(Training(optimizer=optimizer))
    for weight, before in zip(model.trainable_weights, start.trainable_weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), before.numpy())


def test_labels_are_checked_in_training():
    masks = MASKS.copy()
    masks[5, 0, 0] = 9
    words = (
        "training stopped: Labels must be classes 0 to 2, or 255 where a pixel does not count. Received: {}. "
        "`tfseg data check` names the files"
    )
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        fitted(Training(epochs=1), masks=masks)
    told = str(explain(caught.value))
    assert told in (words.format("0 to 9"), words.format("9"))  # the loss or the metric may be first


def test_explain():
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8,512]\nmore")
    assert str(explain(error)) == (
        "training ran out of memory (OOM when allocating tensor with shape[8,512]). Use a smaller data.batch_size or "
        "data.crop, or training.precision: mixed_bfloat16"
    )
    assert explain(tf.errors.InvalidArgumentError(None, None, "something else")) is None
    assert explain(KeyError()) is None


def test_a_pattern_that_is_found_nowhere():
    training = Training(freeze=("conv1_",), optimizer=Sgd(lr_multipliers={"fc8": 10.0}))
    with pytest.raises(RunError) as caught:
        compiled(training)
    assert str(caught.value) == (
        "training.freeze: found in none of the 7 layer names of the network (image, rescaling, conv, …, relu, score, "
        "logits). Received: conv1_\n"
        "training.optimizer.lr_multipliers.fc8: found in none of the 7 weight paths of the network (conv/kernel, "
        "norm/gamma, norm/beta, …, norm/moving_variance, score/kernel, score/bias). Received: fc8"
    )


def test_class_weights_that_do_not_fit():
    training = Training(loss={"type": "cross_entropy", "class_weights": (1.0, 2.0)})
    assert list(training.problems(Context(toy.LABELS, 3))) == [
        (("loss", "class_weights"), "must be 3 weights, one for each class. Received: 2")
    ]
    with pytest.raises(RunError) as caught:
        compiled(training)
    assert str(caught.value) == "training.loss.class_weights: must be 3 weights, one for each class. Received: 2"


def test_jit_compile_is_refused_under_a_strategy():
    words = (
        "jit_compile: does not work under strategy: mirrored, because XLA cannot reach the variables of another "
        "device. Received: jit_compile=true, strategy=mirrored. Leave out one of the two"
    )
    with pytest.raises(SpecError, match=re.escape(words)):
        Training(jit_compile=True, strategy="mirrored")


def test_several_machines_are_refused(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}')
    with pytest.raises(RunError) as caught, Training().scope():
        raise AssertionError("not reached")
    assert str(caught.value) == (
        "the environment variable TF_CONFIG names more than one worker, and Keras 3 cannot train on several machines. "
        "Received: 2 workers (a:1, b:2). Unset TF_CONFIG; on one machine `training.strategy: mirrored` uses all of its "
        "GPUs"
    )


@pytest.mark.parametrize("text", ["{", "[1]", '{"cluster": {"worker": 3}}', '{"a":' * 100_000], ids=range(4))
def test_a_list_of_machines_that_cannot_be_read(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(RunError) as caught, Training().scope():
        raise AssertionError("not reached")
    assert str(caught.value) == (
        'the environment variable TF_CONFIG cannot be read. Expected JSON such as {"cluster": {"worker": '
        f'["host:port"]}}}}. Received: {text[:60]!r}. Unset TF_CONFIG, or correct it'
    )


def test_one_worker_is_one_machine(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}}')
    with Training().scope() as scope:
        assert scope.replicas == 1


def test_slots_have_the_type_of_their_default(tmp_path):
    """A file, or an override, that names no type changes fields of what would be there without it."""
    (tmp_path / "training.yaml").write_text("optimizer: {learning_rate: 0.5}\n")
    overrides = ("schedule.power=2.0", "loss.resolution=scores")
    training = validate(Training, read(tmp_path / "training.yaml", overrides))
    assert (training.optimizer, training.schedule) == (AdamW(learning_rate=0.5), Poly(power=2.0))
    assert training.loss == Objective(resolution="scores")
    default = Training()
    assert [type(slot) for slot in (default.optimizer, default.schedule, default.loss)] == [AdamW, Poly, Objective]
