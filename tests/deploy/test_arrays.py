"""What a session is given and gives: numpy and torch, in any layout, in place."""

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ostinato.cells import GRU, LSTM
from ostinato.deploy import Session
from ostinato.errors import (
    DeviceError,
    DtypeError,
    KindError,
    OptionError,
    ShapeError,
)
from tests.deploy.sessions import I, Ranked, T, called, close, leaves, needs_core


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
