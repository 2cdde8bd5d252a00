"""Monte Carlo dropout."""

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class McDropout(keras.layers.Dropout):
    """Applies dropout at inference as well (Monte Carlo dropout): the spread of repeated predictions is the
    uncertainty.

    A fraction `rate` of the values is set to 0 and the others are divided by `1 - rate`. With `always_on=False` the
    layer is `keras.layers.Dropout` and predictions are deterministic. The layer has no weights, so that one weight file
    fits both values of `always_on`.

    Random numbers come from a seed state stored in the layer. Each call draws new numbers; layers with the same seed
    draw the same numbers in the same order. A SavedModel contains the state as well: repeated calls differ, and the
    sequence restarts whenever the model is loaded. TFLite has no operation for these random numbers, so that the
    converter rejects a network with `always_on=True`. Build it with `always_on=False`, which leaves no trace of the
    layer in the file.

    Example:

    >>> import numpy as np
    >>> x = np.ones((1, 64, 64, 1))
    >>> samples = np.asarray(McDropout(0.25, seed=1)(x))
    >>> [f"{value:.3f}" for value in np.unique(samples)]
    ['0.000', '1.333']
    >>> bool(np.all(McDropout(0.25, always_on=False)(x) == x))
    True

    Args:
        rate: Float between 0 and 1, dropout rate.
        always_on: Boolean, whether to apply dropout at inference as well as in training.
        noise_shape: Shape of the dropout mask, as in `keras.layers.Dropout`: `(None, 1, 1, None)` drops whole feature
            maps.
        seed: Integer, random seed for reproducible results.

    Call arguments:
        inputs: Input tensor.
        training: Boolean, whether to apply dropout if `always_on` is `False`.

    Input shape:
        `[..., channels]`.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If `rate` is not between 0 and 1.

    Reference:
        Gal, Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016, section 3; Kendall, Badrinarayanan, Cipolla,
        "Bayesian SegNet", BMVC 2017.
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

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return super().call(inputs, training=bool(training) or self.always_on)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "always_on": self.always_on}
