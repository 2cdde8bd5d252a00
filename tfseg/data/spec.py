"""The `data` section of a pipeline file."""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from tfseg.context import Context, Crop
from tfseg.data.augment import FILL, Augment
from tfseg.data.augment.checks import channel_problems, class_problems, size_problems
from tfseg.data.box_sampling import TrainingBoxes
from tfseg.data.class_crop import ClassCrop
from tfseg.data.crops import crop_problem
from tfseg.data.dataset import Dataset
from tfseg.data.examples import Source, source_problems
from tfseg.data.listings import Listings
from tfseg.data.sampling import ClassSampling
from tfseg.data.sources.ade20k import Ade20k
from tfseg.data.sources.camvid import CamVid
from tfseg.data.sources.cityscapes import Cityscapes
from tfseg.data.sources.coco_stuff import CocoStuff
from tfseg.data.sources.folder import Folder
from tfseg.data.sources.mapillary import Mapillary
from tfseg.data.sources.mix import INNER, Mix
from tfseg.data.sources.python import Python
from tfseg.data.sources.shapes import Shapes
from tfseg.data.sources.tfrecord import TfRecord
from tfseg.data.sources.voc import Voc
from tfseg.errors import DataError
from tfseg.images.values import range_problem
from tfseg.labels import Labels, Level
from tfseg.spec.declare import ByType, Location, spec
from tfseg.spec.problems import FieldProblem, InvalidFields, prefixed

Sources = Annotated[
    Shapes | Folder | TfRecord | Ade20k | CamVid | Cityscapes | CocoStuff | Mapillary | Voc | Python | Mix,
    ByType(contract=Source, inner=INNER),
]
Side = Annotated[int, Field(ge=1)]
Bound = Annotated[float, Field(allow_inf_nan=False)]


def _native() -> list[str]:
    """Returns the names of the sources that support `value_range`."""
    sources = get_args(get_args(Sources)[0])
    return [source.type for source in sources if source.NATIVE]


