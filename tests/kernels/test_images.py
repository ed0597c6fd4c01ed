"""Convolutions of the core beside torch's, forwards and backwards, in all that they may be told."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from ostinato.cells import Cell, HiddenState
from ostinato.drivers import Recurrent
from ostinato.kernels import choose_row
from ostinato.kernels.core import _chosen, core, why_missing
from ostinato.programs.compiled import _KNOWN

pytestmark = pytest.mark.skipif(bool(why_missing()), reason="there is no core")


class Convolved(Cell):
    """A convolution of the state, a bias a plane, and another one back to the state's own size."""

    State = HiddenState

    def __init__(self, planes, size, kernel, apart, groups, padding):
        super().__init__(planes, planes)
        self.size, self.options = size, {"dilation": apart, "groups": groups}
        self.padding = padding
        self.W = nn.Parameter(torch.randn(2 * planes, planes // groups, *kernel) / 4)
        self.b = nn.Parameter(torch.randn(2 * planes))
        self.V = nn.Parameter(torch.randn(planes, 2 * planes // groups, *kernel) / 4)

    @property
    def input_shape(self):
        return self.input_size, *self.size

    output_shape = input_shape

    @property
    def state_shapes(self):
        return (self.output_shape,)

    def step(self, x, state):
        convolve = torch.conv1d if len(self.size) == 1 else torch.conv2d
        inner = convolve(x + state.h, self.W, self.b, padding=self.padding[0], **self.options)
        h = torch.tanh(convolve(inner, self.V, padding=self.padding[1], **self.options))
        each = inner.sum([*range(2, inner.dim())], keepdim=True).chunk(2, 1)[0]  # a number a plane
        return h + each, HiddenState(h)


@st.composite
def convolutions(draw):
    """Paddings that give the image its size again, in two convolutions together."""
    dimensions = draw(st.integers(1, 2))
    each = st.integers(1, 3)
    kernel = draw(st.lists(each, min_size=dimensions, max_size=dimensions))
    apart = draw(st.lists(each, min_size=dimensions, max_size=dimensions))
    reach = [a * (k - 1) for a, k in zip(apart, kernel, strict=True)]
    first = [draw(st.integers(0, r)) for r in reach]
    groups = draw(st.integers(1, 3))
    return {
        "planes": groups * draw(st.integers(1, 9)),
        "size": draw(st.lists(st.integers(1, 37), min_size=dimensions, max_size=dimensions)),
        "kernel": kernel,
        "apart": apart,
        "groups": groups,
        "padding": (first, [r - f for r, f in zip(reach, first, strict=True)]),
    }, reach


@settings(deadline=None, max_examples=60)
@given(case=convolutions(), isa=st.sampled_from(core().isas() if core() else ["none"]))
def test_it_is_torchs(case, isa):
    options, reach = case
    first = options["padding"][0]
    inner = [s + 2 * f - r for s, f, r in zip(options["size"], first, reach, strict=True)]
    assume(min(inner) > 0)
    torch.manual_seed(0)
    cell = Convolved(**options)
    x = torch.randn(2, 2, *cell.input_shape)
    with _chosen(isa):
        _KNOWN.clear()
        got = everything(cell, x, "native")
    _KNOWN.clear()
    for one, other in zip(got, everything(cell, x, "reference"), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-4, atol=2e-4 * float(other.abs().max()) + 1e-6)


def everything(cell, x, row):
    x = x.clone().requires_grad_()
    y, state = Recurrent(cell, row=row)(x)
    gradients = torch.autograd.grad((y * y).sum() + state.h.sum(), [x, *cell.parameters()])
    return [y.detach(), *gradients]


class Halved(Convolved):
    def step(self, x, state):
        return x, HiddenState(torch.tanh(x + torch.conv1d(state.h, self.W, stride=2).sum((1, 2), True)))


def test_strides_stay_with_torch():
    cell = Halved(2, [5], [1], [1], 1, ([0], [0]))
    row, reasons = choose_row(cell, torch.zeros(1, 1, 2, 5))
    assert row.name == "program"
    assert "conv at test_images.py" in reasons["native"]
