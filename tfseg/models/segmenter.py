"""The family level: a backbone, a decoder, a head and perhaps a CRF make a network."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated, Literal, Self

import keras
import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from tfseg.backbones import (
    AlexNet,
    Applications,
    ContractingPath,
    GoogLeNet,
    MobileNetV2,
    Resnet,
    SmallCnn,
    Vgg16,
)
from tfseg.backbones.features import Backbone, Features
from tfseg.context import Context, Grid
from tfseg.labels import Labels
from tfseg.losses import Positions
from tfseg.models.backbone_features import NoFeatures, backbone_features, needs_crop
from tfseg.models.decoders import (
    DeconvNet,
    DeepLabV1,
    DeepLabV2,
    DeepLabV3,
    DeepLabV3Plus,
    Dilation,
    Fcn,
    PspNet,
    SegNet,
    Unet,
)
from tfseg.models.decoders.decoder import Decoder
from tfseg.models.grid import multiple, padded_to_grid
from tfseg.models.heads import HEADS, OURS, Crop, Head, Interp, Remainder, Resize, Zoom, cut
from tfseg.models.norm import Norm
from tfseg.models.outputs import Scores, functional, scored
from tfseg.models.problems import building, raise_problems
from tfseg.models.refine import CrfRnn, Refinement
from tfseg.models.scales import Fusion, multi_scale
from tfseg.spec.declare import ByType, spec
from tfseg.spec.messages import listed
from tfseg.spec.problems import FieldProblem, InvalidFields, component_problems, prefixed
from tfseg.weights import WeightsReport, unfold_batch_norm


@spec
class Segmenter:
    """A network from image to logits: the backbone sees, the decoder scores, the head brings scores to the image."""

    type: Literal["segmenter"] = "segmenter"
    channels: Annotated[int, Field(ge=1)] = 3
    """Channels of the image; three are RGB."""
    backbone: Annotated[
        AlexNet | Applications | ContractingPath | GoogLeNet | MobileNetV2 | Resnet | SmallCnn | Vgg16,
        ByType(contract=Backbone),
    ]
    """What turns the image into features."""
    decoder: Annotated[
        DeconvNet | DeepLabV1 | DeepLabV2 | DeepLabV3 | DeepLabV3Plus | Dilation | Fcn | PspNet | SegNet | Unet,
        ByType(contract=Decoder),
    ]
    """What turns features into scores of the classes."""
    head: Annotated[Crop | Interp | Resize | Zoom | None, ByType(contract=Head)] = None
    """What brings scores to the image's size; null takes the one that the decoder needs."""
    norm: Annotated[Norm, BeforeValidator(ByType.expand)] = Norm()
    """Which normalization its layers have."""
    scales: Annotated[tuple[Annotated[float, Field(ge=0.01)], ...], Field(min_length=1)] = (1.0,)
    """Sizes at which the network sees the image, by one set of weights; one of them 1: [1, 0.75, 0.5] in DeepLab v2.
    In training the scores of each have a loss of their own."""
    grid: Literal["auto"] | Annotated[int, Field(ge=0, le=1)] | None = "auto"
    """What is left of the height and width that the backbone sees when they are divided by the output stride: images of
    other sizes are continued in the mean color, in training too. `auto`: 0 where scores are resized, 1 where the
    corners are aligned, null where they are cropped. null: the image as it is, as some networks were published."""
    fusion: Fusion = "max"
    """How the scores of several scales become one: their `max` (DeepLab v2), their `mean`, or a sum in which
    `attention` weighs each scale at each place by the features that are scored (Chen et al. 2016)."""
    refine: Annotated[CrfRnn | None, ByType(contract=Refinement)] = None
    """What refines the logits at the image's size; null: nothing."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if 1 not in self.scales or len(set(self.scales)) < len(self.scales):
            expected = "must be different numbers, one of them 1, whose scores set the size"
            raise InvalidFields((("scales",), f"{expected}. Received: {list(self.scales)}"))
        return self

    def build(self, labels: Labels, training: bool = False) -> keras.Model:
        """A Functional model: `image` `[batch, height, width, channels]`, 0 to 255, to float32 `logits` of that size.

        Args:
            labels: the classes; one logit for each.
            training: build the form with the outputs `logits`, `scores` and, where the decoder or several scales have
                more, `aux_…`; it shares all layers with the other.

        Raises:
            ModelError: the parts do not fit; `problems` says so in advance.
        """
        raise_problems(self.problems(Context(labels, self.channels)))
        with self.norm.building("decoder"):
            image = keras.Input((None, None, self.channels), name="image")
            head = self._head
            seen = padded_to_grid(image, self._multiple, self._remainder)
            scores = self._scores(seen, labels.count)
            if head is None:
                logits = cut(scores.main, seen, image)
            else:
                with building("head", head.type):
                    logits = scored(head(scores.main, seen, image, self.output_stride), labels.count)
            if self.refine is not None:
                with building("refine", self.refine.type):
                    logits = scored(self.refine(logits, image), labels.count)
            return functional(image, logits, scores if training else None)

    def _scores(self, image: keras.KerasTensor, classes: int) -> Scores:
        def score(image: keras.KerasTensor) -> Scores:
            with self.norm.building("backbone"):
                features = self.backbone(image)
            with building("decoder", self.decoder.type):
                scores = Scores.of(self.decoder(features, image, classes))
                scored(scores.main, classes)
            return scores if scores.features is not None else replace(scores, features=features.deepest.tensor)

        return score(image) if len(self.scales) == 1 else multi_scale(image, score, self.scales, self.fusion)

    @property
    def _features(self) -> Features:
        """What the backbone makes of an image, without values."""
        return backbone_features(self.backbone, self.channels)

    @property
    def _head(self) -> Head | None:
        """What the file names, or what the decoder needs; None where scores have the image's size."""
        return None if self.decoder.head is None else self.head or HEADS.get(self.decoder.head)

    @property
    def _remainder(self) -> Remainder:
        """`grid`, resolved."""
        if self.grid != "auto":
            return self.grid
        if len(self.scales) > 1:
            return 1
        return None if self._head is None else self._head.grid(self._features)

    @property
    def _multiple(self) -> int:
        return multiple(self.output_stride, self.scales)

    @property
    def positions(self) -> Positions:
        """Where the scores of the training form's outputs lie in the image."""
        head, remainder = self._head, self._remainder
        # On a remainder of 1 they lie from corner to corner as well, and so do those of further scales.
        if isinstance(head, Zoom) and remainder != 1:
            return Positions(output_stride=self.output_stride)
        align_corners = True if head is None else head.align_corners
        return Positions(None, align_corners, None if remainder is None else (self._multiple, remainder))

    @property
    def output_stride(self) -> int:
        """Image pixels between two places of the backbone's deepest stage."""
        return self._features.output_stride

    @property
    def crop_grid(self) -> Grid | None:
        """The sizes that crops of images should have; None: any, or what they are is not known."""
        try:
            features = self._features
        except NoFeatures:  # as `problems` says
            return None
        if self._remainder is None and needs_crop(features):
            return None
        return Grid(features.output_stride, self._multiple, self._remainder)

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What keeps the parts from working together, each as (path, message)."""
        context = replace(context, channels=self.channels)
        yield from prefixed("backbone", component_problems(self.backbone, context))
        if self.refine is not None:
            yield from prefixed("refine", component_problems(self.refine, context))
        try:
            features = self._features
        except NoFeatures as error:
            yield ("backbone",), str(error)
            return
        yield from prefixed("norm", self.norm.problems(self.backbone, context))
        yield from prefixed("decoder", component_problems(self.decoder, features, context))
        yield from self._head_problems(features, context)
        yield from self._scale_problems()

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """What is said of layers that the network does not have, each as (path, message)."""
        yield from prefixed("norm", self.norm.network_problems(model))

    def _scale_problems(self) -> Iterator[FieldProblem]:
        """Why scores of several scales cannot be laid onto each other."""
        if len(self.scales) == 1 and self.fusion != "max":
            yield ("fusion",), f"there is one scale, and nothing to fuse. Received: {self.fusion}. Leave it out"
        if len(self.scales) > 1 and self.decoder.head == "crop":
            message = "scores of several scales are resized onto each other, and those of this decoder must be cropped"
            yield ("scales",), f"{message}. Set its upsampling to another one. Received: {list(self.scales)}"
        elif len(self.scales) > 1:
            yield from self._scaled_grid()

    def _head_problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Why the head cannot bring the decoder's scores to the image."""
        if self.decoder.head is not None and self.decoder.head not in HEADS:
            message = f"{self.decoder.type} asks for no head that there is: {listed(HEADS)}, or None"
            yield ("decoder",), f"{message}. Received: {self.decoder.head!r}"
            return
        if self.head is None:
            return
        yield from prefixed("head", component_problems(self.head, features, context))
        needed = None if self.decoder.head is None else HEADS[self.decoder.head].type
        if needed is None:
            yield ("head",), f"these scores have the image's size already; set it to null. Received: {self.head.type}"
        elif self.head.type != needed and (self.head.type in OURS or needed == "crop"):
            yield ("head",), f"these scores come to the image's size by {needed}. Received: {self.head.type}"

    def _scaled_grid(self) -> Iterator[FieldProblem]:
        """Why the positions of several scales would not lie on each other."""
        why = "the image is scaled with its corners aligned"
        if self._remainder != 1:
            received = "null" if self._remainder is None else self._remainder
            yield ("grid",), f"{why}, where sizes must leave 1. Received: {received}. Set it to auto"
        elif self._head is not None and not self._head.align_corners:
            message = f"{why}, and so must scores be resized: {{type: resize, align_corners: true}}"
            yield ("head",), f"{message}. Received: {self._head.type} of half pixels"

    def load_weights(self, model: keras.Model, images: Iterable[np.ndarray] = ()) -> WeightsReport | None:
        """Fills the backbone's layers within `model`, as its `weights` say.

        Args:
            model: what `build` gave.
            images: some batches of training images, by which BatchNorm that was folded into the weights is unfolded.
        """
        report = self.backbone.load_weights(model)
        if report is not None and report.folded:
            unfold_batch_norm(model, images)
        return report
