"""Fuzzing of pipeline files: every mutated file must give a value or a `SpecError`."""

import copy
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfseg.spec import SpecError, dump, json_schema
from tfseg.spec.nodes import Origin
from tfseg.spec.paths import dotted
from tfseg.spec.yaml12 import compose

NUMBERS = (0, -1, 1, 2, 8, 321, 2**31, 2**63, 10**30, 0.0, 0.5, -0.5, 1e-9, 1e300, float("inf"), float("nan"))
TEXTS = ("", "x", "type", "voc", "../x", "/", "~", "~no_such_user/x", "a: b", "1e-4", "é\u2028\U0001f600", "a" * 5000)
LISTS = ((), (1, 1), (0.5, 2.0), ("x",), ((1,),), (None,), ({},), (1,) * 300)
MAPS = ({}, {"type": "x"}, {"type": None}, {"type": ["x"]}, {"x": 1}, {"": {}})
VALUES = (None, True, False, *NUMBERS, *TEXTS, *LISTS, *MAPS)
ODD = (
    *(None, True, 0, -1, 2**31, 2**63, -0.5, 1e300, float("nan"), "", "x", "~no_such_user/x", "é\u2028", "a" * 5000),
    *((), (1, 1), ("x",), ({},), {}, {"type": "x"}, {"x": 1}),
)
FRAGMENTS = (
    *(
        "\t",
        "\0",
        "\ufeff",
        "\r",
        "\x85",
        "\n",
        "  ",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "- ",
        ": ",
        "? ",
        "# ",
        "?",
        "-",
    ),
    *("[", "]", "{", "}", ",", "|\n", ">-\n", "'", '"', '"\\UFFFFFFFF"', "@", "`", "&a ", "*a", "<<: *a\n", "! "),
    *("!!str ", "!!python/name:os.system ", "!!binary ", "include: x.yaml\n", "include: [", "type: ", "~", ".nan"),
    *("0x", "1e999", "9" * 5000, "é", "\U0001f600", "[" * 300, "{a: " * 300, "- " * 300),
)
OVERRIDES = (
    *("", "=", "{}", "{}=1", "{}=-1", "{}=~", "{}=x", "{}=[", "{}=*a", "{}={{a: 1}}", "{}.x=1", "{}.0=x", "{}.type=x"),
    "x.{}=2",
)


@dataclass(frozen=True)
class Target:
    """Target of fuzzing.

    Args:
        load: Function from a path and overrides to a value; raises `SpecError`.
        type_: Spec type of the values.
        folder: Folder of valid files.
    """

    load: Callable[[Path, Sequence[str]], Any]
    type_: Any
    folder: Path


def fuzz(target: Target, folder: Path, examples: int) -> Counter[str]:
    """Loads `examples` mutated files, written to `folder`, and counts values and errors.

    The value of a file that loads must survive `dump` and `load`, and the file must be valid by the JSON Schema.
    """
    shutil.copytree(target.folder, folder, dirs_exist_ok=True)  # for the files that others include
    texts = [file.read_text(encoding="utf-8") for file in sorted(target.folder.glob("*.yaml"))]
    schema = jsonschema.Draft202012Validator(json_schema(target.type_))
    counts: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated([(text, plain(text)) for text in texts]))
    def check(case: tuple[bytes, list[str]]) -> None:
        content, overrides = case
        file = folder / "mutated.yaml"
        file.write_bytes(content)
        try:
            value = target.load(file, overrides)
        except SpecError as error:
            counts["error"] += 1
            assert error.problems
            assert all(problem.where and problem.message for problem in error.problems)
            assert len(str(error).split("\n")) == len(error.problems), "one line per problem"
            return
        counts["value"] += 1
        shown = dump(value)
        file.write_text(shown, encoding="utf-8")
        assert target.load(file, ()) == value
        schema.validate(as_json(plain(shown if overrides else content.decode("utf-8-sig"))))

    check()
    return counts


def sweep(target: Target) -> Counter[str]:
    """Sets every odd value at every path of every file, one at a time, and counts values and errors.

    Includes the paths of defaults. Only the first item of each list is changed.
    """
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    for file in sorted(target.folder.glob("*.yaml")):
        data = plain(dump(target.load(file, ())))
        new = {dotted(path) for path in paths(data) if path and all(key in (0, str(key)) for key in path)} - seen
        seen |= new
        for override in (f"{path}={flow(value)}" for path in sorted(new) for value in ODD):
            try:
                target.load(file, [override])
                counts["value"] += 1
            except SpecError as error:
                counts["error"] += 1
                assert error.problems
    return counts


def flow(value: Any) -> str:
    """Returns a value as YAML on one line."""
    return json.dumps(value).replace("Infinity", ".inf").replace("NaN", ".nan")


def plain(text: str) -> Any:
    """Returns the data of a YAML text without reading its includes."""
    return compose(text, lambda line: Origin("text", line), Path(), (), []).plain


