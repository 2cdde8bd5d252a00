"""Tests of the wheel, and of the consistency of metadata, constraints and code."""

import configparser
import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import tfseg
from tests.tiers import rotating

ROOT = Path(__file__).resolve().parent.parent
PIPELINES = sorted((ROOT / "pipelines").glob("*.yaml"))


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text: str) -> dict[str, str]:
    """Parses lines such as `tensorflow>=2.20.0` or `tensorflow==2.20.0` to versions by name."""
    found = (re.fullmatch(r"([\w-]+)[>=]=([\d.]+)", line.strip()) for line in text.splitlines())
    return {match[1]: match[2] for match in found if match}


def test_lowest_versions_are_tested(setup: configparser.ConfigParser) -> None:
    assert requirements(setup["options"]["install_requires"]) == requirements((ROOT / ".ci/lowest.txt").read_text())


def test_every_package_is_in_the_wheel(setup: configparser.ConfigParser) -> None:
    folders = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "tfseg").rglob("__init__.py")}
    assert set(setup["options"]["packages"].split()) == folders | {"tfseg.pipelines"}


def test_lazy_names() -> None:
    """Checks that the lists in `tfseg/__init__.py` agree, and that each name exists in its module."""
    assert set(tfseg.__all__) == {*tfseg._MODULES, "export"}
    for name in tfseg.__all__:
        assert callable(getattr(tfseg, name)), name
    with pytest.raises(AttributeError, match=re.escape("module 'tfseg' has no attribute 'nope'")):
        tfseg.nope  # noqa: B018


def run_python(code: str) -> str:
    outcome = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.strip()


def test_import_is_light() -> None:
    assert run_python("import sys, tfseg; print({'keras', 'tensorflow', 'numpy'} & set(sys.modules))") == "set()"


@pytest.mark.parametrize("first", rotating(("tfseg.export", "tfseg.exporting", "tfseg.runs"), {"tfseg.export"}))
def test_verbs_are_functions(first: str) -> None:
    """Checks that no subpackage shadows a function, whichever is imported first."""
    code = (
        f"import inspect, tfseg\n{first}\n"
        "verbs = 'fit', 'evaluate', 'predict', 'export', 'tune_crf', 'import_weights'\n"
        "print([verb for verb in verbs if not inspect.isfunction(getattr(tfseg, verb))])"
    )
    assert run_python(code) == "[]"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Builds the wheel from a clean copy, without the files of earlier builds."""
    folder = tmp_path_factory.mktemp("wheel")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("needs a git checkout")
    for name in filter(None, listing.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            copy = folder / "sources" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "sources"]
    outcome = subprocess.run(
        [*command[:-1], str(folder / "sources")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    if "Could not find a version that satisfies the requirement setuptools" in outcome.stderr:
        pytest.skip("needs the network, for setuptools")
    assert outcome.returncode == 0, outcome.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.mark.slow
def test_wheel(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    info = f"tfseg-{tfseg.__version__}.dist-info"
    assert wheel.filename and wheel.filename.endswith(f"tfseg-{tfseg.__version__}-py3-none-any.whl")
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "tfseg").rglob("*.py")}
    assert modules <= names
    assert PIPELINES and {f"tfseg/pipelines/{file.name}" for file in PIPELINES} <= names
    assert {"tfseg/py.typed", f"{info}/licenses/LICENSE"} <= names
    assert not [name for name in names if not name.startswith(("tfseg/", info))]
    assert wheel.read(f"{info}/entry_points.txt").decode().split() == [
        "[console_scripts]",
        "tfseg",
        "=",
        "tfseg.cli.commands:main",
    ]
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == "<3.14,>=3.11"


def test_license_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.lstrip().startswith("Apache License\n                           Version 2.0, January 2004")
    assert "END OF TERMS AND CONDITIONS" in text and len(text) > 11_000


# The interpreter that `make` uses.


def find_python(
    folder: Path, pythons: dict[str, str], *words: str, python: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs `.ci/find_python` with fake interpreters that print a version or fail."""
    folder.mkdir(exist_ok=True)
    for name, version in pythons.items():
        major, minor, _ = version.split(".")
        script = folder / name
        script.write_text(
            "#!/bin/sh\n"
            f'case "$2" in *platform*) echo {version};; *version_info*) exec {sys.executable} -c '
            f'"import sys; sys.version_info = ({major}, {minor}); $2";; *) exit {int(minor == "12")};; esac\n'
        )
        script.chmod(0o755)
    command = ["/bin/sh", str(ROOT / ".ci/find_python"), *words]
    environment = {"PATH": str(folder), "PYTHON": python}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_newest_supported_python(tmp_path: Path) -> None:
    pythons = {"python3.13": "3.13.1", "python3.11": "3.11.4", "python3": "3.14.0"}
    assert find_python(tmp_path, pythons).stdout == "python3.13\n"
    assert find_python(tmp_path, pythons, "3.11", "3.11").stdout == "python3.11\n"
    assert find_python(tmp_path, pythons, python="python3.11").stdout == "python3.11\n"


def test_no_supported_python(tmp_path: Path) -> None:
    outcome = find_python(tmp_path, {"python3": "3.9.2", "python3.12": "3.12.3"})
    assert outcome.returncode == 1
    assert outcome.stderr == (
        "tfseg needs Python 3.11 to 3.13 with venv. Looked for: python3.13 python3.12 python3.11 python3 python. Found:"
        " python3.12 (3.12.3) has no venv, install python3.12-venv; python3 is 3.9.2;\n"
        "Name one by hand: make PYTHON=/path/to/python3.12 demo\n"
    )
