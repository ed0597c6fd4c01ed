"""The native row at every width, in threads and processes, with memory and numbers at the edge."""

import math
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils import deterministic

from ostinato.cells import GRU, LSTM, SRU, Cell, HiddenState, LayerNormLSTM
from ostinato.drivers import Recurrent
from ostinato.kernels.core import _chosen, core
from ostinato.kernels.rooms import room
from ostinato.programs.compiled import _KNOWN
from tests.contract.agree import draw, everything, in_float32, randomise, rows_agree, same, some_state
from tests.contract.cells import CASES

I, H = 3, 4  # noqa: E741
EVERY_CELL = sorted(CASES)

every_isa = pytest.mark.parametrize("isa", core().isas() if core() else [])


@st.composite
def batches(draw):
    """Widths that fill no vector, rows that fill no tile, threads without rows."""
    batch, time = draw(st.integers(1, 30)), draw(st.integers(1, 4))
    rows = st.lists(st.integers(0, time), min_size=batch, max_size=batch)
    return {
        "name": draw(st.sampled_from(EVERY_CELL)),
        "isa": draw(st.sampled_from(core().isas())),
        "threads": draw(st.integers(1, 3)),
        "sizes": (draw(st.integers(1, 70)), draw(st.integers(1, 70))),
        "batch": batch,
        "time": time,
        "lengths": draw(st.none() | rows.map(torch.tensor)),
        "resets": draw(st.booleans()),
        "reverse": draw(st.booleans()),
        "recompute": draw(st.sampled_from([None, 2])),
        "seed": draw(st.integers(0, 99)),
    }


@settings(deadline=None, max_examples=60)
@given(case=batches())
def test_any_width_batch_threads_and_instruction_set(case):
    seed, batch, time = case["seed"], case["batch"], case["time"]
    torch.set_num_threads(case["threads"])
    _KNOWN.clear()
    cell = randomise(CASES[case["name"]](*case["sizes"]), seed, scale=0.4 / max(case["sizes"]) ** 0.5)
    x = draw(seed, batch, time, *cell.input_shape).requires_grad_()
    state, options = (
        some_state(cell, batch, seed),
        {k: case[k] for k in ("lengths", "reverse", "recompute")},
    )
    if case["resets"]:
        options["resets"] = draw(seed, batch, time) > 0.5
    expected = everything(cell, "reference", x, state, **options)
    with _chosen(case["isa"]):
        same(everything(*in_float32(cell, "native", x, state), **options), expected, torch.float32)
    _KNOWN.clear()


def trained(layer, x, state=None, **marks):
    """Outputs, last state and all gradients, as they come."""
    x = x.detach().clone().requires_grad_()
    outputs, last = layer(x, state, **marks)
    weights = list(layer.parameters())
    grads = torch.autograd.grad((outputs**2).sum() + sum(s.sum() for s in last), [x, *weights])
    return [each.detach() for each in (outputs, *last, *grads)]


def layer_of(make=LSTM, sizes=(I, H), **options):
    return Recurrent(randomise(make(*sizes), 1, dtype=torch.float32), row="native", **options)


