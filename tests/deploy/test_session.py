"""A session gives what its layer gives, step by step, whatever happens to the layer meanwhile."""

import re
import threading
from itertools import count

import numpy as np
import pytest
import torch
from tests.contract.agree import randomise
from tests.contract.cells import every_cell
from tests.contract.tolerances import TOLERANCES
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import prune

import ostinato
from ostinato import nn as layers
from ostinato.cells import GRU, LSTM, QRNN, SRU, Cell, ConvLSTM, Elman, LayerNormLSTM
from ostinato.cells.cell import HiddenState
from ostinato.deploy import Session
from ostinato.drivers import Recurrent
from ostinato.errors import (
    DeviceError,
    DtypeError,
    KindError,
    OptionError,
    RowError,
    ShapeError,
    StateError,
)
from ostinato.kernels.core import core, why_missing
from ostinato.models import SequenceClassifier
from ostinato.wrappers import (
    Around,
    Bidirectional,
    Device,
    Dropout,
    Gates,
    Stack,
    Sum,
    WeightDrop,
    Zoneout,
)

I, T = 3, 5  # noqa: E741
needs_core = pytest.mark.skipif(why_missing() is not None, reason="there is no native core")


class Ranked(ConvLSTM):
    """No program has a sort: torch steps it."""

    def step(self, x, state):
        h, after = super().step(x, state)
        return h.sort(1).values, after


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def close(got, expected):
    rtol, atol = TOLERANCES[torch.float32]
    torch.testing.assert_close(torch.as_tensor(got), torch.as_tensor(expected), rtol=rtol, atol=atol)


def leaves(state):
    return [state] if isinstance(state, torch.Tensor) else [b for a in state for b in leaves(a)]


def stepped(session, x):
    """Outputs of all steps, one by one."""
    return torch.stack([session.step(each) for each in x.unbind(1)], 1)


@torch.no_grad()
def called(layer, x, state=None):
    if isinstance(layer, Cell):
        layer = Recurrent(layer, row="reference")
    if isinstance(layer, layers.RecurrentLayers) and not layer.batch_first:
        y, state = layer(x.transpose(0, 1), state)
        return y.transpose(0, 1), state
    return layer(x, state)


def agrees(layer, streams=2, **options):
    """A session over two chunks gives what the layer gives, state too; returns the session."""
    session = Session(layer, streams, **options)
    width = session._form.cell.input_shape
    x = torch.randn(streams, 2 * T, *width)
    y, state = called(layer, x[:, :T])
    close(stepped(session, x[:, :T]), y)
    y, state = called(layer, x[:, T:], state)
    close(session.run(x[:, T:]), y)
    got = session.state
    assert type(got) is type(state)
    for a, b in zip(leaves(got), leaves(state), strict=True):
        assert a.dtype == b.dtype
        close(a, b)
    return session


# The same numbers.


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


MIXED = {
    "mixed": lambda: Stack([Recurrent(LSTM(I, 5)), Recurrent(GRU(5, 4)), Recurrent(SRU(4, 6))]),
    "alike": lambda: Stack([Recurrent(LSTM(4, 4)), Recurrent(LSTM(4, 4))], dropout=0.5),
    "nested": lambda: Stack([Stack([Recurrent(LSTM(I, 4))]), Recurrent(LayerNormLSTM(4, 4))]),
    "delayed": lambda: Stack([Recurrent(QRNN(I, 5, window=2)), Recurrent(Elman(5, 4))]),
    "masked": lambda: Stack([Recurrent(Zoneout(Dropout(LSTM(I, 4), input=0.3), 0.2))]),
    "around": lambda: Around(Stack([Recurrent(GRU(4, 6)), Recurrent(SRU(6, 4))]), Gates(4)),
    "projected": lambda: Stack([Around(Recurrent(GRU(I, 6)), Sum(I, 6)), Recurrent(GRU(6, 2))]),
    "device": lambda: Device(Recurrent(GRU(I, 6)), "cpu"),
    "with-a-loop": lambda: Stack(
        [Recurrent(Ranked(1, 2, 2, 2)), Recurrent(Ranked(2, 1, 2, 2, kernel=1))]
    ),
}


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


# Arrays.


def test_numpy_gives_numpy_and_torch_gives_torch():
    session = Session(GRU(I, 4), 2)
    for x, kind in ((np.ones((2, I), np.float32), np.ndarray), (torch.ones(2, I), torch.Tensor)):
        y = session.step(x)
        assert type(y) is kind
        assert tuple(y.shape) == (2, 4)
    assert type(session.run(np.ones((2, T, I), np.float32))) is np.ndarray


