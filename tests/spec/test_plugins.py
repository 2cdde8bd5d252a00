"""Tests of plugins, from the `plugins` of a file and from entry points."""
# ruff: noqa: E501  (a message is one line)

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from tests.spec.recipe import Data, Deep, Flip, Net, Recipe, Small
from tfseg.labels import Labels
from tfseg.spec import Document, SpecError, dump, json_schema, plugged, read, spec, validate, widen
from tfseg.spec.plugins import installed

MODULE = '''
from typing import Literal

from tfseg.spec import spec


@spec
class Tiny:
    """A custom backbone."""

    type: Literal["tiny"] = "tiny"
    depth: int = 2
    """Depth."""


@spec
class Blur:
    type: Literal["blur"] = "blur"


COMPONENTS = {"backbone": [Tiny], "augment": (Blur,)}
'''

FILE = """\
name: a
labels: voc
model: {backbone: {type: tiny, depth: 3}}
data: {augment: [blur, flip]}
"""

numbers = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a module with a new name and returns the name."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def write(text: str = MODULE) -> str:
        name = f"plugin_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def load(text: str, allow_plugins: bool = True) -> Any:
    Path("x.yaml").write_text(text)
    document = read("x.yaml")
    return validate(plugged(Recipe, document, allow_plugins=allow_plugins), document)


def test_plugins_extend_slots(module: Any) -> None:
    text = f"plugins: [{module()}]\n{FILE}"
    value = load(text)
    assert (type(value.model.backbone).__name__, value.model.backbone.depth) == ("Tiny", 3)
    assert [item.type for item in value.data.augment] == ["blur", "flip"]
    assert isinstance(value, Recipe)
    assert isinstance(value.model, Net)
    assert load(text) == value == load(dump(value)), "the class is cached"


def test_validators_and_defaults_of_widened_specs(module: Any) -> None:
    name = module()
    value = load(f"plugins: [{name}]\nname: a\nlabels: voc\nmodel: {{backbone: small}}")
    assert value.model.backbone == Small()
    assert (value.data.crop, value.data.augment) == (None, ())
    assert load(dump(value)) == value, "defaults are of the widened classes"
    with pytest.raises(SpecError) as caught:
        load(f"plugins: [{name}]\nname: a\nlabels: voc\nmodel: {{backbone: {{type: deep, output_stride: 8}}}}")
    message = "x.yaml:4: model.decoder.strides: stride 32 is larger than output_stride; omit it"
    assert str(caught.value) == message


def test_messages_include_types_of_plugins(module: Any) -> None:
    with pytest.raises(SpecError) as caught:
        load(f"plugins: [{module()}]\nname: a\nlabels: voc\nmodel: {{backbone: tinny}}")
    message = (
        'x.yaml:4: model.backbone: expected one of "small", "deep", "tiny"; received "tinny"; did you mean "tiny"?'
    )
    assert str(caught.value) == message
    assert "Small" in str(json_schema(Recipe)) and "Tiny" not in str(json_schema(Recipe)), (
        "the original type is unchanged"
    )


def test_code_runs_only_if_allowed(module: Any) -> None:
    name = module("raise SystemError('ran')")
    with pytest.raises(SpecError) as caught:
        load(f"name: a\nplugins: [{name}]", allow_plugins=False)
    assert str(caught.value) == (
        "x.yaml:2: plugins: importing these modules runs their code. Allow it with --allow-plugins, in Python with "
        f"allow_plugins=True. Received: {name}"
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemError('no')", 'cannot import "NAME": SystemError: no'),
        ("", 'the module "NAME" has no table of components; expected COMPONENTS = {slot: [Spec, …]}'),
        (
            "COMPONENTS = {'backbone': [int]}",
            'the module "NAME", slot "backbone": expected a list of specs with a type; received <class \'int\'>',
        ),
        (
            "COMPONENTS = {'backbone': int}",
            'the module "NAME", slot "backbone": expected a list of specs with a type; received <class \'int\'>',
        ),
        (
            MODULE.replace('"backbone"', '"bakbone"'),
            'there is no slot "bakbone"; did you mean "backbone"? Slots: model, backbone, decoder, refine, layers, augment',
        ),
        (
            MODULE.replace('"tiny"', '"deep"'),
            'two components have the type "deep": tests.spec.recipe.Deep and NAME.Tiny',
        ),
        (
            MODULE.replace('"blur"', '"colour"'),
            'the module "NAME", slot "augment": Blur has the type "colour", a former name of "color_jitter"; choose another type',
        ),
    ],
)
def test_messages_about_invalid_plugins(module: Any, code: str, message: str) -> None:
    name = module(code)
    with pytest.raises(SpecError) as caught:
        load(f"name: a\nplugins: [{name}]")
    assert str(caught.value) == f"x.yaml:2: plugins: {message.replace('NAME', name)}"


def test_missing_module() -> None:
    with pytest.raises(SpecError) as caught:
        plugged(Recipe, _document(plugins=("no_such_module_here",)), allow_plugins=True)
    message = (
        "plugins: cannot import \"no_such_module_here\": ModuleNotFoundError: No module named 'no_such_module_here'; "
        "install it, or add its folder to PYTHONPATH"
    )
    assert str(caught.value) == message


def _document(**data: Any) -> Any:
    return Document(data)


@pytest.fixture
def uncached() -> Iterator[None]:
    """Clears the cache of entry points before and after the test."""
    installed.cache_clear()
    yield
    installed.cache_clear()


@pytest.mark.usefixtures("uncached")
def test_entry_points_extend_slots(module: Any, tmp_path: Path) -> None:
    info = tmp_path / "own_things-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-things\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[tfseg.components]\nown = {module()}:COMPONENTS\n")
    assert load(FILE, allow_plugins=False).model.backbone.type == "tiny"
    (info / "entry_points.txt").write_text("[tfseg.components]\nown = nowhere_at_all:COMPONENTS\n")
    installed.cache_clear()
    with pytest.raises(SpecError) as caught:
        load(FILE)
    assert str(caught.value) == (
        'plugins: cannot load the entry point "own = nowhere_at_all:COMPONENTS": '
        "ModuleNotFoundError: No module named 'nowhere_at_all'"
    )


def test_type_is_unchanged_without_components() -> None:
    assert widen(Recipe, {"backbone": ()}) is Recipe


@spec
class Blur:
    """A custom augmentation."""

    type: Literal["blur"] = "blur"


@spec
class WithFactory:
    """A spec with a default factory whose value has specs."""

    data: Data = Field(default_factory=lambda: Data(augment=(Flip(),)))
    """Value of the factory."""


def test_default_factories_are_widened() -> None:
    wide = widen(WithFactory, {"augment": (Blur,)})
    assert wide() == validate(wide, _document(data={"augment": ("flip",)}))
    assert validate(wide, _document(data={"augment": ("blur",)})).data.augment == (Blur(),)


def test_existing_spec_is_not_added_twice() -> None:
    value = validate(
        widen(Recipe, {"backbone": (Deep,)}), _document(name="a", labels="voc", model={"backbone": "deep"})
    )
    assert value.model.backbone == Deep()
    assert isinstance(value.labels, Labels)
