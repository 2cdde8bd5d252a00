"""Tests of specs, which are frozen, strict and keyword-only, and of their slots and paths."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from tests.spec.recipe import Data, Flip, Net, Recipe, Scale, Skips, Small
from tfseg.spec import InvalidFields
from tfseg.spec.problems import SpecError


def test_specs_are_frozen_and_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Small().width = 2.0  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"^Small\(\) takes keyword arguments only. Received: 1 positional$"):
        Small(2.0)  # type: ignore[misc]


@pytest.mark.parametrize(
    "fields", [{"width": "1"}, {"width": True}, {"width": float("nan")}, {"width": float("inf")}, {"wid": 1.0}]
)
def test_scalars_are_not_coerced_and_unknown_keys_are_rejected(fields: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=r"^Small: wid"):
        Small(**fields)  # type: ignore[arg-type]


def test_constructor_raises_spec_error() -> None:
    """Checks that messages are those of a pipeline file, with the name of the spec instead of file and line."""
    with pytest.raises(SpecError) as caught:
        Small(widht=1.0, depth=[])  # type: ignore[call-arg]
    first, second = str(caught.value).splitlines()
    assert first == 'Small: widht: unknown key; did you mean "width"? Known keys: type, width, weights'
    assert second.startswith("Small: depth: unknown key")
    with pytest.raises(SpecError) as caught:
        Net(backbone={"type": "smal", "width": 2})  # type: ignore[arg-type]
    assert str(caught.value) == (
        'Net: backbone.type: expected one of "small", "deep"; received "smal"; did you mean "small"?'
    )


def test_integer_is_a_valid_number() -> None:
    assert Small(width=2).width == 2.0


def test_slots_accept_specs_mappings_and_names() -> None:
    net = Net(backbone=Small())
    assert Net(backbone="small") == Net(backbone={"type": "small"}) == net  # type: ignore[arg-type]
    assert net.decoder == Skips()
    assert Data(augment=("flip", Scale())).augment == (Flip(), Scale())  # type: ignore[arg-type]


def test_paths_from_python_are_unchanged() -> None:
    assert Data(root=Path("a/../b")).root == Path("a/../b")
    assert Data(root="x").root == Path("x")  # type: ignore[arg-type]


def test_message_of_invalid_fields() -> None:
    assert (
        str(
            InvalidFields(
                (
                    (
                        "a",
                        "b",
                    ),
                    "is 1",
                ),
                (("c",), "is 2"),
            )
        )
        == "a.b: is 1\nc: is 2"
    )


def test_specs_are_hashable_and_comparable() -> None:
    assert hash(Small(width=2)) == hash(Small(width=2.0))
    assert Small() != Small(width=2)


def test_validation_returns_a_spec_unchanged() -> None:
    net = Net(backbone=Small())
    assert TypeAdapter(Net).validate_python(net) is net
    assert dataclasses.is_dataclass(Recipe)


def test_reading_files_imports_no_framework() -> None:
    code = "import sys, tfseg.spec, tfseg.labels; print(sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "[]"
