"""Losses whose logits and labels differ in size, against NumPy and the subsampling of DeepLab."""

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
    """Returns the nearest of `count` pixels to each of `length` corner-aligned positions, computed exactly."""
    return [
        (2 * index * (count - 1) + (length - 1)) // (2 * (length - 1)) if length > 1 else 0 for index in range(length)
    ]


@pytest.mark.parametrize("stride", [4, 8, 16])
@pytest.mark.parametrize("rows", [1, 2, 41])
def test_subsampling_by_a_stride_is_exact(stride: int, rows: int) -> None:
    """Crops of 8k + 1 pixels, such as 321 for 41 positions, give every eighth label, as in DeepLab."""
    labels = masks(stride * (rows - 1) + 1, 2 * stride + 1)
    np.testing.assert_array_equal(subsample(labels, (rows, 3)), labels[:, ::stride, ::stride])


@given(count=st.integers(1, 400), length=st.integers(1, 400))
def test_any_size_takes_nearest_labels(count: int, length: int) -> None:
    if length > count:
        return
    labels = masks(count, 1)
    np.testing.assert_array_equal(subsample(labels, (length, 1))[:, :, 0], labels[:, nearest(count, length), 0])


def test_channel_axis_is_kept() -> None:
    labels = masks(9, 17)
    np.testing.assert_array_equal(subsample(labels[..., None], (2, 3)), subsample(labels, (2, 3))[..., None])


def test_eager_graph_and_xla_agree() -> None:
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
def test_loss_at_score_resolution_equals_subsampled_labels(kind: type, weighted: bool) -> None:
    labels, logits = masks(17, 25), np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)
    weights = np.random.default_rng(2).random((2, 17, 25)).astype(np.float32) if weighted else None
    small = None if weights is None else weights[:, ::8, ::8]
    loss = kind(resolution="scores")(labels, logits, weights)
    np.testing.assert_allclose(loss, kind()(labels[:, ::8, ::8], logits, small), rtol=1e-6)


@pytest.mark.parametrize("kind", [CrossEntropy, TopKCrossEntropy])
def test_loss_at_image_resolution_equals_resized_logits(kind: type) -> None:
    """Loss and gradients equal those of logits resized in advance."""
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
def test_positions_equal_exact_fractions(positions: Positions, count: int) -> None:
    """Each position takes the nearest pixel; positions beyond the image take the ignore label."""
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
    """Losses equal those of prepared inputs, also in a graph of dynamic size; positions survive JSON."""
    labels, logits = masks(30, 23), np.random.default_rng(1).normal(size=(2, 4, 4, 5)).astype(np.float32)
    weights = np.random.default_rng(2).random((2, 30, 23)).astype(np.float32)
    loss = CrossEntropy(resolution=resolution, positions=positions)
    if resolution == "scores":
        taken = [subsample(each, (4, 4), positions, beyond) for each, beyond in ((labels, 255), (weights, 0))]
        expected = CrossEntropy()(taken[0], logits, taken[1])
    else:
        if positions.output_stride is not None:
            resized = zoom(tf.constant(logits), positions.output_stride, (30, 23))
        else:
            whole = [-(-(side - r) // m) * m + r for m, r in [positions.grid or (1, 0)] for side in (30, 23)]
            resized = resize(logits, whole, align_corners=positions.align_corners)[:, :30, :23]
        expected = CrossEntropy()(labels, resized, weights)
    np.testing.assert_allclose(loss(labels, logits, weights), expected, rtol=1e-6)
    unknown = [tf.TensorSpec([None, None, None], tf.int32), tf.TensorSpec([None, None, None, 5], tf.float32)]
    graph = tf.function(lambda y, x: loss(y, x), input_signature=unknown)
    np.testing.assert_allclose(graph(labels, logits), loss(labels, logits), rtol=1e-6)
    again = CrossEntropy.from_config(json.loads(json.dumps(loss.get_config())))
    assert again.positions == positions


def test_a_negative_ignore_label_and_uint8_labels() -> None:
    """Positions beyond the image need a label that uint8 does not have."""
    labels = np.arange(9, dtype="uint8")[None, None] * np.ones((1, 9, 1), "uint8")
    found = subsample(labels, (3, 3), {"align_corners": False, "grid": (4, 0)}, ignore_label=-1)
    assert np.asarray(found)[0, 0].tolist() == [2, 6, -1]


def test_dynamic_sizes_in_a_graph() -> None:
    labels, logits = masks(17, 25), np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)
    unknown = [tf.TensorSpec([None, None, None], tf.int32), tf.TensorSpec([None, None, None, 5], tf.float32)]
    for resolution in ("image", "scores"):
        loss = CrossEntropy(resolution=resolution)
        graph = tf.function(lambda y, x, loss=loss: loss(y, x), input_signature=unknown)
        np.testing.assert_allclose(graph(labels, logits), loss(labels, logits), rtol=1e-6)


def test_different_sizes_raise_without_a_resolution() -> None:
    with pytest.raises(ValueError, match="of the same height and width"):
        CrossEntropy()(masks(17, 25), np.zeros((2, 3, 4, 5), np.float32))


def test_error_messages() -> None:
    message = '`resolution` must be "image", "scores" or None. Received: resolution=\'labels\''
    for kind in (CrossEntropy, TopKCrossEntropy):
        with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
            kind(resolution="labels")
    with pytest.raises(ValueError, match=r"^`output_stride` must be at least 1. Received: output_stride=0$"):
        CrossEntropy(positions={"output_stride": 0})
    message = (
        "Labels can only be subsampled to scores of the same or a smaller size. Received: labels of shape (2, 4, 9), "
        "scores of height and width (5, 9)"
    )
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        subsample(keras.ops.convert_to_tensor(masks(4, 9)), (5, 9))
