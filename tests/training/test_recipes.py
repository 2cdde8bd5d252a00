"""Recipes of docs/training.md: they are valid pipeline sections with the values of the papers."""

import re
from pathlib import Path

import pytest

from tfseg.data import Data
from tfseg.spec.source import read
from tfseg.spec.validate import validate
from tfseg.training import Training
from tfseg.training.lr_multipliers import learning_rate_factor

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs" / "training.md").read_text().partition("## Recipes of the papers")[2]
FRAGMENTS = [fragment for line in TABLE.splitlines()[4:] for fragment in re.findall("`([^`]+)`", line.split("|")[2])]
INSIDE = ("lr_multipliers",)
"""Fields of the optimizer."""


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_recipe_is_valid(fragment: str, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("{}")
    path, _, value = fragment.partition(": ")
    kind = Data if path.startswith("data.") else Training
    path = f"optimizer.{path}" if path in INSIDE else path.removeprefix("data.")
    assert isinstance(validate(kind, read(tmp_path / "empty.yaml", [f"{path}={value}"])), kind)


def test_table_has_recipes() -> None:
    assert len(FRAGMENTS) > 15


def test_deeplab_classifier_has_multipliers_10_and_20() -> None:
    multipliers = {"/bias$": 2.0, "^fc8": 10.0}
    paths = ["conv1_1/kernel", "conv1_1/bias", "fc8/kernel", "fc8/bias"]
    assert [learning_rate_factor(path, multipliers) for path in paths] == [1, 2, 10, 20]


def test_deeplab_v1_decays_every_2000_steps(tmp_path: Path) -> None:
    (tmp_path / "v1.yaml").write_text(
        "{steps: 6000, optimizer: {type: sgd, learning_rate: 0.001},\n"
        " schedule: {type: step, every: 2000, unit: steps}}"
    )
    training = validate(Training, read(tmp_path / "v1.yaml"))
    duration = training.length(1059)  # 10,582 images, 10 at a time
    rate = training.schedule(0.001, steps=duration.total_steps, steps_per_epoch=duration.steps_per_epoch)
    assert (duration.batches, duration.epochs) == (6000, 6)
    assert [float(rate(step)) for step in (0, 1999, 2000, 3999, 4000)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5])
