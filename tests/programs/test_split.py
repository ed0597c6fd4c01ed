"""What is walked and what is not: the reason for it all."""

import pytest
import torch
from tests.contract.agree import draw, randomise, rows_agree
from tests.programs.test_trace import Plain
from torch import nn

from ostinato.cells import GRU, LSTM, QRNN, SRU, Adapted, Cell, HiddenState
from ostinato.programs.compiled import step_program
from ostinato.programs.split import split

PRODUCTS = ("product", "product_t")


def kinds(ops, *wanted):
    return [op.kind for op in ops if op.kind in wanted]


def both_ways(cell):
    """The forward and the backward program, each in parts, and whether they run as scans."""
    steps = step_program(cell)
    derived = steps.derived(True, tuple(True for _ in steps.program.weights))
    return (steps.parts, steps.inference.scanned), (split(derived.program), derived.run.scanned)


class TutorialSRU(Cell):
    """As a tutorial wrote it: the product inside the step."""

    State = HiddenState

    def __init__(self, inputs, hidden):
        super().__init__(inputs, hidden)
        self.W = nn.Parameter(torch.zeros(inputs, 3 * hidden))
        self.b_f, self.b_r = (nn.Parameter(torch.zeros(hidden)) for _ in "fr")

    def step(self, x, state):
        z, f, r = (x @ self.W).chunk(3, -1)
        f, r = torch.sigmoid(f + self.b_f), torch.sigmoid(r + self.b_r)
        c = f * state.h + (1 - f) * z
        return r * torch.tanh(c), HiddenState(c)


@pytest.mark.parametrize("make", [TutorialSRU, SRU])
def test_the_tutorials_sru_walks_nothing_but_its_state(make):
    for parts, scanned in both_ways(make(3, 4)):
        assert scanned
        assert not kinds(parts.walk, *PRODUCTS, "outer", "sum_rows", "sigmoid", "tanh")
        assert len(parts.walked) == 1
    forward, backward = both_ways(make(3, 4))
    assert kinds(forward[0].before, *PRODUCTS) == ["product"]
    assert kinds(forward[0].after, "tanh") == ["tanh"]
    assert kinds(backward[0].after, *PRODUCTS, "outer") == ["product_t", "outer"]
    rows_agree(randomise(make(3, 4), 1), draw(1, 2, 40, 3).requires_grad_())


@pytest.mark.parametrize(
    ("cell", "walked", "walked_back"),
    [
        (LSTM(3, 4), 1, 1),
        (LSTM(3, 4, peepholes=True), 1, 1),
        (GRU(3, 4), 2, 2),
        (GRU(3, 4, reset_after=True), 1, 1),
        (QRNN(3, 4, "fo", window=2), 0, 0),
        (Adapted(nn.LSTMCell(3, 4)), 1, 1),
        (Adapted(nn.GRUCell(3, 4)), 1, 1),
        (Adapted(nn.RNNCell(3, 4)), 1, 1),
    ],
    ids=["lstm", "peepholes", "gru", "gru-after", "qrnn", "torch-lstm", "torch-gru", "torch-rnn"],
)
def test_products_in_the_walk(cell, walked, walked_back):
    (forward, _), (backward, _) = both_ways(cell)
    assert len(kinds(forward.walk, *PRODUCTS)) == walked
    assert len(kinds(backward.walk, *PRODUCTS)) == walked_back
    assert kinds(forward.before, *PRODUCTS)
    # The gradient of a weight is one sum over all steps.
    assert not kinds(backward.walk, "outer", "sum_rows")
    assert len(kinds(backward.after, "outer")) == len(
        kinds([*forward.before, *forward.walk], *PRODUCTS)
    )


def test_what_is_only_delayed_is_known_before_the_walk():
    forward, backward = both_ways(QRNN(3, 4, "fo", window=2))
    assert [each.given.name for each in forward[0].early] == ["x_prev"]
    assert [each.given.name for each in forward[0].walked] == ["c"]
    # Backwards its gradient follows from the walked one.
    assert [each.given.name for each in backward[0].late] == ["d_x_prev"]
    assert forward[1]
    assert backward[1]


def test_a_product_of_things_side_by_side_is_divided():
    def write(self, x, h):
        return torch.tanh(torch.cat([x, h], -1) @ torch.cat([self.W, self.W.t()]) + self.b)

    parts = step_program(Plain(write)).parts
    assert kinds(parts.before, "product", "cat") == ["product"]
    assert kinds(parts.walk, "product", "cat") == ["product"]


def test_weights_of_four_gates_become_one():
    class Four(Plain):
        def __init__(self):
            super().__init__(None)
            self.U = nn.ParameterList(torch.zeros(4, 4) for _ in range(4))

        def step(self, x, state):
            h = state.h
            i, f, o, g = (x @ self.W + h @ U for U in self.U)
            h = torch.sigmoid(o) * torch.tanh(torch.sigmoid(f) * h + torch.sigmoid(i) * torch.tanh(g))
            return h, HiddenState(h)

    (forward, _), (backward, _) = both_ways(Four())
    (product,) = (op for op in forward.walk if op.kind == "product")
    assert product.inputs[1].shape == (4, 16)
    assert kinds(forward.before, "product") == ["product"]
    assert kinds(backward.walk, *PRODUCTS) == ["product_t"]
    rows_agree(randomise(Four(), 1), draw(1, 2, 5, 4).requires_grad_())


def test_a_bias_is_added_before_the_walk():
    parts = step_program(Plain(lambda self, x, h: torch.tanh((x @ self.W + h @ self.W) + self.b))).parts
    assert kinds(parts.before, "product", "add") == ["product", "add"]
    assert kinds(parts.walk, "product", "add") == ["product", "add"]


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        # Everything is made again from the gates, the states and x.
        (TutorialSRU(3, 4), 12),
        (LSTM(3, 4), 4 * 4 + 4),
        (GRU(3, 4), 4 * 4),
    ],
    ids=["sru", "lstm", "gru"],
)
def test_what_is_kept_of_a_step(cell, kept):
    """Beside x and what was handed on: the gates, and nothing that costs little to make again."""
    steps = step_program(cell)
    derived = steps.derived(True, tuple(True for _ in steps.program.weights))
    free = {*steps.program.sequences, *(c.given for c in steps.program.carried)}
    free |= {c.handed_on for c in steps.program.carried}
    assert sum(torch.Size(v.shape).numel() for v in derived.kept if v not in free) <= kept


def test_numbers_are_added_before_the_walk():
    def write(self, x, h):
        return ((h * 0.5 + 1) + 2) + (x + 3)

    steps = step_program(Plain(write))
    assert len(kinds(steps.parts.walk, "add")) == 1
    rows_agree(randomise(Plain(write), 1), draw(1, 2, 5, 4).requires_grad_())
    rows_agree(randomise(Plain(lambda self, x, h: h + 1 + 1), 1), draw(1, 2, 5, 4).requires_grad_())
