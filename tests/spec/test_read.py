"""Tests of reading: YAML 1.2 scalars, origins, includes and overrides."""

from pathlib import Path

import pytest

from tfseg.spec import Document, read
from tfseg.spec.paths import dotted, parts, split_override

FILES = Path(__file__).parent / "files"


def document(folder: Path, text: str, *overrides: str) -> Document:
    (folder / "x.yaml").write_text(text, encoding="utf-8")
    return read(folder / "x.yaml", overrides)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1e3", 1000.0),
        ("5.", 5.0),
        (".5", 0.5),
        ("-.5E+1", -5.0),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("y", "y"),
        ("010", 10),
        ("-07", -7),
        ("0o17", 15),
        ("0x1f", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("9223372036854775807", 2**63 - 1),
        ("~", None),
        ("", None),
        ("Null", None),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("'1'", "1"),
        ('"~"', "~"),
        (".", "."),
        ("e5", "e5"),
        ("=", "="),
        ("[1, [no, 2.0]]", (1, ("no", 2.0))),
        ("{a: 1, 2: b}", {"a": 1, 2: "b"}),
        ("|\n  two\n  lines", "two\nlines"),
    ],
)
def test_scalars_follow_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    found = document(tmp_path, f"key: {text}").data["key"]
    assert (found, isinstance(found, str) or type(found)) == (value, isinstance(value, str) or type(value))


def test_infinite_and_nan_numbers_are_read(tmp_path: Path) -> None:
    found = document(tmp_path, "key: [.inf, -.INF, .NaN]").data["key"]
    assert found[:2] == (float("inf"), float("-inf"))
    assert found[2] != found[2]


def test_values_have_their_lines(tmp_path: Path) -> None:
    found = document(
        tmp_path, "# head\na:\n  b:\n    - 1\n    - {c: 2,\n       d: 3}\n  'e.f': 4\n", "a.b.0=7", "a.g.h=8"
    )
    file = tmp_path / "x.yaml"
    assert found.where("") == f"{file}:2"
    assert found.where("a.b.1.c") == f"{file}:5"
    assert found.where(("a", "b", 1, "d")) == f"{file}:6"
    assert found.where('a."e.f"') == f"{file}:7"
    assert found.where("a.b.0") == 'override "a.b.0=7"'
    assert found.where("a.b") == f"{file}:3", "an override of an item keeps the origin of the list"
    assert found.where("a.g") == found.where("a.g.h") == 'override "a.g.h=8"'
    assert found.where("a.b.1.zzz.0") == f"{file}:5", "the nearest known parent"


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes("\ufeffa: 1\r\nb: ü\r\n".encode())
    found = read(tmp_path / "x.yaml")
    assert found.data == {"a": 1, "b": "ü"}
    assert found.where("b") == f"{tmp_path / 'x.yaml'}:2"


def test_alias_is_a_copy_with_its_own_line(tmp_path: Path) -> None:
    found = document(tmp_path, "a: &x {b: 1}\nc: *x\nd: [*x]\n", "c.b=2")
    assert found.data == {"a": {"b": 1}, "c": {"b": 2}, "d": ({"b": 1},)}
    assert found.where("d.0") == f"{tmp_path / 'x.yaml'}:3"


def test_strings_have_the_folder_of_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sub" / "below.yaml").write_text("b: y\nlist: [z]")
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = document(tmp_path, "include: sub/below.yaml\na: x", "c=w")
    assert found.data["a"].folder == tmp_path
    assert found.data["b"].folder == found.data["list"][0].folder == tmp_path / "sub"
    assert found.data["c"].folder == tmp_path / "elsewhere"


