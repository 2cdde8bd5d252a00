"""At least 2,000 mutated files: a value or a `SpecError`, never another exception."""

from pathlib import Path

import pytest

from tests.spec.fuzz import Target, fuzz
from tests.spec.recipe import Recipe
from tfseg.spec import read, validate

RECIPE = Target(
    load=lambda path, overrides: validate(Recipe, read(path, overrides)),
    type_=Recipe,
    folder=Path(__file__).parent / "files",
)


@pytest.mark.parametrize("target", [pytest.param(RECIPE, id="recipe")])
def test_a_mutated_file_gives_a_value_or_a_spec_error(target: Target, tmp_path: Path) -> None:
    counts = fuzz(target, tmp_path, examples=2000)
    assert counts.total() >= 2000
    assert min(counts["value"], counts["error"]) >= 100, f"mutations that all end alike show nothing: {counts}"
