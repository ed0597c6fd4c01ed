"""Every case, by theme: what is measured, and beside whom."""

from ostinato.lab.bench.cases import (
    elementwise,
    everyone,
    inference,
    memory,
    own_cells,
    packages,
    ragged,
    recipes,
    streaming,
    training,
    widths,
)
from ostinato.lab.bench.harness import Race

CASES: list[Race | memory.Peak] = [
    *everyone.CASES,
    *training.CASES,
    *ragged.CASES,
    *own_cells.CASES,
    *elementwise.CASES,
    *packages.CASES,
    *inference.CASES,
    *streaming.CASES,
    *widths.CASES,
    *memory.CASES,
    *recipes.CASES,
]
"""In the order of the tables."""

SHORT = (
    "everyone/train-lstm",
    "everyone/infer-gru",
    "everyone/*-sru2",
    "pixels/train-lstm",
    "train/sru-2x128",
    "ragged/train-lstm",
    "resets/train-lstm",
    "stream/lstm-128",
    "width-train-lstm/*",
)
"""What is measured when no case is named: a few minutes on two cores."""
