"""Weights whose BatchNorm was folded into biases: put into layers with BatchNorm, and made fit for training."""

from collections.abc import Iterable, Mapping

import keras
import numpy as np

from tfseg.keras_internals import calls


def adding(bias: np.ndarray, epsilon: float) -> dict[str, np.ndarray]:
    """A BatchNorm that adds the bias and does nothing else.

    `gamma (x - mean) / sqrt(variance + epsilon) + beta` with gamma 1, mean 0, variance `1 - epsilon` and beta `bias`.
    """
    return {
        "gamma": np.ones_like(bias),
        "beta": bias,
        "moving_mean": np.zeros_like(bias),
        "moving_variance": np.full_like(bias, 1.0 - epsilon),
    }


def only_adds(mean: np.ndarray, variance: np.ndarray, epsilon: float) -> bool:
    """Whether a BatchNorm of these statistics holds folded weights: it adds a bias and does nothing else.

    A fresh one has variance 1, which is not `1 - epsilon`: the two are told apart.
    """
    return not mean.any() and np.allclose(variance + epsilon, 1.0, rtol=0.0, atol=epsilon / 100)


def with_bias(
    norm: Mapping[str, np.ndarray], bias: np.ndarray, epsilon: float, published: float
) -> dict[str, np.ndarray]:
    """A BatchNorm behind a convolution without bias, that computes what it computed behind one with `bias`.

    `gamma (x + bias - mean) / sqrt(variance + published) + beta` is, without bias and with another `epsilon`, the mean
    `mean - bias` and the variance `variance + published - epsilon`; where that would be negative it is 0 and gamma
    makes up for it.
    """
    moved = {**norm, "moving_mean": norm["moving_mean"] - bias}
    if published == epsilon or "moving_variance" not in norm or "gamma" not in norm:
        return moved
    total = norm["moving_variance"].astype(np.float64) + published
    variance = np.maximum(total - epsilon, 0.0)
    return {**moved, "gamma": norm["gamma"] * np.sqrt((variance + epsilon) / total), "moving_variance": variance}


def unfold_batch_norm(model: keras.Model, images: Iterable[np.ndarray]) -> tuple[str, ...]:
    """Gives every BatchNorm that only adds a bias the statistics of real images, and leaves the outputs as they are.

    In training a BatchNorm takes the statistics of its batch. One that holds folded weights has never seen any, and
    the first step would normalize away what the folded scale did. With the measured mean `m` and variance `v` of its
    input, `gamma = sqrt(v + epsilon)` and `beta = bias + m` give the same output at inference, and nearly the same
    in training.

    Args:
        model: a Functional model; BatchNorms with mean 0 and variance `1 - epsilon` are unfolded, others left alone.
        images: batches `[batch, height, width, channels]` such as the model is to be trained on.

    Returns:
        The names of the layers that were unfolded.
    """
    layers = [layer for layer in model.layers if _folded(layer)]
    if layers:
        for layer, (mean, variance) in zip(layers, _statistics(model, layers, images), strict=True):
            layer.gamma.assign(np.sqrt(variance + layer.epsilon))
            layer.beta.assign(keras.ops.convert_to_numpy(layer.beta) + mean)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
    return tuple(layer.name for layer in layers)


def _folded(layer: keras.Layer) -> bool:
    if not isinstance(layer, keras.layers.BatchNormalization):
        return False
    mean, variance = (keras.ops.convert_to_numpy(each) for each in (layer.moving_mean, layer.moving_variance))
    return only_adds(mean, variance, layer.epsilon)


def _statistics(
    model: keras.Model, layers: list[keras.layers.BatchNormalization], images: Iterable[np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of what enters each layer, over all pixels of all images at all scales."""
    probe = keras.Model(model.input, [[_moments(tensor) for tensor in _entering(model, layer)] for layer in layers])
    moments: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in layers]
    for batch in images:
        for found, entered in zip(moments, probe(batch), strict=True):
            for each in entered:
                mean, variance = (keras.ops.convert_to_numpy(part).astype(np.float64) for part in each)
                found.append((mean, variance))
    if not all(moments):
        raise ValueError("unfold_batch_norm needs at least one batch of images. Received: images=()")
    return [_pooled(found) for found in moments]


def _entering(model: keras.Model, layer: keras.Layer) -> list[keras.KerasTensor]:
    """What enters the layer within `model`, once for each of its calls: a network of several scales has several."""
    return [call.input_tensors[0] for call in calls(model) if call.operation is layer]


def _moments(tensor: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    mean, variance = keras.ops.moments(keras.ops.cast(tensor, "float32"), axes=[0, 1, 2])
    return mean, variance


def _pooled(moments: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance over batches of equal weight: the mean of the variances plus the variance of the means."""
    means = np.stack([mean for mean, _ in moments])
    variances = np.stack([variance for _, variance in moments])
    return means.mean(0), variances.mean(0) + means.var(0)
