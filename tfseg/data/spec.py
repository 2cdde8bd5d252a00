"""`data:` of a pipeline file: which pictures, cut and changed how, in which order, in batches of what size."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from tfseg.context import Context
from tfseg.data.augment import FILL, Augment, ColorJitter
from tfseg.data.box_sampling import TrainingBoxes
from tfseg.data.camvid import CamVid
from tfseg.data.crops import crop_problem
from tfseg.data.dataset import Dataset
from tfseg.data.examples import Source
from tfseg.data.folder import Folder
from tfseg.data.listings import Listings
from tfseg.data.shapes import Shapes
from tfseg.data.voc import Voc
from tfseg.errors import DataError
from tfseg.labels import Labels, Level
from tfseg.spec.declare import ByType, Location, spec
from tfseg.spec.problems import FieldProblem, InvalidFields, component_problems, prefixed

Sources = Annotated[Shapes | Folder | CamVid | Voc, ByType(contract=Source)]
Side = Annotated[int, Field(ge=1)]


@spec
class Data:
    """Where pictures come from and how they reach the net."""

    source: Sources = Shapes()
    """What to read: `shapes`, `folder`, `camvid`, `voc`."""
    root: Location | None = None
    """The folder that the source reads; none for `shapes`. Shipped pipelines leave it to the command line."""
    boxes: TrainingBoxes = None
    """Training sees boxes of the pictures, each an example of its own: of `objects`, or `proposals` of where they are.
    By default whole pictures. Evaluation sees whole pictures either way."""
    crop: Side | tuple[Side, Side] | None = None
    """Training sees random windows of this side, or height and width. By default whole pictures."""
    fill: Level | Annotated[tuple[Level, ...], Field(min_length=1)] = FILL
    """Pixels beyond the border of a picture, one value for all channels or one for each; [123, 117, 104] is the mean of
    ImageNet, which becomes zero in networks with Caffe's weights."""
    batch_size: Annotated[int, Field(ge=1, le=2**16)] = 8
    """Pictures in a training batch, over all devices."""
    augment: tuple[Augment, ...] = ()
    """Random changes in training, in this order; `scale` and `rotate` act before the crop, the others after it."""
    train_split: str = "train"
    """The split to train on."""
    validation_split: str = "val"
    """The split that chooses the best checkpoint."""
    cache: bool = False
    """Keeps the decoded training pictures in memory."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        kind = self.source.type
        faults: list[FieldProblem] = []
        if not self.source.NEEDS_ROOT and self.root is not None:
            faults.append((("root",), f'the source {kind} reads no files; expected none; received "{self.root}"'))
        if len(self.fills) not in (1, self.channels):
            told = f"expected one value, or {self.channels}: one for each channel of the images"
            faults.append((("fill",), f"{told}; received {len(self.fills)}"))
        for place, op in enumerate(self.augment):
            if isinstance(op, ColorJitter) and self.channels != 3 and (op.saturation or op.hue):
                told = f"saturation and hue must be 0 for images of {self.channels} channels"
                faults.append((("augment", place), f"{told}; received {op.saturation} and {op.hue}"))
        if faults:
            raise InvalidFields(*faults)
        return self

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.source.channels

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """Height and width of the crop."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop

    @property
    def fills(self) -> tuple[int, ...]:
        """`fill` as a tuple of one value, or of one for each channel."""
        return (self.fill,) if isinstance(self.fill, int) else self.fill

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What does not fit the classes or the network, as (path, message)."""
        mask = getattr(self.source, "mask", None)
        yield from prefixed(("source", "mask"), component_problems(mask, context) if mask is not None else ())
        if context.grid is not None and (problem := crop_problem(self.crop, context.grid)) is not None:
            yield ("crop",), problem

    @property
    def is_there(self) -> bool:
        """Whether there is something to read; a shipped pipeline cannot know where the files lie."""
        return not self.source.NEEDS_ROOT or (self.root is not None and self.root.is_dir())

    def split_problems(self) -> Iterator[FieldProblem]:
        """Which splits the files do not have, where they are there already, as (path, message)."""
        if not self.is_there:
            return
        listings = Listings(self.source, self.root)
        try:
            for field in ("train_split", "validation_split"):
                if message := listings.unknown(getattr(self, field)):
                    yield (field,), message
        except DataError as error:  # the folder is there, but not laid out as the source expects
            yield ("root",), str(error)

    def open(self, labels: Labels, seed: int = 0) -> Dataset:
        """The data set, for these classes.

        Args:
            labels: the classes.
            seed: the seed of order and augmentation in training.
        """
        if not isinstance(labels, Labels):
            raise TypeError(f"Expected `labels` to be tfseg.Labels, such as pipeline.labels. Received: {labels!r}")
        if not isinstance(seed, int) or not 0 <= seed < 2**31:
            raise ValueError(f"Expected `seed` to be an integer from 0 to 2**31 - 1. Received: {seed!r}")
        return Dataset(self, labels, seed)
