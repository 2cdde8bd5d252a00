"""Random mutations of valid files: an error message without traceback, or a complete output, never a part of it."""

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.data.convert import scenes
from tfseg.cli.commands import main

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 10**30, float("inf"), float("nan"), "", "x", "\ud800", "a.png", "../a.png"),
    *([], {}, [[]], [[1, 2]], [[0, 0, 9, 0, 9, 9]], {"size": [10, 12], "counts": "5o"}, [1e308] * 6),
)
CORE, ALL = 50, 200


def positions(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yields the container and the key of every value of a document."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from positions(value[key])


def mutated(document: Any, generator: random.Random) -> bytes:
    """Changes one to three values, deletes one, or changes bytes of the file."""
    kind = generator.choice(("bytes", "delete", "value", "value"))
    for _ in range(generator.randint(1, 3) if kind != "bytes" else 0):
        container, key = generator.choice(list(positions(document)))
        if kind == "value":
            container[key] = copy.deepcopy(generator.choice(VALUES))
        else:
            del container[key]
    data = bytearray(json.dumps(document).encode())
    for _ in range(generator.randint(1, 4) if kind == "bytes" else 0):
        start = generator.randrange(len(data))
        data[start : start + generator.randint(0, 3)] = generator.randbytes(generator.randint(0, 3))
    return bytes(data)


@pytest.mark.parametrize("kind", ["coco", "labelme"])
@pytest.mark.parametrize(
    "numbers", [range(CORE // 2), pytest.param(range(CORE // 2, ALL // 2), marks=pytest.mark.slow)], ids=str
)
def test_mutated_files(kind: str, numbers: range, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    images, codes = scenes.images(tmp_path), []
    for number in numbers:
        generator = random.Random(f"{kind}-{number}")
        file, output = tmp_path / f"{number}.json", tmp_path / f"out-{number}"
        file.write_bytes(mutated(scenes.coco() if kind == "coco" else scenes.labelme(), generator))
        words = ["data", "convert", "--from", kind, file, "--images", images, "--output", output]
        codes.append(main(list(map(str, words))))
        err = capfd.readouterr().err
        assert (codes[-1], output.exists()) in ((0, True), (1, False)), (number, err)
        if codes[-1]:
            assert str(file) in err, (number, err)
            assert "Traceback" not in err and "Unexpected" not in err, (number, err)
        else:
            assert err == "" and (output / "pipeline.yaml").is_file() and list((output / "masks").glob("*.png"))
            assert sorted(path.name for path in output.iterdir()) in (
                ["masks", "pipeline.yaml"],
                ["masks", "pipeline.yaml", "splits"],
            )
    assert 1 in codes
