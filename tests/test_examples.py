"""Tests of the examples, each in its own process, of the pipeline file in the README, and of links in the docs."""

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


def test_foreign_app(tmp_path: Path) -> None:
    """Checks that the app trains to an accuracy above 0.9 and saves its model."""
    path = tmp_path / "bright.keras"
    match = re.fullmatch(
        r"accuracy on 49 x 49 images, after training on 32 x 32: (\d\.\d{3})\n", example("foreign_app.py", str(path))
    )
    assert match and float(match[1]) > 0.9
    assert path.is_file()


def test_save_images(tmp_path: Path) -> None:
    example("save_images.py", str(ROOT / "pipelines" / "shapes.yaml"), "--count", "2", "--output", str(tmp_path))
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["val_000000.png", "val_000001.png"]
    with Image.open(files[0]) as image:
        assert image.mode == "RGB"


def test_pipeline_file_in_the_readme(tmp_path: Path) -> None:
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
def test_links(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing
