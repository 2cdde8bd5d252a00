"""Small spec type with all features of pipeline files, for the tests of `tfseg.spec`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tfseg.labels import Labels
from tfseg.spec import BY_TYPE, ByType, InvalidFields, Location, spec


@spec
class Small:
    """A small backbone.

    The second paragraph is not part of the JSON Schema.
    """

    type: Literal["small"] = "small"
    width: Annotated[float, Field(gt=0)] = 1.0
    """Scales the number of channels."""
    weights: Literal["imagenet"] | Location | None = None
    """Initial weights."""


@spec
class Deep:
    """A deep backbone."""

    type: Literal["deep"] = "deep"
    output_stride: Literal[8, 16, 32] = 32
    """Ratio of input to feature resolution."""


@spec
class Skips:
    """Class scores at several strides."""

    type: Literal["skips"] = "skips"
    strides: Annotated[tuple[int, ...], Field(min_length=1)] = (32, 16, 8)
    """Strides of the feature maps."""


@spec
class Unpooling:
    """A mirrored encoder with a required number of stages."""

    type: Literal["unpooling"] = "unpooling"
    stages: Annotated[int, Field(ge=1, le=9)]
    """Number of unpooling layers."""


@spec
class Net:
    """Backbone and decoder."""

    type: Literal["net"] = "net"
    backbone: Annotated[Small | Deep, BY_TYPE]
    """The encoder."""
    decoder: Annotated[Skips | Unpooling, BY_TYPE] = Skips()
    """The decoder."""
    refine: Annotated[Unpooling | None, BY_TYPE] = None
    """Refinement of the scores."""

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
                        f"stride {deepest} is larger than output_stride; omit it",
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
    """Smallest and largest factor."""
    max: Annotated[float, Field(gt=0)] = 2.0
    """Largest factor."""


@spec
class Flip:
    """Random flip."""

    type: Literal["flip"] = "flip"
    probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability of a flip."""


@spec
class Data:
    """Images and masks."""

    root: Location | None = None
    """The folder."""
    crop: Annotated[int, Field(ge=1)] | tuple[int, int] | None = None
    """The size of a training example."""
    augment: tuple[Annotated[Scale | Flip, BY_TYPE], ...] = ()
    """Data augmentation."""
    mapping: dict[int, int] | None = None
    """Mapping from ids of the files to class ids."""
    weights: Literal["median", "inverse"] | tuple[float, ...] | None = None
    """Class weights."""
    cache: bool = False
    """Boolean, whether to cache decoded images."""


@spec
class Recipe:
    """A pipeline file."""

    name: Annotated[str, Field(min_length=1, pattern="^[a-z0-9_]+$")]
    """Name of the network."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Random seed."""
    labels: Labels
    """The classes."""
    model: Annotated[Net | Listed, ByType(default="net")]
    """The network."""
    data: Data = Data()
    """The data."""
    rates: dict[str, float] | None = None
    """Learning rates by pattern."""
    plugins: tuple[str, ...] = ()
    """Modules with further components."""

    @model_validator(mode="after")
    def _weighted(self) -> "Recipe":
        if isinstance(self.data.weights, tuple) and len(self.data.weights) != self.labels.count:
            raise ValueError(f"{len(self.data.weights)} weights for {self.labels.count} classes; give one per class")
        return self
