"""Networks assembled from a backbone, a decoder, a head and an optional refinement."""

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
from tfseg.models.backbone_features import NoFeatures, backbone_features, needs_crop, stage_layers
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
from tfseg.models.heads import BUILT_IN, HEADS, Crop, Head, Interp, Remainder, Resize, Zoom, cut
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
    """Network of a backbone, a decoder that computes scores, and a head that resizes them to the image size."""

    type: Literal["segmenter"] = "segmenter"
    channels: Annotated[int, Field(ge=1)] = 3
    """Number of image channels; 3 for RGB."""
    backbone: Annotated[
        AlexNet | Applications | ContractingPath | GoogLeNet | MobileNetV2 | Resnet | SmallCnn | Vgg16,
        ByType(contract=Backbone),
    ]
    """Backbone, which extracts features from the image."""
    decoder: Annotated[
        DeconvNet | DeepLabV1 | DeepLabV2 | DeepLabV3 | DeepLabV3Plus | Dilation | Fcn | PspNet | SegNet | Unet,
        ByType(contract=Decoder),
    ]
    """Decoder, which computes class scores from the features."""
    head: Annotated[Crop | Interp | Resize | Zoom | None, ByType(contract=Head)] = None
    """Head, which resizes or crops scores to the image size; null for the one that the decoder requires."""
    norm: Annotated[Norm, BeforeValidator(ByType.expand)] = Norm()
    """Normalization layers of backbone and decoder."""
    scales: Annotated[tuple[Annotated[float, Field(ge=0.01)], ...], Field(min_length=1)] = (1.0,)
    """Scales of the input image, including 1, processed with shared weights: [1, 0.75, 0.5] in DeepLab v2. In training,
    the scores at each scale have a loss of their own."""
    grid: Literal["auto"] | Annotated[int, Field(ge=0, le=1)] | None = "auto"
    """Remainder of the padded image sides modulo the output stride, or modulo a multiple of it with several scales.
    Images of other sizes are padded with the mean color, in training too. `auto`: 1 with several scales or if scores
    are resized with aligned corners, 0 with half-pixel centers, null if scores are cropped or have the image size; with
    the head `zoom`, null unless positions depend on the image size or are unknown. null: no padding, as some networks
    were published."""
    fusion: Fusion = "max"
    """Fusion of the scores at several scales: their `max` (DeepLab v2), their `mean`, or `attention`: a weighted sum,
    with weights per scale and position that are predicted from the features (Chen et al. 2016)."""
    refine: Annotated[CrfRnn | None, ByType(contract=Refinement)] = None
    """Refinement of the logits at the image size; null for none."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if 1 not in self.scales or len(set(self.scales)) < len(self.scales):
            expected = "must be distinct and include 1, to which other scales are resized"
            raise InvalidFields((("scales",), f"{expected}. Received: {list(self.scales)}"))
        return self

    def build(self, labels: Labels, training: bool = False) -> keras.Model:
        """Builds a Functional model from `image` to float32 `logits` of the same height and width.

        Args:
            labels: Class labels; the model has one logit per class.
            training: Boolean, whether the model has the outputs `logits`, `scores` and `aux_…` rather than `logits`
                only; `aux_…` if there are auxiliary scores or several scales. The weights are the same in both cases.

        Returns:
            A model with input `image`, `[batch, height, width, channels]` with values from 0 to 255.

        Raises:
            ModelError: If the parts do not fit; `problems` reports this in advance.
        """
        raise_problems(self.problems(Context(labels, self.channels)))
        with self.norm.building("decoder"):
            image = keras.Input((None, None, self.channels), name="image")
            head = self._head
            padded = padded_to_grid(image, self._multiple, self._remainder)
            scores = self._scores(padded, labels.count)
            if head is None:
                logits = cut(scores.main, padded, image)
            else:
                with building("head", head.type):
                    logits = scored(head(scores.main, padded, image, self.output_stride), labels.count)
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
        """Features of the backbone, built symbolically."""
        return backbone_features(self.backbone, self.channels)

    @property
    def _head(self) -> Head | None:
        """Head set in the file, or required by the decoder; None if the scores have the image size."""
        return None if self.decoder.head is None else self.head or HEADS.get(self.decoder.head)

    @property
    def _remainder(self) -> Remainder:
        """Value of `grid`, with `auto` resolved."""
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
        """Positions in the image of the scores that the training model returns."""
        head, remainder = self._head, self._remainder
        # With a remainder of 1, zooming aligns the corners, at every scale.
        if isinstance(head, Zoom) and remainder != 1:
            return Positions(output_stride=self.output_stride)
        align_corners = True if head is None else head.align_corners
        return Positions(None, align_corners, None if remainder is None else (self._multiple, remainder))

    @property
    def output_stride(self) -> int:
        """Ratio of image to feature resolution at the backbone's deepest stage."""
        return self._features.output_stride

    @property
    def stage_layers(self) -> tuple[tuple[str, ...], ...]:
        """Names of the layers of each stage of the backbone, from shallow to deep."""
        return stage_layers(self._features)

    @property
    def crop_grid(self) -> Grid | None:
        """Sizes that training crops should have; None if any size fits or the features are unknown."""
        try:
            features = self._features
        except NoFeatures:  # reported by `problems`
            return None
        if self._remainder is None and needs_crop(features):
            return None
        return Grid(features.output_stride, self._multiple, self._remainder)

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the conflicts between parts, as pairs `(path, message)`."""
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
        """Yields settings that no layer of the network uses, as pairs `(path, message)`."""
        yield from prefixed("norm", self.norm.network_problems(model))

    def _scale_problems(self) -> Iterator[FieldProblem]:
        """Yields the problems that prevent fusing the scores at several scales."""
        if len(self.scales) == 1 and self.fusion != "max":
            yield ("fusion",), f"fusion needs more than one scale. Received: {self.fusion}. Leave it out"
        if len(self.scales) > 1 and self.decoder.head == "crop":
            message = "scores at several scales are resized to one size, but those of this decoder must be cropped"
            advice = "Set model.decoder.upsampling to a value other than deconv, or scales to [1]"
            yield ("scales",), f"{message}. {advice}. Received: {list(self.scales)}"
        elif len(self.scales) > 1:
            yield from self._scaled_grid()

    def _head_problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities of the head with the decoder."""
        if self.decoder.head is not None and self.decoder.head not in HEADS:
            message = f"{self.decoder.type} requires an unknown head; expected {listed(HEADS)}, or None"
            yield ("decoder",), f"{message}. Received: {self.decoder.head!r}"
            return
        if self.head is None:
            return
        yield from prefixed("head", component_problems(self.head, features, context))
        needed = None if self.decoder.head is None else HEADS[self.decoder.head].type
        if needed is None:
            yield (
                ("head",),
                f"the decoder's scores already have the image size; set head to null. Received: {self.head.type}",
            )
        elif self.head.type != needed and (self.head.type in BUILT_IN or needed == "crop"):
            yield ("head",), f"this decoder requires head: {needed}. Received: {self.head.type}"

    def _scaled_grid(self) -> Iterator[FieldProblem]:
        """Yields the settings with which the positions at several scales would differ."""
        why = "images are scaled with aligned corners"
        if self._remainder != 1:
            received = "null" if self._remainder is None else self._remainder
            yield ("grid",), f"{why}, which requires a remainder of 1. Received: {received}. Set grid to auto"
        elif self._head is not None and not self._head.align_corners:
            message = f"{why}, and so must be the scores: {{type: resize, align_corners: true}}"
            yield ("head",), f"{message}. Received: {self._head.type} with half-pixel centers"

    def load_weights(self, model: keras.Model, images: Iterable[np.ndarray] = ()) -> WeightsReport | None:
        """Loads the backbone's `weights` into `model`.

        Args:
            model: Result of `build`.
            images: Batches of training images, for restoring the statistics of folded BatchNorm layers.
        """
        report = self.backbone.load_weights(model)
        if report is not None and report.folded:
            unfold_batch_norm(model, images)
        return report
