"""Tests of renamed keys and choices: errors in a user's file, converted in the file of an earlier run."""

from pathlib import Path
from typing import Any

import pytest

import tfseg
from tfseg.pipeline import Pipeline, load
from tfseg.spec.declare import type_name
from tfseg.spec.messages import one_of
from tfseg.spec.renamed import CHOICES, KEYS, RenamedKey, renamed_choice, renamed_key
from tfseg.spec.show import dump
from tfseg.spec.slots import slots
from tfseg.spec.source import read

OLD = """\
name: old
labels: {names: [ground, disc], colours: [[0, 0, 0], [1, 2, 3]]}
data: {source: shapes, augment: [flip, colour, {type: colour, hue: 0.1}], boxes: {type: objects, smallest: 7}}
model:
  backbone: {type: vgg16, width: 0.05, batch_norm: true, momentum: 0.9, epsilon: 1e-9, fc: {kernel: 3, rate: 6}}
  decoder: {type: deeplab_v3, channels: 4, momentum: 0.8, epsilon: 1e-5}
training: {accumulate: 2, validate_every: 3, optimizer: {type: sgd, multipliers: {x: 2}, undecayed: [y]}}
"""
NEW = """\
name: old
labels: {names: [ground, disc], colors: [[0, 0, 0], [1, 2, 3]]}
data:
  source: shapes
  augment: [flip, color_jitter, {type: color_jitter, hue: 0.1}]
  boxes: {type: objects, min_pixels: 7}
model:
  backbone: {type: vgg16, width_multiplier: 0.05, batch_norm: true, fc: {kernel_size: 3, dilation_rate: 6}}
  decoder: {type: deeplab_v3, filters: 4}
  norm: {momentum: {decoder: 0.8}, epsilon: {backbone: 1e-9}}
training:
  gradient_accumulation_steps: 2
  validation_freq: 3
  optimizer: {type: sgd, lr_multipliers: {x: 2}, no_weight_decay: [y]}
"""
LABELS = '{"names": ["ground", "disc"], "ignore": 255}'


def written(folder: Path, text: str = OLD, name: str = "pipeline.yaml") -> Path:
    """Writes the pipeline file of a run directory of an earlier version."""
    (folder / "labels.json").write_text(LABELS)
    (folder / name).write_text(text)
    return folder / name


def content(path: tuple[Any, ...], kind: str | None) -> Any:
    """Returns the content of a file with a component of that `type` at `path`."""
    data: Any = {"layer" if "layers" in path else "type": kind}
    for key in reversed(path):
        data = (data,) if key == 0 else {key: data}
    return data


def test_messages_for_a_users_file(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(OLD)
    with pytest.raises(tfseg.SpecError) as error:
        load(file)
    moved = "moved to model.norm.{0}; for this part only, model.norm.{0}.{1}. Received: {2}"
    choices = f"expected {one_of(type_name(member) for member in slots(Pipeline)['augment'])}"
    assert sorted(str(error.value).splitlines()) == sorted([
        f"{file}:2: labels.colours: renamed to colors. Received: a list of 2 items",
        f'{file}:3: data.augment.1: {choices}; received "colour"; it was renamed to "color_jitter"',
        f'{file}:3: data.augment.2.type: {choices}; received "colour"; it was renamed to "color_jitter"',
        f"{file}:3: data.boxes.smallest: renamed to min_pixels. Received: 7",
        f"{file}:5: model.backbone.width: renamed to width_multiplier. Received: 0.05",
        f"{file}:5: model.backbone.momentum: {moved.format('momentum', 'backbone', 0.9)}",
        f"{file}:5: model.backbone.epsilon: {moved.format('epsilon', 'backbone', 1e-9)}",
        f"{file}:5: model.backbone.fc.kernel: renamed to kernel_size. Received: 3",
        f"{file}:5: model.backbone.fc.rate: renamed to dilation_rate. Received: 6",
        f"{file}:6: model.decoder.channels: renamed to filters. Received: 4",
        f"{file}:6: model.decoder.momentum: {moved.format('momentum', 'decoder', 0.8)}",
        f"{file}:6: model.decoder.epsilon: {moved.format('epsilon', 'decoder', 1e-5)}",
        f"{file}:7: training.accumulate: renamed to gradient_accumulation_steps. Received: 2",
        f"{file}:7: training.validate_every: renamed to validation_freq. Received: 3",
        f"{file}:7: training.optimizer.multipliers: renamed to lr_multipliers. Received: a mapping with the keys x",
        f"{file}:7: training.optimizer.undecayed: renamed to no_weight_decay. Received: a list of 1 item",
    ])  # fmt: skip


@pytest.mark.parametrize("name", ["pipeline.yaml", "crf.yaml"])
def test_run_of_an_earlier_version(name: str, tmp_path: Path) -> None:
    """Checks that values equal to the published default are omitted."""
    pipeline = load(written(tmp_path, name=name))
    (tmp_path / "new").mkdir()
    assert dump(pipeline) == dump(load(written(tmp_path / "new", NEW)))
    (tmp_path / "again.yaml").write_text(dump(pipeline))
    assert load(tmp_path / "again.yaml") == pipeline


def test_all_rows(tmp_path: Path) -> None:
    """Checks the message of every renamed key and choice."""
    for each in KEYS:
        path = tuple(0 if key == "*" else key for key in each.old.split("."))
        above = path[: path.index("fc") if "fc" in path else -1]
        for kind in each.types or (None,):
            assert renamed_key(path, content(above, kind)) == each.message(path)
    for choice in CHOICES:
        path = tuple(0 if key == "*" else key for key in choice.slot.split("."))
        assert renamed_choice(path, choice.old) == choice.new


def test_graph_of_an_earlier_version(tmp_path: Path) -> None:
    text = """\
name: graph
labels: {names: [ground, disc]}
data: {source: shapes}
model:
  type: graph
  layers:
  - {name: score, layer: conv, filters: 2, kernel_size: 1}
  - {name: context, layer: dilated_context, classes: 2, dilations: [1, 1]}
  - {name: head, layer: parallel_atrous_classifier, classes: 2, rates: [1], hidden: 3}
"""
    new = text.replace("classes", "num_classes").replace("dilations", "dilation_rates").replace("hidden", "filters")
    assert read(written(tmp_path, text), earlier=lambda _: True).data == read(written(tmp_path, new)).data
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(tfseg.SpecError) as error:
        load(tmp_path / "mine.yaml")
    lines = str(error.value).splitlines()
    assert f"{tmp_path / 'mine.yaml'}:8: model.layers.1.classes: renamed to num_classes. Received: 2" in lines
    assert f"{tmp_path / 'mine.yaml'}:9: model.layers.2.hidden: renamed to filters. Received: 3" in lines


def test_masks_of_an_earlier_version(tmp_path: Path) -> None:
    for mask in ("colours", "{type: colours, ignore: [[1, 1, 1]]}"):
        text = f"data: {{source: {{type: folder, mask: {mask}}}}}\n"
        new = text.replace("colours", "colors")
        assert read(written(tmp_path, text), earlier=lambda _: True).data == read(written(tmp_path, new)).data


def test_optimizer_without_type(tmp_path: Path) -> None:
    """Checks the keys of the optimizer that a mapping without `type` selects."""
    text = OLD.replace("type: sgd, ", "")
    assert load(written(tmp_path, text)).training.optimizer.no_weight_decay == ("y",)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(tfseg.SpecError) as error:
        load(tmp_path / "mine.yaml")
    assert "training.optimizer.undecayed: renamed to no_weight_decay. Received: a list of 1 item" in str(error.value)


def test_include_of_an_earlier_version(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "mine.yaml").write_text("include: pipeline.yaml\nseed: 3\n")
    assert load(tmp_path / "mine.yaml").model.norm.epsilon == {"backbone": 1e-9}


def test_overrides_are_not_converted(tmp_path: Path) -> None:
    with pytest.raises(tfseg.SpecError) as error:
        load(written(tmp_path), ["model.backbone.momentum=0.7", "training.accumulate=2"])
    assert str(error.value).splitlines() == [
        'override "model.backbone.momentum=0.7": model.backbone.momentum: moved to model.norm.momentum; for this part '
        "only, model.norm.momentum.backbone. Received: 0.7",
        'override "training.accumulate=2": training.accumulate: renamed to gradient_accumulation_steps. Received: 2',
    ]


def test_only_listed_types_are_converted(tmp_path: Path) -> None:
    """Checks that a field of that name in a custom component is not affected."""
    backbone = ("model", "backbone")
    assert renamed_key((*backbone, "momentum"), content(backbone, "resnet")) is not None
    assert renamed_key((*backbone, "momentum"), content(backbone, "mine")) is None
    assert renamed_key((*backbone, "filters"), content(backbone, "resnet")) is None
    assert renamed_key((*backbone, "fc", "rate"), content(backbone, "mine")) is None
    text = "model: {backbone: {type: mine, width: 3, fc: {rate: 2}}, decoder: {type: mine, channels: 2}}\n"
    file = written(tmp_path, text)
    assert read(file, earlier=lambda _: True).data == read(file).data


def test_new_keys_take_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that a value at the new path is kept, and that missing paths change nothing."""
    rows = (RenamedKey("a.b", "c"), RenamedKey("x", "c.y"), RenamedKey("no.such", "z"), RenamedKey("l.*.o", "l.*.n"))
    monkeypatch.setattr("tfseg.spec.renamed.KEYS", rows)
    file = tmp_path / "file.yaml"
    file.write_text("a: {b: 1}\nx: 2\nl: [{o: 1}, {o: 2, n: 3}]\n")
    found = read(file, earlier=lambda _: True).data
    assert found == {"a": {}, "c": 1, "l": ({"n": 1}, {"n": 3})}
    assert renamed_key(("x",), None) == "moved to c.y"


def test_existing_new_key_is_kept(tmp_path: Path) -> None:
    """Checks a file of a run to which the new key was added manually."""
    text = OLD.replace("decoder:", "norm: {momentum: 0.5}\n  decoder:")
    assert load(written(tmp_path, text)).model.norm.momentum == 0.5
