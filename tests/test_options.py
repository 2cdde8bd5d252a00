"""Every option has an effect: each field of a pipeline, changed alone in a file, changes the result of a command.

The fields, and another value for each, come from `cases.py`. `checks.check_spec_fields` checks there how decoders,
losses and other components use their fields. The tests here check that an override of any field reaches its spec, and
that fields used only by commands, those of the sections of a pipeline, change the results of commands.
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
from tests.checks import Given, SpecCase, layout, own_fields, parents, same, variants
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
from tfseg.training.snapshots import Snapshots

Overrides = tuple[str, ...]
CASES = {type(case.value): case for case in SPECS}
PLACES = parents(Pipeline)
PLUGIN = """
from tfseg.backbones import SmallCnn

COMPONENTS = {"decoder": [SmallCnn]}
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Creates the plugin module of the pipeline's test case."""
    (name,) = CASES[Pipeline].changes["plugins"]
    (tmp_path / f"{name}.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)


# Overrides reach the spec.


def pipeline_of(case: SpecCase, value: Any) -> Pipeline:
    """Returns a pipeline that contains `value`, with the other fields that it needs."""
    beside: dict[str, Any] = {}
    while not isinstance(value, Pipeline):
        holder, field, listed = PLACES[type(value)]
        beside, case = {**beside, **case.beside}, CASES[holder]
        own = {name: beside.pop(name) for name in set(beside) & set(own_fields(case.value))}
        value = dataclasses.replace(case.value, **own, **{field: (value,) if listed else value})
    return value


def within(pipeline: Pipeline, kind: type) -> Any:
    """Returns the spec of type `kind` in the pipeline."""
    if kind is Pipeline:
        return pipeline
    holder, field, listed = PLACES[kind]
    held = getattr(within(pipeline, holder), field)
    return held[0] if listed else held


def path(kind: type) -> str:
    """Returns the path of a spec in a file: `data.source.mask.`, or an empty string for the pipeline itself."""
    if kind is Pipeline:
        return ""
    holder, field, listed = PLACES[kind]
    return f"{path(holder)}{field}.{'0.' if listed else ''}"


def overrides(kind: type, name: str, spec: Any) -> Overrides:
    """Returns the overrides that set a field to its value in `spec`."""
    if name == "type":
        return (f"{path(kind).removesuffix('.')}={dump(spec)}",)
    word = name.removesuffix("_")  # `class` is a keyword in Python
    key, both = f"{path(kind)}{word}", ("data.source.channels", "model.channels")  # must be equal
    return tuple(f"{each}={dump(getattr(spec, name))}" for each in (both if key in both else (key,)))


@pytest.mark.parametrize("case", SPECS, ids=lambda case: case.name)
def test_overrides_set_every_field(case: SpecCase, tmp_path: Path, plugin: None) -> None:
    kind, file, written = type(case.value), tmp_path / "pipeline.yaml", None
    for name, before, after in variants(case):
        if before != written:
            file.write_text(dump(pipeline_of(case, before)))
            written = within(load(file), kind)
            assert written == before
        changed = load(file, overrides(kind, name, after), allow_plugins=True)
        assert dump(within(changed, kind)) == dump(after)  # as text, because a plugin creates new classes


@pytest.mark.parametrize("kind", slots(Pipeline)["head"])
def test_heads_other_than_the_required_one_are_rejected(kind: type, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(dump(pipeline_of(CASES[kind], CASES[kind].value)))
    own = within(load(file), kind).type
    for other in {member.type for member in slots(Pipeline)["head"]} - {own}:
        with pytest.raises(tfseg.SpecError, match=f"this decoder requires head: {own}. Received: {other}"):
            load(file, [f"model.head={other}"])


# Fields change the results of commands.


def digest(values: Any) -> list[tuple[tuple[int, ...], str]]:
    """Returns shapes and hashes of arrays, which may be nested, for comparison."""
    found = [np.asarray(value) for value in keras.tree.flatten(list(values))]
    return [(value.shape, hashlib.sha256(value.tobytes()).hexdigest()[:12]) for value in found]


class _Fit(Exception):
    """Stops a training at the call of `keras.Model.fit`."""


def handed(pipeline: Pipeline, folder: Path) -> tuple[keras.Model, Any, dict[str, Any]]:
    """Returns what `tfseg fit` passes to Keras: the compiled network, the batches, and further arguments of `fit`."""

    def fit(*given: Any, **further: Any) -> None:
        raise _Fit(*given, further)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", fit)
        with pytest.raises(_Fit) as ended:
            tfseg.fit(pipeline, folder, verbose=False)
    return ended.value.args  # type: ignore[return-value]


def trained(pipeline: Pipeline, folder: Path) -> Any:
    """Returns how `tfseg fit` trains: its loss, the weights after three steps with gradients of one, and its
    duration."""
    model, _, given = handed(pipeline, folder)
    scores = np.random.default_rng(0).normal(size=(2, 4, 4, pipeline.labels.count)).astype(np.float32)
    pair = [for_each(model, value) for value in (np.arange(32).reshape(2, 4, 4) % 7 % 2, scores)]
    result = {
        "loss": float(model.compute_loss(None, *pair)),
        "layers": [(layer.name, layer.dtype_policy.name, layer.trainable) for layer in model.layers],
        "metrics": sorted(model.get_metrics_result()),
        "compiled": (model.jit_compile, model.steps_per_execution, type(model.distribute_strategy).__name__),
        "batches": [each.length.batches for each in given["callbacks"].callbacks if isinstance(each, End)],
        "saved": [each.interval for each in given["callbacks"].callbacks if isinstance(each, Snapshots)],
        "given": [given[key] for key in ("epochs", "initial_epoch", "validation_freq", "steps_per_epoch")],
    }
    for _ in range(3):
        model.distribute_strategy.run(
            lambda: model.optimizer.apply([tf.ones_like(weight) for weight in model.trainable_weights])
        )
    model.optimizer.finalize_variable_values(model.trainable_weights)
    return {**result, "weights": digest(model.get_weights())}


def fed(pipeline: Pipeline, folder: Path) -> Any:
    """Returns the training images of the first epoch of `tfseg fit` and its validation images."""
    _, training, given = handed(pipeline, folder)
    return image_digests(training, given["validation_data"], given["steps_per_epoch"])


def prepared(pipeline: Pipeline, folder: Path) -> Any:
    """Returns the same images without building a network, which is faster."""
    data = pipeline.data.open(pipeline.labels, pipeline.seed)
    validation = data.evaluation(pipeline.data.validation_split)
    return image_digests(data.training(epochs=1), validation, data.steps_per_epoch)


def image_digests(training: tf.data.Dataset, validation: tf.data.Dataset, steps: int) -> Any:
    return [[digest(pair) for pair in data.as_numpy_iterator()] for data in (training.take(steps), validation)]


def read(pipeline: Pipeline, folder: Path) -> Any:
    """Returns the files that training reads."""
    return pipeline.data.open(pipeline.labels).files(pipeline.data.train_split)


def finished(pipeline: Pipeline, folder: Path) -> Path:
    """Creates a run directory with an untrained network."""
    folder.mkdir()
    (folder / FILE).write_text(dump(pipeline))
    (folder / LABELS).write_text(labels_text(pipeline.labels))
    with pipeline.training.scope(pipeline.seed):
        pipeline.build().save(folder / BEST)
    return folder


def predicted(pipeline: Pipeline, folder: Path) -> Any:
    """Returns the files written by `tfseg predict --overlay`."""
    image = folder.with_suffix(".png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)).save(image)
    written = tfseg.predict(finished(pipeline, folder), [image], folder / "masks", overlay=True)
    return [(file.suffixes, hashlib.sha256(file.read_bytes()).hexdigest()) for file in written]


def exported(pipeline: Pipeline, folder: Path) -> Any:
    """Returns the results of `tfseg export` for artifacts with an error of 0.005; the artifacts are not written."""
    expected: dict[str, np.ndarray] = {}

    def expectations(model: keras.Model, *asked: Any) -> Any:
        expected.update(compute(model, *asked))
        return expected

    def answers(*_: Any) -> Any:
        return {key: value + (0 if key.endswith("mask") else 0.005) for key, value in expected.items()}

    compute = artifacts.expected_outputs
    source = finished(pipeline, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "expected_outputs", expectations)
        patch.setattr(artifacts, "run_artifacts", answers)
        patch.setattr(artifacts, "write_saved_model", lambda model, path, *_: path.mkdir(parents=True, exist_ok=True))
        patch.setattr(artifacts, "write_tflite", lambda model, path, *_: path.write_bytes(b""))
        patch.setattr(artifacts, "append_labels", lambda *_: None)
        try:
            report = tfseg.export(source, folder / "out")
        except ExportError:
            return "rejected"
    left = sorted(str(file.relative_to(folder)) for file in report.folder.iterdir())
    return left, (report.folder / LABELS).read_text(), [(one.images, one.pixels) for one in report.comparisons]


def network(pipeline: Pipeline, folder: Path) -> Any:
    """Returns the layers of the network."""
    return layout(symbolically(pipeline.build))


def choices(pipeline: Pipeline, folder: Path) -> Any:
    """Returns the specs allowed in each slot."""
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
"""Functions that show the effect of the fields of a section, or of a single field."""
AUXILIARY = (
    "model={backbone: {type: alexnet, width_multiplier: 0.02}, decoder: {type: pspnet, filters: 4, bins: [1]}}",
)
NEEDED: dict[str, Overrides] = {
    "Labels.ignore": ("data.crop=40", "data.batch_size=5"),
    "Training.gradient_accumulation_steps": ("training.schedule=constant",),
    "Training.auxiliary_weight": AUXILIARY,
    "Training.auxiliary_loss": AUXILIARY,
}
"""Overrides without which a field has no effect, or none of its own."""
SECTIONS = [case for case in SPECS if case.makes is None]
_BASES: dict[tuple[Shows, str], Any] = {}
"""Results before a change, shared by many fields."""


@pytest.mark.parametrize(
    ("case", "name"),
    [(case, name) for case in SECTIONS for name in case.changes],
    ids=lambda each: each if isinstance(each, str) else each.name,
)
def test_every_field_of_a_section_changes_a_command(case: SpecCase, name: str, tmp_path: Path, plugin: None) -> None:
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
            assert same(again, _BASES[key]), "the result is not reproducible"
        assert not same(shows(changed, folder), _BASES[key])


# Layers of a graph, whose fields are constructor arguments.

CANDIDATES: tuple[Any, ...] = (
    *(True, False, None, 2, 3, 4, 1, 0, 0.25, 0.5, (2, 1), ((1, 2), (0, 1)), -1, (1, 2), 8),
    *("same", "valid", "relu", "tanh", "ones", "zeros", "l2", "l1", "non_neg", "unit_norm", "nearest", "bilinear"),
    *("caffe", "tf", "torch", "rgb", "bgr", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    *("basic", "large", "once", "builtin", "native", "pooling_first", "pooling_last"),
    *(7, "scalar", "per_class", "potts", "after", "symmetric", "permutohedral", "convolutional", "batch", "group"),
)
"""Candidate values; every argument of a layer accepts at least two."""
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
"""Values for arguments without a default."""


def made(kind: type[Node], arguments: dict[str, Any]) -> str | None:
    """Returns the config of the layer as text, or None if the arguments are rejected."""
    needed = {key: REQUIRED.get(key, "relu") for key in kind.__pydantic_fields__ if key in kind.DEFAULTS}  # type: ignore[attr-defined]
    needed = {key: value for key, value in needed.items() if kind.__pydantic_fields__[key].is_required()}  # type: ignore[attr-defined]
    word = get_args(get_type_hints(kind)["layer"])[0]
    try:
        return str(kind(**{"name": "a", "layer": word, **needed, **arguments}).make(2).get_config())
    except (SpecError, ValueError):
        return None


@pytest.mark.parametrize("word", NODES)
def test_every_argument_of_a_layer_has_an_effect(word: str) -> None:
    kind = NODES[word]
    assert get_origin(get_type_hints(kind)["layer"]) is Literal
    assert set(kind.__pydantic_fields__) == {"layer", "name", "inputs", *kind.DEFAULTS}  # type: ignore[attr-defined]
    for argument in set(kind.DEFAULTS) - {"trainable"}:  # has no effect on layers without weights
        found = (made(kind, {argument: value}) for value in CANDIDATES)
        first = next((one for one in found if one is not None), None)
        assert any(other not in (None, first) for other in found), f"{word}: `{argument}` changes nothing"


def test_name_layer_and_inputs_of_a_layer() -> None:
    conv = NODES["conv"](name="a", layer="conv", filters=2, kernel_size=1)  # type: ignore[call-arg]
    assert conv.sources("above") == ("above",)
    assert NODES["conv"](name="a", layer="conv", filters=2, kernel_size=1, inputs=IMAGE).sources("above") == (IMAGE,)  # type: ignore[call-arg]
    assert NODES["conv"](name="b", layer="conv", filters=2, kernel_size=1).make(2).name == "b"  # type: ignore[call-arg]
    assert len({kind.LAYER for kind in NODES.values()}) == len(NODES)
