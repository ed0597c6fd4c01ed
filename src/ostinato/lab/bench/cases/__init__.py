"""Every case, by theme: what is measured, and beside whom."""

from ostinato.lab.bench.cases import (
    elementwise,
    inference,
    memory,
    own_cells,
    packages,
    ragged,
    recipes,
    streaming,
    training,
)
from ostinato.lab.bench.harness import Race

CASES: list[Race | memory.Peak] = [
    *training.CASES,
    *ragged.CASES,
    *own_cells.CASES,
    *elementwise.CASES,
    *packages.CASES,
    *inference.CASES,
    *streaming.CASES,
    *memory.CASES,
    *recipes.CASES,
]
"""In the order of the tables."""

SHORT = (
    "train/lstm-2x128",
    "train/gru-256",
    "train/sru-2x128",
    "packed/lstm-256",
    "resets/lstm-256",
    "infer/gru-256",
    "stream/lstm-128",
)
"""What is measured when no case is named: a few minutes on two cores."""
