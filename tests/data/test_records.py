"""TFRecord files: positions of the records, and reasons why they cannot be read."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfseg.data.records import checksums, parsed, positions, read_record, record, reference

DATA = (b"", b"a", bytes(range(256)) * 5, b"end")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """File of four records, one of them empty, written by TensorFlow."""
    path = tmp_path / "some-00000-of-00001.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for data in DATA:
            writer.write(data)
    return path


def test_positions_are_those_of_tensorflow(file: Path) -> None:
    starts, problem = positions(file)
    assert problem == ""
    assert starts.tolist() == [0, 16, 33, 1329]
    assert [read_record(file, number) for number in range(4)] == [(data, "") for data in DATA]
    read = tf.function(lambda position: record(tf.constant(str(file)), position))
    assert [read(tf.constant(start)).numpy() for start in starts[[3, 0, 2]]] == [DATA[3], DATA[0], DATA[2]]


def test_checksums_are_those_of_tensorflow(file: Path) -> None:
    """Checksums of lengths and, computed in one row, of the data."""
    content = file.read_bytes()
    rows = np.frombuffer(DATA[2], np.uint8)[None]
    assert checksums(rows).tobytes() == content[1329 - 4 : 1329]


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert positions(tmp_path / "empty")[0].tolist() == [] and positions(tmp_path / "empty")[1] == ""


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (1347, "is cut off in record 3: it has 1347 bytes. Expected 1348."),
        (1340, "is cut off in record 3: it has 1340 bytes. Expected more than 1345."),
        (34, "is cut off in record 2: it has 34 bytes. Expected more than 49."),
        (15, "is cut off in record 0: it has 15 bytes. Expected 16."),
        (3, "is cut off in record 0: it has 3 bytes. Expected more than 16."),
    ],
)
def test_a_file_that_is_cut_off(file: Path, size: int, problem: str) -> None:
    os.truncate(file, size)
    starts, found = positions(file)
    assert found == problem
    number = int(problem.split("record ")[1].split(":")[0])
    assert len(starts) == number
    assert read_record(file, number) == (b"", problem)


def test_a_wrong_checksum_of_a_length(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[16 + 3] ^= 1
    file.write_bytes(content)
    starts, problem = positions(file)
    assert problem == "is corrupt at byte 16: the checksum of the length of record 1 is wrong."
    assert starts.tolist() == [0]


def test_a_wrong_checksum_of_the_data(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    assert positions(file)[1] == ""
    assert read_record(file, 2) == (b"", "the checksum of its data is wrong.")
    assert read_record(file, 4) == (b"", "the file has only 4 records.")


@pytest.mark.parametrize(
    ("kind", "text"), [("GZIP", "is compressed with GZIP."), ("ZLIB", "is not a TFRecord file, or ")]
)
def test_a_compressed_file(tmp_path: Path, kind: str, text: str) -> None:
    path = tmp_path / "x.tfrecord.gz"
    with tf.io.TFRecordWriter(str(path), kind) as writer:
        writer.write(b"abc")
    problem = positions(path)[1]
    assert problem.startswith(text)
    assert (
        "Expected an uncompressed TFRecord file: in a compressed one, records cannot be found by position." in problem
    )


def test_what_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "link", tmp_path / "pipe", tmp_path / "no"):
        assert positions(path)[1] == "is not a regular file, or a broken symbolic link."


def test_an_unreadable_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("builtins.open", failing)
    assert positions(file)[1] == "cannot be read: Input/output error."


def test_references(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9: record 1/a\nb")
    assert parsed(reference(name, 17)) == (Path(name), 17)
    assert parsed("some/image.png") is None
    (tmp_path / "x: record 3").write_text("")
    assert parsed(str(tmp_path / "x: record 3")) is None