def test_outputs_and_states_are_the_callers_own():
    session = Session(GRU(I, 4), 2)
    first = session.step(torch.ones(2, I))
    state = session.state
    kept = first.clone(), state.h.clone()
    first_again = session.step(torch.ones(2, I))
    assert torch.equal(first, kept[0])
    assert torch.equal(state.h, kept[1])
    assert not torch.equal(first, first_again)
    first_again.zero_()
    state.h.zero_()
    assert session.state.h.abs().min() > 0


def test_an_output_is_written_where_it_is_wanted():
    layer = LSTM(I, 4)
    session = Session(layer, 2)
    x = torch.randn(2, 2, I)
    expected, _ = called(layer, x)
    out, wide = torch.zeros(2, 4), np.zeros((2, 9), np.float32)
    assert session.step(x[:, 0], out) is out
    close(out, expected[:, 0])
    session.step(x[:, 1], out=wide[:, 2:6])
    close(wide[:, 2:6], expected[:, 1])
    assert not wide[:, :2].any()
    assert not wide[:, 6:].any()


def test_an_output_may_be_the_input():
    layer = GRU(4, 4)
    x = torch.randn(2, 4)
    expected = called(layer, x[:, None])[0][:, 0]
    assert Session(layer, 2).step(x, x) is x
    close(x, expected)


class Mine(torch.Tensor):
    pass


class Ours(np.ndarray):
    pass


@pytest.mark.parametrize(
    "laid",
    [
        lambda x: x.t().contiguous().t(),
        lambda x: torch.stack([x, x], -1)[..., 0],
        lambda x: torch.cat([x, x], 1)[:, :I],
        lambda x: x[:1].expand(2, I),
        lambda x: x.clone().requires_grad_(),
        lambda x: nn.Parameter(x),
        lambda x: x.as_subclass(Mine),
        lambda x: np.asfortranarray(x.numpy()),
        lambda x: x.numpy()[::-1],
        lambda x: np.lib.stride_tricks.as_strided(x.numpy(), (2, I), (0, 4)),
        lambda x: np.frombuffer(b"." + x.numpy().tobytes(), np.float32, offset=1).reshape(2, I),
        lambda x: x.numpy().view(Ours),
    ],
)
def test_any_layout_is_read(laid):
    layer = GRU(I, 4)
    x = laid(torch.randn(2, I))
    plain = torch.tensor(x.tolist())
    y = Session(layer, 2).step(x)
    close(y, called(layer, plain[:, None])[0][:, 0])
    assert not getattr(y, "requires_grad", False)


def test_a_chunk_of_any_layout():
    layer = GRU(I, 4)
    x = torch.randn(T, 2, I).transpose(0, 1)
    y, _ = called(layer, x)
    close(Session(layer, 2).run(x), y)
    out = np.zeros((T, 2, 4), np.float32).transpose(1, 0, 2)
    close(Session(layer, 2).run(x.numpy(), out), y)
    close(Session(layer, 2).run(torch.stack([x, x], -1)[..., 1]), y)
    assert Session(layer, 2).run(x[:, :0]).shape == (2, 0, 4)


@pytest.mark.parametrize("make", [lambda: GRU(I, 4), lambda: Ranked(I, 2, 1, 1)])
def test_arrays_that_do_not_fit(make):
    session = Session(make(), 2)
    tail = session._form.cell.input_shape[1:]
    x = torch.zeros(2, I, *tail)
    before = session.state
    for wrong in (x[:1], x[:, :2], x[0], x[:, None]):
        with pytest.raises(ShapeError, match=r"expected x of shape \[streams=2, 3.*One step is `step`"):
            session.step(wrong)
        with pytest.raises(ShapeError, match="expected x of shape"):
            session.step(wrong.numpy())
    with pytest.raises(ShapeError, match=r"expected x of shape \[streams=2, T, 3.*got \[2, 3"):
        session.run(x)
    for wrong in (x.double(), x.int(), x.bfloat16(), x.numpy().astype(np.float64), x.numpy() > 0):
        with pytest.raises(DtypeError, match="expected x in float32.*Convert it"):
            session.step(wrong)
    swapped = x.numpy().astype(np.dtype(np.float32).newbyteorder())
    with pytest.raises(DtypeError, match="expected x in float32"):
        session.step(swapped)
    with pytest.raises(DeviceError, match="expected x on the CPU, got meta"):
        session.step(x.to("meta"))
    with pytest.raises(KindError, match="expected x as a numpy array or a torch tensor, got list"):
        session.step(x.tolist())
    with pytest.raises(KindError, match="expected x as a dense tensor, got torch.sparse_coo"):
        session.step(x.to_sparse())
    assert all(map(torch.equal, leaves(before), leaves(session.state)))


