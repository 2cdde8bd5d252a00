"""What a backbone gives to a decoder: named tensors with their strides."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import keras

from tfseg.backbones.weights import WeightsReport
from tfseg.context import Context
from tfseg.spec.problems import Fault
from tfseg.spec.wording import listed


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

    def problems(self, context: Context) -> Iterator[Fault]:
        """What keeps it from reading the images of the context, each as (path, message)."""
        yield from ()

    def load_weights(self, model: keras.Model) -> WeightsReport | None:
        """Fills its layers within `model` from its `weights`; None when it names none."""
        return None
