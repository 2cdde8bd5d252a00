"""Tests of logits and gradients of three networks, saved with TensorFlow and loaded with JAX.

One JAX process computes the results of all networks.
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
from tfseg.layers import BatchNormalization
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
"""Networks with skip connections, with max-pooling indices, and with ASPP and image-level features."""

LOAD = """
import pathlib, sys, jax, keras, numpy as np, tfseg.layers
from tfseg.losses import CrossEntropy

assert keras.backend.backend() == "jax"
folder = pathlib.Path(sys.argv[1])
image, truth = np.load(folder / "image.npy"), np.load(folder / "truth.npy")
for file in folder.glob("*.keras"):
    model, loss = keras.models.load_model(file), CrossEntropy()
    trainable, non_trainable = model.trainable_variables, model.non_trainable_variables

    @jax.jit
    def predict(trainable, non_trainable):
        return model.stateless_call(trainable, non_trainable, image, training=False)[0]

    @jax.jit
    @jax.grad
    def derive(trainable, non_trainable):
        return loss(truth, model.stateless_call(trainable, non_trainable, image, training=True)[0])

    values = [[variable.value for variable in variables] for variables in (trainable, non_trainable)]
    gradients = zip([variable.path for variable in trainable], derive(*values), strict=True)
    np.savez(file.with_suffix(".npz"), logits=predict(*values), **dict(gradients))
"""


class Results(NamedTuple):
    """Results of one network."""

    logits: np.ndarray
    gradients: dict[str, np.ndarray]
    """Gradients of the training loss, by path of the variable."""


class Both(NamedTuple):
    """Results of all networks with each backend."""

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
    expected = {}
    for name, network in NETWORKS.items():
        model = perturbed(network.build(Labels(names=("ground", "disc", "ring"))))
        model.save(folder / f"{name}.keras")
        with pytest.MonkeyPatch.context() as patch:  # the fused operation rounds otherwise, and a ReLU at 2e-5 switches
            patch.setattr(BatchNormalization, "call", keras.layers.BatchNormalization.call)
            expected[name] = Results(model(image).numpy(), gradients(model, image, truth))
    subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)],
        cwd=ROOT,
        # Without optimization, XLA compiles in half the time.
        env={**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_backend_optimization_level=0"},
        check=True,
        timeout=300,
    )
    return Both(expected, {name: read(folder / f"{name}.npz") for name in NETWORKS})


def perturbed(model: keras.Model) -> keras.Model:
    """Perturbs all weights of a model, so that none is zero, and sets moving variances from 0.5 to 1.5."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        if weight.name == "moving_variance":
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        else:
            weight.assign_add(0.2 * evened(weight.shape) * random.normal(size=weight.shape))
    return model


def gradients(model: keras.Model, image: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    with tf.GradientTape() as tape:
        loss = CrossEntropy()(truth, model(image, training=True))
    values = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    paths = [variable.path for variable in model.trainable_variables]
    return {path: gradient.numpy() for path, gradient in zip(paths, values, strict=True)}


def read(file: Path) -> Results:
    with np.load(file) as arrays:
        return Results(arrays["logits"], {path: arrays[path] for path in arrays if path != "logits"})


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_match_tensorflow(name: str, both: Both) -> None:
    """Checks a tolerance of 1e-5 of the largest logit; the rounding error of one float32 operation is 1e-7."""
    found, expected = both.jax[name].logits, both.tensorflow[name].logits
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_match_tensorflow(name: str, both: Both) -> None:
    """Checks a tolerance of 1e-3 of the largest gradient of each variable, but at least of 1e-3 times that of all
    variables, because the gradient of a bias before BatchNorm is only rounding error. Differences up to 1e-4 were
    measured: sums have another order, and BatchNorm with statistics of few values amplifies rounding errors.
    """
    found, expected = both.jax[name].gradients, both.tensorflow[name].gradients
    assert found.keys() == expected.keys()
    least = 1e-3 * max(np.abs(gradient).max() for gradient in expected.values())
    for path, gradient in expected.items():
        allowed = 1e-3 * max(least, np.abs(gradient).max())
        np.testing.assert_allclose(found[path], gradient, rtol=0, atol=allowed, equal_nan=False, err_msg=path)
