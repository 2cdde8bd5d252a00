"""Memory that a training needs."""

import functools
import resource
import sys

import tensorflow as tf

UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes per unit of `ru_maxrss`."""


def peak_memory() -> int:
    """Returns the maximum resident set size of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


def peak_gpu_memory() -> int | None:
    """Returns the maximum memory that TensorFlow has allocated on a GPU, in bytes, or None without GPUs.

    With several GPUs, it is that of the GPU with the largest one.
    """
    peaks = [tf.config.experimental.get_memory_info(name)["peak"] for name in _measured_gpus()]
    return max(peaks, default=None)


@functools.cache
def _measured_gpus() -> tuple[str, ...]:
    """Returns the names of the GPUs whose memory TensorFlow measures."""
    names = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices("GPU")]
    return tuple(name for name in names if _is_measured(name))


def _is_measured(name: str) -> bool:
    try:
        tf.config.experimental.get_memory_info(name)
    except (ValueError, tf.errors.OpError):  # GPUs of plugins
        return False
    return True
