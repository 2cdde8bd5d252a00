"""Which normalization the layers of a network have: one answer for all of them."""

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
"""As in the paper."""


@spec
class Norm:
    """What stands behind convolutions, in every network that has something there."""

    type: Literal["batch", "group"] = "batch"
    """`batch`: batch normalization. `group`: group normalization (Wu & He 2018), whose statistics are those of each
    image, for batches of a few images; no pretrained weights fit it."""
    groups: Annotated[int, Field(ge=1)] = GROUPS
    """Of channels, for `group`; they divide the channels of every layer that is normalized."""
    momentum: Share | dict[Part, Share] | None = None
    """Of the moving averages of `batch`; null: 0.9, with which evaluation agrees with training after some dozen steps,
    while the 0.99 to 0.9997 of publications take thousands. A map gives `backbone` and `decoder` one each."""
    epsilon: Share | dict[Part, Share] | None = None
    """What is added to variances; null: as each network was published. A map gives `backbone` and `decoder` one
    each."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type == "group" and self.momentum is not None:
            message = "group normalization keeps no moving averages; set it to null, or type to batch"
            raise InvalidFields((("momentum",), f"{message}. Received: {self.momentum}"))
        if self.type == "batch" and self.groups != GROUPS:
            raise InvalidFields(
                (("groups",), f"belongs to type group. Set type to group. Received: {self.groups}, type=batch")
            )
        return self

    def choice(self, part: Part) -> Normalization:
        """What the layers of a part are to be."""
        momentum, epsilon = (
            value.get(part) if isinstance(value, dict) else value for value in (self.momentum, self.epsilon)
        )
        return Normalization(self.type, self.groups, momentum, epsilon)

    @contextmanager
    def building(self, part: Part) -> Iterator[None]:
        """Inside, the layers of a part are built.

        Raises:
            ModelError: the groups do not divide the channels of one.
        """
        try:
            with normalization(self.choice(part)):
                yield
        except IndivisibleChannels as error:
            fault = ("model", "norm", "groups"), str(error)
            raise ModelError(formatted([fault]), [fault]) from error

    def problems(self, backbone: Backbone, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from `backbone`, which is built for this question, each as (path, message)."""
        if self.type == "batch":
            return
        try:
            names = symbolically(lambda: self._normalized(backbone, context.channels))
        except IndivisibleChannels as error:
            yield ("groups",), str(error)
            return
        if names and getattr(backbone, "weights", None) == "imagenet":  # those of a file are looked at with the file
            message = f"the weights that {backbone.type} starts from were found with batch normalization"
            yield ("type",), f"{message}. Set it to batch, or model.backbone.weights to null. Received: group"

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """What it says of layers that the network does not have, each as (path, message)."""
        kind = keras.layers.GroupNormalization if self.type == "group" else keras.layers.BatchNormalization
        normal = [layer for layer in layers_within(model) if isinstance(layer, kind)]
        why = "no layer of this network takes it from here"
        if self.type == "group" and not normal:
            yield ("type",), f"{why}. Received: group. Leave it out, or build layers with tfseg.layers.norm.normalized"
        for key in ("momentum", "epsilon"):
            given = getattr(self, key)
            for value in given.values() if isinstance(given, dict) else () if given is None else (given,):
                if not any(math.isclose(getattr(layer, key, math.nan), value) for layer in normal):
                    yield (key,), f"{why}. Received: {value}. Leave it out"

    def _normalized(self, backbone: Backbone, channels: int) -> list[str]:
        """The layers of the backbone that normalize groups."""
        image = keras.Input((None, None, channels))
        with normalization(self.choice("backbone")):
            model = keras.Model(image, [stage.tensor for stage in backbone(image).stages])
        return [layer.name for layer in model.layers if isinstance(layer, keras.layers.GroupNormalization)]
