"""A user's own specs in the slots: by the file's `plugins`, and by entry points."""
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
    """The user's own backbone."""

    type: Literal["tiny"] = "tiny"
    depth: int = 2
    """How deep."""


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
    """Writes a module of a fresh name and gives the name."""
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


def test_a_files_plugins_widen_its_slots(module: Any) -> None:
    text = f"plugins: [{module()}]\n{FILE}"
    value = load(text)
    assert (type(value.model.backbone).__name__, value.model.backbone.depth) == ("Tiny", 3)
    assert [item.type for item in value.data.augment] == ["blur", "flip"]
    assert isinstance(value, Recipe)
    assert isinstance(value.model, Net)
    assert load(text) == value == load(dump(value)), "one and the same class each time"


def test_checks_and_defaults_of_the_widened_specs_stay(module: Any) -> None:
    name = module()
    value = load(f"plugins: [{name}]\nname: a\nlabels: voc\nmodel: {{backbone: small}}")
    assert value.model.backbone == Small()
    assert (value.data.crop, value.data.augment) == (None, ())
    assert load(dump(value)) == value, "defaults are of the widened classes too"
    with pytest.raises(SpecError) as caught:
        load(f"plugins: [{name}]\nname: a\nlabels: voc\nmodel: {{backbone: {{type: deep, output_stride: 8}}}}")
    message = "x.yaml:4: model.decoder.strides: stride 32 is deeper than output_stride; name less"
    assert str(caught.value) == message


def test_errors_and_the_schema_know_the_new_types(module: Any) -> None:
    with pytest.raises(SpecError) as caught:
        load(f"plugins: [{module()}]\nname: a\nlabels: voc\nmodel: {{backbone: tinny}}")
    message = (
        'x.yaml:4: model.backbone: expected one of "small", "deep", "tiny"; received "tinny"; did you mean "tiny"?'
    )
    assert str(caught.value) == message
    assert "Small" in str(json_schema(Recipe)) and "Tiny" not in str(json_schema(Recipe)), "the plain type is untouched"


def test_python_code_is_run_only_when_that_is_allowed(module: Any) -> None:
    name = module("raise SystemError('ran')")
    with pytest.raises(SpecError) as caught:
        load(f"name: a\nplugins: [{name}]", allow_plugins=False)
    assert str(caught.value) == f"x.yaml:2: plugins: the file runs the code of {name}; allow it with --allow-plugins"


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
    ],
)
def test_what_is_wrong_with_a_plugin(module: Any, code: str, message: str) -> None:
    name = module(code)
    with pytest.raises(SpecError) as caught:
        load(f"name: a\nplugins: [{name}]")
    assert str(caught.value) == f"x.yaml:2: plugins: {message.replace('NAME', name)}"


def test_a_module_that_does_not_exist() -> None:
    with pytest.raises(SpecError) as caught:
        plugged(Recipe, _document(plugins=("no_such_module_here",)), allow_plugins=True)
    message = (
        "plugins: cannot import \"no_such_module_here\": ModuleNotFoundError: No module named 'no_such_module_here'. "
        "Modules are found where Python finds them: install it, or set PYTHONPATH"
    )
    assert str(caught.value) == message


def _document(**data: Any) -> Any:
    return Document(data)


@pytest.fixture
def unsearched() -> Iterator[None]:
    """Packages are searched for entry points anew, in this test and after it."""
    installed.cache_clear()
    yield
    installed.cache_clear()


@pytest.mark.usefixtures("unsearched")
def test_installed_packages_widen_by_entry_points(module: Any, tmp_path: Path) -> None:
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


def test_nothing_to_add_leaves_the_type_as_it_is() -> None:
    assert widen(Recipe, {"backbone": ()}) is Recipe


@spec
class Blur:
    """The user's own augmentation."""

    type: Literal["blur"] = "blur"


@spec
class Made:
    """A spec whose default is made, and holds specs itself."""

    data: Data = Field(default_factory=lambda: Data(augment=(Flip(),)))
    """Made anew."""


def test_defaults_that_are_made_are_widened() -> None:
    wide = widen(Made, {"augment": (Blur,)})
    assert wide() == validate(wide, _document(data={"augment": ("flip",)}))
    assert validate(wide, _document(data={"augment": ("blur",)})).data.augment == (Blur(),)


def test_a_spec_that_is_there_already_changes_nothing() -> None:
    value = validate(
        widen(Recipe, {"backbone": (Deep,)}), _document(name="a", labels="voc", model={"backbone": "deep"})
    )
    assert value.model.backbone == Deep()
    assert isinstance(value.labels, Labels)
