"""A program's tanh: as near to tanh as it says, and exact where tanh is."""

import math

import pytest
import torch

from ostinato.programs.tanh import tanh


@pytest.mark.parametrize(("kind", "most"), [(torch.float32, 2e-7), (torch.float64, 4e-16)])
def test_it_is_near(kind, most):
    a = torch.cat([torch.linspace(-20, 20, 100_001), torch.logspace(-30, 1, 1000)]).to(kind)
    exact = torch.tanh(a.double())
    for each in (a, a.view(-1, 1).expand(-1, 2)[:, 1]):
        assert (tanh(each).double() - exact).abs().max() <= most
    assert tanh(a, out=a) is a
    assert (a.double() - exact).abs().max() <= most


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_limits(kind):
    a = torch.tensor([0.0, 100.0, -100.0, math.inf, -math.inf, math.nan], dtype=kind)
    assert tanh(a)[:5].tolist() == [0.0, 1.0, -1.0, 1.0, -1.0]
    assert tanh(a)[5].isnan()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_few_digits_are_not_made_fewer(kind):
    a = torch.linspace(-4, 4, 1001).to(kind)
    assert torch.equal(tanh(a), torch.tanh(a))
