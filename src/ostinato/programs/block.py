"""A few time steps of all rows: how a part of a program that runs them finds its rows."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from ostinato.programs.scan import scan

HOST = torch.device("cpu")
"""Where it is worked out what lies where, whatever torch's default device is."""

Empty = Callable[[Sequence[int]], Tensor]
"""Room of a shape."""


@dataclass(eq=False)
class Block:
    """Steps whose rows lie one after another, the rows of one step together.

    Rows are sorted by length, so that at each step the first `active[s]` of `batch` are walked.
    `cut` tells at which rows the state that a step is given is a fresh one. A block is walked from its
    first step to its last, or the other way round for a backward program.
    """

    batch: int
    active: list[int]
    cut: Tensor | None
    cuts: list[bool]
    backwards: bool = False
    memo: dict[object, Tensor] = field(default_factory=dict)
    """what is made once for all blocks of a call"""
    into: Tensor | None = None
    """where what it puts out is to be, for a program that can write it there"""
    before: int | None = None
    """how many rows the step before it walked, where it is a part of a block; else the whole batch"""
    room_for: int = 0
    """how many rows the largest of the blocks has that use the same memory one after another"""

    @cached_property
    def rows(self) -> int:
        return sum(self.active)

    @cached_property
    def even(self) -> bool:
        """Whether every row is walked at every step."""
        return all(count == self.batch for count in self.active)

    @cached_property
    def order(self) -> range:
        steps = range(len(self.active))
        return steps[::-1] if self.backwards else steps

    @cached_property
    def special(self) -> list[bool]:
        """At which steps `enter` has work: rows come or go, or are cut."""
        if self.even:
            return [False] * len(self.active) if self.backwards else self.cuts
        return [True] * len(self.active)

    def parts(self, count: int) -> "list[tuple[slice, Block]]":
        """So many blocks with about as many rows, last walked first, and the rows that each covers."""
        first = [0, *accumulate(self.active)]
        middles = (bisect_left(first, self.rows * number / count) for number in range(1, count))
        ends = sorted({0, *middles, len(self.active)})
        most = max((first[stop] - first[start] for start, stop in pairwise(ends)), default=0)
        made = []
        for start, stop in pairwise(ends):
            rows = slice(first[start], first[stop])
            part = replace(
                self,
                active=self.active[start:stop],
                cut=None if self.cut is None else self.cut[rows],
                cuts=self.cuts[start:stop],
                before=self.active[start - 1] if start else self.before,
                room_for=most,
            )
            made.append((rows, part))
        return made if self.backwards else made[::-1]

    def of_part(self, values: Tensor, rows: slice, part: "Block") -> Tensor:
        """What a part reads of values of all rows, or of what lies late."""
        if not self.lies_late(values):
            return values[rows]
        first = self.ahead + rows.start - part.ahead
        return values[first : first + part.ahead + part.rows - part.active[-1]]

    def turned(self, into: Tensor | None = None) -> "Block":
        """The same steps, walked the other way."""
        return replace(self, backwards=not self.backwards, into=into)

    def steps(self, values: Tensor) -> Sequence[Tensor]:
        """The rows of each step."""
        if self.even:
            return values.view(len(self.active), self.batch, *values.shape[1:]).unbind()
        return torch.split_with_sizes(values, self.active)

    def buffer(self, like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Room for one value of every step."""
        return like.new_empty(self.rows, *shape, dtype=dtype)

    def room(self, empty: Empty, *shape: int, more: int = 0) -> Tensor:
        """Room for one value of every step, and more rows, that the next block can use again."""
        return empty((max(self.rows, self.room_for) + more, *shape))[: self.rows + more]

    def output(self, empty: Empty, *shape: int) -> Tensor:
        """Room for what is put out."""
        return self.room(empty, *shape) if self.into is None else self.into

    # A carried value: its history has room for what the first step is given, beside what each hands on.
    # Backwards, where rows come as others go, it has not.

    def history(self, start: Tensor, empty: Empty | None = None) -> Tensor:
        more = 0 if self.backwards and not self.even else self.batch
        whole = self.room(empty or start.new_empty, *start.shape[1:], more=more)
        if more:
            first = whole[self.rows :] if self.backwards else whole[: self.batch]
            first.copy_(start)
        return whole

    def handed_on(self, history: Tensor) -> Tensor:
        """What each step hands on."""
        return history[: self.rows] if self.backwards else history[self.batch :]

    def given(self, history: Tensor, start: Tensor, fresh: Tensor | None) -> Tensor:
        """What each step is given: what the one before it handed on, unless it is cut from it."""
        if self.even:
            return self._cut(history[self.batch :] if self.backwards else history[: self.rows], fresh)
        if self.backwards:
            return self.delay(history, start, fresh)
        return self._cut(history.index_select(0, self._sources.to(history.device)), fresh)

    def late(self, history: Tensor, start: Tensor, fresh: Tensor | None) -> Tensor:
        """The same, or, where rows end, the history itself, in which each step's rows lie a step late:
        no copy is made."""
        if self.even or self.backwards or self.cut is not None:
            return self.given(history, start, fresh)
        return history[: self.ahead + self.rows - self.active[-1]]

    @property
    def ahead(self) -> int:
        """How many rows of what lies late are in front of what the first step hands on."""
        return self.batch if self.before is None else self.before

    def lies_late(self, values: Tensor) -> bool:
        """Told by the number of rows, which else is that of the block."""
        return values.shape[0] != self.rows

    def on_time(self, values: Tensor) -> Tensor:
        """The rows of the block, of what may lie late."""
        return values.index_select(0, self.late_rows) if self.lies_late(values) else values

    @cached_property
    def late_rows(self) -> Tensor:
        """Where each row finds what it was given in what lies late."""
        first = [0, *accumulate((self.ahead, *self.active[:-1]))]
        return torch.cat(
            [torch.arange(n, device=HOST) + at for at, n in zip(first, self.active, strict=False)]
        )

    def delay(self, values: Tensor, start: Tensor, fresh: Tensor | None) -> Tensor:
        """The values one step later: what each step is given."""
        if self.even:
            parts = [values[self.batch :], start] if self.backwards else [start, values[: -self.batch]]
            late = torch.cat(parts)[: self.rows]
        else:
            late = torch.cat([start, values]).index_select(0, self._sources.to(values.device))
        return self._cut(late, fresh)

    def _cut(self, values: Tensor, fresh: Tensor | None) -> Tensor:
        if self.cut is None or self.backwards:
            return values
        assert fresh is not None
        return torch.where(beside(self.cut, values), fresh.index_select(0, self.row_of), values)

    @cached_property
    def row_of(self) -> Tensor:
        """Which row of the batch each row of the block belongs to."""
        rows = [torch.arange(count, device=HOST) for count in self.active]
        return torch.cat(rows).to(self._device)

    @property
    def _device(self) -> torch.device:
        return HOST if self.cut is None else self.cut.device

    @cached_property
    def _sources(self) -> Tensor:
        """Where in [start, values] each row finds what the step before it, in the walk, handed on."""
        if not self.backwards:
            return self.late_rows
        places = []
        firsts = (self.batch + rows for rows in accumulate(self.active))
        for first, shared, count in zip(firsts, [*self.active[1:], 0], self.active, strict=True):
            given = torch.arange(shared, device=HOST) + first
            places += [given, torch.arange(shared, count, device=HOST)]
        return torch.cat(places)

    def counted(self, start: Tensor, fresh: Tensor | None, by: int) -> Tensor:
        """What each step is given of a counter to which each step adds `by`."""
        steps = torch.arange(len(self.active), device=start.device)
        steps = steps.flip(0) if self.backwards else steps
        if self.even and self.cut is None:
            return (steps[:, None] * by + start).view(-1)
        counts = torch.tensor(self.active, device=start.device)
        row, step = self.row_of.to(start.device), steps.repeat_interleave(counts)
        if self.cut is None:
            return start[row] + step * by
        assert fresh is not None
        # The last cut of each row so far, as a number of steps; -1 before the first.
        cuts = start.new_full((len(self.active), self.batch), -1)
        cuts[step, row] = torch.where(self.cut, step, -1)
        since = cuts.cummax(0).values[step, row]
        begun = torch.where(since < 0, start[row], fresh[row])
        return begun + (step - since.clamp(min=0)) * by

    # The walk.

    def own(self, start: Tensor) -> Tensor:
        """The state of all rows, to be written to where rows come or go."""
        return start if self.even else start.clone()

    def start(self, full: Tensor) -> Tensor:
        """The rows that the first step walks."""
        return full if self.even else full[: self.active[self.order[0]]]

    def enter(
        self, step: int, states: tuple[Tensor, ...], full: list[Tensor], fresh: Sequence[Tensor | None]
    ) -> tuple[Tensor, ...]:
        """The state for a step: without the rows that ended, with those that begin, cut where cut."""
        count = self.active[step]
        result = []
        for state, whole, new in zip(states, full, fresh, strict=True):
            have = state.shape[0]
            if count < have:
                whole[count:have] = state[count:]
                state = state[:count]
            elif count > have:
                state = torch.cat([state, whole[have:count]])
            if self.cuts[step] and not self.backwards:
                assert new is not None
                assert self.cut is not None
                mask = self.steps(self.cut)[step]
                state = torch.where(beside(mask, state), new[:count], state)
            result.append(state)
        return tuple(result)

    def end(self, state: Tensor, full: Tensor) -> Tensor:
        """What the last step hands on, for all rows of the batch."""
        if self.even:
            return state
        full[: state.shape[0]] = state
        return full

    def last(self, values: Tensor, start: Tensor) -> Tensor:
        """What the last step hands on, from the values of all steps."""
        if self.even:
            return values[: self.batch] if self.backwards else values[self.rows - self.batch :]
        full, steps = start.clone(), self.steps(values)
        for step in self.order:
            full[: self.active[step]] = steps[step]
        return full

    def scan(self, a: Tensor, b: Tensor, start: Tensor, fresh: Tensor | None, history: Tensor) -> None:
        """`c ← a·c + b` through all steps, into what `history` hands on."""
        out = self.handed_on(history)
        whole_a, whole_b = a, b
        if self.cut is not None:
            a, b = self._cut_off(a.expand_as(out), b.expand_as(out), fresh)
        if self.even:
            steps = (len(self.active), self.batch)
            # A coefficient with an axis less is a weight's, and the same at all steps.
            a, b = (
                each.view(*steps, *each.shape[1:]) if each.dim() == out.dim() else each
                for each in (a, b)
            )
            scan(a, b, start, out.view(*steps, *out.shape[1:]), self.backwards)
        else:
            full = self.own(start)
            a_s, b_s, out_s = (self.steps(each.expand_as(out)) for each in (a, b, out))
            for step in self.order:
                part = full[: self.active[step]]
                part.copy_(torch.addcmul(b_s[step], a_s[step], part, out=out_s[step]))
        if self.cut is not None and self.backwards and fresh is not None:
            self.cut_gradients(whole_a * self.given(history, start, None) + whole_b, fresh)

    def _cut_off(self, a: Tensor, b: Tensor, fresh: Tensor | None) -> tuple[Tensor, Tensor]:
        """Coefficients that begin anew where a row is cut; backwards, hand no gradient on there."""
        assert self.cut is not None
        cut = beside(self.cut, a)
        if self.backwards:
            return a.masked_fill(cut, 0), b.masked_fill(cut, 0)
        assert fresh is not None
        anew = torch.addcmul(b, a, fresh.index_select(0, self.row_of))
        return a.masked_fill(cut, 0), torch.where(cut, anew, b)

    # Gradients at a cut.

    def cut_gradient(self, step: int, gradient: Tensor, fresh: Tensor | None) -> None:
        """Stops, in place, the gradient of a state at the rows that were given a fresh one."""
        assert self.cut is not None
        mask = beside(self.steps(self.cut)[step], gradient)
        if fresh is not None:
            fresh[: gradient.shape[0]] += gradient.masked_fill(~mask, 0)
        gradient.masked_fill_(mask, 0)

    def cut_gradients(self, gradients: Tensor, fresh: Tensor | None) -> Tensor:
        """The same for all steps at once; not in place."""
        if self.cut is None:
            return gradients
        mask = beside(self.cut, gradients)
        if fresh is not None:
            fresh.index_add_(0, self.row_of, gradients.masked_fill(~mask, 0))
        return gradients.masked_fill(mask, 0)


def beside(mask: Tensor, tensor: Tensor) -> Tensor:
    """The mask with as many axes as the tensor."""
    return mask.view(*mask.shape, *[1] * (tensor.dim() - mask.dim()))
