"""Tests of `dump`: its output reads back to an equal value."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.spec.recipe import Data, Flip, Net, Recipe, Scale, Skips, Small
from tfseg.labels import Labels
from tfseg.spec import dump, read, spec, validate

FILES = sorted((Path(__file__).parent / "files").glob("*.yaml"))


def read_back(folder: Path, text: str, type_: Any = Recipe) -> Any:
    (folder / "shown.yaml").write_text(text, encoding="utf-8")
    return validate(type_, read(folder / "shown.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_round_trip_in_another_folder(file: Path, tmp_path: Path) -> None:
    value = validate(Recipe, read(file, ["seed=7", "data.cache=true"]))
    assert (value.seed, value.data.cache) == (7, True)
    assert read_back(tmp_path, dump(value)) == value


def test_output(tmp_path: Path) -> None:
    data = Data(root=Path("/data"), crop=(3, 4), augment=(Flip(), Scale(max=1e-5)), mapping={0: 255})
    model = Net(backbone=Small(width=0.5), decoder=Skips(strides=(8,)))
    labels = Labels(names=("no", "1e-4"), colors=((0, 0, 0), (1, 2, 3)))
    value = Recipe(name="a", labels=labels, model=model, data=data, rates={"x": 1e-4})
    assert dump(value) == (
        "name: a\n"
        "seed: 0\n"
        "labels:\n"
        "  names: ['no', '1e-4']\n"
        "  ignore: 255\n"
        "  colors:\n"
        "  - [0, 0, 0]\n"
        "  - [1, 2, 3]\n"
        "model:\n"
        "  type: net\n"
        "  backbone:\n"
        "    type: small\n"
        "    width: 0.5\n"
        "    weights: null\n"
        "  decoder:\n"
        "    type: skips\n"
        "    strides: [8]\n"
        "  refine: null\n"
        "data:\n"
        "  root: /data\n"
        "  crop: [3, 4]\n"
        "  augment:\n"
        "  - type: flip\n"
        "    probability: 0.5\n"
        "  - type: scale\n"
        "    scale: [0.5, 2.0]\n"
        "    max: 1.0e-05\n"
        "  mapping:\n"
        "    0: 255\n"
        "  weights: null\n"
        "  cache: false\n"
        "rates:\n"
        "  x: 0.0001\n"
        "plugins: []\n"
    )
    assert read_back(tmp_path, dump(value)) == value


def test_paths_are_absolute(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.yaml").write_text("root: ../data/./b/../c")
    value = validate(Data, read(tmp_path / "a" / "x.yaml"))
    assert value.root == tmp_path / "data/b/../c"
    assert read_back(tmp_path, dump(value), Data) == value


@spec
class AnyFields:
    """Spec with fields of strings, numbers and a mapping."""

    texts: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    table: dict[str, int] | None = None


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    [
        "no",
        "1e-4",
        "010",
        "0o7",
        "~",
        "",
        "null",
        "1:30",
        "2020-01-01",
        "=",
        "<<",
        " a",
        "a: b",
        "#",
        "- a",
        "1_0",
        "0x",
    ]
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    texts=st.lists(TEXT),
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False)),
    table=st.dictionaries(TEXT, st.integers(-(2**63), 2**63 - 1), max_size=3),
)
def test_any_string_and_number_round_trips(tmp_path_factory: Any, texts: Any, numbers: Any, table: Any) -> None:
    value = AnyFields(texts=tuple(texts), numbers=tuple(numbers), table=table)
    shown = dump(value)
    assert read_back(tmp_path_factory.getbasetemp(), shown, AnyFields) == value
    assert yaml.safe_load(shown)["texts"] == texts, "parsers of YAML 1.1 read it alike"
