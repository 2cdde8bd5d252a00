"""Where and how a network is trained: devices, precision, seeds."""

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
    """What `scope` gives to those who work in it."""

    replicas: int
    """On how many devices each batch is divided; a batch's size must be a multiple of it."""


@contextmanager
def scope(strategy: Strategy, precision: Precision, seed: int) -> Iterator[Scope]:
    """Everything built and compiled inside is made for these devices and this precision, from this seed.

    The precision policy of before is set again at the end. Seeds are Python's, NumPy's and Keras's.

    Raises:
        RunError: `TF_CONFIG` names more than one worker, which Keras 3 cannot train on.
    """
    _one_worker()
    mirrored = _mirrored(devices()) if strategy == "mirrored" else None
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        with nullcontext() if mirrored is None else mirrored.scope():
            keras.utils.set_random_seed(seed)
            yield Scope(replicas=1 if mirrored is None else mirrored.num_replicas_in_sync)
    finally:
        keras.config.set_dtype_policy(before)


@functools.cache
def _mirrored(names: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    """One strategy for the whole process: a second one would number its collective operations from the beginning, and
    TensorFlow, which remembers their shapes by number, would take them for those of the first and stop."""
    return tf.distribute.MirroredStrategy(names)


def devices() -> tuple[str, ...]:
    """The devices that `mirrored` divides a batch on: every GPU of this machine, or every logical CPU device."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tuple(device.name for device in found)


def _one_worker() -> None:
    try:
        workers = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {}).get("worker", ())
        named = ", ".join(workers)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise RunError(
            "the environment variable TF_CONFIG cannot be read. Expected JSON such as "
            '{"cluster": {"worker": ["host:port"]}}. '
            f"Received: {os.environ['TF_CONFIG'][:60]!r}. Unset TF_CONFIG, or correct it"
        ) from error
    if len(workers) > 1:
        raise RunError(
            "the environment variable TF_CONFIG names more than one worker, and Keras 3 cannot train on several "
            f"machines. Received: {len(workers)} workers ({named}). Unset TF_CONFIG; on one machine "
            "`training.strategy: mirrored` uses all of its GPUs"
        )
