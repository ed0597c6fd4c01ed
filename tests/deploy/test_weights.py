"""Weights of a session: those that change meanwhile, and those kept as bfloat16."""

import re

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from ostinato import nn as layers
from ostinato.cells import GRU, LSTM, SRU, Elman, LayerNormLSTM
from ostinato.deploy import Session
from ostinato.drivers import Recurrent
from ostinato.errors import (
    RowError,
)
from ostinato.kernels.core import core, why_missing
from tests.deploy.sessions import I, Ranked, T, called, close, needs_core, stepped


def optimised(layer, **options):
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, **options)
    sum(each.square().sum() for each in layer.parameters()).backward()
    optimizer.step()


def optimised_in_one(layer):
    optimised(layer, fused=True)


def replaced(layer):
    layer.cell.W_h = nn.Parameter(layer.cell.W_h.detach() * 2)


def loaded(layer):
    layer.load_state_dict({name: each * 2 for name, each in layer.state_dict().items()})


def assigned(layer):
    doubled = {name: each * 2 for name, each in layer.state_dict().items()}
    layer.load_state_dict(doubled, assign=True)


def parametrised(layer):
    nn.utils.parametrizations.weight_norm(layer.cell, "W_h")
    with torch.no_grad():
        layer.cell.parametrizations.W_h.original0.mul_(2)


def pruned(layer):
    prune.random_unstructured(layer.cell, "W_x", 0.5)


@torch.no_grad()
def in_place(layer):
    for each in layer.parameters():
        each.mul_(1.5)


CHANGES = [optimised, optimised_in_one, replaced, loaded, assigned, parametrised, pruned, in_place]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_changed_weights_are_seen_at_the_next_step(change, cell):
    layer = Recurrent(cell(I, 6))
    session = Session(layer, 2)
    x = torch.randn(2, 2 * T, I)
    y, state = called(layer, x[:, :T])
    close(session.run(x[:, :T]), y)
    change(layer)
    after, _ = called(layer, x[:, T:], state)
    assert not torch.allclose(after, called(Recurrent(cell(I, 6)), x[:, T:], state)[0])
    close(stepped(session, x[:, T:]), after)
    assert why_missing() or session._step(x[:, 0], None) is not None


def test_changed_weights_of_a_layer_in_torchs_form_are_seen():
    layer = layers.LSTM(I, 6, 2)
    for session in (Session(layer), Session(layer, weights="float32")):
        x = torch.randn(1, T, I)
        with torch.no_grad():
            layer.weight_hh_l1.mul_(1.5)
        session.reset()
        close(session.run(x), called(layer, x)[0])


def test_changed_weights_are_seen_by_the_loop_too():
    layer = Recurrent(Ranked(I, 2, 1, 1))
    session = Session(layer)
    x = torch.randn(1, T, I, 1, 1)
    with torch.no_grad():
        for each in layer.parameters():
            each.add_(0.1)
    close(session.run(x), called(layer, x)[0])


def test_a_learned_initial_state_that_changes_is_what_a_reset_puts_back():
    layer = Recurrent(GRU(I, 4).learn_initial_state())
    session = Session(layer)
    with torch.no_grad():
        layer.cell.h_0.fill_(0.7)
    session.reset()
    assert torch.equal(session.state.h, torch.full((1, 4), 0.7))
    session.step(torch.randn(1, I))
    assert torch.equal(layer.cell.h_0, torch.full((4,), 0.7))


def test_what_is_written_behind_torchs_back_is_seen_by_refresh():
    layer = Recurrent(GRU(I, 4))
    session = Session(layer)
    x = torch.randn(1, 2, I)
    y, state = called(layer, x[:, :1])
    close(session.run(x[:, :1]), y)
    layer.cell.W_x.data.mul_(3)
    expected, _ = called(layer, x[:, 1:], state)
    session.refresh()
    close(session.run(x[:, 1:]), expected)


def test_a_cell_whose_options_change_is_stepped_by_its_new_program():
    layer = Recurrent(LSTM(I, 4, cell_clip=5.0))
    session = Session(layer)
    x = torch.randn(1, 2 * T, I)
    _, state = called(layer, x[:, :T])
    session.run(x[:, :T])
    layer.cell.cell_clip = 0.01
    session.refresh()
    close(session.run(x[:, T:]), called(layer, x[:, T:], state)[0])


# Weights in bfloat16.


@needs_core
@pytest.mark.parametrize("make", [LSTM, GRU, LayerNormLSTM, SRU])
def test_halved_weights_are_near(make):
    layer = Recurrent(make(I, 65))
    x = torch.randn(2, 20, I)
    y, _ = called(layer, x)
    got = Session(layer, 2, weights="bfloat16").run(x)
    assert 1e-6 < (got - y).abs().max() < 3e-2


@needs_core
def test_weights_that_bfloat16_has_are_exact():
    layer = LSTM(2, 5)
    with torch.no_grad():
        for each in layer.parameters():
            each.copy_(torch.randn_like(each).bfloat16())
    x = torch.randn(2, 1, 2).bfloat16().float()  # one step, from a state of zeros
    close(Session(layer, 2, weights="bfloat16").run(x), called(layer, x)[0])


@needs_core
@pytest.mark.parametrize(
    "isa", [each for each in (core().isas() if core() else []) if each != "avx512"]
)
def test_each_weight_is_rounded_to_the_nearest(isa):
    """Two of them share 32 bits; neither sees the other."""
    before = core().isa()
    core().choose(isa)
    try:
        cell = Elman(9, 8, activation="relu")
        with torch.no_grad():
            for each in cell.parameters():
                each.zero_()
            numbers = torch.randn(9, 8) * 10.0 ** torch.randint(-6, 6, (9, 8))
            numbers[::2, ::3] = 0
            cell.W_x.copy_(numbers.abs())
        session = Session(cell, 9, weights="bfloat16")
        got = session.step(torch.eye(9))
    finally:
        core().choose(before)
    assert ((got - cell.W_x).abs() <= cell.W_x * 2**-8 + 2e-38).all()


def test_halved_weights_need_the_core():
    reason = why_missing() or "aten.sort"
    with pytest.raises(RowError, match="read by the native core alone, which.*: " + re.escape(reason)):
        Session(Ranked(I, 2, 1, 1), weights="bfloat16")