MARKS = {
    "whole": lambda batch, time: {},
    "ragged": lambda batch, time: {"lengths": torch.arange(batch) % (time + 1)},
    "resets": lambda batch, time: {"resets": draw(3, batch, time) > 1},
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize("make", [LSTM, SRU, LayerNormLSTM])
def test_the_same_bits_at_every_run(make, marks, threads):
    torch.set_num_threads(threads)
    layer = layer_of(make, (5, 37))
    x, given = draw(2, 50, 9, 5, dtype=torch.float32), MARKS[marks](50, 9)
    expected = trained(layer, x, **given)
    for _ in range(3):
        assert all(map(torch.equal, trained(layer, x, **given), expected))


def test_it_uses_the_threads_that_torch_is_told_to_use(monkeypatch):
    layer, x = layer_of(), draw(1, 4, 3, I, dtype=torch.float32)
    asked, threads = [], torch.get_num_threads
    monkeypatch.setattr(torch, "get_num_threads", lambda: asked.append(threads()) or threads())
    for number in (1, 2):
        torch.set_num_threads(number)
        layer(x)
    assert asked == [1, 1, 2, 2], "to pack the weights, and to walk"


def test_a_hundred_thousand_steps():
    layer, x = layer_of(GRU, (2, 5)), draw(1, 2, 100_000, 2, dtype=torch.float32)
    outputs, state = layer(x)
    first, middle = layer(x[:, :99_990])
    rest, last = layer(x[:, 99_990:], middle)
    assert torch.equal(outputs, torch.cat([first, rest], 1))
    assert torch.equal(state.h, last.h)
    # The end of a long walk is what a walk over the end is: old states are forgotten.
    alone = trained(layer, x[:, -300:], type(state)(outputs[:, -301]))
    (slope,) = torch.autograd.grad(layer(x.requires_grad_())[0][:, -100:].sum(), x)
    (expected,) = torch.autograd.grad(
        layer(near := x[:, -300:].detach().requires_grad_(), type(state)(outputs[:, -301]))[0][
            :, -100:
        ].sum(),
        near,
    )
    torch.testing.assert_close(alone[0], outputs[:, -300:])
    torch.testing.assert_close(slope[:, -100:], expected[:, -100:])


# What was not written is not read.


@pytest.fixture
def poisoned():
    """Fresh memory is full of NaN, torch's and the machine's."""
    before = deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = True
    core().poison(True)
    yield
    core().poison(False)
    torch.use_deterministic_algorithms(False)
    deterministic.fill_uninitialized_memory = before


@pytest.mark.parametrize("name", EVERY_CELL)
def test_memory_that_was_not_written_is_not_read(name, poisoned):
    assert torch.empty(1).isnan()
    cell = randomise(CASES[name](I, 19), 1, scale=0.2)
    x, state = draw(1, 5, 6, *cell.input_shape).requires_grad_(), some_state(cell, 5, 2)
    for marks in (
        {},
        {"reverse": True, "recompute": 2},
        {"lengths": torch.tensor([4, 0, 6, 3, 6])},
        {"resets": draw(3, 5, 6) > 0.5, "reverse": True},
    ):
        rows_agree(cell, x, state, **marks)


class Halved(Cell):
    """What a product reads is scratch of the step: no later step may have written over it."""

    State = HiddenState

    def __init__(self, inputs, size):
        super().__init__(inputs, size)
        self.W, self.U = nn.Parameter(torch.empty(inputs, size)), nn.Parameter(torch.empty(size, size))

    def step(self, x, state):
        half = state.h * 0.5
        h = half + torch.tanh(x @ self.W + half @ self.U) * 0.5
        return h, HiddenState(h)


@pytest.mark.parametrize("make", [Halved, LSTM, GRU, SRU, LayerNormLSTM, CASES["gru-reset-after"]])
@pytest.mark.parametrize("size", [128, 150])
def test_rows_of_more_than_one_tile(make, size):
    cell = randomise(make(4, size), 1, scale=0.1)
    rows_agree(cell, draw(2, 3, 5, 4).requires_grad_(), some_state(cell, 3, 3))


# Numbers at the edge.


@pytest.mark.parametrize("name", EVERY_CELL)
@pytest.mark.parametrize("scale", [100.0, 1e-30, 1e-42], ids=["saturated", "small", "denormal"])
def test_gates_at_their_limits(name, scale):
    if scale == 100.0 and name.endswith(("-sin", "-own-function")):
        scale = 1.0  # a sine has no limit: of 100 it makes a last bit a fifth digit
    cell = randomise(CASES[name](I, H), 3, dtype=torch.float32)
    x = (draw(4, 3, 4, *cell.input_shape, dtype=torch.float32) * scale).requires_grad_()
    same(everything(cell, "native", x), everything(cell, "reference", x), equal_nan=True)


@pytest.mark.parametrize("name", EVERY_CELL)
@pytest.mark.parametrize("special", [math.inf, -math.inf, math.nan], ids=str)
def test_what_is_no_number_stays_none(name, special):
    """And in its own row: one poisoned sequence leaves the others of a batch as they were."""
    cell = randomise(CASES[name](I, H), 3, dtype=torch.float32)
    x = draw(4, 3, 5, *cell.input_shape, dtype=torch.float32)
    x[1, 2] = special
    same(everything(cell, "native", x), everything(cell, "reference", x), equal_nan=True)


def test_the_mode_of_floating_point_is_left_alone():
    torch.set_num_threads(2)
    tiny = torch.tensor([1e-40] * 40_000)
    trained(layer_of(), draw(1, 8, 3, I, dtype=torch.float32))
    assert (tiny * 0.5 > 0).all()
    assert 5e-324 > 0


# What a cell may hold besides float32.


class Holding(Cell):
    """Something in a buffer, used by `use`."""

    State = HiddenState

    def __init__(self, held, use):
        super().__init__(H, H)
        self.W = nn.Parameter(torch.zeros(H, H))
        self.register_buffer("held", held)
        self.use = use

    def step(self, x, state):
        h = torch.tanh(x + self.use(state.h @ self.W, self.held))
        return h, HiddenState(h)


HELD = {
    "mask": (torch.tensor([True, False, True, True]), lambda h, m: torch.where(m, h, 0.5)),
    "mask as a factor": (torch.tensor([True, False, True, True]), torch.mul),
    "whole numbers": (torch.tensor([1, 2, 3, 4]), torch.mul),
    "half": (torch.tensor([0.5, 2, 0.25, 1], dtype=torch.float16), torch.mul),
    "one double": (torch.tensor(0.3, dtype=torch.float64), torch.mul),
    "every second": (torch.arange(8.0)[::2], torch.mul),
    "negated as it is read": (torch._neg_view(torch.arange(4.0)), torch.mul),
    "a negated matrix": (torch._neg_view(torch.arange(16.0).view(4, 4) / 16), torch.matmul),
}


@pytest.mark.parametrize("name", HELD)
def test_what_a_cell_holds(name):
    cell = randomise(Holding(*HELD[name]), 2, dtype=torch.float32)
    cell.held = HELD[name][0]
    x = draw(1, 2, 5, H, dtype=torch.float32)
    expected, got = (trained(Recurrent(cell, row=row), x) for row in ("reference", "native"))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_torchs_defaults_change_nothing(dtype):
    layer, x = layer_of(SRU, (I, 40)), draw(1, 30, 20, I, dtype=torch.float32)
    expected = trained(layer, x, layer.cell.initial_state(30))
    _KNOWN.clear()
    state = layer.cell.initial_state(30)
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            got = trained(layer, x, state)
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(map(torch.equal, got, expected))


class Turned(Cell):
    """Its initial state lies in memory column by column."""

    State = HiddenState

    def __init__(self, inputs, hidden):
        super().__init__(inputs, hidden)
        self.W = nn.Parameter(torch.zeros(hidden, hidden))
        self.start = nn.Parameter(torch.zeros(hidden))

    def initial_state(self, batch):
        return HiddenState((self.start[:, None] * torch.arange(1.0, batch + 1).to(self.start)).t())

    def step(self, x, state):
        h = torch.tanh(x + state.h @ self.W)
        return h, HiddenState(h)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_fresh_state_that_lies_otherwise_in_memory(reverse):
    cell = randomise(Turned(H, H), 1)
    x = draw(1, 3, 5, H).requires_grad_()
    got = rows_agree(cell, x, resets=draw(2, 3, 5) > 0, reverse=reverse)
    assert got["gradient of start"].all()


# Memory that is used again.


def test_a_room_is_given_out_again_once_nobody_holds_it():
    held = room((30, 1000))
    there = held.data_ptr()
    view = held[3:, 5]
    del held
    other = room((30, 1000))
    assert other.data_ptr() != there
    del view
    assert room((30, 1000)).data_ptr() == there


def test_what_another_process_may_read_is_not_given_out_again():
    held = room((31, 1000)).share_memory_()
    there = held.data_ptr()
    del held
    again = room((31, 1000))
    assert not again.is_shared()
    assert again.data_ptr() != there


def test_what_was_given_back_is_not_given_out_again():
    held = room((32, 1000))
    held.untyped_storage().resize_(0)
    del held
    assert room((32, 1000)).fill_(1).sum() == 32_000


def test_a_room_made_in_inference_mode_can_be_saved_for_autograd():
    layer, x = layer_of(SRU, (I, 40)), draw(1, 30, 20, I, dtype=torch.float32)
    with torch.inference_mode():
        layer(x)
        assert not room((33, 1000)).is_inference()
    trained(layer, x)


# Memory that cannot be had, and processes.


def test_memory_that_cannot_be_had_is_an_error():
    with pytest.raises(MemoryError):
        core().outer([(1 << 44, 0, 0, 0, 0, 0)], 1, 0, 0, 0, 0, 1)


FORKED = """
import os, signal, sys
import torch
from tests.contract.test_native import draw, layer_of, trained

torch.set_num_threads(2)
# Too little for torch's own threads, which wait like that.
layer, x = layer_of(sizes=(3, 19)), draw(1, 8, 5, 3, dtype=torch.float32)
expected = trained(layer, x)
child = os.fork()
if not child:
    signal.alarm(60)
    got = trained(layer, x)
    os._exit(0 if all(torch.allclose(a, b, atol=1e-5) for a, b in zip(got, expected)) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_process_forked_after_a_call_in_two_threads():
    """Its OpenMP waits without end for threads that only its parent has."""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], timeout=120).returncode == 0


SCARCE = """
import os, resource, sys
import torch
from tests.contract.test_native import draw, layer_of, trained

torch.set_num_threads(1)  # or torch's own operations wait, in the child, for threads of the parent
layer, x = layer_of(sizes=(3, 300)), draw(1, 64, 400, 3, dtype=torch.float32)
trained(layer, x[:, :3])
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
for more in range(0, 400, 20):
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (pages + (more << 20),) * 2)
        try:
            trained(layer, x)
        except (MemoryError, RuntimeError) as error:
            os._exit(3 if "memory" in str(error) or isinstance(error, MemoryError) else 1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory")
def test_little_memory_ends_no_process():
    command = [sys.executable, "-W", "ignore", "-c", SCARCE]
    done = subprocess.run(command, timeout=300, capture_output=True, text=True, check=True)
    ends = done.stdout.split()
    assert set(ends) == {"0", "3"}, done.stderr