def as_json(data: Any) -> Any:
    """Converts `data` to JSON and back: keys become strings, tuples become lists."""
    return json.loads(json.dumps(data))


@st.composite
def mutated(draw: st.DrawFn, files: Sequence[tuple[str, Any]]) -> tuple[bytes, list[str]]:
    """Draws content, a file's text or data with up to three changes, and up to two overrides."""
    text, data = files[draw(st.integers(0, len(files) - 1))]
    keys = [".".join(map(str, path)) for path in paths(data) if path]
    if draw(st.booleans()):
        for _ in range(draw(st.integers(0, 2))):
            data = changed(draw, data)
        content = flow(data).encode()
    else:
        for _ in range(draw(st.integers(1, 3))):
            text = edited(draw, text)
        content = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 19)) == 0:
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=2)) + content[at + 1 :]
    forms = draw(st.lists(st.sampled_from(OVERRIDES), max_size=2)) if draw(st.integers(0, 4)) == 0 else []
    return content, [form.format(draw(st.sampled_from(keys))) for form in forms]


def edited(draw: st.DrawFn, text: str) -> str:
    """Returns a text with a line or a few characters deleted, repeated, moved or inserted."""
    lines = text.splitlines(keepends=True)
    at, line = draw(st.integers(0, len(text))), draw(st.integers(0, max(0, len(lines) - 1)))
    match draw(st.sampled_from(("insert", "insert", "replace", "drop", "double", "move", "indent", "value", "cut"))):
        case "insert":
            return text[:at] + draw(st.sampled_from(FRAGMENTS)) + text[at:]
        case "replace":
            return text[:at] + draw(st.characters(codec="utf-8")) + text[at + draw(st.integers(0, 4)) :]
        case "drop":
            return "".join(lines[:line] + lines[line + 1 :])
        case "double":
            return "".join(lines[: line + 1] + lines[line:])
        case "move":
            other = draw(st.integers(0, max(0, len(lines) - 1)))
            return "".join(lines[:line] + lines[other : other + 1] + lines[line + 1 :])
        case "indent":
            return "".join(lines[:line] + ["  " + part for part in lines[line : line + 1]] + lines[line + 1 :])
        case "value":
            key = "".join(lines[line : line + 1]).partition(":")[0]
            return "".join((*lines[:line], f"{key}: {flow(draw(st.sampled_from(VALUES)))}\n", *lines[line + 1 :]))
        case _:
            return text[:at]


def changed(draw: st.DrawFn, data: Any) -> Any:
    """Returns data with one value deleted, replaced, renamed, or copied from another path."""
    data = listed(data)
    candidates = [path for path in paths(data) if path]
    if not candidates:
        return data
    path = draw(st.sampled_from(candidates))
    holder, key = at(data, path[:-1]), path[-1]
    match draw(
        st.sampled_from(("drop", "replace", "replace", "nudge", "nudge", "nudge", "rename", "copy", "wrap", "add"))
    ):
        case "nudge":
            holder[key] = nudged(draw, holder[key])
        case "drop":
            del holder[key]
        case "replace":
            holder[key] = draw(st.sampled_from(VALUES))
        case "rename" if isinstance(holder, dict):
            name = str(key)
            cut = draw(st.integers(0, len(name)))
            holder[name[:cut] + draw(st.sampled_from(("", "x", "_", name[:1]))) + name[cut + 1 :]] = holder.pop(key)
        case "copy":
            holder[key] = copy.deepcopy(at(data, draw(st.sampled_from(candidates))))
        case "wrap":
            holder[key] = draw(st.sampled_from(([holder[key]], {"type": holder[key]}, {"x": holder[key]})))
        case _ if isinstance(holder[key], dict):
            holder[key][draw(st.sampled_from(("type", "x", "weights", "name")))] = draw(st.sampled_from(VALUES))
        case _:
            holder[key] = [holder[key], holder[key]]
    return data


def nudged(draw: st.DrawFn, value: Any) -> Any:
    """Returns a value of the same type, which is likely valid."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return draw(st.sampled_from((value + 1, value * 2, value - 1, abs(value) / 2)))
    if isinstance(value, str):
        return draw(st.sampled_from((value, f"{value}_2", value.upper(), None)))
    if isinstance(value, list):
        return draw(st.sampled_from((value + value[-1:], value[:-1], value[::-1])))
    return dict(reversed(value.items())) if isinstance(value, dict) else value


def paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the paths of all values in `data`."""
    yield path
    if isinstance(data, dict | list | tuple):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from paths(value, (*path, key))


def at(data: Any, path: Sequence[Any]) -> Any:
    for key in path:
        data = data[key]
    return data


def listed(data: Any) -> Any:
    """Returns a copy of `data` with lists instead of tuples."""
    if isinstance(data, dict):
        return {key: listed(value) for key, value in data.items()}
    return [listed(value) for value in data] if isinstance(data, list | tuple) else data
