"""Tests of the ten rules in docs/architecture.md, as far as they can be checked automatically."""

import ast
import doctest
import functools
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tfseg"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = {
    "ops": 1, "images": 1, "box_file": 1, "spec": 1,
    "layers": 2, "losses": 2, "metrics": 2, "weights": 2,
    "backbones": 3,
    "models": 4, "data": 4, "training": 4, "inference": 4, "exporting": 4,
    "pipeline": 5,
    "runs": 6,
    "cli": 7,
}  # fmt: skip
BASE = {
    "errors", "atomic", "labels", "context", "symbolic", "keras_internals", "redirection", "serialization", "typing",
    "spec.declare", "spec.problems",
}  # fmt: skip
"""Base modules, which every module may import."""
MEMBERS = {
    "shipped": "pipeline", "__main__": "cli",
}  # fmt: skip
"""Top-level modules that belong to the package of another module."""
RUNTIME = {
    "tensorflow",
    "keras",
    "numpy",
    "scipy",
    "yaml",
    "pydantic",
    "pydantic_core",
    "PIL",
    "click",
    "ai_edge_litert",
}
WITH_TENSORFLOW = {"ops", "images", "data", "inference", "exporting", "weights"}
WITH_TENSORFLOW_IN_TRAINING = {"memory", "strategy", "tensorboard"}
NAMELESS = {"utils", "util", "common", "helpers", "helper", "misc", "base", "tools", "shared"}
FUNCTION_LINES, FILE_LINES = 50, 300
"""Limits of rule 10: at most one function in ten may exceed 50 lines, and no file 300."""


def relative(module: Path) -> str:
    return str(module.relative_to(ROOT))


def dotted(module: Path) -> str:
    """Returns `spec.declare` for `tfseg/spec/declare.py`, and `spec` for `tfseg/spec/__init__.py`."""
    parts = module.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def package_of(name: str) -> str:
    head = name.split(".")[0]
    return MEMBERS.get(head, head)


@functools.cache
def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"), filename=str(module))


