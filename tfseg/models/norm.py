"""Normalization layers of a network, set in one place for backbone and decoder."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg.backbones.features import Backbone
from tfseg.context import Context
from tfseg.keras_internals import layers_within
from tfseg.layers.norm import IndivisibleChannels, Normalization, normalization
from tfseg.models.problems import ModelError
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem, InvalidFields, formatted
from tfseg.symbolic import symbolically

Share = Annotated[float, Field(gt=0, lt=1)]
Part = Literal["backbone", "decoder"]
GROUPS = 32
"""Number of groups in the paper (Wu & He 2018)."""


@spec
class Norm:
    """Normalization layers after convolutions, in networks that have them."""

    type: Literal["batch", "group"] = "batch"
    """`batch`: batch normalization. `group`: group normalization (Wu & He 2018), which computes statistics per image,
    for batches of a few images; pretrained weights do not fit it."""
    groups: Annotated[int, Field(ge=1)] = GROUPS
    """Number of groups of channels, for `group`; it must divide the channels of every normalized layer."""
    momentum: Share | dict[Part, Share] | None = None
    """Momentum of the moving averages of `batch`; null: 0.9, with which the moving averages converge within a few
    dozen steps. The published values of 0.99 to 0.9997 take hundreds to thousands of steps. A mapping sets `backbone`
    and `decoder` separately."""
    epsilon: Share | dict[Part, Share] | None = None
    """Epsilon added to variances; null: the published value of each network. A mapping sets `backbone` and `decoder`
    separately."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type == "group" and self.momentum is not None:
            message = "group normalization keeps no moving averages; set momentum to null, or type to batch"
            raise InvalidFields((("momentum",), f"{message}. Received: {self.momentum}"))
        if self.type == "batch" and self.groups != GROUPS:
            raise InvalidFields(
                (
                    ("groups",),
                    f"requires type group. Set type to group, or remove groups. Received: {self.groups}, type=batch",
                )
            )
        return self

    def choice(self, part: Part) -> Normalization:
        """Returns the normalization of a part of the network."""
        momentum, epsilon = (
            value.get(part) if isinstance(value, dict) else value for value in (self.momentum, self.epsilon)
        )
        return Normalization(self.type, self.groups, momentum, epsilon)

    @contextmanager
    def building(self, part: Part) -> Iterator[None]:
        """Context in which the layers of a part are built with this normalization.

        Raises:
            ModelError: If `groups` does not divide the channels of a layer.
        """
        try:
            with normalization(self.choice(part)):
                yield
        except IndivisibleChannels as error:
            problem = ("model", "norm", "groups"), str(error)
            raise ModelError(formatted([problem]), [problem]) from error

    def problems(self, backbone: Backbone, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities with `backbone`, as pairs `(path, message)`. Builds it symbolically."""
        if self.type == "batch":
            return
        try:
            names = symbolically(lambda: self._normalized(backbone, context.channels))
        except IndivisibleChannels as error:
            yield ("groups",), str(error)
            return
        if names and getattr(backbone, "weights", None) == "imagenet":  # weights of a file are checked when it is read
            message = f"the pretrained weights of {backbone.type} were trained with batch normalization"
            yield ("type",), f"{message}. Set type to batch, or model.backbone.weights to null. Received: group"

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """Yields settings that no layer of the network uses, as pairs `(path, message)`."""
        kind = keras.layers.GroupNormalization if self.type == "group" else keras.layers.BatchNormalization
        normal = [layer for layer in layers_within(model) if isinstance(layer, kind)]
        why = "no layer of this network uses it"
        if self.type == "group" and not normal:
            yield ("type",), f"{why}. Received: group. Leave it out, or build layers with tfseg.layers.norm.normalized"
        for key in ("momentum", "epsilon"):
            given = getattr(self, key)
            for value in given.values() if isinstance(given, dict) else () if given is None else (given,):
                if not any(math.isclose(getattr(layer, key, math.nan), value) for layer in normal):
                    yield (key,), f"{why}. Received: {value}. Leave it out"

    def _normalized(self, backbone: Backbone, channels: int) -> list[str]:
        """Returns the names of the backbone's group normalization layers."""
        image = keras.Input((None, None, channels))
        with normalization(self.choice("backbone")):
            model = keras.Model(image, [stage.tensor for stage in backbone(image).stages])
        return [layer.name for layer in model.layers if isinstance(layer, keras.layers.GroupNormalization)]
