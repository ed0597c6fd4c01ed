"""What becomes a program, what does not and why, and what is no step at all."""

import gc
import time
from typing import NamedTuple

import pytest
import torch
from tests.contract.agree import draw, everything, randomise, rows_agree, same
from tests.contract.cells import CASES, every_cell
from torch import nn

from ostinato.cells import Cell, HiddenState
from ostinato.drivers import Recurrent
from ostinato.errors import RowError, StepError
from ostinato.programs.compiled import step_program
from ostinato.programs.trace import Untraceable

W = 4


class Plain(Cell):
    """A cell whose step each test writes: `write(self, x, h) → h`."""

    State = HiddenState

    def __init__(self, write):
        super().__init__(W, W)
        self.W = nn.Parameter(torch.zeros(W, W))
        self.b = nn.Parameter(torch.zeros(W))
        self.write = write

    def step(self, x, state):
        h = self.write(self, x, state.h)
        return h, HiddenState(h)


class Straight(torch.autograd.Function):
    """Steps forwards, and lets the gradient through: its operations do not say so."""

    @staticmethod
    def forward(ctx, a):
        return a.sign()

    @staticmethod
    def backward(ctx, g):
        return g


class Turned(torch.autograd.Function):
    """Computes nothing forwards."""

    @staticmethod
    def forward(ctx, a):
        return a

    @staticmethod
    def backward(ctx, g):
        return -g


def hidden(self, x, h):
    with torch.no_grad():
        scale = h.exp()
    return x * scale


UNTRACEABLE = {
    "control flow by rows": (lambda self, x, h: x if x[0, 0] > 0 else h + x, r"select.*batch"),
    "control flow by a sum": (lambda self, x, h: x + h if x.sum() > 0 else x - h, r"aten.sum.*batch"),
    "control flow by a weight": (
        lambda self, x, h: x + h if self.b.sum() > 0 else x - h,
        r"_local_scalar_dense.*reads a number out of a weight",
    ),
    "a weight as a number": (lambda self, x, h: x * self.b[0].item() + h, "reads a number out"),
    "control flow by the batch": (
        lambda self, x, h: x + h if len(x) > 2 else torch.tanh(x + h),
        "calls other operations for another batch size",
    ),
    "random rows": (lambda self, x, h: h + x * torch.rand(x.shape[0], W).to(x), "aten.rand.*random"),
    "random weights": (lambda self, x, h: h + x * torch.rand_like(self.b), "rand_like.*random"),
    "cumsum": (lambda self, x, h: torch.cumsum(x, -1) + h, r"aten.cumsum.*not in the set"),
    "sort": (lambda self, x, h: torch.sort(x, -1).values + h, r"aten.sort.*not in the set"),
    "determinant": (
        lambda self, x, h: h + torch.linalg.det(x[:, :, None] * h[:, None] + self.W)[:, None],
        r"aten._linalg_det.*not in the set",
    ),
    "the batch as a number": (lambda self, x, h: h + x * x.shape[0], r"batch size"),
    "the batch in a weight": (lambda self, x, h: h + x * (self.b + x.shape[0]), r"batch size"),
    "the batch in a shape": (lambda self, x, h: h + x.reshape(len(x) * 2, 2).view(-1, W), r"batch"),
    "a mean over rows": (lambda self, x, h: h + x - x.mean(0), r"aten.mean.*batch has to stay whole"),
    "a mean over everything": (lambda self, x, h: h + x - x.mean(), r"aten.mean.*mixes rows"),
    "rows times rows": (lambda self, x, h: h + x @ (x.t() @ h), r"aten.(t|transpose).*batch"),
    "rows turned": (lambda self, x, h: h + x.flip(0), r"aten.flip.*not in the set"),
    "detached": (lambda self, x, h: h.detach() + x, "aten.detach.*to the driver"),
    "without a gradient": (hidden, r"aten.exp.*hidden from autograd"),
    "a gradient of its own": (lambda self, x, h: h + Straight.apply(x), "aten.sign.*hidden"),
    "a gradient turned round": (lambda self, x, h: h + Turned.apply(x), "hidden from autograd"),
    "in place on a part": (
        lambda self, x, h: torch.cat([(x + h)[:, :2].mul_(2), x[:, 2:]], -1),
        r"test_trace.py:\d+ changes a tensor in place \(aten.mul_",
    ),
    "other numbers": (lambda self, x, h: h + x.to(torch.float32), "numbers of another kind"),
    "counted": (lambda self, x, h: h + (x > 0).sum(-1, keepdim=True), "numbers of another kind"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNTRACEABLE)
def test_what_is_no_program_runs_on_the_reference_and_says_why(what):
    write, why = UNTRACEABLE[what]
    cell = randomise(Plain(write), 1)
    x = draw(2, 3, 5, W).requires_grad_()
    with pytest.raises(RowError, match=f'row "program" cannot run this call: .*{why}'):
        Recurrent(cell, row="program")(x)
    with pytest.raises(Untraceable, match=r"at test_trace.py:\d+|^test_trace.py:\d+|^the step calls"):
        step_program(cell)
    results = []
    for row in ("auto", "reference"):
        torch.manual_seed(0)
        results.append(everything(cell, row, x))
    same(*results)


def test_the_reference_row_is_the_loop():
    cell = randomise(Plain(lambda self, x, h: torch.cumsum(x, -1) @ self.W + h), 1)
    x = draw(2, 3, 5, W)
    state = cell.initial_state(3)
    for t, output in enumerate(Recurrent(cell)(x)[0].unbind(1)):
        expected, state = cell.step(x[:, t], state)
        assert torch.equal(output, expected)


def test_in_place_on_what_nobody_else_sees_is_no_matter():
    def write(self, x, h):
        total = x @ self.W
        total += h
        decay = self.b * 2
        kept = x + decay
        decay.mul_(0.5)
        return total.mul_(0.5).tanh_() + kept - h * decay

    rows_agree(randomise(Plain(write), 1), draw(2, 3, 5, W).requires_grad_())


def on_input(self, x, h):
    x += 1
    return x + h


def on_state(self, x, h):
    h[:, :2] *= 0.5
    return x + h


def on_weight(self, x, h):
    self.b.data.mul_(0.9)
    return x + h + self.b


def on_weight_without_gradient(self, x, h):
    with torch.no_grad():
        self.b.mul_(0.9)
    return x + h + self.b


@pytest.mark.parametrize("write", [on_input, on_state, on_weight_without_gradient])
@pytest.mark.parametrize("row", ["auto", "program"])
def test_changing_what_is_given_is_no_step(write, row):
    layer = Recurrent(Plain(write), row=row)
    with pytest.raises(
        StepError, match=r"Plain.step changes its input, its state or a weight in place"
    ):
        layer(torch.zeros(2, 3, W))


def test_changing_a_constant_is_no_program():
    def write(self, x, h):
        self.count.add_(1)
        return x + h

    cell = Plain(write)
    cell.count = torch.zeros(())
    with pytest.raises(Untraceable, match="changes a tensor in place"):
        step_program(cell)


class Pair(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


class Returns(Cell):
    State = HiddenState

    def __init__(self, returned):
        super().__init__(W, W)
        self.w = nn.Parameter(torch.ones(W))
        self.returned = returned

    def step(self, x, state):
        return self.returned(x, state)


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (lambda x, s: x, r"expected it to return \(output, HiddenState\), got Tensor"),
        (lambda x, s: (x, s.h), "expected it to return a state of type HiddenState, .* got Tensor"),
        (lambda x, s: (x, Pair(x, x)), "a state of type HiddenState, as it was given; got Pair"),
        (
            lambda x, s: (x, HiddenState(x[:, :2])),
            r"expected h of shape \[B, 4\], got \[2, 2\] with B=2. Mend the step, or .* state_shapes",
        ),
        (
            lambda x, s: (x[:, :1], s),
            r"expected output of shape \[B, 4\], got \[2, 1\] .* output_shape",
        ),
        (lambda x, s: (x, HiddenState(None)), r"expected h of shape \[B, 4\], got NoneType"),
    ],
)
def test_returning_something_else_is_no_step(returned, told):
    with pytest.raises(StepError, match=rf"Returns.step: .*{told}"):
        Recurrent(Returns(returned))(torch.zeros(2, 3, W))


