"""Every named activation against its formula; what is no activation is told."""

import math
from typing import get_args

import pytest
import torch

from ostinato.cells import GRU, LSTM, UGRNN, Elman, IndRNN
from ostinato.cells.activations import ACTIVATIONS, ActivationName
from ostinato.errors import OptionError


def sigmoid(a):
    return 1 / (1 + math.exp(-a))


def exponential_linear(a, scale=1.0, alpha=1.0):
    return scale * (a if a > 0 else alpha * (math.exp(a) - 1))


FORMULAS = {
    "tanh": math.tanh,
    "relu": lambda a: max(a, 0.0),
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda a: min(1.0, max(0.0, a / 6 + 0.5)),
    "hard_tanh": lambda a: min(1.0, max(-1.0, a)),
    "softsign": lambda a: a / (1 + abs(a)),
    "softplus": lambda a: math.log(1 + math.exp(a)),
    "identity": lambda a: a,
    "linear": lambda a: a,
    "leaky_relu": lambda a: a if a > 0 else a / 100,
    "elu": exponential_linear,
    "selu": lambda a: exponential_linear(a, 1.0507009873554805, 1.6732632423543772),
    "gelu": lambda a: a * (1 + math.erf(a / math.sqrt(2))) / 2,
    "silu": lambda a: a * sigmoid(a),
    "mish": lambda a: a * math.tanh(math.log(1 + math.exp(a))),
}


def test_names_and_table_agree():
    assert set(get_args(ActivationName)) == set(ACTIVATIONS) == set(FORMULAS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_formula(name):
    a = torch.linspace(-4.03, 4.01, 41, dtype=torch.float64, requires_grad=True)
    expected = torch.tensor([FORMULAS[name](float(v)) for v in a.detach()], dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name](a).detach(), expected, rtol=1e-13, atol=1e-13)
    assert torch.autograd.gradcheck(ACTIVATIONS[name], a)
    if name not in ("identity", "linear"):
        assert torch.autograd.gradgradcheck(ACTIVATIONS[name], a)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_name_is_the_function(name):
    """In the one place of Elman's cell where it stands."""
    torch.manual_seed(0)
    cell, x = Elman(3, 4, activation=name), torch.randn(2, 3)
    output, _ = cell(x)
    torch.testing.assert_close(output, ACTIVATIONS[name](x @ cell.W_x + cell.b))
    own = Elman(3, 4, activation=ACTIVATIONS[name])
    own.load_state_dict(cell.state_dict())
    assert torch.equal(own(x)[0], output)


@pytest.mark.parametrize("make", [Elman, GRU, LSTM, IndRNN, UGRNN])
def test_an_unknown_activation_is_told(make):
    words = rf'{make.__name__}: unknown activation "sigmoyd"; did you mean "sigmoid"\?'
    with pytest.raises(OptionError, match=words):
        make(2, 3, activation="sigmoyd")
    with pytest.raises(OptionError, match=r"activation must be the name .* a function, got 3; known: "):
        make(2, 3, activation=3)


@pytest.mark.parametrize("make", [GRU, LSTM])
def test_the_gates_have_their_own(make):
    with pytest.raises(OptionError, match=r'unknown gate_activation "hard sigmoid"; .*"hard_sigmoid"'):
        make(2, 3, gate_activation="hard sigmoid")


def test_the_output_has_its_own():
    with pytest.raises(OptionError, match=r'LSTM: unknown output_activation "zzz"; known: elu, gelu, '):
        LSTM(2, 3, output_activation="zzz")
