"""Script of test_mirrored.py: the same training on one device and on two logical CPU devices."""

import json
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tests.training import toy
from tfseg.training import Training, save_model
from tfseg.training.ema import Averages
from tfseg.training.state import metric_values, restore_metrics

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

# 10 images in batches of 4: the last batch of an epoch has 2 images and 2 that fill it up. Unlabeled rows are divided
# unevenly between the two halves of a batch, and the first half of the first batch has no labels.
IMAGES, MASKS = toy.examples(10)
MASKS[0:2] = toy.LABELS.ignore
STEPS, EPOCHS = 3, 2

EACH = ("focal", "ohem_cross_entropy", "dice", "tversky", "lovasz_softmax", "boundary")
OVER_BATCH = {"type": "dice", "over": "batch", "class_weights": (1.0, 2.0, 0.5)}
CASES = {
    "sgd": {"optimizer": {"type": "sgd", "learning_rate": 0.1, "lr_multipliers": {"score": 3.0}}},
    "adamw": {"optimizer": {"type": "adamw", "learning_rate": 0.01}},
    "sum": {
        "optimizer": {"type": "sgd", "learning_rate": 1e-3},
        "loss": {"type": "cross_entropy", "reduction": "sum", "class_weights": (1.0, 2.0, 0.5)},
    },
    "mixed_float16": {"optimizer": {"type": "sgd"}, "precision": "mixed_float16"},
    "outputs": {
        "optimizer": {"type": "sgd", "learning_rate": 0.1},
        "loss": {"type": "cross_entropy", "resolution": "scores"},
        "auxiliary_weight": 0.4,
    },
    "top k": {
        "optimizer": {"type": "sgd", "learning_rate": 0.1},
        "loss": {"type": "top_k_cross_entropy", "pixels": 20},
    },
    "sum of losses": {
        "optimizer": {"type": "sgd", "learning_rate": 0.1},
        "loss": {"type": "sum", "terms": (*({"loss": {"type": each}} for each in EACH), {"loss": OVER_BATCH})},
        "metrics": tuple({"type": each} for each in ("recall", "image_miou", "calibration_error")),
    },
    **{
        how: {"optimizer": {"type": "sgd", "learning_rate": 0.1, how: 0.01}, "ema": 0.75}
        for how in ("clipnorm", "clipvalue", "global_clipnorm")
    },
    "keras": {
        "optimizer": {"type": "keras", "class": "Nadam", "learning_rate": 0.01, "clipvalue": 1e-3, "weight_decay": 0.1},
        "ema": 0.75,
    },
    "not finite": {"optimizer": {"type": "sgd", "learning_rate": 1e30}},
}


def trained(training: Training, validated: bool, several: bool) -> dict:
    with training.scope(seed=3) as scope:
        model = training.network(toy.network_with_outputs() if several else toy.network())
        training.compile(model, toy.LABELS, steps_per_epoch=STEPS)
    before = model.get_layer("score").kernel.numpy()
    averages = Averages()
    history = model.fit(
        training.targets(toy.batches(IMAGES, MASKS, 4, EPOCHS), model),
        steps_per_epoch=STEPS,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[averages, averages.raw],
        validation_data=training.targets(toy.batches(IMAGES, MASKS, 4), model) if validated else None,
    )
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder) / "model.keras")
        saved = keras.models.load_model(Path(folder) / "model.keras")
    return {
        "replicas": scope.replicas,
        "history": history.history,
        "weights": {weight.path: weight.numpy().tolist() for weight in model.weights},
        "optimizer": [np.asarray(value.numpy()).tolist() for value in model.optimizer.variables],
        "restored": [restored(model, replicas) for replicas in (1, 2)],
        "moved": float(np.abs(model.get_layer("score").kernel.numpy() - before).max()),
        "halted": getattr(model.optimizer, "halted", None),
        "synchronized": model.get_layer("norm").synchronized,
        "saved_synchronized": saved.get_layer("norm").synchronized,
    }


def restored(model: keras.Model, replicas: int) -> bool:
    """Returns whether the metrics are equal after their variables were saved, and restored for `replicas` replicas."""
    before, values = results(model), metric_values(model)
    model.reset_metrics()
    saved = [np.stack([value.sum(0), *[np.zeros_like(value[0])] * (replicas - 1)]) for value in values]
    restore_metrics(model, values if replicas == len(values[0]) else saved)
    return np.array_equal(results(model), before, equal_nan=True)


def results(model: keras.Model) -> list[float]:
    return [float(value) for value in keras.tree.flatten(model.get_metrics_result())]


def pair(options: dict) -> list[dict]:
    several = options is CASES["outputs"]
    validated = several or options is CASES["sgd"] or "ema" in options
    trainings = [Training(epochs=EPOCHS, strategy=strategy, **options) for strategy in ("none", "mirrored")]
    return [trained(training, validated, several) for training in trainings]


if __name__ == "__main__":
    output, *names = sys.argv[1:]
    Path(output).write_text(json.dumps({name: pair(CASES[name]) for name in names}))
