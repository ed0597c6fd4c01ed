"""Files that are whole or not there, and tensors in them that cannot run anything."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ostinato.errors import OstinatoError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Puts `content` at `path` in one move: a reader, or a process killed at any moment, finds the
    old file or the new one, never a part.

    The bytes reach the disk before the name does. On failure (full disk, no permission) the temporary
    file is removed, the old file stands, and the OSError is raised.
    """
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Writes tensors and a JSON header as one safetensors file, in one move."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(plain, metadata={"ostinato": json.dumps(header)}))


def read_tensors(
    path: Path, readable: int, error: type[OstinatoError], what: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads what `write_tensors` wrote: the header and the tensors.

    Raises `error`, naming the file, when it is missing, damaged, something else, or when the header's
    "format" is not the `readable` one. `what` says in words what was expected.
    """
    if not path.exists():
        raise error(f"{path}: expected {what}, found nothing there.")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["ostinato"])
            found = header["format"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as cause:
        raise error(
            f"{path}: expected {what}, found something else or only a part of one ({cause}). Nothing "
            "was loaded; take a whole copy or train again."
        ) from cause
    if found != readable:
        raise error(
            f"{path}: its format is {found}, this version of Ostinato reads {readable}. It was written "
            "by a newer version; upgrade ostinato."
        )
    return header, tensors


def _umask() -> int:
    """The mask that an ordinary open() would have used; mkstemp makes files private."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself durable, where the system can (Windows cannot open a folder)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