@spec
class Data:
    """Dataset, crop, augmentation and batch size."""

    source: Sources = Shapes()
    """Data source: `shapes`, `folder`, `tfrecord`, a published dataset such as `voc`, `mix` for several of them, or
    `python` for data passed from Python."""
    root: Location | None = None
    """Folder of the dataset; null for `shapes` and `mix`. Shipped pipelines for VOC and CamVid require it on the
    command line."""
    boxes: TrainingBoxes = None
    """Boxes to train on, each as a separate example: `objects` or `proposals`. Defaults to whole images. Evaluation
    always uses whole images."""
    sampling: ClassSampling | None = None
    """Draws images with rare classes more often. Defaults to each image once per epoch, in random order."""
    crop: Side | tuple[Side, Side] | ClassCrop | None = None
    """Size of the random training crop: side of a square, or height and width. A mapping with this `size` chooses crops
    by the classes in them. Defaults to whole images."""
    fill: Level | Annotated[tuple[Level, ...], Field(min_length=1)] = FILL
    """Value of padding pixels, for all channels or per channel; [123, 117, 104] is the ImageNet mean, which becomes
    zero in networks with Caffe weights."""
    value_range: tuple[Bound, Bound] | None = None
    """Image values that become 0 and 255, e.g. [0, 65535] for uint16. Values between them are mapped linearly, others
    are clipped. Required for images of more than 8 bits. Defaults to images of 8 bits, which are not changed."""
    batch_size: Annotated[int, Field(ge=1, le=2**16)] = 8
    """Number of images per training batch, across all devices."""
    augment: tuple[Augment, ...] = ()
    """Augmentation ops of training, in order. Ops that need pixels around the crop, such as `scale` and `rotate`, and
    policies with such an op are applied before it, all others after it."""
    train_split: str = "train"
    """Split for training."""
    validation_split: str = "val"
    """Split for validation, which selects the best checkpoint."""
    cache: bool = False
    """Caches the decoded training images and masks in memory."""
    on_error: Literal["raise", "skip"] = "raise"
    """Handling of unreadable or invalid examples: `raise` stops the command; `skip` makes `fit` decode all examples
    once before the training, leave out the invalid ones and list them in `skipped.json`."""
    max_skipped: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Maximum fraction of the examples of a split that `on_error: skip` leaves out."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        kind = self.source.type
        problems: list[FieldProblem] = []
        if not self.source.NEEDS_ROOT and self.root is not None:
            reason = "has a root per source" if isinstance(self.source, Mix) else "reads no files"
            problems.append((("root",), f'the source {kind} {reason}; expected none; received "{self.root}"'))
        if isinstance(self.source, Mix) and self.sampling is not None:
            message = "the source mix draws examples by the weights of its sources; expected no sampling"
            problems.append((("sampling",), message))
        if len(self.fills) not in (1, self.channels):
            message = f"expected 1 value, or {self.channels} values: one per channel of the images"
            problems.append((("fill",), f"{message}; received {len(self.fills)}"))
        problems += self._value_problems()
        one_size = self.source.ONE_SIZE or self.boxes is not None
        problems += prefixed("augment", channel_problems(self.augment, self.channels))
        problems += prefixed("augment", size_problems(self.augment, self.crop_size, one_size=one_size))
        if problems:
            raise InvalidFields(*problems)
        return self

    def _value_problems(self) -> Iterator[FieldProblem]:
        if self.value_range is None:
            return
        low, high = self.value_range
        if problem := range_problem(low, high):
            yield ("value_range",), f"{problem}; received {low:g} and {high:g}"
        if not self.source.NATIVE:
            others = f"expected null, or the source {' or '.join(_native())}"
            message = f"the source {self.source.type} has images of 8 bits; {others}"
            yield ("value_range",), message

    @property
    def channels(self) -> int:
        """Number of channels of the images."""
        return self.source.channels

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """Height and width of the crop, or None."""
        return (self.crop_sides, self.crop_sides) if isinstance(self.crop_sides, int) else self.crop_sides

    @property
    def crop_sides(self) -> Crop:
        """Size of the crop as it is given: side of a square, height and width, or None."""
        return self.crop.size if isinstance(self.crop, ClassCrop) else self.crop

    @property
    def fills(self) -> tuple[int, ...]:
        """`fill` as a tuple of one value, or of one value per channel."""
        return (self.fill,) if isinstance(self.fill, int) else self.fill

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities with the labels or the network, as pairs `(path, message)`."""
        yield from prefixed("source", source_problems(self.source, context))
        yield from prefixed("augment", class_problems(self.augment, context.labels))
        if context.grid is not None and (problem := crop_problem(self.crop_sides, context.grid)) is not None:
            yield ("crop", "size") if isinstance(self.crop, ClassCrop) else ("crop",), problem

    @property
    def is_there(self) -> bool:
        """True if the data can be read: shipped pipelines have no `root`."""
        if not self.source.NEEDS_ROOT:
            return self.source.READABLE
        return self.root is not None and self.root.is_dir()

    def split_problems(self) -> Iterator[FieldProblem]:
        """Yields a pair `(path, message)` for each used split that does not exist, if `root` exists."""
        if not self.is_there:
            return
        listings = Listings(self.source, self.root)
        try:
            for field in ("train_split", "validation_split"):
                if message := listings.unknown(getattr(self, field)):
                    yield (field,), message
        except DataError as error:  # the folder exists, but does not have the layout of the source
            yield ("root",) if self.source.NEEDS_ROOT else ("source",), str(error)

    def open(self, labels: Labels, seed: int = 0, skipped: Mapping[str, Collection[str]] | None = None) -> Dataset:
        """Opens the dataset.

        Args:
            labels: Labels.
            seed: Integer, seed of shuffling and augmentation in training.
            skipped: Names of the examples of a split to leave out, by split. Optional.

        Raises:
            TypeError: If `labels` is not `tfseg.Labels`.
            ValueError: If `seed` is not an integer from 0 to 2**31 - 1.
        """
        if not isinstance(labels, Labels):
            raise TypeError(f"Expected `labels` to be tfseg.Labels, such as pipeline.labels. Received: {labels!r}")
        if not isinstance(seed, int) or not 0 <= seed < 2**31:
            raise ValueError(f"Expected `seed` to be an integer from 0 to 2**31 - 1. Received: {seed!r}")
        return Dataset(self, labels, seed, skipped)
