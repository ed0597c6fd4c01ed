"""Every row that is faster than the reference gives what the reference gives, gradients too."""

import contextlib
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ostinato.cells import Cell, HiddenState
from ostinato.drivers import Recurrent
from ostinato.errors import RowError
from ostinato.kernels import choose_row, native
from tests.contract.agree import (
    draw,
    everything,
    floating,
    randomise,
    rows_agree,
    same,
    small_blocks,
    some_state,
    waves,
)
from tests.contract.cells import (
    CASES,
    ROWS,
    every_cell,
    every_cell_on_every_row,
    on,
)
from tests.contract.test_contract import close

I, H = 3, 4  # noqa: E741


@every_cell_on_every_row
def test_every_cell_runs(row, make):
    """A cell that falls back to another row is slow, and nobody would see it."""
    cell = make(I, H)
    x = torch.randn(2, 3, *cell.input_shape)
    Recurrent(cell, row=row)(x)


class OfVolumes(Cell):
    """A convolution that the core does not have."""

    State = HiddenState

    def __init__(self):
        super().__init__(2, 2)
        self.W = nn.Parameter(torch.ones(2, 2, 3, 3, 3) / 100)

    @property
    def input_shape(self):
        return 2, 3, 3, 3

    output_shape = input_shape

    @property
    def state_shapes(self):
        return (self.output_shape,)

    def step(self, x, state):
        h = x + torch.conv3d(state.h, self.W, padding=1)
        return h, HiddenState(h)


def test_what_the_core_cannot_run_is_refused_or_runs_as_a_program():
    cell = OfVolumes()
    x = torch.randn(2, 3, *cell.input_shape)
    why = r"the core does not know the step: conv at \w+\.py:\d+ is not an operation of the core"
    with pytest.raises(RowError, match=f'row "native" cannot run this call: {why}'):
        Recurrent(cell, row="native")(x)
    row, reasons = choose_row(cell, x)
    assert row.name == "program"
    assert re.fullmatch(why, reasons["native"])


@pytest.mark.parametrize("sizes", [(1, 3), (1, 1)])
@pytest.mark.parametrize("name", ["elman", "lstm-peepholes", "gru", "sru", "layer-norm-gru", "min-gru"])
def test_rows_agree_on_one_number_a_step(name, sizes):
    """A product of one column is done in another way."""
    rows_agree(randomise(CASES[name](*sizes), 1), draw(2, 3, 5, 1).requires_grad_())


@st.composite
def batches(draw, longest=7):
    """Whatever a call may say: sizes, lengths, resets, direction, recomputation, blocks."""
    batch, time = draw(st.integers(0, 4)), draw(st.integers(0, longest))
    rows = st.lists(st.integers(0, time), min_size=batch, max_size=batch)
    marks = st.lists(st.integers(0, (1 << time) - 1), min_size=batch, max_size=batch)
    return {
        "batch": batch,
        "time": time,
        "lengths": draw(st.none() | rows),
        "resets": draw(st.none() | marks),
        "reverse": draw(st.booleans()),
        "recompute": draw(st.sampled_from([None, 2, "sqrt"])),
        "state": draw(st.booleans()),
        "block": draw(st.sampled_from([None, 1, 64])),
        "seed": draw(st.integers(0, 1 << 20)),
    }


def arguments(cell, case, dtype=torch.float64):
    """The tensors of a drawn case; NaN wherever nobody may look."""
    batch, time, seed = case["batch"], case["time"], case["seed"]
    x = draw(seed, batch, time, *cell.input_shape, dtype=dtype)
    given = {"reverse": case["reverse"], "recompute": case["recompute"]}
    if case["lengths"] is not None:
        lengths = given["lengths"] = torch.tensor(case["lengths"], dtype=torch.long)
        x[torch.arange(time) >= lengths[:, None]] = math.nan
    if case["resets"] is not None:
        bits = torch.tensor(case["resets"], dtype=torch.long)[:, None] >> torch.arange(time)
        given["resets"] = (bits & 1).bool().view(batch, time)
    if case["state"]:
        given["state"] = some_state(cell, batch, seed + 1, dtype=dtype)
    return x.requires_grad_(), given


def blocks(case):
    return contextlib.nullcontext() if case["block"] is None else small_blocks(case["block"])


@every_cell
@settings(deadline=None, max_examples=25)
@given(case=batches())
def test_rows_agree_in_whatever_a_call_may_say(make, case):
    cell = randomise(make(I, H), case["seed"])
    x, given = arguments(cell, case)
    with blocks(case):
        rows_agree(cell, x, **given)


RAGGED = {"lengths": torch.tensor([6, 0, 9, 3]), "resets": draw(3, 4, 9) > 0.6}


@every_cell
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_rows_agree_in_every_kind_of_number(make, dtype):
    """Each row against the reference in float64, from the same numbers."""
    for marks in ({}, RAGGED):
        cell = randomise(make(I, H), 2, dtype=dtype)
        x = draw(1, 4, 9, *cell.input_shape, dtype=dtype).requires_grad_()
        state = some_state(cell, 4, 5, dtype=dtype)
        rows = ["program", "reference"]
        rows += ["native"] if dtype == torch.float32 and native.why_not(cell) is None else []
        got = {row: everything(cell, row, x, state, **marks) for row in rows}
        assert all(each.dtype == dtype for row in rows for each in floating(got[row].values()))
        exact = everything(
            cell.double(),
            "reference",
            x.detach().double().requires_grad_(),
            type(state)(
                *(s.detach().double().requires_grad_() if s.is_floating_point() else s for s in state)
            ),
            **marks,
        )
        exact = {name: each.double() for name, each in exact.items()}
        for row in got.values():
            same({name: each.double() for name, each in row.items()}, exact, dtype)


