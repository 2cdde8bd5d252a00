"""Tests of the JSON Schema: it accepts the same files as `validate`, also names and includes, and rejects typos."""

import inspect
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.spec.fuzz import as_json, plain
from tests.spec.recipe import Recipe
from tfseg.labels import Labels
from tfseg.spec import dump, json_schema, read, spec, validate

FILES = sorted((Path(__file__).parent / "files").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema() -> Any:
    found = json_schema(Recipe)
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_files_are_valid_as_written_and_as_dumped(schema: Any, file: Path, tmp_path: Path) -> None:
    schema.validate(as_json(plain(file.read_text())))
    (tmp_path / "shown.yaml").write_text(dump(validate(Recipe, read(file))))
    schema.validate(as_json(plain((tmp_path / "shown.yaml").read_text())))


NET = {"backbone": "small"}


@pytest.mark.parametrize(
    ("data", "invalid"),
    [
        ({"name": "a", "labels": "voc", "model": NET}, None),
        ({"name": "a", "labels": "vocc", "model": NET}, "labels"),
        ({"name": "a", "labels": {"type": "voc", "ignore": 30}, "model": NET}, None),
        ({"name": "a", "labels": {"ignore": 30}, "model": NET}, "labels"),
        ({"name": "a", "labels": {"names": ["a", "b"]}, "model": NET}, None),
        ({"name": "a", "labels": {"names": ["a", "b"], "nams": 3}, "model": NET}, "labels"),
        ({"name": "a", "labels": "voc", "model": {"type": "net", **NET}}, None),
        ({"name": "a", "labels": "voc", "model": {"type": "net"}}, "model"),
        ({"name": "a", "labels": "voc", "model": {"type": "listed", "layers": ["small"]}}, None),
        ({"name": "a", "labels": "voc", "model": {"layers": ["small"]}}, "model"),
        ({"name": "a", "labels": "voc", "model": "listed"}, "model"),
        ({"name": "a", "labels": "voc", "model": {**NET, "decoder": "skips", "refine": None}}, None),
        ({"name": "a", "labels": "voc", "model": {**NET, "decoder": "unpooling"}}, "model"),
        ({"name": "a", "labels": "voc", "model": {**NET, "decoder": {"stages": 3}}}, "model"),
        ({"name": "a", "labels": "voc"}, ""),
        ({"name": "a", "labels": "voc", "model": NET, "sed": 3}, ""),
        ({"include": "b.yaml"}, None),
        ({"include": ["b.yaml"], "labels": {"ignore": 3}, "model": {"decoder": {"stages": 3}}}, None),
        ({"include": [], "name": "a"}, "include"),
        ({"include": "b.yaml", "sed": 3}, ""),
        ({"include": "b.yaml", "model": {"decoder": {"stages": "3"}}}, "model"),
        ({"include": "b.yaml", "data": {"augment": [{"probability": 1}]}}, "data"),
    ],
)
def test_valid_and_invalid_data(schema: Any, data: Any, invalid: str | None) -> None:
    paths = {str(next(iter(error.absolute_path), "")) for error in schema.iter_errors(as_json(data))}
    assert paths == (set() if invalid is None else {invalid})


def test_descriptions_are_docstrings() -> None:
    found = json_schema(Recipe)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["$defs"]["Small"]["description"] == "A small backbone."
    assert found["$defs"]["Small"]["properties"]["width"]["description"] == "Scales the number of channels."
    paragraph = (inspect.getdoc(Labels) or "").partition("\n\n")[0]
    assert found["$defs"]["Labels"]["description"] == " ".join(paragraph.split())


@spec
class Tree:
    """A recursive spec."""

    children: "tuple[Tree, ...]" = ()
    """Subtrees."""


def test_recursive_spec() -> None:
    schema = jsonschema.Draft202012Validator(json_schema(Tree))
    schema.validate({"children": [{"children": []}, {}]})
    assert not schema.is_valid({"children": [{"child": []}]})
