"""Gradients of weights that meet the same rows: summed in one pass, nothing written twice."""

import pytest
import torch
from torch import nn

from ostinato.cells import GRU, LSTM, Adapted
from ostinato.drivers import Recurrent
from ostinato.kernels.core import why_missing
from ostinato.kernels.native import native_program

pytestmark = pytest.mark.skipif(bool(why_missing()), reason="there is no core")

I, H = 3, 4  # noqa: E741


@pytest.mark.parametrize(
    ("make", "widths"),
    [
        (lambda: LSTM(I, H), [4 * H]),
        (lambda: GRU(I, H), [H, 2 * H]),
        (lambda: GRU(I, H, reset_after=True), [H, H, 2 * H]),
    ],
)
def test_each_gradient_of_a_gate_is_written_once(make, widths):
    steps = native_program(make())
    run = steps.derived(False, (True,) * len(steps.program.weights)).run
    assert run.source.count("outers(") == 1
    lowered = run.function.__globals__["walker"].lowered
    summed = run.source.split("outers(")[1].split("),")[1]
    made = [v for v in lowered.writes if f"{v.name}," in summed or f"{v.name})" in summed]
    assert sorted(v.shape[0] for v in made) == widths


@pytest.mark.parametrize("batch", [1, 3, 100])
@pytest.mark.parametrize("time", [1, 2, 40])
def test_a_backward_pass_in_parts_is_that_in_one(monkeypatch, batch, time):
    """Parts that do not divide the steps, the gradient of x written in place."""
    torch.manual_seed(0)
    layers = [Recurrent(GRU(I, H), row="native"), Recurrent(LSTM(I, H), reverse=True, row="native")]
    x = torch.randn(batch, time, I).transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    for layer in layers:
        results = []
        for few in (1 << 30, 3 * 4 * H * batch):
            monkeypatch.setattr("ostinato.programs.run.FEW_GRADIENTS", few)
            monkeypatch.setattr("ostinato.programs.run.GRADIENTS", few)
            monkeypatch.setattr("ostinato.programs.run.GRADIENT_ROWS", 1)
            y, _ = layer(x)
            results.append(torch.autograd.grad((y * y).sum(), [x, *layer.parameters()]))
        for one, parts in zip(*results, strict=True):
            torch.testing.assert_close(parts, one, rtol=1e-5, atol=1e-5)


def test_biases_that_share_a_part_of_their_gradients(monkeypatch):
    """Those of torch's GRU: r and z are of both, n is not."""
    monkeypatch.setattr("ostinato.programs.run.FEW_GRADIENTS", 1)
    torch.manual_seed(0)
    cell, x = Adapted(nn.GRUCell(I, H)), torch.randn(2, 7, I)
    results = []
    for row in ("native", "reference"):
        y, _ = Recurrent(cell, row=row)(x)
        results.append(torch.autograd.grad((y * y).sum(), [*cell.parameters()]))
    for got, expected in zip(*results, strict=True):
        assert expected.any()
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
