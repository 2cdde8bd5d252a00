"""Pytest plugin for test tiers and for the CPU time of tests.

The core (`-m "not slow and not extra"`) runs at every push. The slow tests rotate: `--sixth commit` selects those of
the current commit, a test `i` if `crc32(i) % 6` equals the number of commits modulo 6, and `--sixth 4` those of turn 4.

The CPU seconds of the call phase of a test, including child processes but not fixtures, are printed from `PRINTED_FROM`
on. From `REFUSED_FROM` on, a test of the core fails. CPU time is independent of the load of the machine.
"""

import os
import subprocess
import zlib
from collections import Counter
from collections.abc import Collection, Generator, Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
TURNS = 6
PRINTED_FROM, REFUSED_FROM = 10.0, 30.0
"""CPU seconds."""
SECONDS = "cpu_seconds"
TURN = pytest.StashKey[int]()


def turn_of_test(name: str) -> int:
    """Returns the turn in which a slow test runs, from its id."""
    return zlib.crc32(name.encode()) % TURNS


def turn_of_commit(root: Path = ROOT) -> int:
    """Returns the turn of the current commit, from the number of commits, or from its hash in a shallow clone."""
    if git(root, "rev-parse", "--is-shallow-repository") == "true":
        return int(git(root, "rev-parse", "HEAD"), 16) % TURNS
    return int(git(root, "rev-list", "--count", "HEAD")) % TURNS


def git(root: Path, *words: str) -> str:
    try:
        outcome = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except OSError as error:
        raise pytest.UsageError(f"--sixth commit needs git; give a turn, --sixth 0: {error}") from error
    if outcome.returncode:
        raise pytest.UsageError(
            f"--sixth commit needs a git checkout; give a turn, --sixth 0: {outcome.stderr.strip()}"
        )
    return outcome.stdout.strip()


def rotating(names: Iterable[str], core: Collection[str]) -> list[Any]:
    """Returns the parameters of a test, of which those not in `core` are slow."""
    names = list(names)
    assert set(core) <= set(names), f"unknown: {set(core) - set(names)}"
    return [pytest.param(name, id=name, marks=() if name in core else pytest.mark.slow) for name in names]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--sixth",
        choices=("commit", *map(str, range(TURNS))),
        help="select the slow tests of one turn: that of the current commit, or the given one; keeps all other tests",
    )


def pytest_configure(config: pytest.Config) -> None:
    if (sixth := config.getoption("sixth")) is not None:
        config.stash[TURN] = turn_of_commit() if sixth == "commit" else int(sixth)


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    cases: Counter[str] = Counter()
    for item in items:
        if mark := item.get_closest_marker("first_cases"):
            test = item.nodeid.partition("[")[0]
            cases[test] += 1
            if cases[test] > mark.args[0]:
                item.add_marker(pytest.mark.slow)
    turn = config.stash.get(TURN, None)
    if turn is None:
        return
    waiting = [item for item in items if is_slow(item) and turn_of_test(item.nodeid) != turn]
    if waiting:
        config.hook.pytest_deselected(items=waiting)
        deselected = set(waiting)
        items[:] = [item for item in items if item not in deselected]


def is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    before = cpu_seconds()
    try:
        result = yield
    finally:
        seconds = cpu_seconds() - before
        item.user_properties.append((SECONDS, seconds))
    if seconds >= REFUSED_FROM and not is_slow(item):
        pytest.fail(
            f"took {seconds:.1f} CPU seconds; the limit for a test of the core is {REFUSED_FROM:g}. "
            "Make it faster, or mark it with @pytest.mark.slow.",
            pytrace=False,
        )
    return result


def cpu_seconds() -> float:
    """Returns the CPU time of this process and of its running and ended child processes."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system + sum(map(seconds_of, children()))


def children() -> list[str]:
    """Returns the ids of the running child processes; an empty list without `/proc`."""
    threads = Path("/proc/self/task")
    return [pid for file in threads.glob("*/children") for pid in read(file).split()] if threads.is_dir() else []


def seconds_of(pid: str) -> float:
    """Returns the CPU time of a child process and of its ended children."""
    fields = read(Path("/proc", pid, "stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def read(file: Path) -> str:
    """Returns the content of a file, or an empty string if its thread or process has ended."""
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if (turn := config.stash.get(TURN, None)) is not None:
        terminalreporter.write_line(f"slow tests: turn {turn} of 0 to {TURNS - 1} (again: --sixth {turn})")
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    taken = [(dict(report.user_properties).get(SECONDS, 0.0), report.nodeid) for report in reports]
    expensive = sorted((each for each in taken if each[0] >= PRINTED_FROM), reverse=True)
    if expensive:
        terminalreporter.section(f"CPU seconds, from {PRINTED_FROM:g} on")
        for seconds, name in expensive:
            terminalreporter.write_line(f"{seconds:6.1f}  {name}")
