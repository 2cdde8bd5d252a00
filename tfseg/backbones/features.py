"""What a backbone gives to a decoder: named tensors with their strides."""

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
    """One tensor of a backbone that a decoder may use.

    Args:
        name: the layer that made it; layers that a decoder puts on it are named after it.
        stride: how many image pixels lie between two of its places.
        tensor: `[batch, height, width, channels]`.
        indices: where the pool that made `tensor` found its maxima, or None.
        source: what that pool read; unpooling needs its height and width. None where the stage is no pool's.
    """

    name: str
    stride: int
    tensor: keras.KerasTensor
    indices: keras.KerasTensor | None = None
    source: keras.KerasTensor | None = None


@dataclass(frozen=True)
class Features:
    """The stages of a backbone, shallow ones first. Two stages may have one stride once a backbone is dilated.

    Args:
        stages: one or more.
        backbone: what messages call the backbone; by default its type.
        form: what they call its form, where it has several.
    """

    stages: tuple[Stage, ...]
    backbone: str = ""
    form: str = ""

    def __str__(self) -> str:
        return f"{self.backbone} with output stride {self.output_stride} has strides {listed(self.strides)}"

    @property
    def deepest(self) -> Stage:
        """The last stage."""
        return self.stages[-1]

    @property
    def output_stride(self) -> int:
        """The stride of the last stage."""
        return self.deepest.stride

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the stages."""
        return tuple(stage.name for stage in self.stages)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides that exist, each once, finest first."""
        return tuple(sorted({stage.stride for stage in self.stages}))

    def at(self, stride: int) -> Stage:
        """The deepest stage of `stride`.

        Raises:
            ValueError: no stage has it.
        """
        found = [stage for stage in self.stages if stage.stride == stride]
        if not found:
            raise ValueError(f"No stage of the backbone has this stride; it has {self.strides}. Received: {stride=}")
        return found[-1]

    def stage(self, name: str) -> Stage:
        """The stage called `name`.

        Raises:
            ValueError: no stage is called so.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ValueError(f"No stage of the backbone has this name; it has {self.names}. Received: {name=}")


class Backbone:
    """What a model asks of a backbone spec. One of your own needs `type` and `__call__`; all else has an answer here.

    Strides, pool indices and places are read off what `__call__` makes.
    """

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)

    def __call__(self, image: keras.KerasTensor) -> Features:
        """Puts its layers on `image`, `[batch, height, width, channels]`, values 0..255."""
        raise NotImplementedError

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from reading the images of the context, each as (path, message)."""
        yield from ()

    def layer_names(self, channels: int) -> frozenset[str]:
        """The names of the layers that it puts on images of that many channels."""

        def names() -> frozenset[str]:
            image = keras.Input((None, None, channels))
            model = keras.Model(image, [stage.tensor for stage in self(image).stages])
            return frozenset(layer.name for layer in model.layers)

        return symbolically(names)

    def load_weights(self, model: keras.Model) -> WeightsReport | None:
        """Fills its layers within `model` from its `weights`, and others that fit; None when it names none.

        Raises:
            WeightsError: the weights cannot be read, or do not fill all of its layers. Nothing was changed.
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
        """The arrays of Keras's own network with the weights `imagenet` or of an `.h5` file; None where it has none."""
        return None
