"""Weights with BatchNorm folded into biases: loading into layers with BatchNorm, and unfolding for training."""

from collections.abc import Iterable, Mapping

import keras
import numpy as np

from tfseg.keras_internals import calls


def additive_batch_norm(bias: np.ndarray, epsilon: float) -> dict[str, np.ndarray]:
    """Returns the variables of a BatchNorm that only adds `bias`.

    `gamma (x - mean) / sqrt(variance + epsilon) + beta` with gamma 1, mean 0, variance `1 - epsilon` and beta `bias`.
    """
    return {
        "gamma": np.ones_like(bias),
        "beta": bias,
        "moving_mean": np.zeros_like(bias),
        "moving_variance": np.full_like(bias, 1.0 - epsilon),
    }


def is_additive(mean: np.ndarray, variance: np.ndarray, epsilon: float) -> bool:
    """Returns whether a BatchNorm with these statistics only adds a folded bias.

    A newly initialized BatchNorm has variance 1 instead of `1 - epsilon`, which distinguishes the two.
    """
    return not mean.any() and np.allclose(variance + epsilon, 1.0, rtol=0.0, atol=epsilon / 100)


def absorb_bias(
    norm: Mapping[str, np.ndarray], bias: np.ndarray, epsilon: float, published: float
) -> dict[str, np.ndarray]:
    """Returns the variables of a BatchNorm that absorbs the bias of the convolution before it.

    The BatchNorm computes `gamma (x + bias - mean) / sqrt(variance + published) + beta` from the output `x` of the
    convolution without bias. With mean `mean - bias` and variance `variance + published - epsilon`, it computes the
    same without the bias and with `epsilon`. If that variance is negative, it is set to 0 and gamma is scaled to
    compensate.

    Args:
        norm: Variables of the BatchNorm, by name.
        bias: Bias of the convolution.
        epsilon: Epsilon of the resulting BatchNorm.
        published: Epsilon that the variables were trained with.
    """
    moved = {**norm, "moving_mean": norm["moving_mean"] - bias}
    if published == epsilon or "moving_variance" not in norm or "gamma" not in norm:
        return moved
    total = norm["moving_variance"].astype(np.float64) + published
    variance = np.maximum(total - epsilon, 0.0)
    return {**moved, "gamma": norm["gamma"] * np.sqrt((variance + epsilon) / total), "moving_variance": variance}


def unfold_batch_norm(model: keras.Model, images: Iterable[np.ndarray]) -> tuple[str, ...]:
    """Gives every folded BatchNorm the statistics of its input on `images`, without changing the outputs of the model.

    In training, a BatchNorm normalizes by the statistics of the batch. A folded BatchNorm has mean 0 and variance
    `1 - epsilon` instead, and the first training step would undo the scale that was folded into the kernel.
    With the measured mean `m` and variance `v` of the input, `gamma = sqrt(v + epsilon)` and `beta = bias + m` give the
    same output at inference, and nearly the same in training.

    Args:
        model: Functional model. Every BatchNorm with mean 0 and variance `1 - epsilon` is unfolded; others are
            unchanged.
        images: Iterable of training batches, `[batch, height, width, channels]`.

    Returns:
        A tuple of the names of the unfolded layers.

    Raises:
        ValueError: If there are layers to unfold and `images` is empty.
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
    return is_additive(mean, variance, layer.epsilon)


def _statistics(
    model: keras.Model, layers: list[keras.layers.BatchNormalization], images: Iterable[np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns mean and variance of the input of each layer, over all pixels of all images at all scales."""
    outputs = [[_moments(tensor) for tensor in _inputs(model, layer)] for layer in layers]
    probe = keras.Model(model.input, {"moments": outputs})  # Keras would unwrap a list of one layer
    moments: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in layers]
    for batch in images:
        for measured, inputs in zip(moments, probe(batch)["moments"], strict=True):
            for each in inputs:
                mean, variance = (keras.ops.convert_to_numpy(part).astype(np.float64) for part in each)
                measured.append((mean, variance))
    if not all(moments):
        raise ValueError("`images` must contain at least one batch. Received: images=()")
    return [_pooled(measured) for measured in moments]


def _inputs(model: keras.Model, layer: keras.Layer) -> list[keras.KerasTensor]:
    """Returns the inputs of the layer in `model`, one per call: a network of several scales has several."""
    return [call.input_tensors[0] for call in calls(model) if call.operation is layer]


def _moments(tensor: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    mean, variance = keras.ops.moments(keras.ops.cast(tensor, "float32"), axes=[0, 1, 2])
    return mean, variance


def _pooled(moments: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and variance over equally weighted batches: the mean of variances plus the variance of means."""
    means = np.stack([mean for mean, _ in moments])
    variances = np.stack([variance for _, variance in moments])
    return means.mean(0), variances.mean(0) + means.var(0)
