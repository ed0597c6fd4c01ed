"""What every record holds: when, where and of what it was measured."""

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import ostinato
from ostinato.files import write_atomically
from ostinato.lab.bench.turns import Ratio, Times, compared, milliseconds

Results = dict[str, Any]

RECORDS = Path(__file__).with_name("records")


def todays(kind: str, folder: Path | None = None) -> Path:
    """The file of today's record of a kind."""
    return (folder or RECORDS) / f"{datetime.now(UTC).date().isoformat()}-{kind}.json"


def figures(found: Ratio) -> Results:
    """A ratio as records have it."""
    return {"ratio": found.ratio, "ratio_quartiles": [found.low, found.high]}


def of_two(taken: Times, above: str, below: str) -> Results:
    """The ratio of two sides, and what it was made from."""
    return {
        **figures(compared(taken, above, below)),
        "ms": milliseconds(taken),
        "turns": len(taken[above]),
    }


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
