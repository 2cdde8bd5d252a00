"""What a backbone gives to a decoder: named tensors with their strides."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import keras

from tfseg.errors import WeightsError
from tfseg.symbolic import weightless
from tfseg.weights import Arrays, WeightsReport, fill, read_arrays
from tfseg.weights.readers import exists

RGB = 3


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


class Backbone:
    """What a model asks of a backbone spec. One of your own needs `type` and `__call__`; all else has an answer here.

    Numbers are read off what `__call__` builds, once, without values for its weights; a backbone that knows them from
    its fields says so itself.
    """

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)

    def __call__(self, image: keras.KerasTensor) -> Features:
        """Puts its layers on `image`, `[batch, height, width, channels]`, values 0..255."""
        raise NotImplementedError

    @cached_property
    def _built(self) -> tuple[tuple[int, bool], ...]:
        """Of each stage the stride, and whether it keeps pool indices."""
        image = keras.Input((None, None, RGB), name="image")
        return weightless(lambda: tuple((stage.stride, stage.indices is not None) for stage in self(image).stages))

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of its stages, finest first."""
        return tuple(stride for stride, _ in self._built)

    @property
    def output_stride(self) -> int:
        """The stride of its deepest stage."""
        return self.strides[-1]

    @property
    def fixed_grid(self) -> bool:
        """Whether its positions lie at the same image coordinates at every image size.

        A 3x3 convolution of stride 2 with `same` padding pads 0 or 1 pixels on the left, by the parity of the width.
        """
        return False

    @property
    def padded(self) -> bool:
        """Whether its deepest stage reaches beyond the image (its first layer pads by 100): scores must be cropped."""
        return False

    @property
    def overhanging(self) -> bool:
        """Whether stages before its deepest reach beyond the image, so that they cannot just be resized onto it."""
        return self.padded

    @property
    def indexed(self) -> bool:
        """Whether its pools keep the positions of their maxima, for decoders that unpool."""
        return any(indexed for _, indexed in self._built)

    def refusal(self, channels: int) -> str | None:
        """Why it cannot read images of that many channels, or None."""
        return None

    def layer_names(self, channels: int) -> frozenset[str]:
        """The names of the layers that it puts on images of that many channels."""

        def names() -> frozenset[str]:
            image = keras.Input((None, None, channels))
            model = keras.Model(image, [stage.tensor for stage in self(image).stages])
            return frozenset(layer.name for layer in model.layers)

        return weightless(names)

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
