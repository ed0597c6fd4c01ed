"""Prints by how many bytes a training step over a long sequence raises the memory of a fresh process.

    python benchmarks/peak.py lstm program sqrt 4000 8 32 128

The peak is VmHWM of /proc/self/status: what the system holds for this process at most, so pieces that
the allocator keeps, Python objects and the buffers of matrix products count, as they do for a user.
`ru_maxrss` will not do: a child inherits its parent's. The start is what is held once a short sequence
has warmed torch up, with input and gradient of the outputs made.
"""

import sys
from pathlib import Path

import torch

from ostinato.cells import CELLS
from ostinato.drivers import Recurrent


def main(cell: str, row: str, recompute: str, time: int, batch: int, inputs: int, hidden: int) -> None:
    torch.set_num_threads(1)
    layer = Recurrent(
        CELLS[cell](inputs, hidden),
        row=row,  # type: ignore[arg-type]
        recompute=None if recompute == "none" else recompute,  # type: ignore[arg-type]
    )

    def step(x: torch.Tensor, gradient: torch.Tensor) -> None:
        outputs, _ = layer(x.requires_grad_())
        outputs.backward(gradient)

    step(torch.randn(batch, 9, inputs), torch.randn(batch, 9, hidden))
    x, gradient = torch.randn(batch, time, inputs), torch.randn(batch, time, hidden)
    before = held("VmRSS")
    step(x, gradient)
    print(held("VmHWM") - before)


def held(name: str) -> int:
    """Bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))  # type: ignore[arg-type]
