"""The examples run as they stand, in a process of their own; the documentation's file is a valid one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import tfseg

ROOT = Path(__file__).resolve().parent.parent


def example(name: str, *words: str) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_three_layers_in_a_foreign_app(tmp_path: Path) -> None:
    """The app learns its task, and its file loads in another process state than the one that trained."""
    path = tmp_path / "bright.keras"
    match = re.fullmatch(
        r"accuracy on 49 x 49 pictures, after training on 32 x 32: (\d\.\d{3})\n", example("foreign_app.py", str(path))
    )
    assert match and float(match[1]) > 0.9
    assert path.is_file()


def test_save_pictures(tmp_path: Path) -> None:
    example("save_pictures.py", str(ROOT / "pipelines" / "shapes.yaml"), "--count", "2", "--output", str(tmp_path))
    pictures = sorted(tmp_path.iterdir())
    assert [picture.name for picture in pictures] == ["val_000000.png", "val_000001.png"]
    with Image.open(pictures[0]) as picture:
        assert picture.mode == "RGB"


def test_the_file_in_the_readme(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    match = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert match
    file = tmp_path / "streets.yaml"
    file.write_text(match[1])
    pipeline = tfseg.load(file, ["training.epochs=3"])
    assert pipeline.build().output_shape == (None, None, None, 3)


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda page: page.name,
)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing
