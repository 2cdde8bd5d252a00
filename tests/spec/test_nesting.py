"""Slots whose components contain components of the same slot: validation, messages, plugins and JSON Schema."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from tfseg.spec import SpecError, dump, json_schema, read, spec, validate, widen
from tfseg.spec.declare import ByType
from tfseg.spec.nesting import Inner

STEP = Inner("steps")


@spec
class Turn:
    """Turns."""

    type: Literal["turn"] = "turn"
    degrees: Annotated[int, Field(ge=0)] = 90
    """Angle."""


@spec
class Loop:
    """Repeats steps."""

    type: Literal["loop"] = "loop"
    body: tuple[Annotated[Any, STEP], ...]
    """Steps."""


@spec
class Program:
    """A program."""

    steps: tuple[Annotated[Turn | Loop, ByType(inner=STEP)], ...]
    """Steps."""


@spec
class Jump:
    """A step of a plugin."""

    type: Literal["jump"] = "jump"
    height: int = 1
    """Height."""


TEXT = """\
steps:
- turn
- type: loop
  body:
  - {type: turn, degrees: 45}
  - type: loop
    body: [turn]
"""


def load(text: str, folder: Any, kind: type = Program) -> Any:
    (folder / "x.yaml").write_text(text)
    return validate(kind, read(folder / "x.yaml"))


def test_nested_components_in_files_and_in_python(tmp_path: Any) -> None:
    value = load(TEXT, tmp_path)
    assert value == Program(steps=(Turn(), Loop(body=(Turn(degrees=45), {"type": "loop", "body": ("turn",)}))))
    assert value.steps[1].body[1].body == (Turn(),)
    assert load(dump(value), tmp_path) == value
    assert load(dump(value.steps[1]), tmp_path, Loop) == value.steps[1]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("degrees: 45", "degrees: -4", "steps.1.body.0.degrees: expected an integer of at least 0; received -4"),
        ("degrees: 45", "degres: 45", 'steps.1.body.0.degres: unknown key; did you mean "degrees"?'),
        ("[turn]", "[turm]", 'steps.1.body.1.body.0: expected one of "turn", "loop"; received "turm"; did you mean'),
        ("[turn]", "[{type: 3}]", 'steps.1.body.1.body.0.type: expected one of "turn", "loop"; received 3'),
        ("[turn]", "turn", 'steps.1.body.1.body: expected a list of items; received "turn"'),
        ("    body: [turn]\n", "", "steps.1.body.1.body: missing"),
    ],
)
def test_problems_inside_have_line_and_path(before: str, after: str, message: str, tmp_path: Any) -> None:
    with pytest.raises(SpecError) as caught:
        load(TEXT.replace(before, after), tmp_path)
    (problem,) = caught.value.problems
    assert f"{problem.path}: {problem.message}".startswith(message)
    assert problem.where.startswith(f"{tmp_path}/x.yaml:")


def test_problems_of_a_component_without_its_slot() -> None:
    with pytest.raises(SpecError) as caught:
        Loop(body=({"type": "loop", "body": ({"type": "turn", "degrees": -1},)},))
    assert str(caught.value) == "Loop: body.0.body.0.degrees: expected an integer of at least 0; received -1"


def test_plugins_extend_the_slot_at_every_depth(tmp_path: Any) -> None:
    wide, text = widen(Program, {"steps": (Jump,)}), TEXT.replace("[turn]", "[{type: jump, height: 3}]")
    value = load(text, tmp_path, wide)
    assert value.steps[1].body[1].body[0].height == 3
    assert load(dump(value), tmp_path, wide) == value
    with pytest.raises(SpecError, match=r'steps.1.body.1.body.0.type: expected one of "turn", "loop"; received "jump"'):
        load(text, tmp_path)
    with pytest.raises(SpecError, match=r'steps.1.body.1.body.0.height: expected an integer; received "x"'):
        load(text.replace("3", "x"), tmp_path, wide)


def test_json_schema_refers_to_the_slot() -> None:
    schema = json_schema(Program)
    item = {"$ref": "#/$defs/steps.item"}
    assert schema["$defs"]["Program"]["properties"]["steps"]["items"] == item
    assert schema["$defs"]["Loop"]["properties"]["body"]["items"] == item
    assert schema["$defs"]["steps.item"]["anyOf"][0] == {"type": "string", "enum": ["turn"]}


def test_a_mark_without_a_slot() -> None:
    @spec
    class Alone:
        body: tuple[Annotated[Any, Inner("nothing")], ...]

    with pytest.raises(TypeError, match=r"no slot has ByType\(inner=Inner\('nothing'\)\)"):
        Alone(body=(1,))
    with pytest.raises(SpecError, match="expected a list of items; received 1"):
        Alone(body=1)
