"""A step of one's own that counts and draws: what becomes a program, and what the plain loop runs."""

from typing import NamedTuple

import pytest
import torch
from tests.contract.agree import draw, rows_agree, small_blocks, some_state
from torch import Tensor, nn, tanh

import ostinato
from ostinato.cells import Cell
from ostinato.cells.masks import random_mask
from ostinato.drivers import Recurrent
from ostinato.errors import DtypeError

B, T, H = 3, 7, 4


class Counting(NamedTuple):
    h: Tensor
    at: Tensor


class Noisy(Cell):
    """Draws by where it is, and goes on by `by`."""

    State = Counting
    counters = ("at",)

    def __init__(self, by=1, twist=None):
        super().__init__(H, H)
        self.W = nn.Parameter(torch.eye(H))
        self.by, self.twist = by, twist

    @property
    def state_shapes(self):
        return ((H,), ())

    def step(self, x, state):
        noise = random_mask(state.at + 3, (H,), 0.5, 1.0, 0, x.dtype)
        h, at = tanh(x * noise + state.h @ self.W), state.at
        if self.twist is not None:
            h, at = self.twist(h, at)
        return h, Counting(h, at + self.by if self.by else at)


MARKS = {
    "whole": {},
    "ragged": {"lengths": torch.tensor([7, 0, 4])},
    "resets": {"resets": draw(3, B, T) > 0.5},
    "both": {"lengths": torch.tensor([2, 7, 5]), "resets": draw(4, B, T) > 0.2},
}


@pytest.mark.parametrize("marks", MARKS.values(), ids=MARKS)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("by", [0, 1, 5, -2])
def test_counters_count_in_every_block(by, reverse, marks):
    """One block or one a step, chunks that are walked again, rows that end and begin anew."""
    cell, x = Noisy(by).double(), draw(1, B, T, H).requires_grad_()
    state = some_state(cell, B, 2)
    for recompute in (None, 3):
        rows_agree(cell, x, state, reverse=reverse, recompute=recompute, **marks)
    with small_blocks():
        got = rows_agree(cell, x, state, reverse=reverse, **marks)
    if not marks:
        assert torch.equal(got["last at"], state.at + by * T)


def test_a_counter_starts_at_zero_and_has_no_gradient():
    cell = Noisy().learn_initial_state()
    start = cell.initial_state(2)
    assert start.at.tolist() == [0, 0]
    assert start.at.dtype == torch.int64
    assert "at_0" not in dict(cell.named_parameters())
    assert start.h.requires_grad
    assert not Recurrent(cell)(torch.ones(2, 3, H))[1].at.requires_grad
    with pytest.raises(
        DtypeError, match=r"expected Counting\.at in torch\.int64, since it counts; got"
    ):
        Recurrent(cell)(torch.ones(2, 3, H), start._replace(at=torch.zeros(2)))


def test_explain_says_how_it_counts(capsys):
    for by, said in ((1, "at counts by 1 from its first"), (-2, "at counts by -2"), (0, "at stays")):
        ostinato.explain(Noisy(by), torch.zeros(1, 1, H))
        before, _, _ = capsys.readouterr().out.partition("walk, step by step")
        assert said in before
        assert "mask(" in before


TWISTS = {
    "computed with": (
        lambda h, at: (h * at[:, None], at),
        "added to by a whole number, and drawn from",
    ),
    "compared": (lambda h, at: (torch.where(at[:, None] > 2, h, -h), at), "added to by a whole number"),
    "multiplied": (lambda h, at: (h, at * 2), "added to by a whole number, and drawn from"),
    "joined": (lambda h, at: (torch.cat([h[:, 1:], at[:, None].to(h.dtype)], 1), at), "a counter is"),
}


@pytest.mark.parametrize("name", TWISTS)
def test_what_else_is_done_with_a_counter_is_the_reference_rows(name, capsys):
    twist, reason = TWISTS[name]
    cell = Noisy(twist=twist).double()
    ostinato.explain(cell, torch.zeros(1, 1, H))
    said = capsys.readouterr().out
    assert "row reference" in said
    assert reason in said
    assert "test_counters.py" in said
    outputs, last = Recurrent(cell)(draw(1, B, T, H))
    assert outputs.shape == (B, T, H)
    assert last.at.dtype == torch.int64


def test_a_counter_that_another_value_takes_over(capsys):
    class Restarted(Noisy):
        def step(self, x, state):
            output, after = super().step(x, state)
            return output, after._replace(at=torch.zeros_like(state.at))

    ostinato.explain(Restarted(), torch.zeros(1, 1, H))
    said = capsys.readouterr().out
    assert "row reference" in said
    assert "counter" in said
