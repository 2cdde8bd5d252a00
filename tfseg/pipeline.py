"""The composition root: a pipeline file is one `Pipeline`, and only here do its sections meet."""

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
from tfseg.models import Description, Model, ModelError, describe, retargeted
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
"""Pipelines that tfseg writes into a run directory."""


@spec
class Pipeline:
    """A network, its data, its training and its export: what one pipeline file says."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    """Letters, digits, `_`, `.` and `-`; exports are stored under it."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Everything random follows from it: initial weights, the order of the examples, augmentation, dropout."""
    labels: Labels
    """The classes: `voc`, `camvid`, or names of your own."""
    data: Data
    """Where images and masks come from and how they are augmented."""
    model: Model
    """The network: a backbone and a decoder, or `type: graph` and its layers one by one."""
    training: Training = Training()
    """Optimizer, schedule, loss, precision, devices."""
    inference: Inference = Inference()
    """How images are predicted."""
    export: Export = Export()
    """What is exported and how closely it must agree with the model."""
    plugins: tuple[str, ...] = ()
    """Modules whose `COMPONENTS` add specs to the slots; imported only when the caller allows it."""

    def build(self, *, training: bool = False) -> keras.Model:
        """A plain Functional model: `image` `[batch, height, width, channels]`, 0 to 255, to float32 `logits`.

        Args:
            training: build the form with every output that a loss may use; it shares all layers with the other form.
        """
        return self.model.build(self.labels, training=training)

    def describe(self) -> Description:
        """The numbers of the network. It is built without values for its weights: in a second and little memory.

        Raises:
            ModelError: the parts do not fit, or the network cannot do what is asked of it.
        """
        description, faults = self.analyze()
        if faults:
            raise ModelError(formatted(faults))
        return description

    def analyze(self) -> tuple[Description, list[FieldProblem]]:
        """The numbers of the network, and what it cannot do of what is asked of it."""

        def built() -> tuple[Description, list[FieldProblem]]:
            trained = self.training.network(self.build(training=True))
            return describe(self.build()), list(self.network_problems(trained))

        return symbolically(built)

    def problems(self) -> Iterator[FieldProblem]:
        """What the sections cannot see alone, each as (path, message); the network as a whole is not built for it."""
        grid = None if self.data.crop is None else self.model.crop_grid
        context = Context(self.labels, self.data.channels, self.data.crop, grid)
        for section in ("data", "model", "training", "inference"):
            yield from prefixed(section, getattr(self, section).problems(context))
        if self.data.channels != self.model.channels:
            message = f"the images of the source {self.data.source.type} have {self.data.channels} channels"
            yield ("model", "channels"), f"{message}. Received: {self.model.channels}"

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """What the network to be trained cannot do of what is asked of it, read off its layers, as (path, message)."""
        if self.plugins:
            yield from prefixed("model", reloading_problems(model))
        yield from prefixed("model", self.model.network_problems(model))
        yield from prefixed("training", self.training.network_problems(model))
        yield from self.deployment_problems(model)

    def deployment_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """What a trained network cannot do of what is asked of it, read off its layers, each as (path, message)."""
        yield from prefixed("inference", self.inference.network_problems(model))
        yield from prefixed("export", self.export.network_problems(model))

    def split_problems(self) -> Iterator[FieldProblem]:
        """Which splits the files do not have, where they are there already, each as (path, message)."""
        yield from prefixed("data", self.data.split_problems())


def load(
    path: str | os.PathLike[str], overrides: Iterable[str] = (), *, allow_plugins: bool = False, look: bool = True
) -> Pipeline:
    """Reads a pipeline file.

    Args:
        path: a YAML file, or the bare name of a shipped pipeline such as `shapes`.
        overrides: texts such as `"model.backbone.output_stride=8"`, applied before validation.
        allow_plugins: import the modules that the file names under `plugins`; an untrusted file could run code so.
        look: look whether `data.root`, where it exists, has the splits; a network that is trained needs none of them.

    Raises:
        SpecError: every mistake at once, each with file, line and dotted path.
    """
    document, pipeline = _read(path, overrides, allow_plugins)
    _refuse(document, [*pipeline.problems(), *(pipeline.split_problems() if look else ())])
    return pipeline


def check(
    path: str | os.PathLike[str], overrides: Iterable[str] = (), *, allow_plugins: bool = False
) -> tuple[Pipeline, Description]:
    """Reads a pipeline file as `load` does, builds its network without values for its weights, and looks at all of it.

    Raises:
        SpecError: as `load` does; and where the network cannot do what the file asks of it.
        ModelError: the parts of the network do not fit.
    """
    document, pipeline = _read(path, overrides, allow_plugins)
    _refuse(document, [*pipeline.problems(), *pipeline.split_problems()])
    try:
        description, faults = pipeline.analyze()
    except ModelError as error:
        _refuse(document, error.problems)
        raise
    _refuse(document, faults)
    return pipeline, description


def _read(path: str | os.PathLike[str], overrides: Iterable[str], allow_plugins: bool) -> tuple[Document, Pipeline]:
    check_named(path)
    if (own := Path(path) / PIPELINE).is_file():
        message = f"is a run directory: `tfseg fit {path} --resume` goes on with it, and its file is {own}"
        raise SpecError([Problem(str(path), "", message)])
    document = read(find(path), tuple(overrides), earlier=_written)
    return document, validate(plugged(Pipeline, document, allow_plugins=allow_plugins), document)


def _refuse(document: Document, faults: Iterable[FieldProblem]) -> None:
    """Raises one SpecError for all faults, each at its line, if there are any."""
    if problems := [document.problem(keys, message, within=()) for keys, message in faults]:
        raise SpecError(problems)


def _written(path: Path) -> bool:
    """Whether tfseg wrote the file into a run directory, perhaps an earlier version of it."""
    return path.name in (PIPELINE, TUNED) and path.with_name(LABELS).is_file()


def retarget(pipeline: Pipeline, output_stride: int) -> Pipeline:
    """`pipeline` with its backbone at another output stride, for the same weights.

    Strides of the backbone become dilations, or dilations strides; rates of the decoder follow. Both networks have the
    same layers in the same order, so `model.set_weights`, `model.load_weights` and a weight file of one fill the other.

    Args:
        pipeline: a network of a backbone and a decoder.
        output_stride: 8, 16 or 32, as the backbone has them.

    Raises:
        ModelError: the backbone cannot have it, the decoder does not fit then, or it reads other maps.
    """
    model = retargeted(pipeline.model, output_stride)
    changed = dataclasses.replace(pipeline, model=model)
    before, after = symbolically(lambda: [_weights(each) for each in (pipeline, changed)])
    if before != after:
        decoder = model.decoder.type
        raise ModelError(
            f"model.decoder.type: {decoder} reads other maps of the backbone at output stride {output_stride} than at "
            f"{pipeline.model.output_stride}, and the weights of one network do not fill the other. Received: {decoder}"
        )
    return changed


def _weights(pipeline: Pipeline) -> list[tuple[str, tuple[int, ...]]]:
    return [(each.path, tuple(each.shape)) for each in pipeline.build().weights]
