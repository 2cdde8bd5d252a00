"""Symbolic networks, whose weights have shapes but no values."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import keras

T = TypeVar("T")


def symbolically(build: Callable[[], T]) -> T:
    """Returns the result of `build`. Variables of the networks that it builds have a shape but no value.

    This takes about a second and no memory for the weights.

    Keras keeps a list of uninitialized variables per thread and initializes them at the next opportunity, which takes
    seconds and gigabytes for a large network. `build` runs in its own thread, whose list is discarded at its end.
    Layers draw their seeds from `random`, whose state is restored, so that other networks are not affected.

    Example:

    >>> symbolically(lambda: keras.layers.Dense(2).compute_output_shape((None, 3)))
    (None, 2)
    """

    def without_values() -> T:
        with keras.StatelessScope(initialize_variables=False):
            return build()

    drawn = random.getstate()
    try:
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(without_values).result()
    finally:
        random.setstate(drawn)
