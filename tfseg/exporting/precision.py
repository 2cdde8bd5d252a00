"""Conversion of networks to float32."""

from typing import Any

import keras

HALF = frozenset({"float16", "bfloat16", "mixed_float16", "mixed_bfloat16"})


def in_float32(model: keras.Model) -> keras.Model:
    """Returns a float32 copy with the same weights if layers of `model` compute in half precision, else `model` itself.

    TFLite has no builtin convolution in half precision, and an artifact should have the same outputs on all devices.
    """
    config = model.get_config()
    single = _single(config)
    if single == config:
        return model
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")  # for nested layers that are not part of the config
    try:
        copy = model.__class__.from_config(single)
    finally:
        keras.config.set_dtype_policy(policy)
    copy.set_weights(model.get_weights())
    return copy


def _single(config: Any) -> Any:
    """Returns a Keras config with every half-precision policy replaced by float32."""
    if isinstance(config, dict):
        return {key: _policy(value) if key == "dtype" else _single(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_single(value) for value in config)
    return config


def _policy(dtype: Any) -> Any:
    if isinstance(dtype, dict) and dtype.get("config", {}).get("name") in HALF:
        return {**dtype, "config": {**dtype["config"], "name": "float32"}}
    return "float32" if isinstance(dtype, str) and dtype in HALF else dtype
