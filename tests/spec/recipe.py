"""A small spec type with one of everything that pipeline files use: what the tests of `tfseg.spec` read and fuzz."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tfseg.labels import Labels
from tfseg.spec import BY_TYPE, ByType, InvalidFields, Location, spec


@spec
class Small:
    """A small backbone.

    Its second paragraph is not for editors.
    """

    type: Literal["small"] = "small"
    width: Annotated[float, Field(gt=0)] = 1.0
    """Scales the number of channels."""
    weights: Literal["imagenet"] | Location | None = None
    """Where the first weights come from."""


@spec
class Deep:
    """A deep backbone."""

    type: Literal["deep"] = "deep"
    output_stride: Literal[8, 16, 32] = 32
    """How much smaller the deepest features are."""


@spec
class Skips:
    """Scores at several strides."""

    type: Literal["skips"] = "skips"
    strides: Annotated[tuple[int, ...], Field(min_length=1)] = (32, 16, 8)
    """The strides that are scored."""


@spec
class Unpooling:
    """A mirrored encoder. It needs a number of stages."""

    type: Literal["unpooling"] = "unpooling"
    stages: Annotated[int, Field(ge=1, le=9)]
    """How often it unpools."""


@spec
class Net:
    """Backbone and decoder."""

    type: Literal["net"] = "net"
    backbone: Annotated[Small | Deep, BY_TYPE]
    """The encoder."""
    decoder: Annotated[Skips | Unpooling, BY_TYPE] = Skips()
    """What scores its features."""
    refine: Annotated[Unpooling | None, BY_TYPE] = None
    """What follows the scores."""

    @model_validator(mode="after")
    def _deep_enough(self) -> "Net":
        if isinstance(self.backbone, Deep) and isinstance(self.decoder, Skips):
            deepest = max(self.decoder.strides)
            if deepest > self.backbone.output_stride:
                raise InvalidFields(
                    (
                        (
                            "decoder",
                            "strides",
                        ),
                        f"stride {deepest} is deeper than output_stride; name less",
                    )
                )
        return self


@spec
class Listed:
    """A net as a list of layers."""

    type: Literal["listed"] = "listed"
    layers: tuple[Annotated[Small | Unpooling, BY_TYPE], ...]
    """The layers."""


@spec
class Scale:
    """Random scale."""

    type: Literal["scale"] = "scale"
    scale: tuple[float, float] | tuple[float, ...] = (0.5, 2.0)
    """Least and greatest factor."""
    max: Annotated[float, Field(gt=0)] = 2.0
    """Greatest factor."""


@spec
class Flip:
    """Random flip."""

    type: Literal["flip"] = "flip"
    probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How often."""


@spec
class Data:
    """Images and masks."""

    root: Location | None = None
    """The folder."""
    crop: Annotated[int, Field(ge=1)] | tuple[int, int] | None = None
    """The size of a training example."""
    augment: tuple[Annotated[Scale | Flip, BY_TYPE], ...] = ()
    """What is done to an example."""
    mapping: dict[int, int] | None = None
    """Class ids by the ids of the files."""
    weights: Literal["median", "inverse"] | tuple[float, ...] | None = None
    """The weights of the classes."""
    cache: bool = False
    """Keep decoded images."""


@spec
class Recipe:
    """A whole file."""

    name: Annotated[str, Field(min_length=1, pattern="^[a-z0-9_]+$")]
    """The name of what is made."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Where all randomness starts."""
    labels: Labels
    """The classes."""
    model: Annotated[Net | Listed, ByType(default="net")]
    """The network."""
    data: Data = Data()
    """The data."""
    rates: dict[str, float] | None = None
    """Learning rates by pattern."""
    plugins: tuple[str, ...] = ()
    """Modules with more components."""

    @model_validator(mode="after")
    def _weighted(self) -> "Recipe":
        if isinstance(self.data.weights, tuple) and len(self.data.weights) != self.labels.count:
            raise ValueError(f"{len(self.data.weights)} weights for {self.labels.count} classes; give one for each")
        return self
