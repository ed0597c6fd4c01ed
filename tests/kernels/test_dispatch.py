"""Who runs a call: the first row that can, and in words why an earlier one cannot."""

import pytest
import torch
from tests.contract.agree import draw, randomise
from torch import nn
from torch.autograd import forward_ad

from ostinato.cells import LSTM, SRU, Cell, HiddenState
from ostinato.drivers import Recurrent
from ostinato.errors import OptionError, RowError
from ostinato.kernels.core import why_missing
from ostinato.kernels.dispatch import choose_row

I, H = 3, 4  # noqa: E741


def layers(make):
    cell = randomise(make(I, H), 1)
    return Recurrent(cell), Recurrent(cell, row="reference"), Recurrent(cell, row="program")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own use of it
@pytest.mark.parametrize("make", [LSTM, SRU])
@pytest.mark.parametrize("frozen", [False, True])
def test_forward_mode_is_the_references(make, frozen):
    """A program has a backward pass alone."""
    auto, reference, program = (layer.requires_grad_(not frozen) for layer in layers(make))
    x = draw(2, 2, 3, I)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        got, expected = (forward_ad.unpack_dual(each(dual)[0]).tangent for each in (auto, reference))
        with pytest.raises(RowError, match="forward-mode differentiation is at work"):
            program(dual)
    assert got.any()
    assert torch.equal(got, expected)
    program(x)


@pytest.mark.parametrize("make", [LSTM, SRU])
def test_transforms_are_the_references(make):
    auto, reference, program = layers(make)
    x = draw(2, 2, 3, I)
    weights = {name: each.detach() for name, each in auto.named_parameters()}

    def loss(layer):
        return lambda weights: torch.func.functional_call(layer, weights, (x,))[0].sum()

    got, expected = (torch.func.grad(loss(layer))(weights) for layer in (auto, reference))
    for name, each in expected.items():
        torch.testing.assert_close(got[name], each)
        assert each.any()
    with pytest.raises(RowError, match="a transform of torch.func is at work"):
        torch.func.grad(loss(program))(weights)


def test_autocast_is_the_references():
    cell = LSTM(I, H)
    x = torch.randn(2, 3, I)
    with torch.autocast("cpu", torch.bfloat16):
        row, reasons = choose_row(cell, x)
        outputs, _ = Recurrent(cell)(x)
        expected, _ = Recurrent(cell, row="reference")(x)
        with pytest.raises(RowError, match="autocast chooses a kind of number"):
            Recurrent(cell, row="program")(x)
    assert row.name == "reference"
    assert "autocast" in reasons["program"]
    assert torch.equal(outputs, expected)


def test_a_row_that_does_not_exist():
    with pytest.raises(OptionError, match='There is no row "programme"; did you mean "program"'):
        Recurrent(LSTM(I, H), row="programme")
    row, _ = choose_row(LSTM(I, H), torch.zeros(1, 1, I))
    assert row.name == ("program" if why_missing() else "native")


needs_core = pytest.mark.skipif(bool(why_missing()), reason="there is no core")


def forward_mode(cell, x):
    with forward_ad.dual_level():
        return Recurrent(cell, row="native")(forward_ad.make_dual(x, torch.ones_like(x)))


def autocast(cell, x):
    with torch.autocast("cpu", torch.bfloat16):
        return Recurrent(cell, row="native")(x)


def of_many(cell, x):
    return torch.vmap(lambda x: Recurrent(cell, row="native")(x)[0])(x[None])


class Long(Cell):
    """More values at once than the core has places for."""

    State = HiddenState

    def __init__(self, size):
        super().__init__(size, size)
        self.W = nn.Parameter(torch.randn(size, size))

    def step(self, x, state):
        h = x + state.h
        for number in range(200):
            h = torch.tanh(h @ self.W + number / 200)
        return h, HiddenState(h)


REFUSED = {
    "float64": (
        lambda cell, x: Recurrent(cell.double(), row="native")(x.double()),
        "x is torch.float64",
    ),
    "bfloat16": (
        lambda cell, x: Recurrent(cell.bfloat16(), row="native")(x.bfloat16()),
        "x is torch.bfloat16",
    ),
    "meta": (lambda cell, x: Recurrent(cell.to("meta"), row="native")(x.to("meta")), "x is on meta"),
    "autocast": (autocast, "autocast chooses a kind of number"),
    "torch.func": (of_many, "a transform of torch.func is at work"),
    "forward mode": (forward_mode, "forward-mode differentiation is at work"),
    "too long": (
        lambda cell, x: Recurrent(Long(I), row="native")(x),
        "more than the 192 it can hold",
    ),
}


@needs_core
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own use of it
@pytest.mark.parametrize(("run", "why"), REFUSED.values(), ids=REFUSED)
def test_the_core_refuses_by_name(run, why):
    with pytest.raises(
        RowError, match=f'the row "native" cannot run this call: .*{why}.*Use row="auto"'
    ):
        run(LSTM(I, H), torch.randn(2, 3, I))


@needs_core
def test_what_the_core_cannot_hold_runs_as_a_program():
    cell, x = Long(I), torch.randn(2, 3, I)
    row, reasons = choose_row(cell, x)
    assert row.name == "program"
    assert "more than the 192 it can hold" in reasons["native"]
    torch.testing.assert_close(Recurrent(cell)(x)[0], Recurrent(cell, row="reference")(x)[0])


class Own(torch.Tensor):
    """A tensor that somebody has made more of."""


def test_memory_that_is_more_than_numbers_is_not_the_cores():
    cell = LSTM(I, H)
    x = torch.randn(2, 3, I)
    row, reasons = choose_row(cell, x.as_subclass(Own))
    assert row.name == "program"
    assert "a Own is more than that, or less" in reasons["native"]
    with torch._subclasses.FakeTensorMode():
        row, reasons = choose_row(cell, torch.randn(2, 3, I))
    assert row.name == "program"
    assert "FakeTensor" in reasons["native"]
    outputs, _ = Recurrent(cell)(x.as_subclass(Own))
    torch.testing.assert_close(torch.Tensor(outputs), Recurrent(cell)(x)[0])
