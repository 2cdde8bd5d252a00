"""Deterministic inference with networks that use Monte Carlo dropout."""

from typing import Any

import keras

from tfseg.keras_internals import layers_within
from tfseg.layers.dropout import McDropout

NAME = keras.saving.get_registered_name(McDropout)


def stochastic(model: keras.Model) -> bool:
    """Returns whether dropout is active when the model predicts, so that repeated predictions differ."""
    return any(isinstance(layer, McDropout) and layer.always_on for layer in layers_within(model))


def deterministic(model: keras.Model) -> keras.Model:
    """Returns a model with ordinary dropout and the same weights, or `model` itself if it has no Monte Carlo dropout.

    The returned model predicts with the mean of the weights: "weight averaging", the baseline of the mean over Monte
    Carlo samples in Kendall, Badrinarayanan, Cipolla, "Bayesian SegNet", BMVC 2017.

    Example:

    >>> import numpy as np
    >>> image = keras.Input((None, None, 1))
    >>> model = deterministic(keras.Model(image, McDropout(0.5)(image)))
    >>> bool(np.all(model(np.ones((1, 2, 3, 1))) == 1))
    True

    Args:
        model: Functional model.
    """
    config = model.get_config()
    without_sampling = _without_sampling(config)
    if without_sampling == config:
        return model
    copy = model.__class__.from_config(without_sampling)
    copy.set_weights(model.get_weights())
    return copy


def _without_sampling(config: Any) -> Any:
    """Returns a Keras configuration with `always_on=False` in every `McDropout`, at any depth."""
    if isinstance(config, list | tuple):
        return type(config)(_without_sampling(value) for value in config)
    if not isinstance(config, dict):
        return config
    inner = {key: _without_sampling(value) for key, value in config.items()}
    if config.get("registered_name") == NAME:
        inner["config"] = {**inner["config"], "always_on": False}
    return inner
