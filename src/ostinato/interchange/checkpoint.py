"""TensorFlow's checkpoint files, read without TensorFlow.

A checkpoint `model.ckpt` is `model.ckpt.index`, a sorted table from names to where their numbers lie,
and `model.ckpt.data-00000-of-00001`, … with the numbers. Sources: TensorFlow's `tensor_bundle.proto`
and `tensor_shape.proto` for the entries; LevelDB's `table_format.md` for the table, whose end is a
footer of 48 bytes that leads to a block of indices, and so to the blocks of entries. Blocks and numbers
carry a checksum, which is checked: CRC-32C, "masked" by a rotation and a sum.
"""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.errors import WeightsError

DTYPES = {
    **{1: "<f4", 2: "<f8", 3: "<i4", 4: "<u1", 5: "<i2", 6: "<i1"},
    **{9: "<i8", 10: "?", 17: "<u2", 19: "<f2", 22: "<u4", 23: "<u8"},
}
"""Those of TensorFlow's numbers of dtypes that numpy has; text and the like is passed over."""

DTYPE, SHAPE, SHARD, OFFSET, SIZE, CHECKSUM, PARTS = 1, 2, 3, 4, 5, 6, 7
"""The fields of an entry."""

MAGIC = 0xDB4775248B80FB57
FOOTER = 48

Fields = dict[int, list[Any]]
"""A protocol buffer: of each numbered field, its values, integers or bytes."""


def read_tensorflow(path: str | Path) -> "Checkpoint":
    """The arrays of a checkpoint by name, for `from_tensorflow`; TensorFlow is not needed.

    `path` is what TensorFlow's `Saver.save` returned, the files' names up to `.index`; naming one of
    the files does too. Nothing in them is run.

    Raises WeightsError for files that are missing, cut short, or of another kind, such as the single
    file of a Saver before 1.0.
    """
    prefix = Path(path)
    if prefix.suffix in (".index", ".meta") or prefix.suffix.startswith(".data-"):
        prefix = prefix.with_suffix("")
    index = _bytes(prefix.with_name(f"{prefix.name}.index"))
    try:
        return Checkpoint(prefix, dict(_table(index)))
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise WeightsError(
            f'"{path}": its index is damaged, or none that TensorFlow has written since 1.0.'
        ) from error


class Checkpoint(Mapping[str, np.ndarray[Any, Any]]):
    """A checkpoint's variables that hold numbers; each is read from the disk when it is asked for.

    Raises WeightsError then for one whose file is missing or cut short, or that was saved in parts.
    """

    def __init__(self, prefix: Path, entries: dict[bytes, bytes]):
        self._prefix = prefix
        self._shards = _message(entries.pop(b""))[1][0]
        # What begins with a zero are the parts of variables; their places are not told by their names.
        named = {name.decode(): _message(e) for name, e in entries.items() if name[:1] != b"\0"}
        self._entries = {
            name: entry for name, entry in named.items() if entry.get(DTYPE, [0])[0] in DTYPES
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        entry = self._entries[name]
        if PARTS in entry:
            raise WeightsError(f'"{name}" was saved in parts by a partitioner, which is not read here.')
        axes = _message(entry.get(SHAPE, [b""])[0]).get(2, [])
        shape = [_message(axis).get(1, [0])[0] for axis in axes]
        shard, offset, size = (entry.get(field, [0])[0] for field in (SHARD, OFFSET, SIZE))
        file = f"{self._prefix.name}.data-{shard:05}-of-{self._shards:05}"
        numbers = _bytes(self._prefix.with_name(file), offset, size)
        if len(numbers) == size and _checksum(numbers) != entry[CHECKSUM][0]:
            raise WeightsError(f'"{name}": {file} is damaged, its checksum is another.')
        if len(numbers) < size:
            raise WeightsError(
                f'"{name}": {file} is cut short, {size} bytes expected, got {len(numbers)}.'
            )
        return np.frombuffer(numbers, DTYPES[entry[DTYPE][0]]).reshape(shape).copy()


def _bytes(file: Path, offset: int = 0, size: int = -1) -> bytes:
    try:
        with file.open("rb") as opened:
            opened.seek(offset)
            return opened.read(size)
    except OSError as error:
        raise WeightsError(
            f'"{file}": {error.strerror}. Expected the files of a checkpoint, ….index and ….data-…; '
            "give the name that Saver.save returned."
        ) from error


def _table(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a sorted table."""
    if struct.unpack("<Q", file[-8:])[0] != MAGIC:
        raise ValueError("another kind of file")
    footer = file[-FOOTER:]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    for _, place in _block(file, index):
        yield from _block(file, _handle(place, 0)[0])


def _handle(file: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Where a block begins and how long it is; and where what comes next begins."""
    offset, at = _varint(file, at)
    size, at = _varint(file, at)
    return (offset, size), at


def _block(file: bytes, handle: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block: each key says how much of the one before it begins with."""
    offset, size = handle
    block, kind = file[offset : offset + size], file[offset + size]
    (checksum,) = struct.unpack_from("<I", file, offset + size + 1)
    if kind != 0 or _checksum(file[offset : offset + size + 1]) != checksum:
        raise ValueError("compressed, or damaged")
    (restarts,) = struct.unpack("<I", block[-4:])
    at, key = 0, b""
    while at < size - 4 * (restarts + 1):
        shared, at = _varint(block, at)
        more, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + more]
        at += more
        yield key, block[at : at + length]
        at += length


def _message(text: bytes) -> Fields:
    """A protocol buffer's fields."""
    fields: Fields = {}
    at = 0
    while at < len(text):
        tag, at = _varint(text, at)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(text, at)
        elif kind == 2:
            length, at = _varint(text, at)
            value, at = text[at : at + length], at + length
        else:  # a number of four bytes; TensorFlow has no other kind here
            (value,), at = struct.unpack("<I", text[at : at + 4]), at + 4
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(text: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first; and where what comes next begins."""
    number = shift = 0
    while True:
        byte = text[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


def _checksum(text: bytes) -> int:
    """CRC-32C, masked."""
    crc = 0xFFFFFFFF
    for byte in text:
        crc = CRC[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0x82F63B78 * (byte & 1)
    return byte


CRC = [_crc_of(byte) for byte in range(256)]
"""What each byte adds to a CRC-32C; its polynomial with the bits the other way round is 0x82F63B78."""
