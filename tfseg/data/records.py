"""TFRecord files: positions of the records, and the reasons why a file or a record cannot be read.

A record is its length (8 bytes), a checksum of the length (4 bytes), the data and a checksum of the data (4 bytes), all
little-endian. Checksums are CRC-32C, rotated and shifted by a constant. Positions are found by reading the lengths
alone.
"""

import os
import re
from pathlib import Path

import numpy as np
import tensorflow as tf

HEADER, FOOTER = 12, 4
"""Number of bytes before and after the data of a record."""
BUFFER = 1 << 18
"""Number of bytes to read at a time."""
GZIP = b"\x1f\x8b"
"""First bytes of a file compressed with GZIP."""

_REFERENCE = re.compile(r"(.+): record (\d+)", re.DOTALL)
_RECORD = tf.TensorSpec([], tf.string)
_REWRITE = "Expected an uncompressed TFRecord file: in a compressed one, records cannot be found by position."


def _crc_table() -> np.ndarray:
    """Computes the CRC-32C (Castagnoli) of every byte, uint32 `[256]`."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table


_CRC = _crc_table()


def checksums(rows: np.ndarray) -> np.ndarray:
    """Computes the checksum that a TFRecord file has for each row of bytes.

    >>> checksums(np.frombuffer((3).to_bytes(8, "little"), np.uint8)[None]).tolist()
    [239704496]

    Args:
        rows: Uint8 array of shape `[rows, bytes]`.

    Returns:
        Uint32 array of shape `[rows]`.
    """
    crc = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in rows.T:
        crc = _CRC[(crc ^ column) & 0xFF] ^ (crc >> np.uint32(8))
    crc = ~crc
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)


def positions(file: Path) -> tuple[np.ndarray, str]:
    """Finds the first byte of each record of a file, by its lengths, whose checksums are checked.

    Args:
        file: Path of a TFRecord file.

    Returns:
        Positions, int64 `[records]`, up to the first problem; and the problem: a message, empty if the file is valid.
    """
    if not file.is_file():
        return np.zeros(0, np.int64), "is not a regular file, or a broken symbolic link."
    try:
        starts, heads, size = _headers(file)
    except OSError as error:
        return np.zeros(0, np.int64), f"cannot be read: {error.strerror}."
    complete = len(heads) // HEADER
    rows = np.frombuffer(heads, np.uint8)[: complete * HEADER].reshape(-1, HEADER)
    invalid = np.flatnonzero(checksums(rows[:, :8]) != rows[:, 8:].copy().view("<u4")[:, 0])
    if len(invalid):
        first = int(invalid[0])
        return starts[:first], _invalid(first, int(starts[first]), heads)
    if starts[-1] != size:
        last = len(starts) - 2
        return starts[:last], f"is cut off in record {last}: it has {size} bytes. Expected {_end(starts, complete)}."
    return starts[:-1], ""


def _headers(file: Path) -> tuple[np.ndarray, bytes, int]:
    """Returns the start of each record and the end of the last one, all headers joined, and the size of the file."""
    starts, heads = [0], []
    with open(file, "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        while starts[-1] < size:
            heads.append(os.pread(stream.fileno(), HEADER, starts[-1]))
            starts.append(starts[-1] + HEADER + int.from_bytes(heads[-1][:8], "little") + FOOTER)
    return np.array([min(start, 1 << 62) for start in starts], np.int64), b"".join(heads), size


def _end(starts: np.ndarray, complete: int) -> str:
    """Returns the expected size of a file that is cut off; its last length is unknown if it has no whole header."""
    return f"{starts[-1]}" if complete == len(starts) - 1 else f"more than {starts[-2] + HEADER + FOOTER}"


def _invalid(number: int, start: int, heads: bytes) -> str:
    if heads.startswith(GZIP):
        return f"is compressed with GZIP. {_REWRITE} Write it without compression."
    if number == 0:
        return f"is not a TFRecord file, or compressed. {_REWRITE}"
    return f"is corrupt at byte {start}: the checksum of the length of record {number} is wrong."


def reference(file: str, number: int) -> str:
    """Returns the text that identifies a record in messages: the file and the number of the record, from 0."""
    return f"{file}: record {number}"


def parsed(text: str) -> tuple[Path, int] | None:
    """Returns file and number of a record from its `reference`; None for other texts."""
    match = None if os.path.exists(text) else _REFERENCE.fullmatch(text)
    return (Path(match[1]), int(match[2])) if match else None


def record(file: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Reads the record at a position of a file, inside the TensorFlow graph.

    Args:
        file: Path of the file, a string scalar.
        position: Position of the first byte of the record, int64 scalar.

    Returns:
        Data of the record, a string scalar.

    Raises:
        tf.errors.DataLossError: If a checksum is wrong, or the file is cut off.
    """
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=[file], compression_type="", buffer_size=BUFFER, byte_offsets=position[None]
    )
    return tf.data.experimental.from_variant(variant, _RECORD).take(1).get_single_element()


def read_record(file: Path, number: int) -> tuple[bytes, str]:
    """Reads a record outside of a graph.

    Returns:
        Data of the record, and a problem: a message, empty if the record could be read.
    """
    starts, problem = positions(file)
    if number >= len(starts):
        return b"", problem or f"the file has only {len(starts)} records."
    try:
        return record(tf.constant(os.fsencode(file)), tf.constant(starts[number])).numpy(), ""
    except tf.errors.DataLossError:
        return b"", "the checksum of its data is wrong."
