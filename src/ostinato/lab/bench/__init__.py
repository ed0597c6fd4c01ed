"""Layers and kernels beside what users would otherwise use: cases, peers, and how they are measured."""

from ostinato.lab.bench.cases import CASES, SHORT
from ostinato.lab.bench.choice import choose
from ostinato.lab.bench.harness import Case, Measured
from ostinato.lab.bench.peers import PEERS
from ostinato.lab.bench.results import Benchmark, Outcome
from ostinato.lab.bench.run import bench, resume

__all__ = [
    "CASES",
    "PEERS",
    "SHORT",
    "Benchmark",
    "Case",
    "Measured",
    "Outcome",
    "bench",
    "choose",
    "resume",
]
