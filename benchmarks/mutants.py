"""Mutation testing: a sample of small changes to the sources, tested by the test suites of two checkouts.

    python benchmarks/mutants.py sample --count 120 --seed 0 --output mutants.json
    python benchmarks/mutants.py judge mutants.json --checkout DIR --python PYTHON --output new.json
    python benchmarks/mutants.py table old.json new.json

`sample` requires cosmic-ray and draws uniformly from all positions of all its operators. It skips mutants that do not
compile, and mutants that change only type annotations or type aliases: these either have no effect or fail at import,
which every test detects. Bounds in annotations are included, as in `Annotated[int, Field(ge=1)]`, because pydantic
checks them.

`judge` runs the tests of a checkout that mirror the mutated module:

* `tests/<package>/test_<module>.py`; for a module in a subpackage, also without the name of the subpackage;
* otherwise, the files of the mirrored directory that import the module, also by a name that its package re-exports;
* otherwise, the tests of every module that imports it, by the same three rules;
* in addition, the cases in `tests/test_cases.py` of the module's classes, or, if there are none, of the classes in the
  modules that import it.

A mutant is killed if these tests fail, crash, cannot be collected, or take more than 20 s and three times as long as
without it. Every run has a fresh copy of the tracked files. Results are JSON lines; an interrupted run continues where
it stopped. `--markers "not slow"` selects tests like pytest's `-m`. `table` compares the mutants that both have judged.
"""

import argparse
import ast
import difflib
import functools
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PACKAGES = ("ops", "layers", "losses", "metrics", "data", "training", "inference", "export", "models")
WITH_ARGUMENTS = {"layers", "losses", "metrics"}
"""Packages whose cases are named `Name(arguments)`; cases of the others are named `Name`."""
MIN_LIMIT, TIMES = 20.0, 3
"""Minimum time limit of a run in seconds, and its multiple of the time without a mutant."""
PASSED, NO_TESTS = 0, 5
"""Exit statuses of pytest."""
KILLED = {"killed", "killed by time"}
Mutant = dict[str, Any]
"""Keys: `id`, `module`, `operator`, `occurrence`, `line`, and `diff`: all lines from the first to the last change."""


# The sample


