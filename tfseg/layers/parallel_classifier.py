"""The classifier of DeepLab v2: atrous branches that score side by side, their scores summed."""

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.layers.arguments import rates_of
from tfseg.layers.composite import Composite
from tfseg.layers.conv import AtrousConv2D
from tfseg.serialization import serializable

Shape = Sequence[int | None]


@serializable
class ParallelAtrousClassifier(Composite):
    """Scores every place by 3x3 convolutions of several dilation rates, and sums the scores: ASPP of DeepLab v2.

    Without `filters`, each branch is one convolution to `num_classes`, as on ResNet-101. With it, a branch is a 3x3
    dilated convolution to `filters` channels, ReLU, dropout, a 1x1 convolution, ReLU, dropout, and a 1x1 convolution to
    `num_classes`, as on VGG16. Branches share no weights. The scoring convolutions start from a Gaussian of deviation
    0.01.

    `sublayers` holds the convolutions by the names of the released networks: `fc6_1`, `fc7_1`, `fc8_1`, `fc6_2` … with
    `filters`, and `fc1_c0`, `fc1_c1` … without.

    Example:

    >>> import numpy as np
    >>> head = ParallelAtrousClassifier(num_classes=21, rates=(6, 12, 18, 24))
    >>> tuple(head(np.zeros((1, 41, 41, 8))).shape), head.count_params()
    ((1, 41, 41, 21), 6132)

    Args:
        num_classes: how many scores each place gets.
        rates: the dilation rate of each branch: `(6, 12, 18, 24)` is ASPP-L, `(2, 4, 8, 12)` ASPP-S, `(12,)` LargeFOV.
        filters: channels of the two hidden convolutions of each branch, 1024 on VGG16; None: no hidden ones.
        dropout: share of values left out after each hidden convolution, in training.

    Call arguments:
        x: a tensor.
        training: as of dropout.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, height, width, classes]`.

    Raises:
        ValueError: no rates, or some that are no positive integers.

    Reference:
        Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
        Connected CRFs", PAMI 2018, section 3.2 and figure 7.
    """

    def __init__(
        self,
        num_classes: int,
        rates: Sequence[int] = (6, 12, 18, 24),
        filters: int | None = None,
        dropout: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes, self.rates, self.filters, self.dropout = (
            num_classes,
            rates_of("rates", rates),
            filters,
            dropout,
        )
        if not self.rates:
            raise ValueError(f"`rates` must name one branch at least. Received: rates={rates!r}")
        self._branches = [self._branch(number) for number in range(len(self.rates))]
        self.parts = {name: self._part(name, rate) for name, rate in self._rates()}

    def _branch(self, number: int) -> list[str]:
        """The names of a branch's layers, in the order of their calls."""
        if self.filters is None:
            return [f"fc1_c{number}"]
        names = [f"{name}_{number + 1}" for name in ("fc6", "drop6", "fc7", "drop7", "fc8")]
        return names if self.dropout else [name for name in names if not name.startswith("drop")]

    def _rates(self) -> list[tuple[str, int]]:
        """Every layer's name, with the rate of its branch."""
        branches = zip(self._branches, self.rates, strict=True)
        return [(name, rate) for names, rate in branches for name in names]

    def _part(self, name: str, rate: int) -> keras.layers.Layer:
        options: dict[str, Any] = {"dtype": self.dtype_policy, "trainable": self.trainable, "name": name}
        if name.startswith("drop"):
            return keras.layers.Dropout(self.dropout, **options)
        size, rate = (3, rate) if name.startswith(("fc1", "fc6")) else (1, 1)
        options |= {"kernel_size": size, "dilation_rate": rate, "padding": "same"}
        if self.filters is None or name.startswith("fc8"):
            gaussian = keras.initializers.RandomNormal(stddev=0.01)
            return AtrousConv2D(self.num_classes, kernel_initializer=gaussian, **options)
        return AtrousConv2D(self.filters, kernel_initializer="he_normal", activation="relu", **options)

    @property
    def receptive_field(self) -> int:
        """How many places of its input one place of the output sees, in one direction."""
        return 1 + 2 * max(self.rates)

    def build(self, input_shape: Shape) -> None:
        for names in self._branches:
            shape = input_shape
            for name in names:
                self.parts[name].build(shape)
                shape = self.parts[name].compute_output_shape(shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        scores = []
        for names in self._branches:
            branch = x
            for name in names:  # Keras tells them about `training`
                branch = self.parts[name](branch)
            scores.append(branch)
        return sum(scores[1:], start=scores[0])

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return *input_shape[:3], self.num_classes

    def get_config(self) -> dict[str, Any]:
        own = {"num_classes": self.num_classes, "rates": self.rates, "filters": self.filters, "dropout": self.dropout}
        return {**super().get_config(), **own}
