"""Tests with at least 2,000 mutated files: each gives a value or a `SpecError`, never another exception."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.spec.fuzz import Target, fuzz, sweep
from tests.spec.recipe import Recipe
from tfseg.spec import read, validate

FOLDER = Path(__file__).parent


def recipe() -> Target:
    """Returns the small spec type of these tests as a target."""
    return Target(lambda path, overrides: validate(Recipe, read(path, overrides)), Recipe, FOLDER / "files")


def pipeline() -> Target:
    """Returns the pipelines as a target, starting from the shipped ones."""
    module = pytest.importorskip("tfseg.pipeline")
    return Target(module.load, module.Pipeline, FOLDER.parents[1] / "pipelines")


@pytest.mark.parametrize(
    ("target", "examples"), [(recipe, 300), (pipeline, 150), pytest.param(pipeline, 2000, marks=pytest.mark.slow)]
)
def test_mutated_files_give_value_or_spec_error(target: Callable[[], Target], examples: int, tmp_path: Path) -> None:
    counts = fuzz(target(), tmp_path, examples)
    assert counts.total() >= examples
    assert min(counts["value"], counts["error"]) >= examples // 20, f"nearly all results are of one kind: {counts}"


@pytest.mark.parametrize("target", [recipe, pytest.param(pipeline, marks=pytest.mark.slow)])
def test_odd_values_give_value_or_spec_error(target: Callable[[], Target]) -> None:
    counts = sweep(target())
    assert min(counts["value"], counts["error"]) >= 50, f"nearly all results are of one kind: {counts}"