class Meaning(ast.NodeTransformer):
    """Removes type annotations and type aliases from a syntax tree, except for the calls in them."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = calls(node.annotation)
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if isinstance(node.targets[0], ast.Name) and re.fullmatch(r"_?[A-Z]\w*[a-z]", node.targets[0].id):
            node.value = calls(node.value)
        return self.generic_visit(node)


def calls(node: ast.expr) -> ast.expr:
    return ast.List([each for each in ast.walk(node) if isinstance(each, ast.Call)], ast.Load())


def meaning(source: str) -> str | None:
    """Returns the syntax tree as text, or `None` if `source` does not compile."""
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return None
    return ast.dump(Meaning().visit(ast.parse(source)))


def mutations(source: str) -> Iterator[tuple[str, int]]:
    """Yields every operator without arguments, with the indices of the positions that it applies to."""
    try:
        from cosmic_ray import plugins
        from cosmic_ray.ast import ast_nodes, get_ast
    except ImportError as error:
        raise SystemExit("sample requires cosmic-ray: pip install cosmic-ray") from error

    nodes = list(ast_nodes(get_ast(source)))
    kinds = {name: plugins.get_operator(name) for name in sorted(plugins.operator_names())}
    for name, operator in ((name, kind()) for name, kind in kinds.items() if not kind.arguments()):
        positions = (position for node in nodes for position in operator.mutation_positions(node))
        yield from ((name, occurrence) for occurrence, _ in enumerate(positions))


def made(module: str, source: str, operator: str, occurrence: int) -> Mutant | None:
    """Returns a mutant, or `None` if it is skipped."""
    from cosmic_ray import mutating, plugins

    mutated = mutating.mutate_code(source, plugins.get_operator(operator)(), occurrence)
    if mutated is None or meaning(mutated) in (None, meaning(source)):
        return None
    old, new = source.splitlines(), mutated.splitlines()
    changes = [each for each in difflib.SequenceMatcher(None, old, new, False).get_opcodes() if each[0] != "equal"]
    (_, first, _, begin, _), (_, _, last, _, end) = changes[0], changes[-1]
    diff = [*(f"-{line}" for line in old[first:last]), *(f"+{line}" for line in new[begin:end])]
    key = f"{module}:{operator.removeprefix('core/')}:{occurrence}"
    position = {"operator": operator, "occurrence": occurrence, "line": first + 1}
    return {"id": key, "module": module, **position, "diff": diff}


def sample(options: argparse.Namespace) -> None:
    """Draws the mutants and writes them, sorted by module."""
    root = Path(__file__).resolve().parent.parent
    files = [file for package in PACKAGES for file in sorted((root / "tfseg" / package).rglob("*.py"))]
    sources = {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files}
    drawn = [(module, *mutation) for module, source in sources.items() for mutation in mutations(source)]
    random.Random(options.seed).shuffle(drawn)
    valid = filter(None, (made(module, sources[module], *mutation) for module, *mutation in drawn))
    chosen = sorted(itertools.islice(valid, options.count), key=lambda each: (each["module"], each["line"], each["id"]))
    options.output.write_text(json.dumps(chosen, indent=1) + "\n", encoding="utf-8")
    print(f"{len(chosen)} mutants in {len({each['module'] for each in chosen})} modules, of {len(drawn)} possible ones")


# The tests of a module


class Checkout:
    """Modules of a checkout, their imports, and the tests that mirror them. Paths are relative to its root."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True)
        self.files = [name for name in listing.stdout.split("\0") if name and (root / name).is_file()]
        modules = [name for name in self.files if re.match(r"tfseg/.*\.py$", name)]
        self.modules = {re.sub(r"(/__init__)?\.py$", "", name).replace("/", "."): name for name in modules}

    @functools.cache  # noqa: B019  # one checkout per process
    def tree(self, file: str) -> ast.Module:
        return ast.parse((self.root / file).read_text(encoding="utf-8"))

    @functools.cache  # noqa: B019
    def imported(self, file: str) -> dict[str, str]:
        """Returns the full names that `file` imports, by the names that they are bound to."""
        nodes = list(ast.walk(self.tree(file)))
        plain = {alias.name: alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        named = [(node.module, alias) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
        return plain | {alias.asname or alias.name: f"{module}.{alias.name}" for module, alias in named}

    def home(self, name: str) -> str | None:
        """Returns the module that defines a full name, through re-exports of packages."""
        package, _, last = name.rpartition(".")
        if name in self.modules or package not in self.modules:
            return self.modules.get(name)
        exported = self.imported(self.modules[package]).get(last)
        return self.home(exported) if exported else self.modules[package]

    @functools.cache  # noqa: B019
    def homes(self, file: str) -> set[str | None]:
        return {self.home(name) for name in self.imported(file).values()}

    def importers(self, module: str) -> list[str]:
        """Returns the modules that import `module`, without packages, which only re-export it."""
        return [each for each in self.modules.values() if module in self.homes(each) and "__init__" not in each]

    def tests(self, module: str, seen: tuple[str, ...] = ()) -> list[str]:
        """Returns the test files of a module, by the rules above."""
        mirrored = [Path("tests", *folder.parts[1:]) for folder in Path(module).parents if folder.parts]
        mirrored = mirrored[:-1] or mirrored  # a file in `tests` with the module's name may test something else
        own = [(folder / f"test_{Path(module).stem}.py").as_posix() for folder in mirrored]
        if own := [name for name in own if name in self.files]:
            return own[:1]
        folder = next(folder for folder in mirrored if (self.root / folder).is_dir())
        files = [name for name in self.files if re.fullmatch(rf"{folder.as_posix()}/test_[^/]*\.py", name)]
        if files := [name for name in files if module in self.homes(name)]:
            return files
        above = [each for each in self.importers(module) if each not in seen]
        return sorted({name for each in above for name in self.tests(each, (*seen, module))})

    def cases(self, module: str, ids: list[str]) -> list[str]:
        """Returns the cases of a module in `ids`, by the rules above."""
        return self.cases_of([module], ids) or self.cases_of(self.importers(module), ids)

    def cases_of(self, modules: list[str], ids: list[str]) -> list[str]:
        classes = [(m, node.name) for m in modules for node in self.tree(m).body if isinstance(node, ast.ClassDef)]
        names = [rf"{name}\(" if m.split("/")[1] in WITH_ARGUMENTS else rf"{name}\]" for m, name in classes]
        return [each for each in ids if any(re.search(rf"::\w+\[(\w+-)?{name}", each) for name in names)]


# The runs


@contextmanager
def copied(checkout: Checkout) -> Iterator[Path]:
    """Creates a temporary copy of the tracked files, without bytecode, examples or outputs of other mutants."""
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder, "checkout")
        for name in checkout.files:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout.root / name, copy / name)
        Path(folder, "scratch").mkdir()
        if (shared := checkout.root.parent / "shared").is_dir():
            Path(folder, "shared").symlink_to(shared.resolve())
        yield copy


