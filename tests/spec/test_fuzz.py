"""At least 2,000 mutated files: a value or a `SpecError`, never another exception."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.spec.fuzz import Target, fuzz, sweep
from tests.spec.recipe import Recipe
from tfseg.spec import read, validate

FOLDER = Path(__file__).parent


def recipe() -> Target:
    """The small spec type of these tests."""
    return Target(lambda path, overrides: validate(Recipe, read(path, overrides)), Recipe, FOLDER / "files")


def pipeline() -> Target:
    """Pipelines, starting from the shipped ones."""
    module = pytest.importorskip("tfseg.pipeline")
    return Target(module.load, module.Pipeline, FOLDER.parents[1] / "pipelines")


@pytest.mark.parametrize(
    ("target", "examples"), [(recipe, 300), (pipeline, 150), pytest.param(pipeline, 2000, marks=pytest.mark.slow)]
)
def test_a_mutated_file_gives_a_value_or_a_spec_error(
    target: Callable[[], Target], examples: int, tmp_path: Path
) -> None:
    counts = fuzz(target(), tmp_path, examples)
    assert counts.total() >= examples
    assert min(counts["value"], counts["error"]) >= examples // 20, f"all alike, which shows nothing: {counts}"


@pytest.mark.parametrize("target", [recipe, pytest.param(pipeline, marks=pytest.mark.slow)])
def test_any_value_anywhere_gives_a_value_or_a_spec_error(target: Callable[[], Target]) -> None:
    counts = sweep(target())
    assert min(counts["value"], counts["error"]) >= 50, f"all alike, which shows nothing: {counts}"
