"""Every option matters: each field of a pipeline, changed alone in a file, gives another result of a command.

The fields, and another value for each, are those of `cases.py`. What decoders, losses and the like make of their fields
is checked there, by `checks.check_spec_fields`. Here is what lies before and behind: an override of any field arrives
at the spec, and what only commands make something of, the sections of a pipeline, shows in what commands do.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfseg
from tests.cases import PIPELINE, SPECS
from tests.checks import Given, SpecCase, layout, places, same, variants
from tests.data.cases import files
from tfseg.errors import ExportError
from tfseg.exporting import artifacts
from tfseg.labels import LABELS, labels_text
from tfseg.models.nodes import IMAGE, NODES, Node
from tfseg.pipeline import Pipeline, load
from tfseg.runs.directory import PIPELINE as FILE
from tfseg.spec.problems import SpecError
from tfseg.spec.show import dump
from tfseg.spec.slots import slots
from tfseg.symbolic import symbolically
from tfseg.training.duration import End
from tfseg.training.files import BEST
from tfseg.training.outputs import for_each

Overrides = tuple[str, ...]
CASES = {type(case.value): case for case in SPECS}
PLACES = places(Pipeline)
PLUGIN = """
from tfseg.backbones import SmallCnn

COMPONENTS = {"decoder": [SmallCnn]}
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that the case of the pipeline names."""
    (name,) = CASES[Pipeline].changes["plugins"]
    (tmp_path / f"{name}.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)


# From a file to the spec.


def pipeline_of(case: SpecCase, value: Any) -> Pipeline:
    """A pipeline with `value` in its place, and beside it what it needs."""
    while not isinstance(value, Pipeline):
        holder, field, listed = PLACES[type(value)]
        beside, case = case.beside, CASES[holder]
        value = dataclasses.replace(case.value, **beside, **{field: (value,) if listed else value})
    return value


def within(pipeline: Pipeline, kind: type) -> Any:
    """The spec in the place of `kind`."""
    if kind is Pipeline:
        return pipeline
    holder, field, listed = PLACES[kind]
    held = getattr(within(pipeline, holder), field)
    return held[0] if listed else held


def path(kind: type) -> str:
    """Where a file has a spec: `data.source.mask.`, or nothing for the pipeline itself."""
    if kind is Pipeline:
        return ""
    holder, field, listed = PLACES[kind]
    return f"{path(holder)}{field}.{'0.' if listed else ''}"


def overrides(kind: type, name: str, spec: Any) -> Overrides:
    """What a user writes to give a field the value that `spec` has."""
    if name == "type":
        return (f"{path(kind).removesuffix('.')}={dump(spec)}",)
    word = name.removesuffix("_")  # `class` is no name in Python
    key, both = f"{path(kind)}{word}", ("data.source.channels", "model.channels")  # always the same number
    return tuple(f"{each}={dump(getattr(spec, name))}" for each in (both if key in both else (key,)))


@pytest.mark.parametrize("case", SPECS, ids=lambda case: case.name)
def test_every_field_arrives_by_an_override(case: SpecCase, tmp_path: Path, plugin: None) -> None:
    kind, file, written = type(case.value), tmp_path / "pipeline.yaml", None
    for name, before, after in variants(case):
        if before != written:
            file.write_text(dump(pipeline_of(case, before)))
            written = within(load(file), kind)
            assert written == before
        changed = load(file, overrides(kind, name, after), allow_plugins=True)
        assert dump(within(changed, kind)) == dump(after)  # as text: a plugin makes other classes


@pytest.mark.parametrize("kind", slots(Pipeline)["head"])
def test_a_head_that_the_decoder_does_not_need_is_refused(kind: type, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(dump(pipeline_of(CASES[kind], CASES[kind].value)))
    own = within(load(file), kind).type
    for other in {member.type for member in slots(Pipeline)["head"]} - {own}:
        with pytest.raises(tfseg.SpecError, match=f"these scores come to the image's size by {own}. Received: {other}"):
            load(file, [f"model.head={other}"])


# From the spec to what a command does.


def digest(values: Any) -> list[tuple[tuple[int, ...], str]]:
    """Arrays, also those in dicts, short enough to be compared and shown."""
    found = [np.asarray(value) for value in keras.tree.flatten(list(values))]
    return [(value.shape, hashlib.sha256(value.tobytes()).hexdigest()[:12]) for value in found]


class _Fit(Exception):
    """Ends a training where Keras would begin."""


def handed(pipeline: Pipeline, folder: Path) -> tuple[keras.Model, Any, dict[str, Any]]:
    """What `tfseg fit` hands to Keras: the compiled network, the batches, and the further arguments of `fit`."""

    def fit(*given: Any, **further: Any) -> None:
        raise _Fit(*given, further)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", fit)
        with pytest.raises(_Fit) as ended:
            tfseg.fit(pipeline, folder, verbose=False)
    return ended.value.args  # type: ignore[return-value]


def trained(pipeline: Pipeline, folder: Path) -> Any:
    """How `tfseg fit` trains: its loss, three steps of its network with gradients of one, and for how long."""
    model, _, given = handed(pipeline, folder)
    scores = np.random.default_rng(0).normal(size=(2, 4, 4, pipeline.labels.count)).astype(np.float32)
    pair = [for_each(model, value) for value in (np.arange(32).reshape(2, 4, 4) % 7 % 2, scores)]
    seen = {
        "loss": float(model.compute_loss(None, *pair)),
        "layers": [(layer.name, layer.dtype_policy.name, layer.trainable) for layer in model.layers],
        "compiled": (model.jit_compile, type(model.distribute_strategy).__name__),
        "batches": [each.length.batches for each in given["callbacks"] if isinstance(each, End)],
        "given": [given[key] for key in ("epochs", "initial_epoch", "validation_freq", "steps_per_epoch")],
    }
    for _ in range(3):
        model.distribute_strategy.run(
            lambda: model.optimizer.apply([tf.ones_like(weight) for weight in model.trainable_weights])
        )
    return {**seen, "weights": digest(model.get_weights())}


def fed(pipeline: Pipeline, folder: Path) -> Any:
    """The pictures of the first epoch of `tfseg fit`, and those that validate it."""
    _, training, given = handed(pipeline, folder)
    return pictures(training, given["validation_data"], given["steps_per_epoch"])


def prepared(pipeline: Pipeline, folder: Path) -> Any:
    """The same pictures, without a network to hand them to, which takes longer."""
    data = pipeline.data.open(pipeline.labels, pipeline.seed)
    validation = data.evaluation(pipeline.data.validation_split)
    return pictures(data.training(epochs=1), validation, data.steps_per_epoch)


def pictures(training: tf.data.Dataset, validation: tf.data.Dataset, steps: int) -> Any:
    return [[digest(pair) for pair in data.as_numpy_iterator()] for data in (training.take(steps), validation)]


def read(pipeline: Pipeline, folder: Path) -> Any:
    """The files that training reads."""
    return pipeline.data.open(pipeline.labels).files(pipeline.data.train_split)


def finished(pipeline: Pipeline, folder: Path) -> Path:
    """A run directory as a training leaves it, of a network that learned nothing."""
    folder.mkdir()
    (folder / FILE).write_text(dump(pipeline))
    (folder / LABELS).write_text(labels_text(pipeline.labels))
    with pipeline.training.scope(pipeline.seed):
        pipeline.build().save(folder / BEST)
    return folder


def predicted(pipeline: Pipeline, folder: Path) -> Any:
    """The files of `tfseg predict --overlay`."""
    picture = folder.with_suffix(".png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)).save(picture)
    written = tfseg.predict(finished(pipeline, folder), [picture], folder / "masks", overlay=True)
    return [(file.suffixes, hashlib.sha256(file.read_bytes()).hexdigest()) for file in written]


def exported(pipeline: Pipeline, folder: Path) -> Any:
    """What `tfseg export` leaves, if its artifacts were wrong by 0.005: they are not written here, only asked for."""
    expected: dict[str, np.ndarray] = {}

    def expectations(model: keras.Model, asked: Any, seen: Any) -> Any:
        expected.update(compute(model, asked, seen))
        return expected

    def answers(*_: Any) -> Any:
        return {key: value + (0 if key.endswith("mask") else 0.005) for key, value in expected.items()}

    compute = artifacts.expected_outputs
    source = finished(pipeline, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "expected_outputs", expectations)
        patch.setattr(artifacts, "run_artifacts", answers)
        patch.setattr(artifacts, "write_saved_model", lambda model, path, seen: path.mkdir(parents=True, exist_ok=True))
        patch.setattr(artifacts, "write_tflite", lambda model, path, size: path.write_bytes(b""))
        patch.setattr(artifacts, "append_labels", lambda path, labels: None)
        try:
            report = tfseg.export(source, folder / "out")
        except ExportError:
            return "refused"
    left = sorted(str(file.relative_to(folder)) for file in report.folder.iterdir())
    return left, (report.folder / LABELS).read_text(), [(one.images, one.pixels) for one in report.comparisons]


def network(pipeline: Pipeline, folder: Path) -> Any:
    """The layers that every command builds."""
    return layout(symbolically(pipeline.build))


def choices(pipeline: Pipeline, folder: Path) -> Any:
    """The specs that may stand in each slot."""
    return {slot: [member.__name__ for member in found] for slot, found in slots(type(pipeline)).items()}


Shows = Callable[[Pipeline, Path], Any]
SHOWN: dict[str, Shows | tuple[Shows, ...]] = {
    "Pipeline.name": exported,
    "Pipeline.seed": (trained, fed),
    "Pipeline.labels": network,
    "Pipeline.data": fed,
    "Pipeline.model": network,
    "Pipeline.training": trained,
    "Pipeline.inference": predicted,
    "Pipeline.export": exported,
    "Pipeline.plugins": choices,
    "Labels.names": exported,
    "Labels.ignore": prepared,
    "Labels.colors": predicted,
    "Data": prepared,
    "Data.root": read,
    "Data.train_split": fed,
    "Data.validation_split": fed,
    "Training": trained,
    "Inference": predicted,
    "Export": exported,
    "Tflite": exported,
}
"""What shows the fields of a section, or a single one."""
NEEDED: dict[str, Overrides] = {
    "Labels.ignore": ("data.crop=40", "data.batch_size=5"),
    "Training.accumulate": ("training.schedule=constant",),
    "Training.auxiliary_weight": (
        "model={backbone: {type: alexnet, width_multiplier: 0.02}, decoder: {type: pspnet, filters: 4, bins: [1]}}",
    ),
}
"""Overrides without which a field means nothing, or shows in what another one does."""
SECTIONS = [case for case in SPECS if case.makes is None]
_BASES: dict[tuple[Shows, str], Any] = {}
"""What was seen of a pipeline before a change; it is common to many fields."""


@pytest.mark.parametrize(
    ("case", "name"),
    [(case, name) for case in SECTIONS for name in case.changes],
    ids=lambda each: each if isinstance(each, str) else each.name,
)
def test_every_field_of_a_section_shows_in_a_command(case: SpecCase, name: str, tmp_path: Path, plugin: None) -> None:
    kind, option, file = type(case.value), f"{case.name}.{name}", tmp_path / "pipeline.yaml"
    assert within(PIPELINE, kind) == case.value
    file.write_text(dump(PIPELINE))
    files()
    shown, change = SHOWN.get(option) or SHOWN[case.name], case.changes[name]
    _, before, after = next(each for each in variants(case) if each[0] == name)
    needed = NEEDED.get(option, ())
    for given in change.where if isinstance(change, Given) else ():
        needed += overrides(kind, given, before)
    base, changed = load(file, needed), load(file, needed + overrides(kind, name, after), allow_plugins=True)
    for shows in shown if isinstance(shown, tuple) else (shown,):
        key, folder = (shows, dump(base)), tmp_path / shows.__name__
        if key not in _BASES:
            _BASES[key] = shows(base, folder.with_name(f"{folder.name}-base"))
            again = shows(base, folder.with_name(f"{folder.name}-again"))
            assert same(again, _BASES[key]), "what is looked at must not change by itself"
        assert not same(shows(changed, folder), _BASES[key])


# The layers of a graph, whose fields are the arguments of a constructor.

CANDIDATES: tuple[Any, ...] = (
    *(True, False, None, 2, 3, 4, 1, 0, 0.25, 0.5, (2, 1), ((1, 2), (0, 1)), -1, (1, 2), 8),
    *("same", "valid", "relu", "tanh", "ones", "zeros", "l2", "l1", "non_neg", "unit_norm", "nearest", "bilinear"),
    *("caffe", "tf", "torch", "rgb", "bgr", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    *("basic", "large", "once", "builtin", "native", "pooling_first", "pooling_last"),
    *(7, "scalar", "per_class", "potts", "after", "symmetric", "permutohedral", "convolutional", "batch", "group"),
)
"""Values of which each argument of a layer takes two."""
REQUIRED = {
    "num_classes": 2,
    "filters": 4,
    "kernel_size": 2,
    "pool_size": 2,
    "offset": 1,
    "padding": 1,
    "factor": 0.5,
    "multiple": 16,
    "rate": 0.1,
    "rates": (1, 2),
    "scale": 0.5,
    "scales": 2,
    "stddev": 0.1,
}
"""Values for arguments without default."""


def made(kind: type[Node], arguments: dict[str, Any]) -> str | None:
    """The layer in words, or None where the arguments are refused."""
    needed = {key: REQUIRED.get(key, "relu") for key in kind.__pydantic_fields__ if key in kind.DEFAULTS}  # type: ignore[attr-defined]
    needed = {key: value for key, value in needed.items() if kind.__pydantic_fields__[key].is_required()}  # type: ignore[attr-defined]
    word = get_args(get_type_hints(kind)["layer"])[0]
    try:
        return str(kind(**{"name": "a", "layer": word, **needed, **arguments}).make(2).get_config())
    except (SpecError, ValueError):
        return None


@pytest.mark.parametrize("word", NODES)
def test_every_argument_of_a_layer_matters(word: str) -> None:
    kind = NODES[word]
    assert get_origin(get_type_hints(kind)["layer"]) is Literal
    assert set(kind.__pydantic_fields__) == {"layer", "name", "inputs", *kind.DEFAULTS}  # type: ignore[attr-defined]
    for argument in set(kind.DEFAULTS) - {"trainable"}:  # Keras's own, which means nothing without weights
        found = (made(kind, {argument: value}) for value in CANDIDATES)
        first = next((one for one in found if one is not None), None)
        assert any(other not in (None, first) for other in found), f"{word}: `{argument}` changes nothing"


def test_name_layer_and_inputs_of_a_layer_matter() -> None:
    conv = NODES["conv"](name="a", layer="conv", filters=2, kernel_size=1)  # type: ignore[call-arg]
    assert conv.sources("above") == ("above",)
    assert NODES["conv"](name="a", layer="conv", filters=2, kernel_size=1, inputs=IMAGE).sources("above") == (IMAGE,)  # type: ignore[call-arg]
    assert NODES["conv"](name="b", layer="conv", filters=2, kernel_size=1).make(2).name == "b"  # type: ignore[call-arg]
    assert len({kind.LAYER for kind in NODES.values()}) == len(NODES)
