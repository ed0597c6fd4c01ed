"""What every record holds: when, where and of what it was measured."""

import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ostinato
from ostinato.files import write_atomically
from ostinato.training import run

RECORDS = Path(__file__).with_name("records")


def todays(kind: str, folder: Path | None = None) -> Path:
    """The file of today's record of a kind."""
    return (folder or RECORDS) / f"{datetime.now(UTC).date().isoformat()}-{kind}.json"


def versions() -> dict[str, str]:
    """Of what the figures depend on, other libraries that were measured included."""
    others = {}
    for name in ("torchrecurrent", "jax", "onnxruntime"):
        with suppress(PackageNotFoundError):
            others[name] = version(name)
    return {**run.versions(), **others}


def write(
    path: Path,
    key: str,
    results: Mapping[str, Any],
    machine: Mapping[str, str],
    versions: Mapping[str, str],
    note: str,
) -> dict[str, Any]:
    """Writes results under `key`, beside those that the file already has; all of them."""
    before = json.loads(path.read_text())[key] if path.exists() else {}
    together = before | dict(results)
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {**machine, "cores": os.cpu_count()},
        "versions": versions,
        "note": note,
        key: together,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(record, indent=2) + "\n")
    return together


@cache
def commit() -> str:
    """Of the library that is measured; with `-dirty` if it had been changed when measuring began."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    here = Path(ostinato.__file__).parent
    return subprocess.run(describe, cwd=here, check=True, capture_output=True, text=True).stdout.strip()
