"""A scan by chunks, or step by step, is the recurrence itself: gates at exactly 0 and 1 included."""

import pytest
import torch
from tests.contract.agree import draw, randomise
from tests.contract.cells import CASES

from ostinato.drivers import Recurrent
from ostinato.programs.scan import scan


@pytest.mark.parametrize("time", [1, 31, 32, 33, 64, 100, 121])
@pytest.mark.parametrize("width", [3, 3000], ids=["chunks", "steps"])
@pytest.mark.parametrize("gates", ["any", "0", "1", "0 and 1", "beyond 1"])
@pytest.mark.parametrize("backwards", [False, True])
def test_scan(time, width, gates, backwards):
    noise = draw(time, time, 2, width)
    a = {
        "any": noise.sigmoid(),
        "0": torch.zeros_like(noise),
        "1": torch.ones_like(noise),
        "0 and 1": (noise > 0.3).double(),
        "beyond 1": 1 + noise / 10,
    }[gates]
    b, state = draw(1, time, 2, width), draw(2, 2, width)
    expected, first = torch.empty_like(b), state
    for t in reversed(range(time)) if backwards else range(time):
        state = expected[t] = a[t] * state + b[t]
    out = torch.empty_like(b)
    scan(a, b, first, out, backwards)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    scan(torch.tensor(0.5).double(), b[:, :1], first, out, backwards)
    state = first
    for t in reversed(range(time)) if backwards else range(time):
        state = expected[t] = 0.5 * state + b[t, :1]
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(2, 0), (0, 3), (0, 0), (1, 1)])
@pytest.mark.parametrize("name", ["lstm", "sru"])
def test_second_derivatives_of_nothing(name, shape):
    cell = randomise(CASES[name](3, 4), 1)
    x = draw(1, *shape, 3).requires_grad_()
    outputs, state = Recurrent(cell, row="program")(x)
    total = outputs.square().sum() + sum(s.square().sum() for s in state)
    (first,) = torch.autograd.grad(total, x, create_graph=True, allow_unused=True)
    if not shape[1]:
        assert first is None  # no step has read x
        return
    (second,) = torch.autograd.grad(first.square().sum(), x, allow_unused=True)
    assert second.shape == x.shape
    assert bool(second.any()) == (shape == (1, 1))
