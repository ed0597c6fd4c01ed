"""Weights are packed once where nothing is learned, and again after whatever changes them."""

import copy
import gc

import pytest
import torch
from torch import nn

from ostinato import nn as layers
from ostinato.cells import LSTM, Elman, HiddenState
from ostinato.drivers import Recurrent
from ostinato.kernels.core import why_missing
from ostinato.kernels.native import native_program
from ostinato.kernels.walker import Walker

pytestmark = pytest.mark.skipif(bool(why_missing()), reason="there is no core")

X = torch.linspace(-1, 1, 60).reshape(2, 5, 6)


@pytest.fixture
def packings(monkeypatch):
    """How often weights were packed, one entry each time."""
    times = []
    pack = Walker._pack
    monkeypatch.setattr(Walker, "_pack", lambda self, weights: times.append(1) or pack(self, weights))
    return times


def layer():
    torch.manual_seed(0)
    return Recurrent(LSTM(6, 8), row="native")


def read(layer):
    with torch.no_grad():
        return layer(X)[0]


def plain(layer):
    with torch.no_grad():
        return Recurrent(layer.cell, row="reference")(X)[0]


def step(kind, **options):
    def change(layer):
        optimizer = kind(layer.parameters(), lr=0.1, **options)
        layer(X)[0].sum().backward()
        optimizer.step()

    return change


def in_place(layer):
    with torch.no_grad():
        layer.cell.W_h[3, 5] += 1


def behind_torch(layer):
    layer.cell.W_h.data[3, 5] += 1


def by_way_of_numpy(layer):
    layer.cell.W_h.detach().numpy()[3, 5] += 1


def other_memory(layer):
    layer.cell.W_h.data = layer.cell.W_h.data * 0.5


def another(layer):
    layer.cell.W_h = nn.Parameter(layer.cell.W_h.detach() * 0.5)


def loaded(layer):
    layer.load_state_dict({name: each * 0.5 for name, each in layer.state_dict().items()})


CHANGES = {
    "in place": in_place,
    "by way of .data": behind_torch,
    "by way of numpy": by_way_of_numpy,
    "other memory": other_memory,
    "another parameter": another,
    "loaded": loaded,
    "sgd": step(torch.optim.SGD),
    "adam, fused": step(torch.optim.Adam, fused=True),
    "adam, each": step(torch.optim.Adam, foreach=True),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_noticed(change):
    changing = layer()
    before = read(changing)
    assert torch.equal(read(changing), before)
    change(changing)
    after = read(changing)
    assert not torch.allclose(after, before, atol=1e-3)
    torch.testing.assert_close(after, plain(changing), rtol=1e-5, atol=1e-6)


def test_once_a_version(packings):
    one = layer()
    for _ in range(3):
        read(one)
    assert len(packings) == 1
    in_place(one)
    for _ in range(3):
        read(one)
    assert len(packings) == 2


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.RNN])
def test_layers_in_torchs_form_too(kind, packings):
    """Their cells read views of the weights, and GRU's a copy, made anew for each call."""
    one = kind(6, 8, num_layers=2)
    first = [read(one) for _ in range(3)]
    assert len(packings) == 2
    one.weight_hh_l1.data[3, 5] += 1
    assert not torch.equal(read(one), first[0])
    assert torch.equal(first[0], first[2])
    assert len(packings) == 3


def test_each_layer_has_its_own(packings):
    """Layers of one kind share a program."""
    one, other = layer(), copy.deepcopy(layer())
    in_place(other)
    for _ in range(3):
        assert not torch.equal(read(one), read(other))
    assert len(packings) == 2


def test_nothing_is_kept_of_a_layer_that_is_gone():
    one = layer()
    read(one)
    known = native_program(one.cell).inference.function.__globals__["walker"]._known
    here = id(one.cell.W_x), id(one.cell.W_h)
    assert {*known._kept} & {*here}
    del one
    gc.collect()
    assert not {*known._kept} & {*here}


def test_training_keeps_none(packings):
    one = layer()
    for _ in range(2):
        one(X)[0].sum().backward()
    assert len(packings) == 4  # forwards and backwards


class Doubled(Elman):
    """What its products read is made anew for each call."""

    def step(self, x, state):
        h = torch.tanh(x @ (2 * self.W_x) + state.h @ (2 * self.W_h) + self.b)
        return h, HiddenState(h)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_weights_that_are_made_for_a_call_are_packed_for_it(mode, packings):
    one = Recurrent(Doubled(6, 8), row="native")
    for _ in range(2):
        with mode():
            got = one(X)[0]
        torch.testing.assert_close(got, plain(one), rtol=1e-5, atol=1e-6)
        in_place(one)
    assert len(packings) == 2
