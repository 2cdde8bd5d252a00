"""Tests of the pages in docs/: Python code runs, pipelines load and build, links and names exist."""

import dataclasses
import re
from pathlib import Path

import keras
import pytest

from tfseg.data.augment import Cutout
from tfseg.data.augment.chain import Geometric, Photometric
from tfseg.pipeline import load
from tfseg.spec.declare import members, type_name

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = (
    *("augmentation.md", "converting.md", "data.md", "foreign_weights.md", "from_model_garden.md"),
    "from_tensorflow_addons.md",
    "pipelines.md",
)


def blocks(language: str) -> list[tuple[str, str]]:
    """Returns the fenced blocks of a language, each with its page and index."""
    found = []
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8")
        parts = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        found += [(f"{page}[{index}]", part) for index, part in enumerate(parts)]
    return found


@pytest.mark.parametrize(("name", "code"), blocks("python"), ids=lambda value: value if "\n" not in value else "")
def test_python_runs(name: str, code: str) -> None:
    exec(compile(code, name, "exec"), {})


@pytest.mark.parametrize(("name", "text"), blocks("yaml"), ids=lambda value: value if "\n" not in value else "")
def test_pipelines_build(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(text)
    with keras.StatelessScope(initialize_variables=False):
        load(tmp_path / "pipeline.yaml").build()


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (DOCS / page).read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (DOCS / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_names_of_tfseg_exist(page: str) -> None:
    """Checks all names such as `tfseg.layers.Name` and `tfseg.ops.name` in a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for package, name in set(re.findall(r"tfseg\.(layers|ops|losses|metrics)\.(\w+)", text)):
        assert hasattr(__import__(f"tfseg.{package}", fromlist=[name]), name), f"tfseg.{package}.{name}"
    for name in set(re.findall(r"`keras\.((?:layers|losses|metrics|optimizers|callbacks|ops)\.[\w.]+)", text)):
        value = keras
        for part in name.split("."):
            value = getattr(value, part)


def test_diffs_match_the_sources() -> None:
    """Checks that removed and context lines of the diffs in architecture.md are in the sources."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    diffs = re.findall(r"^```diff\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(diffs) == 4
    for diff in diffs:
        file = re.search(r"^\+\+\+ b/(.*)$", diff, re.MULTILINE)
        assert file is not None
        source = (DOCS.parent / file[1]).read_text(encoding="utf-8").splitlines()
        expected = [line[1:] for line in diff.splitlines() if line[:1] in (" ", "-") and not line.startswith("---")]
        assert [line for line in expected if line not in source] == []


def test_augmentation_ops_are_documented() -> None:
    """Checks that a row of the table has the op with its keys, and its position relative to the crop."""
    lines = (DOCS / "augmentation.md").read_text(encoding="utf-8").splitlines()
    rows = {line.split("`")[1]: line for line in reversed(lines) if line.startswith("| `")}  # the first table
    for kind in members(Geometric | Photometric | Cutout):
        row = rows[type_name(kind)]
        keys = [field.name for field in dataclasses.fields(kind) if field.name != "type"]
        assert not [key for key in keys if not re.search(rf"`{key}\b", row)], row
        assert ("| before |" in row) == (getattr(kind, "BEFORE_CROP", False) is True), row
