"""Keys that have another place now: told to who writes them, read where an earlier version wrote them."""

from pathlib import Path

import pytest

import tfseg
from tfseg.pipeline import load
from tfseg.spec.renamed import RENAMED, Renamed, renamed_key, with_new_keys
from tfseg.spec.show import dump
from tfseg.spec.source import read

OLD = """\
name: old
labels: {names: [ground, disc]}
data: {source: shapes}
model:
  backbone: {type: vgg16, width: 0.05, batch_norm: true, momentum: 0.9, epsilon: 1e-9}
  decoder: {type: deeplab_v3, channels: 4, momentum: 0.8, epsilon: 1e-5}
"""
LABELS = '{"names": ["ground", "disc"], "ignore": 255}'


def written(folder: Path, text: str = OLD, name: str = "pipeline.yaml") -> Path:
    """A run directory as an earlier version left it."""
    (folder / "labels.json").write_text(LABELS)
    (folder / name).write_text(text)
    return folder / name


def test_a_users_file_is_told_the_new_place(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(OLD)
    with pytest.raises(tfseg.SpecError) as error:
        load(file)
    words = "{}: moved to model.norm.{}; for this part alone, model.norm.{}. Received: {}"
    assert str(error.value).splitlines() == [
        f"{file}:5: {words.format('model.backbone.momentum', 'momentum', 'momentum.backbone', 0.9)}",
        f"{file}:5: {words.format('model.backbone.epsilon', 'epsilon', 'epsilon.backbone', 1e-9)}",
        f"{file}:6: {words.format('model.decoder.momentum', 'momentum', 'momentum.decoder', 0.8)}",
        f"{file}:6: {words.format('model.decoder.epsilon', 'epsilon', 'epsilon.decoder', 1e-5)}",
    ]


@pytest.mark.parametrize("name", ["pipeline.yaml", "crf.yaml"])
def test_a_run_of_an_earlier_version_is_read(name: str, tmp_path: Path) -> None:
    """What was the published number all along need not be said."""
    pipeline = load(written(tmp_path, name=name))
    norm = pipeline.model.norm
    assert (norm.momentum, norm.epsilon) == ({"decoder": 0.8}, {"backbone": 1e-9})
    model = pipeline.build()
    deep, aspp = model.get_layer("fc7_bn"), model.get_layer("aspp")
    assert [(each.momentum, each.epsilon) for each in (deep, aspp)] == [(0.9, 1e-9), (0.8, 1e-5)]
    (tmp_path / "again.yaml").write_text(dump(pipeline))
    assert load(tmp_path / "again.yaml") == pipeline


def test_a_file_may_include_it(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "mine.yaml").write_text("include: pipeline.yaml\nseed: 3\n")
    assert load(tmp_path / "mine.yaml").model.norm.epsilon == {"backbone": 1e-9}


def test_overrides_are_the_users(tmp_path: Path) -> None:
    with pytest.raises(tfseg.SpecError) as error:
        load(written(tmp_path), ["model.backbone.momentum=0.7"])
    assert str(error.value) == (
        'override "model.backbone.momentum=0.7": model.backbone.momentum: moved to model.norm.momentum; for this part '
        "alone, model.norm.momentum.backbone. Received: 0.7"
    )


def test_only_those_types_had_it(tmp_path: Path) -> None:
    """A component of one's own may have a field of that name."""
    assert renamed_key(("model", "backbone", "momentum"), "resnet") is RENAMED[0]
    assert renamed_key(("model", "backbone", "momentum"), "mine") is None
    assert renamed_key(("model", "backbone", "width"), "resnet") is None
    text = OLD.replace("vgg16", "mine").replace("deeplab_v3", "mine")
    file = written(tmp_path, text)
    assert read(file, earlier=lambda _: True).data == read(file).data


def test_a_plain_renaming(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        "tfseg.spec.renamed.RENAMED", (Renamed("a.b", "c"), Renamed("x", "c.y"), Renamed("no.such", "z"))
    )
    (tmp_path / "x.yaml").write_text("a: {b: {d: 1}}\nx: 2\n")
    document = read(tmp_path / "x.yaml", earlier=lambda _: True)
    assert document.data == {"a": {}, "c": {"d": 1, "y": 2}}
    assert document.where("c.y") == f"{tmp_path}/x.yaml:2"
    assert str(renamed_key(("x",), None)) == "moved to c.y"
    assert with_new_keys.__doc__


def test_what_the_new_place_says_already_counts(tmp_path: Path) -> None:
    """A file of a run to which somebody added the new key."""
    from tfseg.labels import labels_text
    from tfseg.pipeline import load
    from tfseg.spec.show import dump

    pipeline = load("shapes", ["model.norm.momentum=0.5"])
    text = dump(pipeline).replace("    type: small_cnn\n", "    type: small_cnn\n    momentum: 0.7\n", 1)
    (tmp_path / "pipeline.yaml").write_text(text)
    (tmp_path / "labels.json").write_text(labels_text(pipeline.labels))
    assert "momentum: 0.7" in text
    assert load(tmp_path / "pipeline.yaml").model.norm.momentum == 0.5
