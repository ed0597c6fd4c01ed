"""The plain loop in chunks that are walked once more: the same as walked once, in less memory."""

import pytest
import torch
from torch import nn

from ostinato.cells import GRU, LSTM, Cell, HiddenState
from ostinato.drivers import Recurrent
from ostinato.errors import RowError
from plain import Memory

T = 10


class Noisy(Cell):
    """Draws from torch's generator at every step, and has a buffer and a state that it hands on."""

    State = HiddenState

    def __init__(self):
        super().__init__(3, 3)
        self.W = nn.Parameter(torch.randn(3, 3))
        self.register_buffer("scale", torch.tensor(0.5))

    def step(self, x, state):
        h = nn.functional.dropout(x @ self.W + self.scale * state.h)
        return h, HiddenState(h)


class Idle(Noisy):
    """Hands on the very state that it was given."""

    def step(self, x, state):
        return x @ self.W, state


def results(cell, recompute, x, seed=0):
    torch.manual_seed(seed)
    outputs, state = Recurrent(cell, row="reference", recompute=recompute)(x)
    loss = outputs.float().sin().sum() + sum(each.float().square().sum() for each in state)
    return [outputs, *state, *torch.autograd.grad(loss, [x, *cell.parameters()]), torch.rand(1)]


@pytest.mark.parametrize("chunks", [2, 3, T, "sqrt"])
@pytest.mark.parametrize("make", [Noisy, Idle, lambda: LSTM(3, 4), lambda: GRU(3, 4)])
def test_chance_is_the_same_at_the_second_walk(make, chunks):
    torch.manual_seed(0)
    cell, x = make(), torch.randn(2, T, 3, requires_grad=True)
    for a, b in zip(results(cell, None, x), results(cell, chunks, x), strict=True):
        torch.testing.assert_close(a, b)


def test_autocast_is_the_same_at_the_second_walk():
    torch.manual_seed(0)
    cell, x = LSTM(3, 4), torch.randn(2, T, 3, requires_grad=True)
    found = []
    for cast, chunks in ((False, None), (True, None), (True, 3)):
        with torch.autocast("cpu", torch.bfloat16, enabled=cast):
            outputs, _ = Recurrent(cell, row="reference", recompute=chunks)(x)
        found.append(torch.autograd.grad(outputs.sum(), x)[0])
    plain, cast, again = found
    torch.testing.assert_close(again, cast, atol=1e-6, rtol=1e-5)
    assert (plain - cast).abs().max() > 1e-4


def test_second_derivatives():
    torch.manual_seed(0)
    layer = Recurrent(LSTM(2, 2).double(), row="reference", recompute=3)
    x = torch.randn(1, 4, 2, dtype=torch.float64, requires_grad=True)
    weights = list(layer.parameters())
    assert torch.autograd.gradgradcheck(lambda x, *_: layer(x)[0], (x, *weights))


def test_weights_may_be_put_in_for_one_call():
    torch.manual_seed(0)
    cell, x = GRU(3, 4), torch.randn(2, T, 3)
    others = {
        f"cell.{name}": torch.randn_like(each).requires_grad_()
        for name, each in cell.named_parameters()
    }
    found = []
    for chunks in (None, 4):
        layer = Recurrent(cell, row="reference", recompute=chunks)
        outputs, _ = torch.func.functional_call(layer, others, (x,))
        found.append(torch.autograd.grad(outputs.sum(), list(others.values())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_a_weight_changed_before_the_backward_pass_is_told():
    layer = Recurrent(LSTM(3, 4), row="reference", recompute=2)
    outputs, _ = layer(torch.randn(2, T, 3))
    with torch.no_grad():
        layer.cell.W_h.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


def test_transforms_of_torch_func_are_refused():
    layer, x = Recurrent(LSTM(3, 4), recompute=2), torch.randn(2, T, 3)
    with pytest.raises(RowError, match="expected recompute=None inside a transform of torch.func"):
        torch.func.grad(lambda x: layer(x)[0].sum())(x)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_memory_falls_as_the_chunks_say(cell):
    """By what the system holds for a process of its own, over 2,000 steps."""
    case = Memory(cell, "reference", time=2000, processes=1)
    assert case.peak("sqrt") < 0.35 * case.peak(None)
