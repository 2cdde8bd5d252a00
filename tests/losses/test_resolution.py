"""Scores and labels of different sizes: against NumPy, and against what DeepLab does."""

import json
import math
import re
from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tfseg.losses import CrossEntropy, Positions, TopKCrossEntropy, subsample
from tfseg.ops.resize import resize, zoom


def masks(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 5, (2, height, width)).astype(np.int32)


def nearest(count: int, length: int) -> list[int]:
    """The nearest of `count` pixels to each of `length` places, corners aligned, in exact fractions."""
    return [
        (2 * place * (count - 1) + (length - 1)) // (2 * (length - 1)) if length > 1 else 0 for place in range(length)
    ]


@pytest.mark.parametrize("stride", [4, 8, 16])
@pytest.mark.parametrize("places", [1, 2, 41])
def test_grid_points_are_exact(stride: int, places: int) -> None:
    """Crops of 8k + 1 pixels, such as 321 for 41 places: every eighth label, as DeepLab takes them."""
    labels = masks(stride * (places - 1) + 1, 2 * stride + 1)
    np.testing.assert_array_equal(subsample(labels, (places, 3)), labels[:, ::stride, ::stride])


@given(count=st.integers(1, 400), length=st.integers(1, 400))
def test_any_size_takes_the_nearest_label(count: int, length: int) -> None:
    if length > count:
        return
    labels = masks(count, 1)
    np.testing.assert_array_equal(subsample(labels, (length, 1))[:, :, 0], labels[:, nearest(count, length), 0])


def test_a_channel_stays() -> None:
    labels = masks(9, 17)
    np.testing.assert_array_equal(subsample(labels[..., None], (2, 3)), subsample(labels, (2, 3))[..., None])


def test_eager_is_graph_is_xla() -> None:
    labels, expected = masks(30, 23), subsample(masks(30, 23), (7, 5))
    unknown = tf.function(
        lambda y, x: subsample(y, (tf.shape(x)[1], tf.shape(x)[2])),
        input_signature=[tf.TensorSpec([None, None, None], tf.int32), tf.TensorSpec([None, None, None, 3])],
    )
    np.testing.assert_array_equal(unknown(labels, np.zeros((2, 7, 5, 3), np.float32)), expected)
    xla = tf.function(lambda y: subsample(y, (7, 5)), jit_compile=True)
    np.testing.assert_array_equal(xla(labels), expected)


@pytest.mark.parametrize("kind", [CrossEntropy, TopKCrossEntropy])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_at_the_scores(kind: type, weighted: bool) -> None:
    """The same as the loss of labels that somebody else subsampled."""
    labels, logits = masks(17, 25), np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)
    weights = np.random.default_rng(2).random((2, 17, 25)).astype(np.float32) if weighted else None
    small = None if weights is None else weights[:, ::8, ::8]
    found = kind(resolution="scores")(labels, logits, weights)
    np.testing.assert_allclose(found, kind()(labels[:, ::8, ::8], logits, small), rtol=1e-6)


@pytest.mark.parametrize("kind", [CrossEntropy, TopKCrossEntropy])
def test_loss_at_the_image(kind: type) -> None:
    """The same as the loss of scores that somebody else resized, gradients too."""
    labels, logits = masks(9, 13), tf.constant(np.random.default_rng(1).normal(size=(2, 3, 4, 5)), tf.float32)
    values, gradients = [], []
    for loss, prepared in (
        (kind(resolution="image"), lambda x: x),
        (kind(), lambda x: resize(x, (9, 13), align_corners=True)),
    ):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(labels, prepared(logits))
        values.append(value)
        gradients.append(tape.gradient(value, logits))
    np.testing.assert_allclose(*values, rtol=1e-6)
    np.testing.assert_allclose(*gradients, atol=1e-7)
    assert np.abs(gradients[0]).max() > 0


POSITIONS = [
    Positions(),
    Positions(align_corners=False),
    Positions(grid=(16, 1)),
    Positions(align_corners=False, grid=(16, 0)),
    Positions(output_stride=8),
]


