"""Interface between backbones and decoders: named feature maps with their strides."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import keras

from tfseg.context import Context
from tfseg.errors import WeightsError
from tfseg.spec.messages import listed
from tfseg.spec.problems import FieldProblem
from tfseg.symbolic import symbolically
from tfseg.weights import Arrays, WeightsReport, fill, read_arrays
from tfseg.weights.readers import exists


@dataclass(frozen=True)
class Stage:
    """Feature map of a backbone that is available to decoders.

    Args:
        name: Name of the stage, usually that of the layer that computes it. Decoder layers that read the stage are
            named after it.
        stride: Ratio of input to feature resolution.
        tensor: Feature map of shape `[batch, height, width, channels]`.
        indices: Argmax indices of the pool that computes `tensor`, or None.
        source: Input of that pool, whose height and width unpooling needs; required with `indices`.
    """

    name: str
    stride: int
    tensor: keras.KerasTensor
    indices: keras.KerasTensor | None = None
    source: keras.KerasTensor | None = None


@dataclass(frozen=True)
class Features:
    """Stages of a backbone, from shallow to deep. Several stages can have the same stride if the backbone is dilated.

    Args:
        stages: At least one stage.
        backbone: Name of the backbone in messages; defaults to its type.
        form: Name of the backbone's form in messages, if the backbone has several.
    """

    stages: tuple[Stage, ...]
    backbone: str = ""
    form: str = ""

    def __str__(self) -> str:
        return f"{self.backbone} with output stride {self.output_stride} has strides {listed(self.strides)}"

    @property
    def deepest(self) -> Stage:
        """Last stage."""
        return self.stages[-1]

    @property
    def output_stride(self) -> int:
        """Stride of the last stage."""
        return self.deepest.stride

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stages."""
        return tuple(stage.name for stage in self.stages)

    @property
    def strides(self) -> tuple[int, ...]:
        """Distinct strides of the stages in ascending order."""
        return tuple(sorted({stage.stride for stage in self.stages}))

    def at(self, stride: int) -> Stage:
        """Returns the deepest stage of that stride.

        Args:
            stride: Integer, one of `strides`.

        Raises:
            ValueError: If no stage has this stride.
        """
        found = [stage for stage in self.stages if stage.stride == stride]
        if not found:
            raise ValueError(f"`stride` must be one of the backbone's strides {self.strides}. Received: {stride=}")
        return found[-1]

    def stage(self, name: str) -> Stage:
        """Returns the stage of that name.

        Args:
            name: String, one of `names`.

        Raises:
            ValueError: If no stage has this name.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ValueError(f"`name` must be one of the backbone's stages {self.names}. Received: {name=}")


class Backbone:
    """Base class of backbone specs. Custom backbones must define `type` and `__call__`; the rest has defaults.

    Positions are derived from the layers that `__call__` creates, and the strides of the stages are checked against
    these layers.
    """

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)

    def __call__(self, image: keras.KerasTensor) -> Features:
        """Applies the layers of the backbone to `image`, `[batch, height, width, channels]` with values 0..255."""
        raise NotImplementedError

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the problems with the images that `context` describes, as pairs `(path, message)`."""
        yield from ()

    def layer_names(self, channels: int) -> frozenset[str]:
        """Returns the names of the layers of the backbone for images with `channels` channels."""

        def names() -> frozenset[str]:
            image = keras.Input((None, None, channels))
            model = keras.Model(image, [stage.tensor for stage in self(image).stages])
            return frozenset(layer.name for layer in model.layers)

        return symbolically(names)

    def load_weights(self, model: keras.Model) -> WeightsReport | None:
        """Loads `weights` into the backbone's layers in `model`, and into other layers that match.

        Returns:
            A report of the layers that were filled, or None if the spec has no weights.

        Raises:
            WeightsError: If the weights cannot be read or do not fill all layers of the backbone. The model is then
                unchanged.
        """
        weights = getattr(self, "weights", None)
        if weights is None:
            return None
        arrays = self._arrays(weights)
        return fill(model, arrays, str(weights), required=self.layer_names(model.input.shape[-1]), whole=False)

    def _arrays(self, weights: str | Path) -> Arrays:
        if isinstance(weights, Path) and not exists(weights):
            raise WeightsError(
                f"{weights}: no such weight file. "
                "Set model.backbone.weights to a file that exists, or to null to start from random weights."
            )
        by_keras = weights == "imagenet" or Path(weights).suffix == ".h5"
        published = self._keras_arrays(weights) if by_keras else None
        return read_arrays(Path(weights)) if published is None else published

    def _keras_arrays(self, weights: str | Path) -> Arrays | None:
        """Returns the weights of the same network in `keras.applications`, or None if it is not there.

        Args:
            weights: `"imagenet"`, or the path of an `.h5` file.
        """
        return None
