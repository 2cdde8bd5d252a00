"""The family level: a backbone, a decoder and a head make a network."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import keras
import numpy as np
from pydantic import Field

from tfseg.backbones import (
    AlexNet,
    Applications,
    ContractingPath,
    GoogLeNet,
    MobileNetV2,
    Resnet,
    SmallCnn,
    Vgg16,
    WeightsReport,
    unfold_batch_norm,
)
from tfseg.labels import Labels
from tfseg.models.crops import crop_problem
from tfseg.models.decoders import DeconvNet, DeepLabV3, DeepLabV3Plus, Fcn, PspNet, Unet
from tfseg.models.heads import HEADS, Crop, Resize
from tfseg.models.outputs import Scores, functional
from tfseg.models.problems import Problem, refuse
from tfseg.spec.declare import BY_TYPE, spec


@spec
class Segmenter:
    """A network from image to logits: the backbone sees, the decoder scores, the head brings scores to the image."""

    type: Literal["segmenter"] = "segmenter"
    channels: Annotated[int, Field(ge=1)] = 3
    """Channels of the image; three are RGB."""
    backbone: Annotated[
        AlexNet | Applications | ContractingPath | GoogLeNet | MobileNetV2 | Resnet | SmallCnn | Vgg16, BY_TYPE
    ]
    """What turns the image into features."""
    decoder: Annotated[DeconvNet | DeepLabV3 | DeepLabV3Plus | Fcn | PspNet | Unet, BY_TYPE]
    """What turns features into scores of the classes."""
    head: Annotated[Crop | Resize | None, BY_TYPE] = None
    """What brings scores to the image's size; null takes the one that the decoder needs."""

    def build(self, labels: Labels, training: bool = False) -> keras.Model:
        """A Functional model: `image` `[batch, height, width, channels]`, 0 to 255, to float32 `logits` of that size.

        Args:
            labels: the classes; one logit for each.
            training: build the form with the outputs `logits`, `scores` and, where the decoder has more, `aux_…`; it
                shares all layers with the other.

        Raises:
            ModelError: the parts do not fit; `problems` says so in advance.
        """
        refuse(self.problems(labels))
        image = keras.Input((None, None, self.channels), name="image")
        features = self.backbone(image)
        scores = Scores.of(self.decoder(features, image, labels.count))
        logits = self._head(scores.main, image)
        return functional(image, logits, scores if training else None)

    @property
    def output_stride(self) -> int:
        """Image pixels between two places of the backbone's deepest stage."""
        return self.backbone.output_stride

    def problems(self, labels: Labels) -> Iterator[Problem]:
        """What keeps the parts from working together, each as (path, message)."""
        if (refusal := self.backbone.refusal(self.channels)) is not None:
            yield ("backbone", "weights"), refusal
        yield from ((("decoder", *path), message) for path, message in self.decoder.problems(self.backbone))
        if self.head is not None and self.decoder.head is None:
            yield ("head",), f"these scores have the image's size already; set it to null. Received: {self.head.type}"
        elif self.head is not None and self.head.type != (needed := HEADS[self.decoder.head].type):
            yield ("head",), f"these scores come to the image's size by {needed}. Received: {self.head.type}"

    def crop_problem(self, crop: int | tuple[int, int] | None) -> str | None:
        """Why images should not be cropped to that height and width for training, or None."""
        return None if self.backbone.padded else crop_problem(crop, self.output_stride)

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

    def _head(self, scores: keras.KerasTensor, image: keras.KerasTensor) -> keras.KerasTensor:
        if self.decoder.head is None:
            return scores
        return (self.head or HEADS[self.decoder.head])(scores, image)
