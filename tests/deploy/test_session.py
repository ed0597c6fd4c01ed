"""A session gives what its layer gives, step by step, whatever goes on around it."""

import threading
from itertools import count

import pytest
import torch
from torch import nn

import ostinato
from ostinato import nn as layers
from ostinato.cells import LSTM, SRU, Cell, Elman
from ostinato.deploy import Session
from ostinato.drivers import Recurrent
from ostinato.errors import (
    RowError,
)
from ostinato.kernels.core import core, why_missing
from ostinato.wrappers import (
    Dropout,
    Stack,
)
from tests.contract.agree import randomise
from tests.contract.cells import every_cell
from tests.deploy.sessions import MIXED, I, Ranked, T, agrees, called, close, needs_core, stepped


@every_cell
@pytest.mark.parametrize("hidden", [3, 37])
def test_every_cell_steps_as_its_plain_loop_does(make, hidden):
    cell = randomise(make(I, hidden), 1, 0.3 if hidden < 20 else 0.1, torch.float32).eval()
    for streams in (1, 4, 13):
        session = agrees(cell, streams)
    expected = "torch" if why_missing() else "native"
    assert repr(session).endswith(f"; {expected})")


@needs_core
@pytest.mark.parametrize("isa", core().isas() if core() else [])
def test_every_instruction_set_steps_alike(isa):
    before = core().isa()
    core().choose(isa)
    try:
        cell = randomise(LSTM(9, 83, peepholes=True), 1, 0.1, torch.float32)
        for streams in (1, 2, 3, 7):
            agrees(cell, streams)
            half = Session(cell, streams, weights="bfloat16")
            x = torch.randn(streams, T, 9)
            torch.testing.assert_close(half.run(x), called(cell, x)[0], rtol=0, atol=2e-2)
    finally:
        core().choose(before)


@pytest.mark.parametrize("name", MIXED)
def test_a_stack_is_stepped_as_a_whole(name):
    agrees(MIXED[name]().eval(), 3)


@needs_core
def test_a_stack_of_mixed_cells_is_one_call_of_the_core():
    session = Session(MIXED["mixed"]().eval())
    assert session._why_not is None
    assert session._step(torch.zeros(1, I), None) is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LSTM(I, 6, num_layers=2, batch_first=True, dropout=0.3),
        lambda: layers.LSTM(I, 6, proj_size=4),
        lambda: layers.GRU(I, 6, num_layers=3),
        lambda: layers.RNN(I, 6, nonlinearity="relu", bias=False),
        lambda: layers.SRU(I, 6, num_layers=2, learn_initial_state=True),
        lambda: layers.QRNN(I, 6, window=2, num_layers=2),
        lambda: layers.LayerNormLSTM(I, 6),
    ],
)
def test_layers_in_torchs_form_keep_their_form_of_state(make):
    agrees(make().eval(), 3)


def test_the_weights_of_torchs_own_layer():
    theirs = nn.LSTM(I, 7, 2)
    ours = layers.LSTM(I, 7, 2)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(T, 2, I)
    close(stepped(Session(ours.eval(), 2), x.transpose(0, 1)).transpose(0, 1), theirs(x)[0])


def test_streams_know_nothing_of_each_other():
    layer = Recurrent(LSTM(I, 21))
    x = torch.randn(5, T, I)
    together = Session(layer, 5).run(x)
    for row in range(5):
        close(Session(layer).run(x[row : row + 1]), together[row : row + 1])


# Around it.


def test_it_says_who_steps(capsys):
    assert ostinato.Session is Session
    session = Session(Recurrent(Ranked(I, 2, 1, 1)), 2)
    assert repr(session) == "Session(Recurrent, 3·1·1 → 2·1·1, streams=2; torch)"
    session.explain()
    assert "torch steps the cell: " in capsys.readouterr().out


@needs_core
def test_it_says_what_the_core_does(capsys):
    Session(LSTM(32, 64), weights="bfloat16").explain()
    said = capsys.readouterr().out
    assert said.startswith("Session(LSTM, 32 → 64, streams=1, weights='bfloat16'; native)\n")
    assert "instructions, 48 KB of packed weights" in said


def test_without_the_core_torch_steps(monkeypatch):
    monkeypatch.setattr("ostinato.deploy.session.why_missing", lambda: "it was not built")
    session = agrees(Stack([Recurrent(LSTM(I, 4)), Recurrent(SRU(4, 4))]))
    assert session._why_not == "it was not built"


class Counting(Cell):
    """Counts its steps, in evaluation too."""

    State = Dropout(Elman(1, 1)).State
    counters = ("draw",)
    state_shapes = ((I,), ())

    def __init__(self):
        super().__init__(I, I)
        self.W = nn.Parameter(torch.randn(I, I))

    def step(self, x, state):
        h = torch.tanh(x + state.h @ self.W)
        return h, state._replace(h=h, draw=state.draw + 1)


def test_a_counter_that_counts():
    session = agrees(Counting().eval())
    assert session.state.draw.tolist() == [2 * T] * 2
    assert repr(session).endswith("; torch)")


def test_a_session_lives_through_inference_mode_and_other_defaults():
    layer = Recurrent(LSTM(I, 4, cell_clip=0.5))
    x = torch.randn(1, T, I)
    expected, _ = called(layer, x)
    with torch.inference_mode():
        session = Session(layer)
        session.step(x[:, 0])
    session.reset()
    close(session.run(x), expected)
    torch.set_default_dtype(torch.float64)
    try:
        close(Session(layer).run(x), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_sessions_in_threads_of_their_own():
    layer = Recurrent(LSTM(64, 64))
    x = torch.randn(1, 200, 64)
    expected, _ = called(layer, x)
    results = {}

    def work(name):
        session = Session(layer)
        for _ in range(5):
            session.reset()
            results[name, _] = session.run(x)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(results) == 20
    for each in results.values():
        close(each, expected)


@needs_core
def test_one_session_in_two_threads_is_told_so():
    session = Session(Recurrent(LSTM(256, 256)))
    x = torch.zeros(1, 4000, 256)
    errors, done = [], threading.Event()

    def step():
        for _ in count():
            if done.is_set():
                return
            try:
                session.step(x[:, 0])
            except RowError as error:
                errors.append(str(error))
                return

    other = threading.Thread(target=step)
    other.start()
    try:
        for _ in range(20):
            if errors:
                break
            try:
                session.run(x)
            except RowError as error:
                errors.append(str(error))
    finally:
        done.set()
        other.join()
    assert "Make a session for each thread" in errors[0]
