"""How a ragged batch lies in memory while it is walked: no padding, the rows of one step together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ostinato.programs.block import HOST, Block

Empty = Callable[[Tensor, Sequence[int]], Tensor]
"""Room of a shape, for numbers like those of a tensor."""


@dataclass(eq=False)
class Layout:
    """Where each row of each step lies.

    Rows are sorted by falling length. `order` says which `b·T + t` each packed row is; None for a full
    batch walked forwards, for which packing is a transposition. A batch read in reverse is packed from
    each row's end, so that the walk itself knows one direction only.
    """

    batch: int
    time: int
    active: list[int]
    order: Tensor | None
    sorted_rows: Tensor | None
    cut: Tensor | None
    cuts: list[bool]
    from_end: bool = False
    """whether rows that all end together are walked from there: the blocks turn round, nothing else"""
    memo: dict[object, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        batch: int,
        time: int,
        lengths: Tensor | None,
        resets: Tensor | None,
        reverse: bool,
        device: torch.device,
    ) -> "Layout":
        """The layout of a checked batch; `resets` as the walk meets them (see `reversed_resets`)."""
        if lie_by_step(lengths, resets, reverse):
            cut = None if resets is None else resets.t().reshape(-1)
            any_cut = _any_by_step(resets, time)
            return cls(batch, time, [batch] * time, None, None, cut, any_cut, from_end=reverse)
        if lengths is None:
            lengths = torch.full((batch,), time, device=HOST)
        sorted_lengths, rows = lengths.cpu().sort(descending=True, stable=True)
        steps = torch.arange(time, device=HOST)
        active = (sorted_lengths[:, None] > steps).sum(0)
        walked = int((active > 0).sum())
        places = []
        for step, count in enumerate(active[:walked].tolist()):
            first = rows[:count]
            t = sorted_lengths[:count] - 1 - step if reverse else torch.tensor(step, device=HOST)
            places.append(first * time + t)
        order = torch.cat(places) if places else torch.empty(0, dtype=torch.long, device=HOST)
        in_order = bool((rows == torch.arange(batch, device=HOST)).all())
        cut, cuts = None, [False] * walked
        if resets is not None:
            # In the order of the walk, resets already lie from each row's end.
            met = torch.cat(
                [rows[:n] * time + s for s, n in enumerate(active[:walked].tolist())] or [order]
            )
            cut = resets.reshape(-1)[met.to(resets.device)]
            cuts = _any_by_step(resets, walked)
        return cls(
            batch,
            time,
            active[:walked].tolist(),
            order.to(device),
            None if in_order else rows.to(device),
            None if cut is None else cut.to(device),
            cuts,
        )

    # A sequence `[B, T, …]`, read and written a block at a time: no second copy of the whole is made.

    def source(self, values: Tensor) -> Tensor:
        """A sequence, made ready for `take`."""
        if self.order is None:
            return values.transpose(0, 1)
        return values.reshape(self.batch * self.time, *values.shape[2:])

    def take(self, source: Tensor, rows: slice) -> Tensor:
        """Some packed rows of a source."""
        if self.order is not None:
            return source.index_select(0, self.order[rows])
        batch = max(1, self.batch)
        steps = source[rows.start // batch : rows.stop // batch]
        return steps.reshape(rows.stop - rows.start, *source.shape[2:])

    def steps(self, source: Tensor, rows: slice, block: Block) -> Sequence[Tensor]:
        """The rows of each of a block's steps; where rows are not sorted, without a copy."""
        if self.order is not None or not self.batch:
            return block.steps(self.take(source, rows))
        return self.lying(source, rows).unbind()

    def lying(self, source: Tensor, rows: slice) -> Tensor:
        """Some steps `[steps, B, …]` as they lie; packed rows where rows are sorted."""
        if self.order is not None or not self.batch:
            return self.take(source, rows)
        return source[rows.start // self.batch : rows.stop // self.batch]

    def outputs(self, like: Tensor, shape: Sequence[int], empty: Empty) -> Tensor:
        """Room for `[B, T, …]`, zero in the padding; step by step, as the walk makes it, if it can."""
        if self.order is None:
            return empty(like, (self.time, self.batch, *shape)).transpose(0, 1)
        return self._ragged(like, (self.batch, self.time, *shape), filled=True)

    def as_outputs(self, values: Tensor) -> Tensor:
        """What the steps of a batch that is not sorted put out, as `outputs` would hold it."""
        return values.view(self.time, self.batch, *values.shape[1:]).transpose(0, 1)

    def by_step(self, x: Tensor) -> bool:
        """Whether `[B, T, …]` lies as the walk makes it."""
        return self.order is None and x.transpose(0, 1).is_contiguous()

    def gradient(self, x: Tensor, filled: bool, empty: Empty) -> Tensor:
        """Room for the gradient of x, which autograd copies unless it lies in memory as x does.

        Zero in the padding, and everywhere unless all rows are to be `put`.
        """
        if self.order is None and filled:
            if self.by_step(x):
                return empty(x, x.transpose(0, 1).shape).transpose(0, 1)
            return empty(x, x.shape) if x.is_contiguous() else torch.empty_like(x)
        if self.order is None:
            return torch.zeros_like(x)
        return self._ragged(x, x.shape, filled)

    def _ragged(self, like: Tensor, shape: Sequence[int], filled: bool) -> Tensor:
        assert self.order is not None
        full = filled and self.order.shape[0] == self.batch * self.time
        return like.new_empty(shape) if full else like.new_zeros(shape)

    def put(self, room: Tensor, rows: slice, values: Tensor) -> None:
        """Writes some packed rows."""
        if self.order is not None:
            room.flatten(0, 1).index_copy_(0, self.order[rows], values)
            return
        batch = max(1, self.batch)
        steps = room.transpose(0, 1)[rows.start // batch : rows.stop // batch]
        steps.copy_(values.view(steps.shape))

    def lies(self, room: Tensor, rows: slice) -> Tensor | None:
        """Some packed rows of a room, where they lie as a block makes them."""
        if self.order is not None or not self.batch or not self.by_step(room):
            return None
        steps = room.transpose(0, 1)[rows.start // self.batch : rows.stop // self.batch]
        return steps.flatten(0, 1)

    def unpack(self, rows: Tensor) -> Tensor:
        """The rows of all steps → `[B, T, …]`, zero in the padding; autograd follows."""
        shape = rows.shape[1:]
        if self.order is None:
            steps = rows.view(self.time, self.batch, *shape)
            return (steps.flip(0) if self.from_end else steps).transpose(0, 1)
        whole = rows.new_zeros(self.batch * self.time, *shape).index_copy(0, self.order, rows)
        return whole.view(self.batch, self.time, *shape)

    def sort(self, state: Tensor) -> Tensor:
        """The rows of a state, by falling length."""
        return state if self.sorted_rows is None else state.index_select(0, self.sorted_rows)

    def unsort(self, state: Tensor) -> Tensor:
        """The rows of a state, as they came."""
        if self.sorted_rows is None:
            return state
        return state.index_select(0, self.sorted_rows.argsort())

    def blocks(self, steps: int, first: int = 0, last: int | None = None) -> list[tuple[slice, Block]]:
        """Blocks of so many steps, in the order of the walk, and the packed rows that each covers."""
        last = len(self.active) if last is None else last
        at = sum(self.active[:first])
        made = []
        for start in range(first, last, steps):
            stop = min(start + steps, last)
            active = self.active[start:stop]
            rows = slice(at, at + sum(active))
            cuts = self.cuts[start:stop]
            cut = self.cut[rows] if self.cut is not None and any(cuts) else None
            at = rows.stop
            if self.from_end:
                every = self.batch * self.time
                rows = slice(every - rows.stop, every - rows.start)
            made.append((rows, Block(self.batch, active, cut, cuts, self.from_end, self.memo)))
        return made


def lie_by_step(lengths: Tensor | None, resets: Tensor | None, reverse: bool) -> bool:
    """Whether steps are walked as they lie, so that no row is gathered, and outputs lie `[T, B, …]`."""
    return lengths is None and not (reverse and resets is not None)


def _any_by_step(resets: Tensor | None, time: int) -> list[bool]:
    if resets is None:
        return [False] * time
    return resets.any(0).tolist()[:time] if resets.shape[0] else [False] * time
