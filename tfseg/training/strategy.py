"""Devices, precision and seed of a training."""

import functools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import keras
import tensorflow as tf

from tfseg.errors import RunError

Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
Strategy = Literal["none", "mirrored"]


@dataclass(frozen=True)
class Scope:
    """Result of `scope`."""

    replicas: int
    """Number of devices that share each batch. The batch size must be a multiple of it."""


@contextmanager
def scope(strategy: Strategy, precision: Precision, seed: int, *, deterministic: bool = False) -> Iterator[Scope]:
    """Context in which networks are built and compiled with a strategy, a dtype policy and a seed.

    The seed is set for Python, NumPy, TensorFlow and Keras. The previous dtype policy is restored at the end.
    `deterministic` enables deterministic operations for the rest of the process, since TensorFlow cannot disable them.

    Raises:
        RunError: If `TF_CONFIG` defines several workers, which Keras 3 does not support.
    """
    _check_single_worker()
    mirrored = _mirrored(devices()) if strategy == "mirrored" else None
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        with nullcontext() if mirrored is None else mirrored.scope():
            keras.utils.set_random_seed(seed)
            yield Scope(replicas=1 if mirrored is None else mirrored.num_replicas_in_sync)
    finally:
        keras.config.set_dtype_policy(previous)


@functools.cache
def _mirrored(names: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    """Returns the strategy of this process.

    TensorFlow caches the shapes of collective operations by number. A second strategy would number its operations from
    the beginning again, and TensorFlow would confuse them with those of the first strategy and raise.
    """
    return tf.distribute.MirroredStrategy(names)


def devices() -> tuple[str, ...]:
    """Returns the names of the devices for `mirrored`: all GPUs of the machine, or else all logical CPU devices."""
    available = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tuple(device.name for device in available)


def _check_single_worker() -> None:
    try:
        workers = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {}).get("worker", ())
        names = ", ".join(workers)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise RunError(
            "the environment variable TF_CONFIG cannot be read. Expected JSON such as "
            '{"cluster": {"worker": ["host:port"]}}. '
            f"Received: {os.environ['TF_CONFIG'][:60]!r}. Unset TF_CONFIG, or correct it"
        ) from error
    if len(workers) > 1:
        raise RunError(
            "the environment variable TF_CONFIG defines several workers, but Keras 3 does not support multi-worker "
            f"training. Received: {len(workers)} workers ({names}). Unset TF_CONFIG. To use all GPUs of one "
            "machine, set training.strategy: mirrored"
        )
