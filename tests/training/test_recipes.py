"""The recipes of docs/training.md: what the table says is what a file may say, and means what the papers mean."""

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
def test_a_recipe_may_stand_in_a_file(fragment: str, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("{}")
    path, _, value = fragment.partition(": ")
    kind = Data if path.startswith("data.") else Training
    path = f"optimizer.{path}" if path in INSIDE else path.removeprefix("data.")
    assert isinstance(validate(kind, read(tmp_path / "empty.yaml", [f"{path}={value}"])), kind)


def test_the_table_is_found() -> None:
    assert len(FRAGMENTS) > 15


def test_deeplab_learns_its_classifier_at_ten_and_twenty_times_the_rate() -> None:
    multipliers = {"/bias$": 2.0, "^fc8": 10.0}
    paths = ["conv1_1/kernel", "conv1_1/bias", "fc8/kernel", "fc8/bias"]
    assert [learning_rate_factor(path, multipliers) for path in paths] == [1, 2, 10, 20]


def test_deeplab_v1_at_two_thousand_steps(tmp_path: Path) -> None:
    (tmp_path / "v1.yaml").write_text(
        "{steps: 6000, optimizer: {type: sgd, learning_rate: 0.001},\n"
        " schedule: {type: step, every: 2000, unit: steps}}"
    )
    training = validate(Training, read(tmp_path / "v1.yaml"))
    length = training.length(1059)  # 10,582 images, 10 at a time
    rate = training.schedule(0.001, steps=length.total_steps, steps_per_epoch=length.steps_per_epoch)
    assert (length.batches, length.epochs) == (6000, 6)
    assert [float(rate(step)) for step in (0, 1999, 2000, 3999, 4000)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5])
