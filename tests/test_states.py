"""States of every nesting: saved and loaded, moved, detached, cut, put back."""

from typing import NamedTuple

import pytest
import torch

from ostinato import states
from ostinato.cells import GRU, LRU, LSTM, QRNN, SRU, Adapted
from ostinato.cells.structure import flatten
from ostinato.drivers import Recurrent
from ostinato.errors import StateError
from ostinato.wrappers import Bidirectional, Stack


class OwnState(NamedTuple):
    a: torch.Tensor
    count: torch.Tensor


def of_a_deep_stack(batch=3):
    """Every kind of state of the library in one."""
    both = Bidirectional(Recurrent(LSTM(2, 3)), Recurrent(SRU(2, 3), reverse=True))
    above = [QRNN(6, 4, window=2), Adapted(torch.nn.LSTMCell(4, 3)), LRU(3, 2), GRU(2, 5)]
    layer = Stack([both, *map(Recurrent, above)])
    return layer, layer(torch.randn(batch, 4, 2))[1]


def same(a, b):
    (left, how), (right, too) = flatten(a), flatten(b)
    assert how == too
    for one, other in zip(left, right, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_saved_and_loaded_it_goes_on(tmp_path):
    _, state = of_a_deep_stack()
    states.save(tmp_path / "state", state)
    again = states.load(str(tmp_path / "state"))
    same(again, states.detach(state))
    with pytest.raises(AssertionError):
        same(again, states.reset(state, torch.tensor([True, False, False])))


@pytest.mark.parametrize(
    "state",
    [
        torch.randn(2, 3, 4),
        (torch.zeros(1, 2, 3), torch.ones(1, 2, 3, dtype=torch.bfloat16)),
        [{"a": torch.arange(3), "b": (torch.randn(0, 3),)}],
    ],
    ids=["tensor", "pair", "plain"],
)
def test_plain_nestings_are_saved(tmp_path, state):
    states.save(tmp_path / "state", state)
    same(states.load(tmp_path / "state"), state)


def test_what_lies_twice_in_one_place_is_saved(tmp_path):
    whole = torch.randn(2, 6)
    state = (whole, whole, whole[:, 3:])
    states.save(tmp_path / "state", state)
    same(states.load(tmp_path / "state"), state)


def test_kinds_of_ones_own_are_named_when_loading(tmp_path):
    state = (OwnState(torch.randn(2, 3), torch.arange(2)),)
    states.save(tmp_path / "state", state)
    same(states.load(tmp_path / "state", kinds=[OwnState]), state)
    with pytest.raises(StateError, match=r"state: .*test_states:OwnState.*kinds=\[…\]"):
        states.load(tmp_path / "state")


def test_a_file_can_name_nothing_that_runs(tmp_path, monkeypatch):
    for name in (
        "ostinato.cells.lstm:LSTM",
        "ostinato.__main__:main",
        "os:system",
        "ostinato.cells.no:No",
    ):
        monkeypatch.setattr(
            states, "_described", lambda _, name=name: {"kind": name, "keys": None, "parts": []}
        )
        states.save(tmp_path / "state", ())
        with pytest.raises(StateError, match="made of " + name):
            states.load(tmp_path / "state")


def test_what_is_no_state_file(tmp_path):
    with pytest.raises(StateError, match="expected a state saved by Ostinato, found nothing there"):
        states.load(tmp_path / "none")
    (tmp_path / "part").write_bytes(b"part")
    with pytest.raises(StateError, match="found something else or only a part"):
        states.load(tmp_path / "part")


def test_a_header_that_does_not_fit_its_tensors(tmp_path, monkeypatch):
    monkeypatch.setattr(
        states, "_described", lambda _: {"kind": "tuple", "keys": None, "parts": [None]}
    )
    states.save(tmp_path / "state", ())
    with pytest.raises(StateError, match="not nested as its header says.*save the state again"):
        states.load(tmp_path / "state")


def test_moved():
    _, state = of_a_deep_stack()
    same(states.to(states.to(state, dtype=torch.float64), dtype=torch.float32), state)
    assert {leaf.device.type for leaf in flatten(states.to(state, "meta"))[0]} == {"meta"}
    counted = states.to(OwnState(torch.randn(2, 3), torch.arange(2)), dtype=torch.float64)
    assert [leaf.dtype for leaf in counted] == [torch.float64, torch.int64]


def test_detached():
    _, state = of_a_deep_stack()
    assert all(leaf.requires_grad for leaf in flatten(state)[0])
    assert not any(leaf.requires_grad for leaf in flatten(states.detach(state))[0])


@pytest.mark.parametrize(
    "which", [[2, 0], torch.tensor([2, 0]), slice(1, None), torch.tensor([True, False, True]), 1, -1]
)
def test_rows_of_a_batch(which):
    _, state = of_a_deep_stack()
    expected = torch.arange(3)[[which] if isinstance(which, int) else which]
    for whole, cut in zip(flatten(state)[0], flatten(states.rows(state, which))[0], strict=True):
        assert torch.equal(cut, whole[expected])
    pair = (torch.randn(4, 3, 2), torch.randn(4, 3, 5))
    same(states.rows(pair, which, dim=1), tuple(each[:, expected] for each in pair))


def test_rows_are_put_back():
    layer, state = of_a_deep_stack()
    which = torch.tensor([False, True, False])
    other = layer(torch.randn(3, 1, 2))[1]
    for initial in (None, other):
        put = flatten(states.reset(state, which, initial))[0]
        starts = flatten(other)[0] if initial is not None else [0] * len(put)
        for was, now, start in zip(flatten(state)[0], put, starts, strict=True):
            assert torch.equal(now[[0, 2]], was[[0, 2]])
            assert (now[1] == (start[1] if initial is not None else 0)).all()


def test_nothing_of_a_row_put_back_is_left():
    before = torch.full((2, 3, 4), torch.nan, requires_grad=True)
    after = states.reset((before,), torch.tensor([True, False, True]), dim=1)[0]
    assert after[:, [0, 2]].eq(0).all()
    (gradient,) = torch.autograd.grad(after[:, [0, 2]].sum(), before)
    assert gradient.eq(0).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda s: states.reset(s, torch.tensor([True])),
            r"a bool for each row, \[B=3\], got Tensor of",
        ),
        (
            lambda s: states.reset(s, torch.tensor([0, 1, 2])),
            r"\[B=3\], got Tensor of torch.int64 \[3\]",
        ),
        (lambda s: states.reset(s, [True]), r"got list. The batch is axis 0 of \[3, 4\].*dim=1"),
        (
            lambda s: states.reset(s, torch.ones(3).bool(), s[0]),
            "expected initial as the state is, tuple of",
        ),
        (lambda s: states.detach((s, "x")), "made of tensors: .*got str"),
    ],
)
def test_what_does_not_fit_is_told(call, words):
    with pytest.raises(StateError, match=words):
        call((torch.zeros(3, 4),))