def mutate(copy: Path, mutant: Mutant) -> None:
    """Replaces the original lines by the mutant's, at the occurrence nearest to the original line number."""
    file, first = copy / mutant["module"], mutant["line"] - 1
    lines = file.read_text(encoding="utf-8").splitlines()
    old, new = ([line[1:] for line in mutant["diff"] if line[0] == sign] for sign in "-+")
    occurrences = [start for start in range(len(lines)) if lines[start : start + len(old)] == old]
    if not occurrences:
        raise SystemExit(f"{mutant['id']}: the sample was drawn from different sources")
    start = min(occurrences, key=lambda each: abs(each - first))
    lines[start : start + len(old)] = new
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(command: list[str], copy: Path, limit: float | None = None) -> tuple[int | None, str, float]:
    """Returns exit status (`None` after a timeout), output and seconds of a command. Kills its remaining processes."""
    # PYTHONPATH: subprocesses of the tests also import the copy, not an installed tfseg.
    ours = {"PYTHONPATH": str(copy), "TMPDIR": str(copy.parent / "scratch"), "PYTHONDONTWRITEBYTECODE": "1"}
    start = time.monotonic()
    with (copy.parent / "output").open("w+", encoding="utf-8", errors="replace") as output:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, cwd=copy, env=os.environ | ours, start_new_session=True, **streams)
        status = None
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(limit)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        output.seek(0)
        return status, output.read(), round(time.monotonic() - start, 1)


class Judge:
    """Runs the tests of a checkout and writes their results to a file."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.checkout, self.output, self.lock = Checkout(options.checkout), options.output, threading.Lock()
        self.python = str(options.python.absolute())  # not resolved: the symlink identifies the virtual environment
        markers = ["-m", options.markers] if options.markers else []
        self.pytest = [self.python, "-m", "pytest", "-x", "--verbosity=-1", "-p", "no:cacheprovider", *markers]
        self.results = read(self.output) if self.output.exists() else []
        self.ids = self.collect()

    def collect(self) -> list[str]:
        """Returns the ids of all cases in a copy, after checking that tests import the copy."""
        with copied(self.checkout) as copy:
            code = "import os; os.chdir('/'); import importlib.util as u; print(u.find_spec('tfseg').origin)"
            origin = run([self.python, "-c", code], copy)[1].strip()
            if not Path(origin).is_relative_to(copy):
                raise SystemExit(f"tests would import {origin}")
            listing = run([*self.pytest, "--collect-only", "tests/test_cases.py"], copy)[1]
        if not (ids := [line for line in listing.splitlines() if line.startswith("tests/test_cases.py::")]):
            raise SystemExit(f"no cases collected:\n{listing}")
        return ids

    def write(self, result: dict[str, Any]) -> None:
        with self.lock, self.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")

    def baseline(self, module: str) -> dict[str, Any]:
        """Returns the result and the time of the module's tests without a mutant."""
        for known in self.results:
            if known.get("baseline") == module and known["status"] == PASSED:
                return known
        tests = [*self.checkout.tests(module), *self.checkout.cases(module, self.ids)]
        with copied(self.checkout) as copy:
            status, text, seconds = run([*self.pytest, *tests], copy) if tests else (NO_TESTS, "", 0.0)
        result = {"baseline": module, "status": status, "seconds": seconds, "tests": tests, "by": ends(text)}
        self.write(result)
        return result

    def judge(self, mutants: list[Mutant]) -> None:
        """Judges the mutants of one module."""
        unmutated = self.baseline(mutants[0]["module"])
        for mutant in mutants:
            if unmutated["status"] == PASSED:
                self.judge_one(mutant, unmutated)
            else:
                outcome = "no tests" if unmutated["status"] == NO_TESTS else "broken"
                self.write({**mutant, "outcome": outcome, "by": unmutated["by"]})
                print(f"{outcome}: {mutant['id']}, {unmutated['by']}", flush=True)

    def judge_one(self, mutant: Mutant, unmutated: dict[str, Any]) -> None:
        limit = max(MIN_LIMIT, TIMES * unmutated["seconds"])
        with copied(self.checkout) as copy:
            mutate(copy, mutant)
            status, text, seconds = run([*self.pytest, *unmutated["tests"]], copy, limit)
        outcome = {PASSED: "survived", None: "killed by time"}.get(status, "killed")
        self.write({**mutant, "outcome": outcome, "seconds": seconds, "status": status, "by": ends(text)})
        print(f"{outcome:15} {seconds:6.1f} s  {mutant['id']}", flush=True)


