"""Dropout that stays on when a network predicts."""

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.serialization import serializable


@serializable
class McDropout(keras.layers.Dropout):
    """Dropout that is on in inference too: every prediction is a sample, and their spread is the uncertainty.

    A share `rate` of the values becomes 0, the others are divided by `1 - rate`. With `always_on=False` it is
    `keras.layers.Dropout`, and predictions are deterministic; the two have no weights, so that one file serves both.

    Numbers are drawn from a seed state that is kept with the layer: each call draws others, and layers of the same seed
    draw the same ones in the same order. A SavedModel keeps the state too: calls of a loaded one differ from each
    other, and begin again with each loading. TFLite has no operation for such numbers: a network with `always_on=True`
    is refused by the converter; build it with `always_on=False`, which leaves nothing of the layer in the file.

    Example:

    >>> import numpy as np
    >>> x = np.ones((1, 64, 64, 1))
    >>> samples = np.asarray(McDropout(0.25, seed=1)(x))
    >>> [f"{value:.3f}" for value in np.unique(samples)]
    ['0.000', '1.333']
    >>> bool(np.all(McDropout(0.25, always_on=False)(x) == x))
    True

    Args:
        rate: the share of values that become 0.
        always_on: whether values are dropped in inference too, not in training only.
        noise_shape: as of `keras.layers.Dropout`: `(None, 1, 1, None)` drops whole maps.
        seed: makes the numbers the same in every run.

    Call arguments:
        inputs: a tensor.
        training: whether to drop values where it is not always on.

    Input shape:
        `[..., channels]`.

    Output shape:
        The same.

    Raises:
        ValueError: a rate outside of 0 to 1.

    Reference:
        Gal, Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016, section 3; Kendall, Badrinarayanan, Cipolla,
        "Bayesian SegNet", BMVC 2017, section 3.
    """

    def __init__(
        self,
        rate: float,
        always_on: bool = True,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, noise_shape, seed, **kwargs)
        self.always_on = always_on

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return super().call(inputs, training=bool(training) or self.always_on)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "always_on": self.always_on}
