"""What a benchmark came to: every case's figures, and of what and on what they were measured."""

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from ostinato.errors import RunError
from ostinato.files import write_atomically
from ostinato.lab.bench.harness import OURS, Measured
from ostinato.training import run

FORMAT = 1

PACKAGES = ("torchrecurrent", "jax", "keras", "onnxruntime", "sru", "tensorflow")
"""Of other libraries that may be measured."""


@dataclass
class Outcome:
    """Of one case: what was measured, or why nothing was."""

    what: str
    measured: Measured | None = None
    problem: str | None = None
    wrong: bool = False
    """numbers differ, or ours failed: a bug of somebody"""


class Line(NamedTuple):
    """A peer of a case, for a table."""

    peer: str
    value: float | None
    ratio: float | None
    middle: tuple[float, float] | None
    """what holds the middle half of single turns"""
    note: str = ""


@dataclass
class Benchmark:
    """All cases of one run of `ostinato bench`."""

    seconds: float
    threads: int
    checked_only: bool = False
    quick: bool = False
    format: int = FORMAT
    kind: Literal["bench"] = "bench"
    status: Literal["measuring", "finished", "stopped"] = "measuring"
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    versions: dict[str, str] = field(default_factory=lambda: versions())
    machine: dict[str, str] = field(default_factory=lambda: machine())
    gflops: float | None = None
    """of this machine's matrix products"""
    cases: dict[str, Outcome] = field(default_factory=dict)

    @property
    def wrong(self) -> list[str]:
        return [name for name, each in self.cases.items() if each.wrong]

    def share(self, measured: Measured) -> float | None:
        """Of the machine's rate, that the matrix products alone would need in the time taken."""
        if measured.gflop is None or self.gflops is None or OURS not in measured.values:
            return None
        return measured.gflop / (measured.values[OURS] / 1e3) / self.gflops

    def absent(self) -> dict[str, list[str]]:
        """Why peers are not there, and the sides that wanted them."""
        found: dict[str, list[str]] = {}
        for each in self.cases.values():
            if each.measured is not None:
                for side, why in each.measured.missing.items():
                    if side not in found.setdefault(why, []):
                        found[why].append(side)
        return found


def lines(measured: Measured) -> Iterator[Line]:
    """The peers that were measured, then those that were not."""
    for name, ratio in measured.ratios.items():
        middle = None if ratio.low == ratio.high else (ratio.low, ratio.high)
        yield Line(name, measured.values[name], ratio.ratio, middle)
    for name in measured.missing:
        yield Line(name, None, None, None, "not installed")
    for name, why in measured.crashed.items():
        yield Line(name, None, None, None, f"failed: {why}")


def write(path: Path, benchmark: Benchmark) -> None:
    """As JSON. Raises RunError where nothing can be written."""
    try:
        write_atomically(path, _JSON.dump_json(benchmark, indent=2).decode() + "\n")
    except OSError as error:
        raise RunError(
            f"{path}: the results cannot be written there: {error.strerror}. Name another place with "
            "--json or --out."
        ) from error


def read(path: Path) -> Benchmark:
    """Raises RunError for what `write` did not write."""
    try:
        return _JSON.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(
            f"{path}: expected the results of `ostinato bench`, found nothing readable "
            f"({type(error).__name__}). Measure again."
        ) from error


def machine() -> dict[str, str]:
    """Of what the times depend on."""
    return {**run.machine(), "cores": str(os.cpu_count()), "model": _processor()}


def versions() -> dict[str, str]:
    """Of what the figures depend on, other libraries that may be measured included."""
    others = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            others[name] = version(name)
    return {**run.versions(), **others}


def _processor() -> str:
    """Its name, where the system tells."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


_JSON = TypeAdapter(Benchmark)