@needs_core
def test_a_tensor_that_stands_for_others_is_refused():
    session = Session(GRU(I, 4), 2)
    with pytest.raises(KindError, match="without numbers of its own"):
        torch.func.vmap(session.step)(torch.zeros(5, 2, I))
    with FakeTensorMode(), pytest.raises(KindError, match="without numbers of its own"):
        session.step(torch.zeros(2, I))
    with FakeTensorMode():
        made_there = torch.zeros(2, I)
    with pytest.raises(KindError, match="without numbers of its own"):
        session.step(made_there)


def test_a_view_that_negates_is_read_as_it_looks():
    cell = GRU(I, 4)
    x = torch.randn(2, I, dtype=torch.complex64).conj().imag
    assert x.is_neg()
    close(Session(cell, 2).step(x), Session(cell, 2).step(x.resolve_neg().clone()))


def test_an_output_that_cannot_be_written_to():
    session = Session(GRU(I, 4), 2)
    x = torch.zeros(2, I)
    with pytest.raises(ShapeError, match=r"expected out of shape \[2, 4\], got \[2, 5\]"):
        session.step(x, torch.zeros(2, 5))
    with pytest.raises(ShapeError, match=r"expected out of shape \[2, 7, 4\], got \[2, 6, 4\]"):
        session.run(torch.zeros(2, 7, I), torch.zeros(2, 6, 4))
    with pytest.raises(DtypeError, match="expected out in float32"):
        session.step(x, np.zeros((2, 4)))
    locked = np.zeros((2, 4), np.float32)
    locked.flags.writeable = False
    for out in (locked, torch.zeros(4, 2).t(), np.zeros((2, 4), np.float32, "F")):
        with pytest.raises(OptionError, match="a plain array that can be written to"):
            session.step(x, out)
    with pytest.raises(KindError, match="expected out as"):
        session.step(x, [[0.0] * 4] * 2)


# State.


@pytest.mark.parametrize("name", [*MIXED, "torch-form"])
def test_a_state_that_is_handed_on_continues_the_stream(name):
    make = MIXED.get(name, lambda: layers.LSTM(I, 4, 2))
    layer = make().eval()
    first, second = Session(layer, 2), Session(layer, 2)
    x = torch.randn(2, T, *first._form.cell.input_shape)
    first.run(x)
    second.step(x[:, 0])  # the places of its state are turned the other way
    second.state = first.state
    close(second.run(x), first.run(x))


def test_a_state_comes_from_the_layer_and_goes_to_it():
    layer = Recurrent(LSTM(I, 4))
    x = torch.randn(2, 2 * T, I)
    y, _ = called(layer, x)
    _, state = called(layer, x[:, :T])
    session = Session(layer, 2)
    session.state = state
    close(session.run(x[:, T:]), y[:, T:])
    session.reset()
    session.run(x[:, :T])
    close(called(layer, x[:, T:], session.state)[0], y[:, T:])


def test_states_that_do_not_fit():
    session = Session(Stack([Recurrent(LSTM(I, 4)), Recurrent(GRU(4, 4))]), 2)
    good = session.state
    with pytest.raises(StateError, match=r"expected one state a layer \(2\), got 1"):
        session.state = good[:1]
    with pytest.raises(StateError, match="expected one state a layer .*, got Tensor"):
        session.state = good[0].h
    with pytest.raises(StateError, match="expected a state of type LSTMState, got HiddenState"):
        session.state = good[::-1]
    with pytest.raises(StateError, match=r"HiddenState.h of shape \[2, 4\], got \[3, 4\]"):
        session.state = (good[0], HiddenState(torch.zeros(3, 4)))
    with pytest.raises(StateError, match="expected a state of type"):
        session.state = (good[0], None)
    with pytest.raises(StateError, match="LSTM: expected h_0 of shape"):
        Session(layers.LSTM(I, 4), 2).state = (torch.zeros(1, 3, 4), torch.zeros(1, 3, 4))


