"""Who ran a network's recurrent layers."""

import torch
from torch import nn

from ostinato.drivers import Recurrent, Static
from ostinato.kernels import choose_row


def ran_by(network: nn.Module, device: torch.device) -> list[str]:
    """The rows that `explain` names, and what static parts unrolled; none where nothing is walked."""
    unrolled = {
        layer: part
        for part in network.modules()
        if isinstance(part, Static)
        for layer in part.modules()
    }
    found = set()
    for layer in network.modules():
        if isinstance(layer, Recurrent):
            row, _ = choose_row(layer.cell, torch.empty(0, device=device), layer.row)
            static = unrolled.get(layer)
            found.add(row.name if static is None else _unrolled(static, row.name))
    return sorted(found)


def _unrolled(static: Static, row: str) -> str:
    what = "loop" if row == "reference" else "program"
    return f"unrolled {what}, {'compiled' if static.compiled else 'uncompiled'}"
