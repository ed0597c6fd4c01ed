"""What a benchmark came to: every case's figures, and of what and on what they were measured.

bench.json    all of it, written after each case
report.html   the same as a page
"""

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from ostinato.lab.bench.harness import OURS, Measured
from ostinato.lab.description import Description
from ostinato.training import run

PACKAGES = ("torchrecurrent", "jax", "keras", "onnxruntime", "sru", "tensorflow")
"""Of other libraries that may be measured."""


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


@dataclass
class Outcome:
    """Of one case: what was measured, or why nothing was."""

    what: str
    measured: Measured | None = None
    problem: str | None = None
    wrong: bool = False
    """numbers differ, or ours failed: somebody's bug"""


class Benchmark(Description):
    """What `bench.json` holds."""

    KIND: ClassVar[str] = "bench"
    MAKES: ClassVar[str] = "bench"

    names: list[str]
    """of the cases that were asked for"""
    peers: list[str] | None = None
    """beside whom alone"""
    seconds: float
    threads: int
    check: bool = False
    quick: bool = False
    gflops: float | None = None
    """a second, of this machine's matrix products at their best"""
    cases: dict[str, Outcome] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=versions)
    machine: dict[str, str] = Field(default_factory=machine)

    @property
    def question(self) -> tuple[object, ...]:
        asked = (self.names, self.peers, self.seconds, self.threads, self.check, self.quick)
        return (*asked, self.versions, self.machine)

    def __str__(self) -> str:
        some = ", ".join([*self.names[:2], "…"] if len(self.names) > 2 else self.names)
        return f"one of {some}, {self.seconds:g} s a side, threads: {self.threads}"

    @property
    def wrong(self) -> list[str]:
        return [name for name, each in self.cases.items() if each.wrong]

    def share(self, measured: Measured) -> float | None:
        """Of the machine's rate, that the matrix products alone would need in the time taken."""
        if measured.gflop is None or self.gflops is None or OURS not in measured.values:
            return None
        gflops = self.gflops * (measured.threads or self.threads) / self.threads
        return measured.gflop / (measured.values[OURS] / 1e3) / gflops

    def absent(self) -> dict[str, list[str]]:
        """Why peers are not there, and which sides."""
        found: dict[str, list[str]] = {}
        for each in self.cases.values():
            for side, why in each.measured.missing.items() if each.measured else ():
                if side not in found.setdefault(why, []):
                    found[why].append(side)
        return found
