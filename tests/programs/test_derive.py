"""Each operation's rule against autograd, over everything that it may meet."""

import pytest
import torch
from tests.contract.agree import draw, randomise, rows_agree
from tests.programs.test_trace import Plain
from torch.nn import functional

from ostinato.drivers import Recurrent
from ostinato.programs.compiled import step_program
from ostinato.programs.derive import DEAD, RULES

# Each is f(a, b): a and b are rows, one row's single number, or a weight.
OF_ONE = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "clamp": lambda a: a.clamp(-0.5, 0.5),
    "hardtanh": lambda a: functional.hardtanh(a, -0.5, 0.5),
    "hardsigmoid": functional.hardsigmoid,
    "softplus": functional.softplus,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "leaky_relu": functional.leaky_relu,
    "neg": torch.neg,
    "rsub": lambda a: 1 - a,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": lambda a: torch.log(a.abs() + 1),
    "log1p": lambda a: torch.log1p(a.abs()),
    "sqrt": lambda a: torch.sqrt(a.abs() + 1),
    "rsqrt": lambda a: torch.rsqrt(a.abs() + 1),
    "reciprocal": lambda a: 1 / (a.abs() + 1),
    "abs": torch.abs,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "power": lambda a: (a.abs() + 1) ** 1.5,
    "reshape": lambda a: a.view(-1, 2, 2).sin().view(-1, 4),
    "expand": lambda a: a[:, :1].expand(-1, 4).sin(),
    "permute": lambda a: a.view(-1, 2, 2).transpose(1, 2).sin().reshape(-1, 4),
    "sum": lambda a: a * a.sum(-1, keepdim=True),
    "softmax": lambda a: torch.softmax(a, -1),
    "slice": lambda a: torch.cat([a[:, 1:3] * a[:, 2:], a[:, :2]], -1),
    "cat": lambda a: torch.cat([a, a.sin()], -1)[:, 2:6],
    "standardise": lambda a: functional.layer_norm(a, (4,)),
    "product": lambda a: a @ torch.linspace(-1, 1, 16, dtype=a.dtype).view(4, 4),
}
OF_TWO = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": lambda a, b: a / (b.abs() + 1),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "where": lambda a, b: torch.where(a > b, a * 2, b),
}
ELSEWHERE = {"conv"}  # ConvLSTM keeps the contract


def test_every_rule_is_held_against_autograd():
    assert set(RULES) == {*OF_ONE, *OF_TWO, *ELSEWHERE}
    assert not set(RULES) & DEAD


def check(write):
    """x holds the limits at which slopes jump: 0, ±1/2 and values that are equal."""
    x = draw(3, 3, 5, 4)
    x[0, 0] = torch.tensor([0.0, 0.5, -0.5, 0.0])
    x[1, :2] = 0.25
    cell = randomise(Plain(write), 2)
    step_program(cell)
    rows_agree(cell, x.requires_grad_(), resets=draw(1, 3, 5) > 0.5)
    rows_agree(cell, x.detach()[:0].requires_grad_())


@pytest.mark.parametrize("kind", OF_ONE)
def test_a_rule_of_one_input(kind):
    check(lambda self, x, h: OF_ONE[kind](x) + h * 0.5)  # before the walk
    check(lambda self, x, h: OF_ONE[kind](h) * 0.5 + x)  # in the walk


@pytest.mark.parametrize("kind", OF_TWO)
@pytest.mark.parametrize("shape", ["rows", "one of a row", "weight", "number of a weight"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_rule_of_two_inputs(kind, shape, turned):
    def write(self, x, h):
        other = {
            "rows": lambda: h * 0.7,
            "one of a row": lambda: h[:, 1:2],
            "weight": lambda: self.b,
            "number of a weight": lambda: self.W[0, 0],
        }[shape]()
        a = x + 0.1 * h if shape.endswith("weight") else x
        return OF_TWO[kind](other, a) if turned else OF_TWO[kind](a, other)

    check(write)


@pytest.mark.parametrize("shape", ["weight", "number"])
def test_where_chooses_a_weight_or_a_number(shape):
    check(lambda self, x, h: torch.where(x > h, self.b if shape == "weight" else 2.0, x + h))
    check(lambda self, x, h: torch.where(self.b > h, x, h / 2))


def test_hardswish():
    """Torch's own slope is right to single precision only, so the curve itself is the judge."""
    cell = randomise(Plain(lambda self, x, h: functional.hardswish(x)), 1)
    x = torch.linspace(-4, 4, 40, dtype=torch.float64).view(1, 10, 4).requires_grad_()
    (slope,) = torch.autograd.grad(Recurrent(cell, row="program")(x)[0].sum(), x)
    inside = (x.detach().abs() < 3).double()
    expected = inside * (2 * x.detach() + 3) / 6 + (x.detach() >= 3)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-7)
