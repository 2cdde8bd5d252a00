"""The spec of a pipeline file. Only this module combines the sections."""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import keras
from pydantic import Field

from tfseg.context import Context
from tfseg.data import Data
from tfseg.exporting import Export
from tfseg.inference import Inference
from tfseg.labels import LABELS, Labels
from tfseg.models import Description, Graph, Model, ModelError, describe, retargeted
from tfseg.models.reloading import reloading_problems
from tfseg.shipped import check_named, find
from tfseg.spec.declare import spec
from tfseg.spec.plugins import plugged
from tfseg.spec.problems import FieldProblem, Problem, SpecError, formatted, prefixed
from tfseg.spec.source import Document, read
from tfseg.spec.validate import validate
from tfseg.symbolic import symbolically
from tfseg.training import Training

PIPELINE, TUNED = "pipeline.yaml", "crf.yaml"
"""Names of the pipeline files in a run directory."""


@spec
class Pipeline:
    """A pipeline file: a network, its data, its training and its export."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    """Name of the network, of letters, digits, `_`, `.` and `-`. Folder name of its exports."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Random seed of initial weights, shuffling, augmentation and dropout."""
    labels: Labels
    """Classes: `voc`, `camvid`, `cityscapes`, `ade20k`, or custom names."""
    data: Data
    """Dataset, crops, batch size and data augmentation."""
    model: Model
    """Network: a backbone and a decoder, or `type: graph` with a list of layers."""
    training: Training = Training()
    """Optimizer, learning rate schedule, loss, precision and distribution strategy."""
    inference: Inference = Inference()
    """Inference settings."""
    export: Export = Export()
    """Artifacts to write besides the SavedModel, and the tolerance of their comparison with the model."""
    plugins: tuple[str, ...] = ()
    """Modules whose `COMPONENTS` add components to the slots. Imported only with `allow_plugins`."""

    def build(self, *, training: bool = False) -> keras.Model:
        """Builds a Functional model from `image` to float32 `logits`.

        Args:
            training: Boolean, whether to build the model with all outputs that a loss may use. It has the same layers
                as the model with one output.

        Returns:
            Model with the input `image`, `[batch, height, width, channels]`, 0 to 255.
        """
        return self.model.build(self.labels, training=training)

    def describe(self) -> Description:
        """Returns the properties of the network.

        The network is built without weight values, which takes about a second and little memory.

        Raises:
            ModelError: If components are incompatible, or if the network does not support a setting of the pipeline.
        """
        description, problems = self.analyze()
        if problems:
            raise ModelError(formatted(problems))
        return description

    def analyze(self) -> tuple[Description, list[FieldProblem]]:
        """Returns the properties of the network, and the settings of the pipeline that it does not support."""

        def built() -> tuple[Description, list[FieldProblem]]:
            trained = self.training.network(self.build(training=True))
            return describe(self.build()), list(self.network_problems(trained))

        return symbolically(built)

    def problems(self) -> Iterator[FieldProblem]:
        """Yields the problems between sections, as pairs `(path, message)`, without building the whole network."""
        grid = None if self.data.crop is None else self.model.crop_grid
        context = Context(self.labels, self.data.channels, self.data.crop_sides, grid)
        for section in ("data", "model", "training", "inference"):
            yield from prefixed(section, getattr(self, section).problems(context))
        if self.data.channels != self.model.channels:
            message = f"the images of the source {self.data.source.type} have {self.data.channels} channels"
            yield ("model", "channels"), f"{message}. Received: {self.model.channels}"
        if (decay := self.training.optimizer.layer_decay) != 1 and isinstance(self.model, Graph):
            message = "a graph has no backbone with stages. Use lr_multipliers, or set layer_decay to 1"
            yield ("training", "optimizer", "layer_decay"), f"{message}. Received: {decay}"

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """Yields the settings that the network to be trained does not support, as pairs `(path, message)`."""
        if self.plugins:
            yield from prefixed("model", reloading_problems(model))
        yield from prefixed("model", self.model.network_problems(model))
        yield from prefixed("training", self.training.network_problems(model))
        yield from self.deployment_problems(model)

    def deployment_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """Yields inference and export settings that a trained network does not support, as pairs `(path, message)`."""
        yield from prefixed("inference", self.inference.network_problems(model))
        yield from prefixed("export", self.export.network_problems(model))

    def split_problems(self) -> Iterator[FieldProblem]:
        """Yields the configured splits that the dataset lacks, if `data.root` exists, as pairs `(path, message)`."""
        yield from prefixed("data", self.data.split_problems())

    def source_problems(self) -> Iterator[FieldProblem]:
        """Yields the initial weights that cannot be read, as pairs `(path, message)`."""
        yield from prefixed("training", self.training.source_problems())


