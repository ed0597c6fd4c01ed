"""The reference driver knows no cell, and its backward pass is linear in T."""

from typing import NamedTuple

import pytest
import torch

from ostinato.cells import LSTM, Cell, HiddenState, LSTMState
from ostinato.drivers import Recurrent
from ostinato.errors import DeviceError, DtypeError, OptionError, StateError
from ostinato.wrappers import Bidirectional


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
    outputs, _ = Recurrent(LSTM(3, 4), row="reference")(x)
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


class TestWhatDoesNotFitIsTold:
    """Rank, width, dtype, device and state, for a sequence and for one step."""

    @pytest.mark.parametrize("step", [False, True], ids=["sequence", "step"])
    def test_dtype(self, step):
        layer = Recurrent(LSTM(3, 4))
        call = layer.cell if step else layer
        x = torch.zeros(2, 3) if step else torch.zeros(2, 5, 3)
        with pytest.raises(DtypeError, match=r"LSTM: expected x in torch.float32, as the weights are"):
            call(x.double())
        with pytest.raises(DtypeError, match=r"got torch.int64. Convert one of them: x.to"):
            call(x.long())
        state = LSTMState(torch.zeros(2, 4), torch.zeros(2, 4, dtype=torch.float64))
        with pytest.raises(DtypeError, match=r"expected state.c in torch.float32"):
            call(x, state)

    @pytest.mark.parametrize("step", [False, True], ids=["sequence", "step"])
    def test_device(self, step):
        layer = Recurrent(LSTM(3, 4))
        call = layer.cell if step else layer
        x = torch.zeros((2, 3) if step else (2, 5, 3))
        with pytest.raises(DeviceError, match=r"expected x on cpu, where the weights are; got meta"):
            call(x.to("meta"))
        state = LSTMState(torch.zeros(2, 4), torch.zeros(2, 4, device="meta"))
        with pytest.raises(DeviceError, match=r"expected state.c on cpu"):
            call(x, state)

    @pytest.mark.parametrize("step", [False, True], ids=["sequence", "step"])
    def test_state(self, step):
        layer = Recurrent(LSTM(3, 4))
        call = layer.cell if step else layer
        x = torch.zeros((2, 3) if step else (2, 5, 3))
        with pytest.raises(StateError, match=r"expected a state of type LSTMState, got HiddenState"):
            call(x, HiddenState(torch.zeros(2, 4)))
        with pytest.raises(StateError, match=r"LSTMState.h of shape \[2, 4\], got \[3, 4\]"):
            call(x, LSTMState(torch.zeros(3, 4), torch.zeros(2, 4)))
        pair = Bidirectional(Recurrent(LSTM(3, 4)), Recurrent(LSTM(3, 4), reverse=True))
        with pytest.raises(StateError, match=r"of type BothStates\(forward, backward\)"):
            pair(torch.zeros(2, 5, 3), layer.cell.initial_state(2))


def test_options_of_a_layer_are_checked():
    with pytest.raises(OptionError, match=r'no row "programme"; did you mean "program"\?'):
        Recurrent(LSTM(3, 4), row="programme")
    for wrong in (0, -1, 2.0, True, "root"):
        with pytest.raises(OptionError, match=r'recompute to be None, "sqrt" or a number of chunks'):
            Recurrent(LSTM(3, 4), recompute=wrong)
