"""Tests of the test tiers: the selection of slow tests, and the limit of CPU time."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests import tiers

SUITE = """
import pytest

@pytest.mark.slow
@pytest.mark.parametrize("number", range(24))
def test_rotates(number):
    pass

def test_core():
    pass
"""

MANY = """
import pytest

@pytest.mark.first_cases(2)
@pytest.mark.parametrize("number", range(5))
def test_many(number):
    pass
"""

BUSY = """
import subprocess, sys
import pytest

SPIN = "import time\\nend = time.process_time() + 0.6\\nwhile time.process_time() < end: pass"

def test_in_a_child():
    subprocess.run([sys.executable, "-c", SPIN], check=True)

@pytest.mark.slow
def test_may_take_longer():
    exec(SPIN, {})

def test_quick():
    pass
"""


def run_pytest(folder: Path, text: str, *words: str, limits: tuple[float, float] | None = None) -> str:
    """Returns the output of pytest in a folder with the plugin and one test file."""
    plugin = Path(tiers.__file__).read_text(encoding="utf-8")
    if limits:
        plugin = plugin.replace("PRINTED_FROM, REFUSED_FROM = 10.0, 30.0", f"PRINTED_FROM, REFUSED_FROM = {limits}")
        assert str(limits) in plugin
    (folder / "conftest.py").write_text(plugin, encoding="utf-8")
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n  slow: rotates\n  first_cases(n): the others rotate\n", encoding="utf-8"
    )
    (folder / "test_suite.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *words]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    outcome = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return outcome.stdout + outcome.stderr


def test_slow_tests_have_one_turn_of_six(tmp_path: Path) -> None:
    ids = [f"test_suite.py::test_rotates[{number}]" for number in range(24)]
    seen = []
    for turn in range(6):
        output = run_pytest(tmp_path, SUITE, f"--sixth={turn}")
        assert f"slow tests: turn {turn} of 0 to 5 (again: --sixth {turn})" in output
        assert "test_suite.py::test_core PASSED" in output
        ran = [name for name in ids if f"{name} PASSED" in output]
        assert ran == [name for name in ids if zlib.crc32(name.encode()) % 6 == turn]
        seen += ran
    assert sorted(seen) == sorted(ids)


def test_first_cases_are_not_slow(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, MANY, "-m", "not slow")
    assert "test_many[0] PASSED" in output and "test_many[1] PASSED" in output
    assert "2 passed, 3 deselected" in output


def test_folder_without_git(tmp_path: Path) -> None:
    assert "--sixth commit needs a git checkout; give a turn, --sixth 0" in run_pytest(
        tmp_path, SUITE, "--sixth=commit"
    )


def test_turn_of_commit(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        outcome = subprocess.run(["git", *identity, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return outcome.stdout.strip()

    git("init", "--quiet", "whole")
    for number in range(8):
        git("-C", "whole", "commit", "--quiet", "--allow-empty", "--message", str(number))
    git("clone", "--quiet", "--depth", "1", f"file://{tmp_path}/whole", "shallow")
    assert tiers.turn_of_commit(tmp_path / "whole") == 2
    assert tiers.turn_of_commit(tmp_path / "shallow") == int(git("-C", "whole", "rev-parse", "HEAD"), 16) % 6


def test_cpu_seconds_are_printed_and_limited_in_the_core(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, BUSY, limits=(0.3, 0.5))
    assert "test_suite.py::test_in_a_child FAILED" in output
    assert "CPU seconds; the limit for a test of the core is 0.5. Make it faster, or mark it with" in output
    assert "test_suite.py::test_may_take_longer PASSED" in output
    assert "CPU seconds, from 0.3 on" in output
    printed = output.partition("CPU seconds, from 0.3 on")[2]
    assert "test_suite.py::test_in_a_child" in printed and "test_suite.py::test_may_take_longer" in printed
    assert "test_quick" not in printed


@pytest.mark.parametrize("option", ["6", "x"])
def test_invalid_turns_are_rejected(tmp_path: Path, option: str) -> None:
    assert "invalid choice" in run_pytest(tmp_path, SUITE, f"--sixth={option}")
