"""A few time steps of all rows: how a part of a program that runs them finds its rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from ostinato.programs.scan import scan

HOST = torch.device("cpu")
"""Where it is worked out what lies where, whatever torch's default device is."""


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

    def parts(self, steps: int) -> "list[tuple[slice, Block]]":
        """Blocks of so many steps at most, the last walked first, and the rows that each covers."""
        count = -(-len(self.active) // max(1, steps))
        ends = [len(self.active) * number // max(1, count) for number in range(count + 1)]
        made, first = [], 0
        for start, stop in pairwise(ends):
            active = self.active[start:stop]
            rows = slice(first, first + sum(active))
            first = rows.stop
            cut = None if self.cut is None else self.cut[rows]
            part = replace(self, active=active, cut=cut, cuts=self.cuts[start:stop])
            made.append((rows, part))
        return made if self.backwards else made[::-1]

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

    def output(self, empty: Callable[[Sequence[int]], Tensor], shape: Sequence[int]) -> Tensor:
        """Room for what is put out."""
        return empty(shape) if self.into is None else self.into

    # A carried value: its history has room for what the first step is given, beside what each hands on.

    def history(self, start: Tensor, empty: Callable[[Sequence[int]], Tensor] | None = None) -> Tensor:
        shape = (self.rows + self.batch if self.even else self.rows, *start.shape[1:])
        whole = start.new_empty(shape) if empty is None else empty(shape)
        if self.even:
            first = whole[self.rows :] if self.backwards else whole[: self.batch]
            first.copy_(start)
        return whole

    def handed_on(self, history: Tensor) -> Tensor:
        """What each step hands on."""
        if not self.even:
            return history
        return history[: self.rows] if self.backwards else history[self.batch :]

    def given(self, history: Tensor, start: Tensor, fresh: Tensor | None) -> Tensor:
        """What each step is given: what the one before it handed on, unless it is cut from it."""
        if not self.even:
            return self.delay(history, start, fresh)
        return self._cut(history[self.batch :] if self.backwards else history[: self.rows], fresh)

    def delay(self, values: Tensor, start: Tensor, fresh: Tensor | None) -> Tensor:
        """The values one step later: what each step is given."""
        if self.even:
            parts = [values[self.batch :], start] if self.backwards else [start, values[: -self.batch]]
            late = torch.cat(parts)[: self.rows]
        else:
            late = torch.cat([start, values]).index_select(0, self._sources)
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
        places, at = [], self.batch
        firsts = []
        for count in self.active:
            firsts.append(at)
            at += count
        for step, count in enumerate(self.active):
            before = step + 1 if self.backwards else step - 1
            inside = 0 <= before < len(self.active)
            shared = min(count, self.active[before]) if inside else 0
            given = torch.arange(shared, device=HOST) + (firsts[before] if inside else 0)
            places += [given, torch.arange(shared, count, device=HOST)]
        return torch.cat(places).to(self._device)

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
