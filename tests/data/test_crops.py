"""Validation of crop sizes against the grid of the network."""

from pathlib import Path

import pytest

from tests.models.conftest import LABELS
from tfseg.context import Context, Grid
from tfseg.data import Data
from tfseg.data.crops import crop_problem
from tfseg.pipeline import load
from tfseg.spec.problems import SpecError


def test_crop_must_fit_the_grid() -> None:
    message = "with output stride 4, height and width must be a multiple of 4, or that plus one. Nearest: 9 or 12. "
    assert list(Data(crop=10).problems(Context(LABELS, 3, 10, Grid(4, 4, None)))) == [
        (("crop",), f"{message}Received: 10")
    ]
    for crop, grid in ((9, Grid(4, 4, None)), (10, None), (None, Grid(4, 4, 0))):
        assert not list(Data(crop=crop).problems(Context(LABELS, 3, crop, grid)))


def test_several_scales_require_larger_multiples() -> None:
    message = "with output stride 8 and the scales of the model, height and width must be a multiple of 32 plus one."
    assert (crop_problem(41, Grid(8, 32, 1)) or "").startswith(message)


def test_crop_is_reported_with_other_problems(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load("shapes", ["data.crop=30", "model.channels=1"])
    assert [problem.path for problem in caught.value.problems] == ["data.crop", "model.channels"]
    assert caught.value.problems[0].where == 'override "data.crop=30"'