@pytest.mark.parametrize("positions", POSITIONS, ids=lambda each: str(tuple(each)))
@pytest.mark.parametrize("count", [33, 30, 7])
def test_positions_by_hand(positions: Positions, count: int) -> None:
    """Each position takes the nearest pixel, in exact fractions; beyond the image there is no label."""
    labels, size = masks(count, 40), (4, 3)
    rows, columns = (by_hand(positions, *each) for each in zip((count, 40), size, strict=True))
    expected = np.full((2, *size), 99)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            if row < count and column < 40:
                expected[:, i, j] = labels[:, row, column]
    np.testing.assert_array_equal(subsample(labels, size, positions, 99), expected)


def by_hand(positions: Positions, count: int, length: int) -> list[int]:
    multiple, remainder = positions.grid or (1, 0)
    extent = next(size for size in range(count, count + multiple) if size % multiple == remainder)
    if positions.output_stride is not None:
        exact = [Fraction(positions.output_stride * i) for i in range(length)]
    elif positions.align_corners:
        exact = [Fraction(i * (extent - 1), length - 1) for i in range(length)]
    else:
        exact = [(i + Fraction(1, 2)) * extent / length - Fraction(1, 2) for i in range(length)]
    return [math.floor(each + Fraction(1, 2)) for each in exact]


@pytest.mark.parametrize("positions", POSITIONS, ids=lambda each: str(tuple(each)))
@pytest.mark.parametrize("resolution", ["image", "scores"])
def test_positions_in_losses(positions: Positions, resolution: str) -> None:
    """By hand, in a graph of unknown sizes, and after a round through the configuration, as JSON has it."""
    labels, logits = masks(30, 23), np.random.default_rng(1).normal(size=(2, 4, 4, 5)).astype(np.float32)
    weights = np.random.default_rng(2).random((2, 30, 23)).astype(np.float32)
    loss = CrossEntropy(resolution=resolution, positions=positions)
    if resolution == "scores":
        taken = [subsample(each, (4, 4), positions, beyond) for each, beyond in ((labels, 255), (weights, 0))]
        expected = CrossEntropy()(taken[0], logits, taken[1])
    else:
        if positions.output_stride is not None:
            raised = zoom(tf.constant(logits), positions.output_stride, (30, 23))
        else:
            whole = [-(-(side - r) // m) * m + r for m, r in [positions.grid or (1, 0)] for side in (30, 23)]
            raised = resize(logits, whole, align_corners=positions.align_corners)[:, :30, :23]
        expected = CrossEntropy()(labels, raised, weights)
    np.testing.assert_allclose(loss(labels, logits, weights), expected, rtol=1e-6)
    unknown = [tf.TensorSpec([None, None, None], tf.int32), tf.TensorSpec([None, None, None, 5], tf.float32)]
    graph = tf.function(lambda y, x: loss(y, x), input_signature=unknown)
    np.testing.assert_allclose(graph(labels, logits), loss(labels, logits), rtol=1e-6)
    again = CrossEntropy.from_config(json.loads(json.dumps(loss.get_config())))
    assert again.positions == positions


def test_unknown_sizes_in_a_graph() -> None:
    labels, logits = masks(17, 25), np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)
    unknown = [tf.TensorSpec([None, None, None], tf.int32), tf.TensorSpec([None, None, None, 5], tf.float32)]
    for resolution in ("image", "scores"):
        loss = CrossEntropy(resolution=resolution)
        graph = tf.function(lambda y, x, loss=loss: loss(y, x), input_signature=unknown)
        np.testing.assert_allclose(graph(labels, logits), loss(labels, logits), rtol=1e-6)


def test_sizes_that_differ_are_an_error_unless_asked_for() -> None:
    with pytest.raises(ValueError, match="of the same height and width"):
        CrossEntropy()(masks(17, 25), np.zeros((2, 3, 4, 5), np.float32))


def test_error_texts() -> None:
    words = '`resolution` must be "image", "scores" or None. Received: resolution=\'labels\''
    for kind in (CrossEntropy, TopKCrossEntropy):
        with pytest.raises(ValueError, match="^" + re.escape(words) + "$"):
            kind(resolution="labels")
    with pytest.raises(ValueError, match=r"^`output_stride` must be at least 1. Received: output_stride=0$"):
        CrossEntropy(positions={"output_stride": 0})
    words = (
        "Labels are subsampled to scores, which must not be larger. Received: labels of shape (2, 4, 9), scores of "
        "height and width (5, 9)"
    )
    with pytest.raises(ValueError, match="^" + re.escape(words) + "$"):
        subsample(keras.ops.convert_to_tensor(masks(4, 9)), (5, 9))
