"""The same network in float32."""

from typing import Any

import keras

HALF = frozenset({"float16", "bfloat16", "mixed_float16", "mixed_bfloat16"})


def in_float32(model: keras.Model) -> keras.Model:
    """`model` itself if it computes in float32, else its twin that does, with the same weights.

    TFLite has no builtin convolution in half precision, and an artifact should give the same answer wherever it runs.
    """
    config = model.get_config()
    single = _single(config)
    if single == config:
        return model
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")  # of layers that a layer makes for itself the configuration says nothing
    try:
        twin = model.__class__.from_config(single)
    finally:
        keras.config.set_dtype_policy(policy)
    twin.set_weights(model.get_weights())
    return twin


def _single(config: Any) -> Any:
    """A Keras configuration in which every half-precision policy is float32."""
    if isinstance(config, dict):
        return {key: _policy(value) if key == "dtype" else _single(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_single(value) for value in config)
    return config


def _policy(dtype: Any) -> Any:
    if isinstance(dtype, dict) and dtype.get("config", {}).get("name") in HALF:
        return {**dtype, "config": {**dtype["config"], "name": "float32"}}
    return "float32" if isinstance(dtype, str) and dtype in HALF else dtype