SCANS = ["sru", "sru-highway", "qrnn-f", "qrnn-fo", "qrnn-ifo-window-2", "min-gru", "min-lstm", "lru"]


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("resets", [False, True], ids=["whole", "resets"])
def test_rows_agree_over_many_small_steps(name, reverse, resets):
    """Where a scan goes by chunks: steps of few numbers, and more than 32 of them."""
    for batch, time in ((1, 37), (3, 64), (2, 100)):
        cell = randomise(CASES[name](I, H), time)
        x = draw(batch, batch, time, *cell.input_shape).requires_grad_()
        marks = {"resets": draw(5, batch, time) > 1} if resets else {}
        rows_agree(cell, x, some_state(cell, batch, 9), reverse=reverse, **marks)


@every_cell
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
def test_frozen_weights_and_whatever_wants_a_gradient(make, reverse):
    """All, none or some of the weights; x and the state with or without a gradient."""
    cell = randomise(make(I, H), 4)
    weights = list(cell.parameters())
    plain = draw(1, 4, 9, *cell.input_shape)
    for x_wants, state_wants, wanting in (
        (True, False, []),
        (False, True, []),
        (False, False, weights[:1]),
        (False, True, weights[1:]),
        (True, True, weights[::2]),
        (False, False, []),
    ):
        for weight in weights:
            weight.requires_grad_(any(weight is each for each in wanting))
        state = some_state(cell, 4, 6, grad=state_wants)
        x = plain.clone().requires_grad_(x_wants)
        got = rows_agree(cell, x, state, reverse=reverse, **RAGGED)
        assert sum("gradient" in name for name in got) == x_wants + len(wanting) + (
            len(floating(state)) if state_wants else 0
        )


@on(["program", "native"])
def test_without_gradients_the_same_comes_out(row, make):
    layer = Recurrent(randomise(make(I, H), 7, dtype=ROWS[row]), row=row)
    x = draw(1, 4, 9, *layer.cell.input_shape, dtype=ROWS[row])
    outputs, state = layer(x, **RAGGED)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            again, last = layer(x, **RAGGED)
        for a, b in zip((again, *last), (outputs, *state), strict=True):
            assert not a.requires_grad
            close(a, b.detach())


@every_cell_on_every_row
def test_weights_are_never_stale(row, make):
    """A call after a change in place is a call with the new weights."""
    layer = Recurrent(randomise(make(I, H), 1, dtype=ROWS[row]), row=row)
    x = draw(1, 2, 5, *layer.cell.input_shape, dtype=ROWS[row])
    layer(x)
    randomise(layer.cell, 2, dtype=ROWS[row])
    fresh = Recurrent(randomise(make(I, H), 2, dtype=ROWS[row]), row="reference")
    close(layer(x)[0], fresh(x)[0])


@on(["program", "native"])
@pytest.mark.parametrize("recompute", [None, 2])
def test_weights_changed_before_the_backward_pass_are_told(row, make, recompute):
    """Torch's own complaint, as for any operation; never a gradient of other weights in silence."""
    layer = Recurrent(randomise(make(I, H), 1, dtype=ROWS[row]), row=row, recompute=recompute)
    x = draw(1, 2, 5, *layer.cell.input_shape, dtype=ROWS[row]).requires_grad_()
    outputs, _ = layer(x)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


@on(["program", "native"])
@pytest.mark.parametrize("recompute", [None, 2])
def test_a_state_changed_after_the_call_changes_no_gradient(row, make, recompute):
    """What a layer returns is the caller's: no value of the backward pass lies in it."""
    expected = None
    for spoil in (False, True):
        layer = Recurrent(randomise(make(I, H), 1, dtype=ROWS[row]), row=row, recompute=recompute)
        x = draw(1, 2, 5, *layer.cell.input_shape, dtype=ROWS[row]).requires_grad_()
        outputs, state = layer(x)
        loss = (outputs * waves(outputs)).sum()
        if spoil:
            with torch.no_grad():
                outputs.fill_(math.nan)
                for each in floating(state):
                    each.fill_(math.nan)
        grads = torch.autograd.grad(loss, [x, *layer.parameters()], allow_unused=True)
        expected = expected or grads
        for a, b in zip(grads, expected, strict=True):
            assert (a is None and b is None) or torch.equal(a, b)


def test_second_derivatives_of_a_reversed_layer_whose_rows_end_together():
    """Its blocks are turned round, and so is what autograd makes of them."""
    found = []
    for row in ROWS:
        layer = Recurrent(randomise(CASES["gru"](I, H), 1, dtype=ROWS[row]), reverse=True, row=row)
        x = draw(2, 3, 5, I, dtype=ROWS[row]).requires_grad_()
        outputs = layer(x)[0]
        (first,) = torch.autograd.grad((outputs * waves(outputs)).sum(), x, create_graph=True)
        found.append(torch.autograd.grad((first * waves(first)).sum(), [x, *layer.parameters()]))
    expected, *others = found
    for got in others:
        close(got, [each.to(got[0].dtype) for each in expected])
