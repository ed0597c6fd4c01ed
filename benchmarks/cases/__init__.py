"""Every case, by theme: what is measured, beside whom, and what is claimed."""

from cases import (
    elementwise,
    inference,
    memory,
    own_cells,
    packages,
    plain,
    ragged,
    recipes,
    streaming,
    training,
)
from harness import Case

CASES: list[Case] = [
    *plain.CASES,
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