def imported(node: ast.AST) -> list[str]:
    """Returns the full names that a statement imports: `tfseg.ops.pool` for `from tfseg.ops import pool`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: relative import; write the full name"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def imports(module: Path) -> list[tuple[int, str]]:
    return [(node.lineno, name) for node in ast.walk(tree(module)) for name in imported(node)]


INSIDE = [module for module in MODULES if dotted(module)]
"""All modules except `tfseg/__init__.py`, which refers to all packages."""


def test_every_module_has_a_layer() -> None:
    without = {package_of(dotted(module)) for module in INSIDE} - set(LAYERS) - BASE
    assert not without, f"no layer is defined for {sorted(without)}; see the table in docs/architecture.md"


def reachable(importer: str, name: str) -> bool:
    """Returns whether module `importer` may import `name`: of a lower layer, its own package, or a base module."""
    if name in BASE or any(name.startswith(f"{base}.") for base in BASE) or package_of(importer) == package_of(name):
        return True
    if importer in BASE or package_of(importer) not in LAYERS or package_of(name) not in LAYERS:
        return False
    return LAYERS[package_of(name)] < LAYERS[package_of(importer)]


def test_imports_point_down() -> None:
    wrong = [
        f"{relative(module)}:{line} imports {name}"
        for module in INSIDE
        for line, name in imports(module)
        if name.startswith("tfseg.") and not reachable(dotted(module), name.removeprefix("tfseg."))
    ]
    assert not wrong, "\n".join(wrong)


def test_reachable() -> None:
    assert reachable("layers.pool", "ops.pool")
    assert reachable("layers.pool", "errors.DataError")
    assert reachable("models.heads", "models.decoders.fcn")
    assert not reachable("ops.pool", "layers.pool")
    assert not reachable("models.heads", "data.Data")
    assert not reachable("labels", "layers.pool")


def test_imports_are_at_the_top() -> None:
    """Checks all packages except the command line."""
    wrong = [
        f"{relative(module)}:{node.lineno} in {function.name}()"
        for module in INSIDE
        if package_of(dotted(module)) != "cli"
        for function in ast.walk(tree(module))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not wrong, f"imports inside functions: {wrong}"


def may_import_tensorflow(name: str) -> bool:
    in_training = package_of(name) == "training" and name.split(".")[-1] in WITH_TENSORFLOW_IN_TRAINING
    return package_of(name) in WITH_TENSORFLOW or in_training


def test_tensorflow_only_where_it_is_needed() -> None:
    wrong = [
        f"{relative(module)}:{line}"
        for module in INSIDE
        if not may_import_tensorflow(dotted(module))
        for line, target in imports(module)
        if target.split(".")[0] == "tensorflow"
    ]
    assert not wrong, f"use keras.ops and tfseg.ops instead of tensorflow: {wrong}"


def test_ops_guard_their_tensorflow() -> None:
    """Checks that imports of TensorFlow in `ops` depend on the backend, so that KERAS_BACKEND=jax works."""
    bare = [
        f"{relative(module)}:{node.lineno}"
        for module in INSIDE
        if package_of(dotted(module)) == "ops"
        for node in tree(module).body
        if any(name.split(".")[0] == "tensorflow" for name in imported(node))
    ]
    assert not bare, f'put `if keras.backend.backend() == "tensorflow":` around {bare}'


def test_only_runtime_dependencies() -> None:
    allowed = RUNTIME | set(sys.stdlib_module_names) | {"tfseg"}
    wrong = [
        f"{relative(module)}:{line} {name}"
        for module in MODULES
        for line, name in imports(module)
        if name.split(".")[0] not in allowed
    ]
    assert not wrong, f"not among install_requires: {wrong}"


def test_names_of_modules() -> None:
    assert not [relative(module) for module in MODULES if NAMELESS & set(dotted(module).split("."))]


def test_no_lambda_layer_and_no_unsafe_loading() -> None:
    """Checks rule 5: tfseg builds no `Lambda` layer and does not load with `safe_mode=False`."""
    wrong = []
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if "Lambda" in (getattr(node, "attr", None), getattr(node, "id", None)):
                wrong.append(f"{relative(module)}:{node.lineno} Lambda")
            if isinstance(node, ast.keyword) and node.arg == "safe_mode":
                wrong.append(f"{relative(module)}:{node.value.lineno} safe_mode")
    assert not wrong, wrong


def test_no_exception_is_ignored() -> None:
    wrong = [
        f"{relative(module)}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ExceptHandler)
        and all(isinstance(line, ast.Pass) for line in node.body)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}))
    ]
    assert not wrong, f"`except Exception: pass` at {wrong}"


def test_files_are_small() -> None:
    lengths = {relative(module): len(module.read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert sorted(lengths.values())[len(lengths) // 2] <= 150
    large = {name: length for name, length in lengths.items() if length > FILE_LINES}
    assert not large, f"files should have about 150 lines and at most {FILE_LINES}: {large}"


def functions() -> list[tuple[Path, ast.FunctionDef, int]]:
    """Returns every function with its number of lines, without the docstring."""
    found = []
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                first = node.body[0]
                docstring = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(node) else 0
                found.append((module, node, node.end_lineno - node.lineno + 1 - docstring))
    return found


def test_functions_are_small() -> None:
    lengths = [length for _, _, length in functions()]
    longest = [item for item in functions() if item[2] > FUNCTION_LINES]
    assert sorted(lengths)[len(lengths) // 2] <= 12, "the median is about 10 lines"
    assert len(longest) <= len(lengths) / 10
    unexplained = [
        f"{relative(module)}:{node.lineno} {node.name}() has {length} lines"
        for module, node, length in longest
        if "long" not in (ast.get_docstring(node) or "").split("\n")[0].lower()
    ]
    assert not unexplained, f"the first line of the docstring must explain the length: {unexplained}"


# Public classes and docstrings.


def public(package: str) -> list[tuple[str, type]]:
    """Returns the public classes of `tfseg.<package>`."""
    module = importlib.import_module(f"tfseg.{package}")
    names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
    return [(name, value) for name in names if inspect.isclass(value := getattr(module, name))]


@pytest.mark.parametrize("package", ["layers", "losses", "metrics"])
def test_docstrings_of_public_classes(package: str) -> None:
    assert public(package), f"tfseg.{package} has no public classes"
    wrong = []
    for name, value in public(package):
        text = inspect.getdoc(value) or ""
        if ">>> " not in text:
            wrong.append(f"{name}: no doctest example")
        if len(inspect.signature(value).parameters) > 1 and "Args:" not in text:
            wrong.append(f"{name}: arguments without `Args:`")
        if package == "layers" and not (
            "Input shape:" in text and "Output shape:" in text and re.search(r"\[(batch|\.\.\.), ", text)
        ):
            wrong.append(f"{name}: no `Input shape:` and `Output shape:` in named axes such as `[batch, height, …]`")
    assert not wrong, "\n".join(wrong)


def with_examples() -> list[Path]:
    return [module for module in INSIDE if dotted(module) != "cli" and ">>> " in module.read_text(encoding="utf-8")]


@pytest.mark.parametrize("module", with_examples(), ids=relative)
def test_examples_in_docstrings(module: Path) -> None:
    found = importlib.import_module(".".join(["tfseg", dotted(module)]))
    outcome = doctest.testmod(found, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert outcome.attempted and not outcome.failed


# The whole project.


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("needs a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_absolute_paths_or_registries() -> None:
    """Checks that no tracked file contains an absolute path of a machine or the address of a package registry."""
    forbidden = re.compile(
        r"(?<![\w.])/(work|home|root|tmp)/|/\.library|"
        + "|".join(["py" + r"pi\.org", "python" + "hosted", "registry" + r"\.npm"])
    )
    wrong = []
    for file in tracked():
        content = file.read_bytes()
        if b"\0" not in content:
            lines = enumerate(content.decode("utf-8").splitlines(), start=1)
            wrong += [
                f"{relative(file)}:{number}: {line.strip()[:80]}" for number, line in lines if forbidden.search(line)
            ]
    own = [text for text in wrong if not text.startswith("tests/test_architecture.py")]
    assert not own, "\n".join(own)


def test_no_large_file_is_tracked() -> None:
    large = [f"{relative(file)} ({file.stat().st_size} bytes)" for file in tracked() if file.stat().st_size > 500_000]
    assert not large, f"data and weights do not belong in the repository: {large}"
