"""Networks whose weights have shapes but no values, for whoever wants to look at them only."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import keras

T = TypeVar("T")


def symbolically(build: Callable[[], T]) -> T:
    """What `build()` returns; networks that it makes have no values in their weights: it takes a second and no memory.

    Keras keeps a list of variables without values, for each thread its own, and gives them values at the next
    occasion, which for a large network is seconds and gigabytes for nothing. The list of a thread that ends is gone.
    Layers draw their seeds from `random`, which is left as it was: to look at a network changes no other.

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
