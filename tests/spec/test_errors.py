"""Tests of all messages about invalid pipeline files, in full."""
# ruff: noqa: E501  (a message is one line)

import os
from pathlib import Path

import pytest

from tests.spec.recipe import Recipe
from tfseg.errors import TfsegError
from tfseg.spec import Problem, SpecError, read, validate

OK = "name: a\nlabels: voc\nmodel: {backbone: small}\n"

CASES = {
    "a tab": (
        "name: a\nmodel:\n\tbackbone: small",
        [],
        ["x.yaml:3: not YAML: found character '\\t' that cannot start any token; indent with spaces, not with tabs"],
    ),
    "a colon in a string": (
        "name: a: b",
        [],
        ['x.yaml:1: not YAML: mapping values are not allowed here; put a string that contains ": " in quotes'],
    ),
    "a bracket that does not close": (
        "name: a\nlabels: {names: [a, b}",
        [],
        [
            "x.yaml:2: not YAML: expected ',' or ']', but got '}' (while parsing a flow sequence, which begins in line 2)"
        ],
    ),
    "a string that needs quotes": (
        "name: @x",
        [],
        ["x.yaml:1: not YAML: found character '@' that cannot start any token; put the string in quotes"],
    ),
    "a null byte": ("name: a\x00b", [], ["x.yaml:1: not YAML: the character U+0000 is not allowed in a text file"]),
    "an escape out of range": (
        'name: "\\UFFFFFFFF"',
        [],
        ['x.yaml:1: not YAML: a directive or an escape (such as "\\UFFFFFFFF") is out of range'],
    ),
    "characters that are not allowed in strings": (
        OK + 'plugins: ["a\\ud800", "b\\0"]',
        [],
        [
            "x.yaml:4: plugins.0: the character U+D800 is not allowed in a string",
            "x.yaml:4: plugins.1: the character U+0000 is not allowed in a string",
        ],
    ),
    "two documents": (
        OK + "---\nname: b",
        [],
        ['x.yaml:4: a second document begins here ("---"); write one file per document'],
    ),
    "another version of YAML": (
        "%YAML 3.0\n---\na: 1",
        [],
        ["x.yaml:1: not YAML: found incompatible YAML document (version 1.* is required)"],
    ),
    "deep nesting": ("a: " + "[" * 10_000, [], ["x.yaml:1: nested deeper than 64 levels"]),
    "deep nesting in block form": (
        "a:\n" + "".join(" " * i + "- \n" for i in range(1, 100)),
        [],
        ["x.yaml:66: nested deeper than 64 levels"],
    ),
    "aliases that multiply": (
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)),
        [],
        ["x.yaml:5: more than 100000 values after expanding aliases"],
    ),
    "aliases that nest": (
        "a0: &a0 [1]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}]\n" for i in range(80)),
        [],
        ["x.yaml:64: nested deeper than 64 levels"],
    ),
    "an alias to itself": (
        "a: &a [*a]",
        [],
        [
            'x.yaml:1: a.0: "*a" needs a complete "&a" before it; put strings in quotes',
            "x.yaml:1: name: missing; expected a string of at least 1 character and matching ^[a-z0-9_]+$",
            "x.yaml:1: labels: missing; expected a mapping with keys among names, ignore, colors",
            'x.yaml:1: model: missing; expected one of "net", "listed"',
            "x.yaml:1: a: unknown key. Known keys: name, seed, labels, model, data, rates, plugins",
        ],
    ),
    "an empty file": ("", [], ["x.yaml:1: expected a mapping at the top level; the file is empty"]),
    "a list at the top": ("- a", [], ["x.yaml:1: expected a mapping at the top level; received a list of 1 item"]),
    "a string at the top": ("word", [], ['x.yaml:1: expected a mapping at the top level; received "word"']),
    "duplicate keys": (
        "name: a\nname: b\nlabels: {ignore: 3, ignore: 4, names: [a, b]}\nmodel: {backbone: small}",
        [],
        [
            "x.yaml:2: name: duplicate key; first given at x.yaml:1",
            "x.yaml:3: labels.ignore: duplicate key; first given at x.yaml:3",
        ],
    ),
    "keys other than strings": (
        OK + "1.5: a\ntrue: b\n~: c\n? [a]\n: d\n? {a: b}\n: e",
        [],
        [
            "x.yaml:4: a key must be a string or an integer; received 1.5; put it in quotes",
            "x.yaml:5: a key must be a string or an integer; received true; put it in quotes",
            "x.yaml:6: a key must be a string or an integer; received null; put it in quotes",
            "x.yaml:7: a key must be a string or an integer; received a list; put it in quotes",
            "x.yaml:9: a key must be a string or an integer; received a mapping; put it in quotes",
        ],
    ),
    "a merge key": (
        OK + "seed: &s 1\ndata:\n  <<: {crop: 3}",
        [],
        ["x.yaml:6: data.<<: merge keys belong to YAML 1.1; write the keys out, or use include"],
    ),
    "tags": (
        OK + "seed: !!int 3\ndata: !!python/object/apply:os.system [ls]\nplugins: !mine [x]",
        [],
        [
            'x.yaml:4: seed: tags are not supported; received "!!int"; remove it (quotes make a string)',
            'x.yaml:5: data: tags are not supported; received "!!python/object/apply:os.system"; remove it (quotes make a string)',
            'x.yaml:6: plugins: tags are not supported; received "!mine"; remove it (quotes make a string)',
        ],
    ),
    "an integer of more than 64 bits": (
        OK + "seed: 99999999999999999999\n",
        [],
        ["x.yaml:4: seed: an integer must fit 64 bits; received 99999999999999999999"],
    ),
    "a very long number": (
        OK + "seed: " + "9" * 6000,
        [],
        ["x.yaml:4: seed: an integer must fit 64 bits; received 999999999999999999999999999999… (6000 digits)"],
    ),
    "numbers that are not finite": (
        OK + "rates: {a: .inf, b: .nan, c: 1e999, d: 1}",
        [],
        [
            "x.yaml:4: rates.a: expected a number; received inf, which is not finite",
            "x.yaml:4: rates.b: expected a number; received nan, which is not finite",
            "x.yaml:4: rates.c: expected a number; received inf, which is not finite",
        ],
    ),
    "an include other than a path": (
        "include: 3\nname: a\nlabels: voc\nmodel: {backbone: small}\n",
        [],
        ["x.yaml:1: include: expected the path of a file, or a list of paths; received 3"],
    ),
    "an include of a missing file": (
        "include: nope.yaml\nname: a\nlabels: voc\nmodel: {backbone: small}\n",
        [],
        ['x.yaml:1: include: no such file "nope.yaml"; did you mean "x.yaml"?'],
    ),
    "an include that includes": (
        "include: x.yaml\nname: a\nlabels: voc\nmodel: {backbone: small}\n",
        [],
        ["x.yaml:1: include: an included file cannot include others; list them all in x.yaml"],
    ),
    "missing keys": (
        "seed: 1",
        [],
        [
            "x.yaml:1: name: missing; expected a string of at least 1 character and matching ^[a-z0-9_]+$",
            "x.yaml:1: labels: missing; expected a mapping with keys among names, ignore, colors",
            'x.yaml:1: model: missing; expected one of "net", "listed"',
        ],
    ),
    "values of a wrong kind": (
        OK
        + "seed: true\ndata: {cache: 1, crop: [1], augment: flip, weights: [1, x], mapping: [1], root: [a]}\nrates: 3\nplugins: {a: 1}",
        [],
        [
            "x.yaml:4: seed: expected an integer of at least 0; received true",
            "x.yaml:5: data.root: expected a path or null; received a list of 1 item",
            "x.yaml:5: data.crop: expected a list of 2 integers; received a list of 1 item",
            'x.yaml:5: data.augment: expected a list of items; received "flip"',
            "x.yaml:5: data.mapping: expected a mapping or null; received a list of 1 item",
            'x.yaml:5: data.weights.1: expected a number; received "x"',
            "x.yaml:5: data.cache: expected true or false; received 1",
            "x.yaml:6: rates: expected a mapping or null; received 3",
            "x.yaml:7: plugins: expected a list of strings; received a mapping with the keys a",
        ],
    ),
    "values that are incompatible": (
        "name: a\nlabels: voc\nmodel: {backbone: {type: deep, output_stride: 8}}\n",
        [],
        ["x.yaml:3: model.decoder.strides: stride 32 is larger than output_stride; omit it"],
    ),
    "a check of the whole file": (
        OK + "data: {weights: [1, 2]}",
        [],
        ["x.yaml:1: 2 weights for 21 classes; give one per class"],
    ),
    "a file name that is too long": (
        OK + "data: {root: a/" + "ü" * 200 + "}",
        [],
        ["x.yaml:4: data.root: a file name in the path has 400 bytes; file systems allow 255"],
    ),
    "the home directory of an unknown user": (
        OK + "data: {root: ~nobody_here/x}",
        [],
        ['x.yaml:4: data.root: no such user; received "~nobody_here/x"'],
    ),
    "unknown choices, with the nearest known": (
        "name: a\nlabels: vocc\nmodel: {backbone: {type: deep, output_stride: 7}, decoder: {type: Skip}}",
        [],
        [
            'x.yaml:2: labels: expected names, or a published set (voc, camvid, cityscapes, ade20k); received "vocc"; did you mean "voc"?',
            "x.yaml:3: model.backbone.output_stride: expected one of 8, 16, 32; received 7",
            'x.yaml:3: model.decoder.type: expected one of "skips", "unpooling"; received "Skip"; did you mean "skips"?',
        ],
    ),
    "unknown keys, and types that are missing": (
        "name: a\nlabels: {type: camvid, ignor: 3}\nmodel: {backbone: 3, decoder: {strides: [3]}}",
        [],
        [
            'x.yaml:2: labels.ignor: unknown key; did you mean "ignore"? Known keys: names, ignore, colors',
            'x.yaml:3: model.backbone: expected one of "small", "deep"; received 3',
            'x.yaml:3: model.decoder.type: missing; expected one of "skips", "unpooling"',
        ],
    ),
    "wrong items of lists": (
        "name: a\nlabels: {names: [a], colors: [[1,2],[1,2,256]]}\nmodel: {type: [net], backbone: small}",
        [],
        [
            "x.yaml:2: labels.names: expected a list of at least 2 strings; received a list of 1 item",
            "x.yaml:2: labels.colors.0: expected a list of 3 integers; received a list of 2 items",
            "x.yaml:2: labels.colors.1.2: expected an integer from 0 to 255; received 256",
            'x.yaml:3: model.type: expected one of "net", "listed"; received a list of 1 item',
        ],
    ),
    "a key of another section": (
        "name: a\nlabels: voc\noutput_stride: 8\nmodel: {backbone: small}",
        [],
        [
            "x.yaml:3: output_stride: unknown key; it belongs at model.backbone.output_stride. Known keys: name, seed, labels, model, data, rates, plugins"
        ],
    ),
    "types that are missing": (
        "name: a\nlabels: voc\nmodel: {backbone: {width: 1}, refine: {stages: 10}}",
        [],
        [
            'x.yaml:3: model.backbone.type: missing; expected one of "small", "deep"',
            'x.yaml:3: model.refine.type: missing; expected "unpooling"',
        ],
    ),
    "missing keys of a shorthand": (
        "name: a\nlabels: voc\nmodel: {backbone: small, decoder: unpooling, refine: {type: unpooling, stages: 10}}",
        [],
        [
            "x.yaml:3: model.decoder.stages: missing; expected an integer from 1 to 9",
            "x.yaml:3: model.refine.stages: expected an integer from 1 to 9; received 10",
        ],
    ),
    "a scalar for a section": (
        "name: a\nlabels: voc\nmodel: 3",
        [],
        ['x.yaml:3: model: expected one of "net", "listed"; received 3'],
    ),
    "overrides": (
        OK + "seed: 3\ndata: {augment: [flip]}\nplugins: []",
        [
            "x",
            "a..b=1",
            "seed.x=1",
            "name=[1",
            "name=@",
            "include=a.yaml",
            "plugins.0=x",
            "data.augment.2=flip",
            "name=!!str x",
            "a." * 65 + "b=1",
            "model.decoder.type=unpooling",
            "data.wieghts=3",
            'name="q\\"\n"',
            "data.crop={a: 1}",
        ],
        [
            'override "x": expected key=value with a dotted key, such as model.backbone.output_stride=8',
            'override "a..b=1": expected key=value with a dotted key, such as model.backbone.output_stride=8',
            'override "seed.x=1": seed: has no keys; it is the number 3',
            "override \"name=[1\": name: not YAML: expected ',' or ']', but got '<stream end>' (while parsing a flow sequence, which begins in line 1); put strings in quotes",
            "override \"name=@\": name: not YAML: found character '@' that cannot start any token; put the string in quotes",
            'override "include=a.yaml": include: only files can include others; write it in the file',
            'override "plugins.0=x": plugins.0: no such item; the list is empty; plugins=[…] replaces it',
            'override "data.augment.2=flip": data.augment.2: no such item; the list has the items 0 to 0; data.augment=[…] replaces it',
            'override "name=!!str x": name: tags are not supported; received "!!str"; remove it (quotes make a string)',
            'override "' + "a." * 65 + 'b=1": nested deeper than 64 levels',
            'override "model.decoder.type=unpooling": model.decoder.stages: missing; expected an integer from 1 to 9',
            'override "data.crop={a: 1}": data.crop: expected an integer of at least 1 or a list of 2 integers or null; received a mapping with the keys a',
            'override "data.wieghts=3": data.wieghts: unknown key; did you mean "weights"? Known keys: root, crop, augment, mapping, weights, cache',
        ],
    ),
    "an override that is incompatible with the file": (
        "name: a\nlabels: voc\nmodel: {backbone: {type: deep}}\n",
        ["model.backbone.output_stride=8", "data.weights=[1,2]"],
        [
            'x.yaml:3: model.decoder.strides: stride 32 is larger than output_stride; omit it (with override "model.backbone.output_stride=8")'
        ],
    ),
    "overrides with wrong values": (
        "name: a\nlabels: {names: [a, b]}\nmodel: {backbone: {type: deep}}\n",
        ["labels.ignore=1", "seed=-1"],
        [
            'override "seed=-1": seed: expected an integer of at least 0; received -1',
            "override \"labels.ignore=1\": labels.ignore: 1 is the id of the class 'b'; expected 2 or more",
        ],
    ),
}


