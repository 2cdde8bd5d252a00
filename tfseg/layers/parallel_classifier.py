"""Classifier of DeepLab v2: parallel atrous convolutions whose scores are summed."""

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.layers.arguments import rates_of
from tfseg.layers.composite import Composite
from tfseg.layers.conv import AtrousConv2D
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Shape = Sequence[int | None]


@serializable
class ParallelAtrousClassifier(Composite):
    """Sums the class scores of parallel 3x3 atrous convolutions: ASPP of DeepLab v2.

    Without `filters`, each branch is one convolution to `num_classes` channels, as on ResNet-101. With `filters`, a
    branch is a 3x3 atrous convolution to `filters` channels, ReLU, dropout, a 1x1 convolution, ReLU, dropout, and a 1x1
    convolution to `num_classes` channels, as on VGG16. Branches share no weights. The convolutions that compute scores
    are initialized from a Gaussian with standard deviation 0.01.

    `sublayers` maps the layer names of the released networks, without `voc12`, to the convolutions and dropout layers:
    `fc6_1`, `drop6_1`, `fc7_1`, `drop7_1`, `fc8_1`, `fc6_2` … with `filters`, and `fc1_c0`, `fc1_c1` … without.

    Example:

    >>> import numpy as np
    >>> head = ParallelAtrousClassifier(num_classes=21, rates=(6, 12, 18, 24))
    >>> tuple(head(np.zeros((1, 41, 41, 8))).shape), head.count_params()
    ((1, 41, 41, 21), 6132)

    Args:
        num_classes: Integer, number of classes.
        rates: Dilation rates, one per branch: `(6, 12, 18, 24)` is ASPP-L, `(2, 4, 8, 12)` ASPP-S, `(12,)` LargeFOV.
        filters: Integer, number of filters of the two hidden convolutions of each branch, 1024 on VGG16. If `None`,
            branches have no hidden convolutions.
        dropout: Dropout rate after each hidden convolution.

    Call arguments:
        x: Input feature map.
        training: Boolean, whether to apply dropout.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, height, width, classes]`.

    Raises:
        ValueError: If `rates` is empty or contains anything but positive integers.

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
            raise ValueError(f"`rates` must contain at least one dilation rate. Received: rates={rates!r}")
        self._branches = [self._branch(number) for number in range(len(self.rates))]
        self.parts = {name: self._sublayer(name, rate) for name, rate in self._rates()}

    def _branch(self, number: int) -> list[str]:
        """Returns the layer names of a branch in call order."""
        if self.filters is None:
            return [f"fc1_c{number}"]
        names = [f"{name}_{number + 1}" for name in ("fc6", "drop6", "fc7", "drop7", "fc8")]
        return names if self.dropout else [name for name in names if not name.startswith("drop")]

    def _rates(self) -> list[tuple[str, int]]:
        """Returns the name of every layer with the dilation rate of its branch."""
        branches = zip(self._branches, self.rates, strict=True)
        return [(name, rate) for names, rate in branches for name in names]

    def _sublayer(self, name: str, rate: int) -> keras.layers.Layer:
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
        """Receptive field in input positions along one axis."""
        return 1 + 2 * max(self.rates)

    def build(self, input_shape: Shape) -> None:
        for names in self._branches:
            shape = input_shape
            for name in names:
                self.parts[name].build(shape)
                shape = self.parts[name].compute_output_shape(shape)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        scores = []
        for names in self._branches:
            branch = x
            for name in names:  # Keras passes `training` on to inner layers
                branch = self.parts[name](branch)
            scores.append(branch)
        return sum(scores[1:], start=scores[0])

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return *input_shape[:3], self.num_classes

    def get_config(self) -> dict[str, Any]:
        own = {"num_classes": self.num_classes, "rates": self.rates, "filters": self.filters, "dropout": self.dropout}
        return {**super().get_config(), **own}
