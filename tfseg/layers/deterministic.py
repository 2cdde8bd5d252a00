"""The same network, answering the same every time."""

from typing import Any

import keras

from tfseg.keras_internals import layers_within
from tfseg.layers.dropout import McDropout

NAME = keras.saving.get_registered_name(McDropout)


def stochastic(model: keras.Model) -> bool:
    """Whether dropout stays on when the model predicts, so that several passes differ."""
    return any(isinstance(layer, McDropout) and layer.always_on for layer in layers_within(model))


def deterministic(model: keras.Model) -> keras.Model:
    """`model` itself, or where it has dropout that stays on, its twin with ordinary dropout and the same weights.

    Without the sampling the twin's answer is that of the mean weights: "weight averaging", which the mean over samples
    is compared with in Kendall, Badrinarayanan, Cipolla, "Bayesian SegNet", BMVC 2017, section 4.

    Example:

    >>> import numpy as np
    >>> image = keras.Input((None, None, 1))
    >>> model = deterministic(keras.Model(image, McDropout(0.5)(image)))
    >>> bool(np.all(model(np.ones((1, 2, 3, 1))) == 1))
    True

    Args:
        model: a Functional model.
    """
    config = model.get_config()
    quiet = _quiet(config)
    if quiet == config:
        return model
    twin = model.__class__.from_config(quiet)
    twin.set_weights(model.get_weights())
    return twin


def _quiet(config: Any) -> Any:
    """A Keras configuration in which no dropout stays on, however deep it lies."""
    if isinstance(config, list | tuple):
        return type(config)(_quiet(value) for value in config)
    if not isinstance(config, dict):
        return config
    inner = {key: _quiet(value) for key, value in config.items()}
    if config.get("registered_name") == NAME:
        inner["config"] = {**inner["config"], "always_on": False}
    return inner
