"""A PackedSequence, walked where it lies: its rows are packed as a walk packs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ostinato.programs.block import HOST, Block
from ostinato.programs.layout import Empty, Layout


@dataclass(eq=False)
class PackedLayout(Layout):
    """Sequences are `[rows of all steps, …]`: nothing is padded, and nothing copied forwards.

    `order` says which of these rows each walked one is; None where they are walked as they lie.
    """

    @classmethod
    def of_packed(cls, packed: PackedSequence, reverse: bool) -> "PackedLayout":
        active: list[int] = packed.batch_sizes.tolist()
        batch, time = active[0], len(active)
        even = active[-1] == batch
        order = _from_ends(active).to(packed.data.device) if reverse and not even else None
        sorted_rows = packed.sorted_indices
        return cls(
            batch, time, active, order, sorted_rows, None, [False] * time, from_end=reverse and even
        )

    def source(self, values: Tensor) -> Tensor:
        return values

    def take(self, source: Tensor, rows: slice) -> Tensor:
        return source[rows] if self.order is None else source.index_select(0, self.order[rows])

    def steps(self, source: Tensor, rows: slice, block: Block) -> Sequence[Tensor]:
        return block.steps(self.take(source, rows))

    def lying(self, source: Tensor, rows: slice) -> Tensor:
        return self.take(source, rows)

    def outputs(self, like: Tensor, shape: Sequence[int], empty: Empty) -> Tensor:
        return empty(like, (like.shape[0], *shape))

    def as_outputs(self, values: Tensor) -> Tensor:
        return values

    def gradient(self, x: Tensor, filled: bool, empty: Empty) -> Tensor:
        return empty(x, x.shape) if filled else torch.zeros_like(x)

    def put(self, room: Tensor, rows: slice, values: Tensor) -> None:
        if self.order is None:
            room[rows] = values
        else:
            room.index_copy_(0, self.order[rows], values)

    def lies(self, room: Tensor, rows: slice) -> Tensor | None:
        return room[rows] if self.order is None else None

    def unpack(self, rows: Tensor) -> Tensor:
        if self.order is not None:
            return torch.zeros_like(rows).index_copy(0, self.order, rows)
        steps = rows.view(self.time, self.batch, *rows.shape[1:]) if self.from_end else None
        return rows if steps is None else steps.flip(0).flatten(0, 1)


def _from_ends(active: Sequence[int]) -> Tensor:
    """Where each row lies that a walk from every sequence's end meets."""
    first = torch.tensor([0, *accumulate(active)][:-1], device=HOST)
    lengths = (torch.tensor(active, device=HOST)[:, None] > torch.arange(active[0], device=HOST)).sum(0)
    places = (
        first[lengths[:count] - 1 - s] + torch.arange(count, device=HOST)
        for s, count in enumerate(active)
    )
    return torch.cat(list(places))