@pytest.fixture(autouse=True)
def in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


def error(text: str | bytes, *overrides: str) -> SpecError:
    Path("x.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecError) as caught:
        validate(Recipe, read("x.yaml", overrides))
    return caught.value


@pytest.mark.parametrize("name", CASES)
def test_every_problem_has_one_line(name: str) -> None:
    text, overrides, lines = CASES[name]
    assert str(error(text, *overrides)).split("\n") == lines


def test_error_has_problems() -> None:
    found = error("name: a\nlabels: voc\nmodel: {backbone: smal}")
    message = 'expected one of "small", "deep"; received "smal"; did you mean "small"?'
    assert found.problems == (Problem("x.yaml:3", "model.backbone", message),)
    assert isinstance(found, TfsegError)
    assert found.exit_code == 2


def test_file_that_is_not_utf_8() -> None:
    message = "x.yaml:2: not UTF-8 text: byte 0xff at position 11; save it as UTF-8"
    assert str(error(b"name: a\nb: \xff\xfe")) == message


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("y.yaml", 'y.yaml: no such file; did you mean "x.yaml"?'),
        ("nowhere/x.yaml", "nowhere/x.yaml: no such file"),
        (".", ".: cannot read the file: Is a directory"),
        ("x.yaml/y", "x.yaml/y: cannot read the file: Not a directory"),
        ("\udcff", "\\udcff: no such file"),
    ],
)
def test_unreadable_files(path: str, message: str) -> None:
    Path("x.yaml").write_text(OK)
    with pytest.raises(SpecError) as caught:
        read(path)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "secret.txt",
            "root:x:0:0",
            'x.yaml:1: include: expected files that end in .yaml or .yml; received "secret.txt"',
        ),
        ("/etc/passwd", None, 'x.yaml:1: include: expected files that end in .yaml or .yml; received "/etc/passwd"'),
        ("token.yaml", "hunter2", "token.yaml:1: expected a mapping at the top level; received something else"),
    ],
)
def test_content_of_other_files_is_not_quoted(name: str, content: str | None, message: str) -> None:
    if content is not None:
        Path(name).write_text(content)
    assert str(error(f"include: {name}\n{OK}")).splitlines()[0] == message


def test_pipes_and_devices_are_rejected() -> None:
    os.mkfifo("pipe.yaml")
    for path in ("pipe.yaml", "/dev/zero"):
        with pytest.raises(SpecError) as caught:
            read(path)
        assert str(caught.value) == f"{path}: expected a regular file; received a pipe or a device"
    assert str(error(f"include: pipe.yaml\n{OK}")) == (
        'x.yaml:1: include: expected a regular file; received a pipe or a device "pipe.yaml"'
    )


def test_problems_are_in_the_order_of_their_lines() -> None:
    Path("below.yaml").write_text("name: A\nseeed: 3\n")
    lines = str(error("include: below.yaml\nlabels: vocc\nmodel:\n  backbone: smal\n", "seed=-1")).split("\n")
    assert [line.rpartition(": expected")[0] or line.partition(" unknown")[0] for line in lines] == [
        "below.yaml:1: name",
        "below.yaml:2: seeed:",
        "x.yaml:2: labels",
        "x.yaml:4: model.backbone",
        'override "seed=-1": seed',
    ]
