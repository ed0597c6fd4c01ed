"""The IDX format: a magic number, the sizes of the axes, the bytes.

    00 00 08 03 | 00 00 EA 60 | 00 00 00 1C | 00 00 00 1C | pixels…
    type  axes    60,000        28            28

Type 08 (unsigned byte) is what MNIST and its relatives use, and the only one read here.
Source: Y. LeCun, C. Cortes, C. Burges, the MNIST page.
"""

import gzip
import lzma
import math
import zlib
from pathlib import Path

import numpy as np

from ostinato.errors import DataError

UNPACK = {
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"\xfd7zXZ\x00": ("xz", lzma.decompress),
}


def read_idx(path: Path, axes: int) -> np.ndarray:
    """Reads an IDX file of unsigned bytes with that many axes; packed by gzip or xz, or not at all.

    Raises DataError, naming the file, when it is missing, truncated, corrupt or something else.
    """
    content = _unpacked(path)
    magic = bytes((0, 0, 8, axes))
    if content[:4] != magic:
        raise DataError(
            f"{path}: expected an IDX file of unsigned bytes with {axes} axes (first bytes "
            f"{magic.hex(' ')}), found {content[:4].hex(' ') or 'an empty file'}. Is it the right file?"
        )
    head = 4 + 4 * axes
    if len(content) < head:
        raise DataError(
            f"{path}: the header alone takes {head} bytes, the file has {len(content)}. It is "
            "truncated; fetch it again."
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", axes, offset=4))
    expected, found = math.prod(shape), len(content) - head
    if found != expected:
        raise DataError(
            f"{path}: its header promises {' × '.join(map(str, shape))} = {expected} bytes, it holds "
            f"{found}. It is {'truncated' if found < expected else 'damaged'}; fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def _unpacked(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    for magic, (name, unpack) in UNPACK.items():
        if content.startswith(magic):
            try:
                return unpack(content)
            except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
                raise DataError(
                    f"{path}: its {name} packing is truncated or corrupt ({error}). Fetch it again."
                ) from error
    return content
