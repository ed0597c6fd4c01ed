"""The reference driver knows no cell, and its backward pass is linear in T."""

from typing import NamedTuple

import torch

from ostinato.cells import LSTM, Cell
from ostinato.drivers import Recurrent


class Sum(NamedTuple):
    total: torch.Tensor


class Adder(Cell):
    """A cell that a user might write this morning: it sums what it reads."""

    State = Sum

    def __init__(self, size):
        super().__init__(size, size)
        self.scale = torch.nn.Parameter(torch.ones(size))

    def step(self, x, state):
        total = state.total + x * self.scale
        return 2 * total, Sum(total)


def test_any_cell_runs():
    x = torch.arange(12.0).reshape(1, 4, 3)
    outputs, state = Recurrent(Adder(3))(x)
    torch.testing.assert_close(outputs, 2 * x.cumsum(1))
    torch.testing.assert_close(state.total, x.sum(1))


def test_the_input_is_taken_apart_once():
    """A slice a step would give x one full-size gradient a step: quadratic in T."""
    x = torch.randn(2, 50, 3, requires_grad=True)
    outputs, _ = Recurrent(LSTM(3, 4))(x)
    readers, seen, todo = set(), set(), [outputs.grad_fn]
    while todo:
        node = todo.pop()
        for following, _ in node.next_functions:
            if following is None:
                continue
            if getattr(following, "variable", None) is x:
                readers.add(node.name())
            if following not in seen:
                seen.add(following)
                todo.append(following)
    assert readers == {"UnbindBackward0"}


def test_states_and_inputs_may_have_their_own_dtype():
    layer = Recurrent(LSTM(3, 4)).to(torch.bfloat16)
    outputs, state = layer(torch.randn(2, 3, 3, dtype=torch.bfloat16))
    assert outputs.dtype == state.c.dtype == torch.bfloat16