class TestInclude:
    def test_mappings_merge_deeply_and_lists_replace(self, tmp_path: Path) -> None:
        (tmp_path / "below.yaml").write_text("a: {b: 1, c: [1, 2], d: {e: 5}}\nf: 6")
        found = document(tmp_path, "include: below.yaml\na: {c: [3], d: {g: 7}}\n")
        assert found.data == {"a": {"b": 1, "c": (3,), "d": {"e": 5, "g": 7}}, "f": 6}
        assert found.where("a.b") == f"{tmp_path / 'below.yaml'}:1"
        assert found.where("a.d.g") == f"{tmp_path / 'x.yaml'}:2"

    def test_later_files_override_earlier_ones(self, tmp_path: Path) -> None:
        (tmp_path / "one.yaml").write_text("a: 1\nb: 1\nc: 1")
        (tmp_path / "two.yaml").write_text("b: 2\nc: 2")
        assert document(tmp_path, "include: [one.yaml, two.yaml]\nc: 3").data == {"a": 1, "b": 2, "c": 3}

    def test_mapping_merges_with_a_name(self, tmp_path: Path) -> None:
        (tmp_path / "below.yaml").write_text("backbone: vgg16")
        found = document(tmp_path, "include: below.yaml\nbackbone: {width: 0.5}")
        assert found.data == {"backbone": {"type": "vgg16", "width": 0.5}}

    def test_mapping_of_another_type_replaces(self, tmp_path: Path) -> None:
        (tmp_path / "below.yaml").write_text("a: {type: x, only_x: 1}\nb: {type: x, only_x: 1}")
        found = document(tmp_path, "include: below.yaml\na: {type: y}\nb: {type: x, c: 2}")
        assert found.data == {"a": {"type": "y"}, "b": {"type": "x", "only_x": 1, "c": 2}}


class TestOverrides:
    def test_override_in_mappings_lists_and_names(self, tmp_path: Path) -> None:
        text = "model: {backbone: vgg16}\ndata:\n  augment: [flip, {type: scale, max: 1}]\n"
        found = document(
            tmp_path,
            text,
            "model.backbone.width=0.5",
            "data.augment.0.probability=1",
            "data.augment.1.max=2",
            "data.crop=[321,321]",
            "training.optimizer.rate=1e-4",
        )
        assert found.data == {
            "model": {"backbone": {"type": "vgg16", "width": 0.5}},
            "data": {
                "augment": ({"type": "flip", "probability": 1}, {"type": "scale", "max": 2}),
                "crop": (321, 321),
            },
            "training": {"optimizer": {"rate": 1e-4}},
        }
        assert found.where("model.backbone.type") == f"{tmp_path / 'x.yaml'}:1"

    def test_last_override_wins(self, tmp_path: Path) -> None:
        assert document(tmp_path, "a: 1", "a=2", "a=3").data == {"a": 3}

    def test_value_with_equals_sign_or_empty(self, tmp_path: Path) -> None:
        assert document(tmp_path, "a: 1", "a=b=c", "d=").data == {"a": "b=c", "d": None}

    def test_null_on_the_path_becomes_a_mapping(self, tmp_path: Path) -> None:
        assert document(tmp_path, "a:", "a.b=1").data == {"a": {"b": 1}}

    def test_quoted_and_integer_keys(self, tmp_path: Path) -> None:
        overrides = ('rates."fc6.*"=10', "rates.'^(a=b)'=3", "rates.bias$=4", "ids.7=1", "ids.-8=2")
        found = document(tmp_path, "rates: {}\nids: {7: 0}\n", *overrides)
        assert found.data == {"rates": {"fc6.*": 10, "^(a=b)": 3, "bias$": 4}, "ids": {7: 1, -8: 2}}
        assert found.where("ids.7") == 'override "ids.7=1"'


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("a", 0, "b"), "a.0.b"),
        (("a.b", "c"), '"a.b".c'),
        (("a=",), '"a="'),
        (("a:b", "c"), '"a:b".c'),
        (('q"',), '"q\\""'),
        (("q'",), '"q\'"'),
        ((), ""),
    ],
)
def test_dotted_paths_round_trip(path: tuple[str | int, ...], text: str) -> None:
    assert dotted(path) == text
    assert parts(text) == tuple(map(str, path))


@pytest.mark.parametrize("text", ["", "=1", "a", "a.=1", ".a=1", "a..b=1", "a b=1", '"a=1'])
def test_strings_other_than_overrides(text: str) -> None:
    assert split_override(text) is None