RESETS = {
    "all": (None, [True, True, True]),
    "one": (1, [False, True, False]),
    "last": (-1, [False, False, True]),
    "slice": (slice(1, 3), [False, True, True]),
    "indices": ([0, 2], [True, False, True]),
    "nothing": ([], [False, False, False]),
    "list-mask": ([True, False, False], [True, False, False]),
    "mask": (torch.tensor([False, True, True]), [False, True, True]),
    "numpy-mask": (np.array([True, False, True]), [True, False, True]),
}


@pytest.mark.parametrize("name", RESETS)
@pytest.mark.parametrize("cell", [LSTM, lambda i, h: Ranked(i, h, 1, 1)])
def test_some_streams_begin_anew(name, cell):
    rows, mask = RESETS[name]
    layer = Recurrent(cell(I, 4).learn_initial_state())
    for weight in layer.parameters():
        nn.init.normal_(weight)
    width = layer.cell.input_shape
    x = torch.randn(3, 2 * T, *width)
    resets = torch.zeros(3, 2 * T, dtype=torch.bool)
    resets[:, T] = torch.tensor(mask)
    with torch.no_grad():
        y, _ = layer(x, resets=resets)
    session = Session(layer, 3)
    close(session.run(x[:, :T]), y[:, :T])
    session.reset(rows)
    close(session.run(x[:, T:]), y[:, T:])


@pytest.mark.parametrize("rows", [3, [0, 7], torch.ones(2, dtype=torch.bool), [0.5]])
def test_streams_that_there_are_not(rows):
    with pytest.raises(ShapeError, match="expected some of 3 streams, as an index, a slice"):
        Session(GRU(I, 4), 3).reset(rows)


# Weights that change.


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


# What cannot be stepped.


@pytest.mark.parametrize(
    "make",
    [
        lambda: Recurrent(GRU(I, 4), reverse=True),
        lambda: Bidirectional(Recurrent(GRU(I, 4)), Recurrent(GRU(I, 4), reverse=True)),
        lambda: Stack([Bidirectional(Recurrent(GRU(I, 4)), Recurrent(GRU(I, 4), reverse=True))]),
        lambda: layers.LSTM(I, 4, bidirectional=True),
    ],
)
def test_what_reads_from_the_end_is_refused(make):
    with pytest.raises(OptionError, match="reads from the start, got .*A stream has none"):
        Session(make())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Dropout(LSTM(I, 4), input=0.5),
        lambda: Recurrent(Zoneout(LSTM(I, 4), 0.5)),
        lambda: WeightDrop(LSTM(I, 4), 0.5, ["W_h"]),
        lambda: Stack([Recurrent(GRU(I, 4)), Recurrent(GRU(4, 4))], dropout=0.1),
        lambda: layers.GRU(I, 4, 2, dropout=0.1),
    ],
)
def test_what_draws_in_training_is_refused(make):
    layer = make()
    with pytest.raises(OptionError, match=r"in training. Call layer.eval\(\) first"):
        Session(layer)
    agrees(layer.eval(), 1)


def test_what_is_no_recurrent_layer_is_refused():
    with pytest.raises(OptionError, match=r"got SequenceClassifier.*Session\(model.encoder\)"):
        Session(SequenceClassifier(Recurrent(GRU(I, 4)), 2))
    with pytest.raises(OptionError, match=r"got LSTM\. ostinato.nn.LSTM takes the same"):
        Session(nn.LSTM(I, 4))
    with pytest.raises(OptionError, match="got Linear. Layers are Recurrent, Stack"):
        Session(nn.Linear(I, 4))


def test_weights_of_another_kind_are_refused():
    with pytest.raises(DtypeError, match=r"expected weights in torch.float32, got W_x in .*float64"):
        Session(LSTM(I, 4).double())
    with pytest.raises(DeviceError, match="expected weights on the CPU, got W_x on meta"):
        Session(LSTM(I, 4).to("meta"))
    with torch.inference_mode():
        made_there = GRU(I, 4)
    with pytest.raises(OptionError, match="made in inference mode, where torch counts none"):
        Session(made_there)


@pytest.mark.parametrize("streams", [0, -1, 1.5, True])
def test_streams_are_counted(streams):
    with pytest.raises(OptionError, match="expected a number of streams of at least 1"):
        Session(GRU(I, 4), streams)


def test_kinds_of_weights_are_known():
    with pytest.raises(OptionError, match="no weights in 'bfloat'; did you mean \"bfloat16\""):
        Session(GRU(I, 4), weights="bfloat")


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
