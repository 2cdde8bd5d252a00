"""What a backbone gives to a decoder: named tensors with their strides."""

from dataclasses import dataclass
from typing import Protocol

import keras

from tfseg.backbones.weights import WeightsReport


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
    """The stages of a backbone, shallow ones first. Two stages may have one stride once a backbone is dilated."""

    stages: tuple[Stage, ...]

    @property
    def deepest(self) -> Stage:
        """The last stage."""
        return self.stages[-1]

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
        names = tuple(stage.name for stage in self.stages)
        raise ValueError(f"No stage of the backbone has this name; it has {names}. Received: {name=}")


class Backbone(Protocol):
    """What a model asks of a backbone spec. A plugin's backbone has these too."""

    @property
    def type(self) -> str:
        """Its name in a file."""

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of its stages, finest first; known without building."""

    @property
    def output_stride(self) -> int:
        """The stride of its deepest stage."""

    @property
    def fixed_grid(self) -> bool:
        """Whether its places lie at the same image coordinates at every image size.

        A 3x3 convolution of stride 2 with `same` padding pads 0 or 1 pixels on the left, by the parity of the width.
        """

    @property
    def padded(self) -> bool:
        """Whether its deepest stage reaches beyond the image (its first layer pads by 100): scores must be cropped."""

    @property
    def overhanging(self) -> bool:
        """Whether stages before its deepest reach beyond the image, so that they cannot just be resized onto it."""

    @property
    def indexed(self) -> bool:
        """Whether its pools keep the places of their maxima, for decoders that unpool."""

    def refusal(self, channels: int) -> str | None:
        """Why it cannot read images of that many channels, or None."""

    def __call__(self, image: keras.KerasTensor) -> Features:
        """Puts its layers on `image`, `[batch, height, width, channels]`, values 0..255."""

    def load_weights(self, model: keras.Model) -> WeightsReport | None:
        """Fills its layers within `model` from its `weights`; None when it names none."""


class Encoder:
    """What most backbones answer; one that differs says so itself."""

    @property
    def fixed_grid(self) -> bool:
        """Places move with the image's size."""
        return False

    @property
    def padded(self) -> bool:
        """It does not reach beyond the image."""
        return False

    @property
    def overhanging(self) -> bool:
        """No stage hangs over the image unless all do."""
        return self.padded

    @property
    def indexed(self) -> bool:
        """Pools forget where their maxima were."""
        return False

    def refusal(self, channels: int) -> str | None:
        """It reads images of any number of channels."""
        return None
