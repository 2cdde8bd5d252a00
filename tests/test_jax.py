"""Three networks of different structure, saved with TensorFlow and loaded with JAX, compute and learn the same.

One process of JAX serves them all.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.checks import evened
from tests.processes import ROOT
from tfseg.backbones import MobileNetV2, SmallCnn, Vgg16
from tfseg.labels import Labels
from tfseg.losses import CrossEntropy
from tfseg.models import Segmenter
from tfseg.models.decoders import DeepLabV3Plus, Fcn, SegNet

pytestmark = pytest.mark.extra

NETWORKS = {
    "fcn": Segmenter(backbone=MobileNetV2(width_multiplier=0.1, divisor=2), decoder=Fcn(strides=(16, 8, 4))),
    "segnet": Segmenter(
        backbone=Vgg16(width_multiplier=1 / 16, indices=True, fc=None, batch_norm=True),
        decoder=SegNet(convolutions=(1, 1, 2, 1, 1)),
    ),
    "deeplab_v3_plus": Segmenter(
        backbone=SmallCnn(filters=4),
        decoder=DeepLabV3Plus(rates=(1, 2), filters=8, low_level_filters=4, dropout=0.0),
    ),
}
"""Sums of resized scores; pools whose places are used again; dilated convolutions beside the mean of the map."""

LOAD = """
import pathlib, sys, jax, keras, numpy as np, tfseg.layers
from tfseg.losses import CrossEntropy

assert keras.backend.backend() == "jax"
folder = pathlib.Path(sys.argv[1])
image, truth = np.load(folder / "image.npy"), np.load(folder / "truth.npy")
for file in folder.glob("*.keras"):
    model, loss = keras.models.load_model(file), CrossEntropy()
    learned, fixed = model.trainable_variables, model.non_trainable_variables

    @jax.jit
    def predict(learned, fixed):
        return model.stateless_call(learned, fixed, image, training=False)[0]

    @jax.jit
    @jax.grad
    def derive(learned, fixed):
        return loss(truth, model.stateless_call(learned, fixed, image, training=True)[0])

    values = [[variable.value for variable in variables] for variables in (learned, fixed)]
    gradients = zip([variable.path for variable in learned], derive(*values), strict=True)
    np.savez(file.with_suffix(".npz"), logits=predict(*values), **dict(gradients))
"""


class Results(NamedTuple):
    """Of one network."""

    logits: np.ndarray
    gradients: dict[str, np.ndarray]
    """Of the loss in training, by the path of the variable."""


class Both(NamedTuple):
    """What each backend found of all networks."""

    tensorflow: dict[str, Results]
    jax: dict[str, Results]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    pytest.importorskip("jax")
    folder, random = tmp_path_factory.mktemp("jax"), np.random.default_rng(0)
    image = random.uniform(0, 255, (2, 65, 49, 3)).astype("float32")
    truth = random.choice([0, 1, 2, 255], image.shape[:3]).astype("int32")
    np.save(folder / "image.npy", image)
    np.save(folder / "truth.npy", truth)
    keras.utils.set_random_seed(0)
    here = {}
    for name, network in NETWORKS.items():
        model = shaken(network.build(Labels(names=("ground", "disc", "ring"))))
        model.save(folder / f"{name}.keras")
        here[name] = Results(model(image).numpy(), derived(model, image, truth))
    subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)],
        cwd=ROOT,
        # Without optimization XLA compiles in half the time.
        env={**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_backend_optimization_level=0"},
        check=True,
        timeout=300,
    )
    return Both(here, {name: read(folder / f"{name}.npz") for name in NETWORKS})


def shaken(model: keras.Model) -> keras.Model:
    """`model` with weights none of which is zero, and statistics as if it had been trained."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        if weight.name == "moving_variance":
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        else:
            weight.assign_add(0.2 * evened(weight.shape) * random.normal(size=weight.shape))
    return model


def derived(model: keras.Model, image: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    with tf.GradientTape() as tape:
        loss = CrossEntropy()(truth, model(image, training=True))
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    paths = [variable.path for variable in model.trainable_variables]
    return {path: gradient.numpy() for path, gradient in zip(paths, gradients, strict=True)}


def read(file: Path) -> Results:
    with np.load(file) as arrays:
        return Results(arrays["logits"], {path: arrays[path] for path in arrays if path != "logits"})


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_tensorflow(name: str, both: Both) -> None:
    """To 1e-5 of the largest: float32 rounds by 1e-7, a few times over."""
    found, expected = both.jax[name].logits, both.tensorflow[name].logits
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_tensorflow(name: str, both: Both) -> None:
    """To 1e-3 of the largest in each variable, up to 1e-4 was seen: sums run in another order, and BatchNorm, by the
    statistics of few values, enlarges what is rounded. The largest counts for a thousandth of that of all variables at
    least: the gradient of a bias before BatchNorm is nothing but rounding.
    """
    found, expected = both.jax[name].gradients, both.tensorflow[name].gradients
    assert found.keys() == expected.keys()
    least = 1e-3 * max(np.abs(gradient).max() for gradient in expected.values())
    for path, gradient in expected.items():
        allowed = 1e-3 * max(least, np.abs(gradient).max())
        np.testing.assert_allclose(found[path], gradient, rtol=0, atol=allowed, equal_nan=False, err_msg=path)