ODD_NAMES = "w w_1 w_2 t t0 t1 x x_1 h_1 h_all block rows like run special W_t W n s mm inf"


def test_a_weight_may_be_called_like_anything_in_the_source():
    class Named(Cell):
        State = HiddenState
        NAMES = tuple(ODD_NAMES.split())

        def __init__(self):
            super().__init__(W, W)
            for name in self.NAMES:
                setattr(self, name, nn.Parameter(torch.zeros(W, W)))

        def step(self, x, state):
            h = state.h
            for name in self.NAMES:
                h = torch.tanh(h @ getattr(self, name).t() + x * torch.sigmoid(getattr(self, name)[0]))
            return h, HiddenState(h)

    rows_agree(randomise(Named(), 3), draw(2, 2, 4, W).requires_grad_())


def test_weights_that_are_one_and_the_same_are_another_cell():
    class Two(Cell):
        State = HiddenState

        def __init__(self, tied):
            super().__init__(W, W)
            self.first = nn.Parameter(torch.zeros(W, W))
            self.second = self.first if tied else nn.Parameter(torch.zeros(W, W))

        def step(self, x, state):
            h = torch.tanh(x @ self.first + state.h @ self.second)
            return h, HiddenState(h)

    for tied in (True, False, True):
        rows_agree(randomise(Two(tied), 3), draw(2, 2, 4, W).requires_grad_())


@pytest.fixture
def uncollected():
    """A full collection of what all tests have made takes as long as what is measured may."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@every_cell
def test_tracing_and_deriving_take_milliseconds(make, uncollected):
    def seconds(*sizes):
        cell = make(*sizes)
        start = time.process_time()
        steps = step_program(cell)
        steps.derived(True, tuple(True for _ in steps.program.weights))
        return time.process_time() - start

    assert seconds(2, 7) < 0.2
    assert seconds(5, 11) < 0.1  # other widths are another program


def test_one_program_serves_every_batch_and_time():
    cell = randomise(CASES["lstm"](3, W), 1)
    known = step_program(cell)
    for batch, time_ in ((1, 1), (3, 7), (2, 3), (5, 2)):
        rows_agree(cell, draw(1, batch, time_, 3).requires_grad_())
        assert step_program(cell) is known
