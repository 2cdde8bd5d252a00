"""Atrous convolution as a single operation, and its fallback."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.ops.convolution import atrous_conv, direct_gradient

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dilation", [(2, 2), (1, 3), (12, 12)])
def test_atrous_conv_matches_keras(padding: str, dilation: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    x, kernel = random.normal(size=(2, 33, 30, 4)), random.normal(size=(3, 3, 4, 5))
    x, kernel = tf.constant(x, "float32"), tf.constant(kernel, "float32")
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, kernel])
        result = atrous_conv(x, kernel, dilation, padding)
        expected = keras.ops.conv(x, kernel, 1, padding, dilation_rate=dilation)
        sums = [tf.reduce_sum(y**2) for y in (result, expected)]
    np.testing.assert_allclose(result, expected, atol=1e-4)
    for one, other in zip(*(tape.gradient(y, [x, kernel]) for y in sums), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-2)


def test_graph_has_a_single_convolution() -> None:
    assert direct_gradient("float32"), "TensorFlow runs without oneDNN on this machine"
    graph = tf.function(lambda x, kernel: atrous_conv(x, kernel, (2, 2), "same"))
    concrete = graph.get_concrete_function(tf.TensorSpec([None, None, None, 2]), tf.TensorSpec([3, 3, 2, 2]))
    assert [each.type for each in concrete.graph.get_operations() if "Conv" in each.type or "Batch" in each.type] == [
        "Conv2D"
    ]


TRAIN_WITHOUT_ONEDNN = """
import keras, numpy as np, tensorflow as tf
from tfseg.layers import AtrousConv2D
from tfseg.ops.convolution import direct_gradient

assert not direct_gradient("float32"), "the direct gradient works without oneDNN: remove the fallback"
image = keras.Input((None, None, 3))
model = keras.Model(image, AtrousConv2D(4, 3, dilation_rate=3, padding="same")(image))
reference = keras.Model(image, keras.layers.Conv2D(4, 3, dilation_rate=3, padding="same")(image))
reference.set_weights(model.get_weights())
x, y = np.random.default_rng(0).normal(size=(4, 17, 15, 3)), np.ones((4, 17, 15, 4))
for net in (model, reference):
    net.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    net.fit(x, y, batch_size=2, epochs=2, shuffle=False, verbose=0)
for weight, other in zip(model.get_weights(), reference.get_weights()):
    np.testing.assert_allclose(weight, other, atol=1e-6)
"""


def test_training_without_the_direct_gradient() -> None:
    """CPUs without oneDNN do not support the gradient of a dilated `Conv2D`; the layer then uses Keras's operation."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_WITHOUT_ONEDNN],
        cwd=ROOT,
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