def load(
    path: str | os.PathLike[str], overrides: Iterable[str] = (), *, allow_plugins: bool = False, look: bool = True
) -> Pipeline:
    """Reads a pipeline file.

    Args:
        path: Path of a YAML file, or the bare name of a shipped pipeline such as `shapes`.
        overrides: Strings such as `"model.backbone.output_stride=8"`, applied before validation.
        allow_plugins: Boolean, whether to import the modules under `plugins`. This runs their code, so allow it only
            for trusted files.
        look: Boolean, whether to check that `data.root`, if it exists, has the configured splits. A trained network can
            be used and exported without them.

    Returns:
        The validated `Pipeline`.

    Raises:
        SpecError: If the file has problems. `error.problems` lists them, each with file, line and dotted path.
    """
    document, pipeline = _read(path, overrides, allow_plugins)
    _raise_problems(document, [*pipeline.problems(), *(pipeline.split_problems() if look else ())])
    return pipeline


def check(
    path: str | os.PathLike[str], overrides: Iterable[str] = (), *, allow_plugins: bool = False, resumed: bool = False
) -> tuple[Pipeline, Description]:
    """Reads a pipeline file as `load` does, builds its network without weight values, and checks both.

    Args:
        path: As in `load`.
        overrides: As in `load`.
        allow_plugins: As in `load`.
        resumed: Boolean, whether the file is that of a run to resume, which needs no initial weights any more.

    Raises:
        SpecError: As in `load`, if the network does not support a setting of the file, and if the initial weights of
            `training.init_from` cannot be read.
        ModelError: If components of the network are incompatible.
    """
    document, pipeline = _read(path, overrides, allow_plugins)
    sources = () if resumed else pipeline.source_problems()
    _raise_problems(document, [*pipeline.problems(), *pipeline.split_problems(), *sources])
    try:
        description, problems = pipeline.analyze()
    except ModelError as error:
        _raise_problems(document, error.problems)
        raise
    _raise_problems(document, problems)
    return pipeline, description


def _read(path: str | os.PathLike[str], overrides: Iterable[str], allow_plugins: bool) -> tuple[Document, Pipeline]:
    check_named(path)
    if (own := Path(path) / PIPELINE).is_file():
        message = f"is a run directory: continue with `tfseg fit {path} --resume`, or use its file {own}"
        raise SpecError([Problem(str(path), "", message)])
    document = read(find(path), tuple(overrides), earlier=_written)
    return document, validate(plugged(Pipeline, document, allow_plugins=allow_plugins), document)


def _raise_problems(document: Document, problems: Iterable[FieldProblem]) -> None:
    """Raises one SpecError for all problems, each with its line, if there are any."""
    if located := [document.problem(keys, message, within=()) for keys, message in problems]:
        raise SpecError(located)


def _written(path: Path) -> bool:
    """Returns whether the file is part of a run directory, possibly of an earlier version of tfseg."""
    return path.name in (PIPELINE, TUNED) and path.with_name(LABELS).is_file()


def retarget(pipeline: Pipeline, output_stride: int) -> Pipeline:
    """Returns `pipeline` with another output stride of the backbone, for the same weights.

    Replaces strides of the backbone by dilation, or dilation by strides, and scales the dilation rates and the pooling
    window of the decoder accordingly. Both networks have the same layers in the same order, so that
    `model.set_weights`, `model.load_weights` and weight files work across them.

    Args:
        pipeline: Pipeline of a network with a backbone and a decoder.
        output_stride: 8, 16 or 32, if the backbone supports it.

    Raises:
        ModelError: If the backbone does not support the output stride, if the decoder is incompatible with it, or if
            the decoder would use other feature maps.
    """
    model = retargeted(pipeline.model, output_stride)
    changed = dataclasses.replace(pipeline, model=model)
    before, after = symbolically(lambda: [_weights(each) for each in (pipeline, changed)])
    if before != after:
        decoder = model.decoder.type
        raise ModelError(
            f"model.decoder.type: {decoder} uses other feature maps of the backbone at output stride {output_stride} "
            f"than at {pipeline.model.output_stride}, so the weights of one network do not fit the other. "
            f"Received: {decoder}"
        )
    return changed


def _weights(pipeline: Pipeline) -> list[tuple[str, tuple[int, ...]]]:
    return [(each.path, tuple(each.shape)) for each in pipeline.build().weights]