def ends(text: str) -> list[str]:
    """Returns the first failure and the last line of pytest's output."""
    lines = text.strip().splitlines() or [""]
    return [line[:300] for line in (*[each for each in lines if each.startswith(("FAILED ", "ERROR "))][:1], lines[-1])]


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def outcomes(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the last result of each mutant. Mutants whose tests failed without them are omitted, to be run again."""
    return {each["id"]: each for each in results if each.get("outcome", "broken") != "broken"}


def judge(options: argparse.Namespace) -> None:
    """Judges every mutant without a result, the mutants of a module one after another."""
    judge = Judge(options)
    done = outcomes(judge.results)
    waiting = [each for each in json.loads(options.mutants.read_text(encoding="utf-8")) if each["id"] not in done]
    groups = [list(group) for _, group in itertools.groupby(waiting, lambda each: each["module"])]
    with ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(judge.judge, groups))


# The comparison


def table(options: argparse.Namespace) -> None:
    """Prints the mutants killed by each suite, per package and in total, and those that survive the second."""
    old, new = outcomes(read(options.old)), outcomes(read(options.new))
    both = sorted(old.keys() & new.keys())
    print(f"{len(both)} mutants judged by both, {len(old.keys() ^ new.keys())} by only one\n")
    print(f"{'':12}{'mutants':>9}{'old':>6}{'new':>6}{'both':>6}   share of old's kills also killed by new")
    for package in (*PACKAGES, "all"):
        these = [key for key in both if package in ("all", key.split("/")[1])]
        by_old, by_new = ({key for key in these if results[key]["outcome"] in KILLED} for results in (old, new))
        common = len(by_old & by_new)
        share = f"{common / len(by_old):.1%}" if by_old else "-"
        print(f"{package:12}{len(these):9}{len(by_old):6}{len(by_new):6}{common:6}   {share}")
    for key in (key for key in both if new[key]["outcome"] not in KILLED):
        print(f"\n{key}, line {new[key]['line']}: {old[key]['outcome']} by old, {new[key]['outcome']} by new")
        print("\n".join(f"    {line}" for line in new[key]["diff"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    drawing = verbs.add_parser("sample", help="draw mutants")
    drawing.add_argument("--count", type=int, default=120)
    drawing.add_argument("--seed", type=int, default=0)
    judging = verbs.add_parser("judge", help="run the tests of a checkout on the mutants")
    judging.add_argument("mutants", type=Path)
    judging.add_argument("--checkout", type=Path, required=True)
    judging.add_argument("--python", type=Path, required=True, help="interpreter with the dependencies of the tests")
    judging.add_argument("--markers", help="marker expression, as for pytest's -m")
    judging.add_argument("--workers", type=int, default=1)
    comparing = verbs.add_parser("table", help="compare two result files")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    for verb, call in ((drawing, sample), (judging, judge), (comparing, table)):
        if verb is not comparing:
            verb.add_argument("--output", type=Path, required=True)
        verb.set_defaults(call=call)
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
