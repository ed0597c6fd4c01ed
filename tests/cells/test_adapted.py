"""Cells of torch and of torchrecurrent, run by this library, equal their own layers."""

import copy
import pickle
from typing import NamedTuple

import pytest
import torch
import torchrecurrent
from tests.contract.agree import rows_agree
from torch import nn

from ostinato.cells import LSTM, Adapted, HiddenState, LSTMState
from ostinato.drivers import Recurrent
from ostinato.errors import OptionError, ShapeError, StateError, StepError

B, T, I, H = 3, 6, 5, 4  # noqa: E741
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(5)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def randomised(module):
    """Biases that a package starts at zero would prove nothing."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-0.5, 0.5)
    return module


def gradients(tensors, outputs, finals):
    total = (outputs * torch.linspace(0.5, 2, outputs.numel()).reshape(outputs.shape)).sum()
    for number, final in enumerate(finals, 2):
        total = total + number * final.sum()
    return torch.autograd.grad(total, tensors, allow_unused=True)


def compare(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, **TOLERANCE)


@pytest.mark.parametrize(
    ("cell", "layer"),
    [
        (nn.LSTMCell(I, H), nn.LSTM(I, H, batch_first=True)),
        (nn.GRUCell(I, H), nn.GRU(I, H, batch_first=True)),
        (nn.RNNCell(I, H), nn.RNN(I, H, batch_first=True)),
        (nn.RNNCell(I, H, nonlinearity="relu"), nn.RNN(I, H, nonlinearity="relu", batch_first=True)),
        (nn.LSTMCell(I, H, bias=False), nn.LSTM(I, H, bias=False, batch_first=True)),
    ],
    ids=lambda module: type(module).__name__,
)
def test_torchs_cells_equal_torchs_layers(cell, layer):
    cell, layer = cell.double(), layer.double()
    weights = dict(cell.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            getattr(layer, f"{name}_l0").copy_(weight)
    x = torch.randn(B, T, I, requires_grad=True)
    outputs, state = Recurrent(Adapted(cell))(x)
    expected, final = layer(x)
    final = [each[0] for each in (final if isinstance(final, tuple) else (final,))]
    compare([outputs, *state], [expected, *final])
    compare(
        gradients([x, *weights.values()], outputs, state),
        gradients([x, *(getattr(layer, f"{name}_l0") for name in weights)], expected, final),
    )


CELLS = sorted(name for name in torchrecurrent.__all__ if name.endswith("Cell"))


def test_the_whole_package_is_covered():
    assert len(CELLS) == 41


@pytest.mark.parametrize("name", CELLS)
def test_torchrecurrents_cells_equal_its_layers(name):
    inputs = H if name == "IntersectionRNNCell" else I  # it mixes its input into its output
    layer = randomised(getattr(torchrecurrent, name.removesuffix("Cell"))(inputs, H, batch_first=True))
    module = layer.cells[0]
    x = torch.randn(B, T, inputs, requires_grad=True)
    expected, final = layer(x)
    # tauGRU's layer hands its cell a second state, which the cell alone takes to be zero.
    if name == "tauGRUCell":
        state, expected = torch.zeros(B, H), []
        for x_t in x.unbind(1):
            state = module(x_t, state)
            expected.append(state)
        expected, final = torch.stack(expected, 1), state[None]
    final = [each[0] for each in (final if isinstance(final, tuple) else (final,))]
    cell = Adapted(module)
    outputs, state = Recurrent(cell)(x)
    compare([outputs, *state], [expected, *final])
    weights = list(module.parameters())
    assert [id(w) for w in cell.parameters()] == [id(w) for w in weights]
    compare(gradients([x, *weights], outputs, state), gradients([x, *weights], expected, final))


def adapted_of(name):
    inputs = H if name == "IntersectionRNNCell" else I
    return Adapted(randomised(getattr(torchrecurrent, name)(inputs, H)))


@pytest.mark.parametrize("name", CELLS)
def test_all_of_them_are_programs_equal_to_the_loop(name):
    cell = adapted_of(name)
    lengths = torch.tensor([6, 3, 0])
    resets = torch.rand(B, T) > 0.6
    x = torch.randn(B, T, cell.input_size, requires_grad=True)
    for marks in ({}, {"lengths": lengths, "resets": resets}):
        for reverse in (False, True):
            rows_agree(cell, x, reverse=reverse, **marks)


def test_torchs_cells_are_programs():
    for cell in (nn.LSTMCell(I, H), nn.GRUCell(I, H), nn.RNNCell(I, H), nn.RNNCell(I, H, False)):
        rows_agree(Adapted(randomised(cell)), torch.randn(B, T, I, requires_grad=True))


@pytest.mark.parametrize("name", ["LSTMCell", "TLSTMCell", "IntersectionRNNCell"])
def test_lengths_resets_and_direction(name):
    """What such a cell never had: each row equals its own pieces, run alone."""
    package = nn if name == "LSTMCell" else torchrecurrent
    module = randomised(getattr(package, name)(H, H))
    layer, back = Recurrent(Adapted(module)), Recurrent(Adapted(module), reverse=True)
    x = torch.randn(3, T, H)
    x[1, 4:] = float("nan")
    lengths = torch.tensor([6, 4, 0])
    resets = torch.zeros(3, T, dtype=torch.bool)
    resets[0, 2] = True
    outputs, state = layer(x, lengths=lengths, resets=resets)
    first, _ = layer(x[:1, :2])
    second, last = layer(x[:1, 2:])
    alone, ended = layer(x[1:2, :4])
    torch.testing.assert_close(outputs[:1], torch.cat([first, second], 1))
    torch.testing.assert_close(outputs[1:2, :4], alone)
    assert not outputs[1, 4:].any()
    assert not outputs[2].any()
    for whole, a, b in zip(state, last, ended, strict=True):
        torch.testing.assert_close(whole, torch.cat([a, b, torch.zeros_like(a)]))
    turned, _ = layer(x[1:2, :4].flip(1))
    torch.testing.assert_close(back(x, lengths=lengths)[0][1:2, :4], turned.flip(1))


def test_what_states_are_called():
    assert Adapted(nn.GRUCell(I, H)).State is HiddenState
    assert Adapted(nn.LSTMCell(I, H)).State is LSTMState
    mclstm, tlstm = (Adapted(getattr(torchrecurrent, n)(I, H)) for n in ("MCLSTMCell", "TLSTMCell"))
    assert mclstm.State is tlstm.State
    assert mclstm.State._fields == ("state_0", "state_1")
    assert tlstm.state_shapes == ((H,), (I,))
    assert Adapted(torchrecurrent.IntersectionRNNCell(H, H)).State._fields == ("state_0",)


def test_copies_and_pickles():
    cell = Adapted(torchrecurrent.TLSTMCell(I, H))
    x = torch.randn(B, T, I)
    _, state = Recurrent(cell)(x)
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert torch.equal(Recurrent(other)(x, state)[0], Recurrent(cell)(x, state)[0])
    assert type(pickle.loads(pickle.dumps(state))) is type(state)
    assert "module.weight_ih" in cell.state_dict()


class Ours(nn.Module):
    """A module that a user might have: what it returns is up to each test."""

    def __init__(self, returns, needs_state=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(H, H))
        self.norm = nn.BatchNorm1d(H)
        self.returns, self.needs_state = returns, needs_state

    def forward(self, x, state=None):
        if state is None and self.needs_state:
            raise TypeError("a state is needed")
        return self.returns(self, x, state)


def total(self, x, state):
    h = torch.zeros(x.shape[0], H) if state is None else state
    return torch.tanh(x @ self.weight + h)


def adapted(returns, needs_state=False, **options):
    return Adapted(Ours(returns, needs_state), H, **options)


def runs(cell, *expected_shapes):
    outputs, state = Recurrent(cell)(torch.randn(B, T, H))
    assert outputs.shape == (B, T, *cell.output_shape)
    assert [tuple(each.shape[1:]) for each in state] == list(expected_shapes)
    assert tuple(expected_shapes) == cell.state_shapes


def test_a_module_that_needs_a_state():
    runs(adapted(total, needs_state=True, hidden_size=H), (H,))

    def matrix(self, x, state):
        memory = state[0] + x[:, :, None] * x[:, None, :2]
        return memory.sum(2) @ self.weight, (memory, {"x": state[1]["x"] + x})

    with pytest.raises(OptionError, match=r"could not be called.*a state is needed.*state_shapes="):
        adapted(matrix, needs_state=True)
    with pytest.raises(OptionError, match="could not be called"):
        adapted(matrix, needs_state=True, hidden_size=H)
    cell = adapted(
        matrix,
        needs_state=True,
        initial=lambda batch: (torch.ones(batch, H, 2), {"x": torch.zeros(batch, H)}),
    )
    assert cell.initial_state(2).state_0.all()
    runs(cell, (H, 2), (H,))


def test_shapes_may_be_nested():
    def both(self, x, state):
        a, (b,) = state
        return a @ self.weight, (a + x, (b + x[:, :2],))

    with pytest.raises(OptionError):
        adapted(both, needs_state=True, hidden_size=H)
    runs(adapted(both, needs_state=True, state_shapes=((H,), ((2,),))), (H,), (2,))


def test_the_batch_may_stand_behind():
    def layers(self, x, state):
        h = torch.zeros(2, x.shape[0], H) if state is None else state
        h = torch.stack([torch.tanh(x @ self.weight + h[0]), h[0] + h[1]])
        return h[1], h

    cell = adapted(layers)
    runs(cell, (2, H))
    x = torch.randn(B, H)
    output, state = cell.step(x, cell.initial_state(B))
    expected, inner = cell.module(x, torch.zeros(2, B, H))
    assert torch.equal(output, expected)
    assert torch.equal(state.state_0, inner.movedim(1, 0))


class Pair(NamedTuple):
    carry: torch.Tensor
    seen: torch.Tensor


def test_where_the_output_stands_can_be_said():
    def state_first(self, x, state):
        h = total(self, x, state)
        return h, h[:, :3]

    runs(adapted(state_first), (H,))  # only the first of the two fits back
    assert adapted(state_first).output_shape == (3,)

    def alike(self, x, state):
        h = total(self, x, state)
        return Pair(h, 2 * h)

    x = torch.randn(B, H)
    for cell, output in (
        (adapted(alike), "carry"),
        (adapted(alike, state=0), "seen"),
        (adapted(alike, output=-1, state=lambda pair: pair.carry), "seen"),
        (adapted(alike, output=1), "seen"),
    ):
        given, _ = cell(x)
        assert torch.equal(given, getattr(cell.module(x), output))

    def mapping(self, x, state):
        h = total(self, x, state)
        return {"y": h[:, :2], "h": h}

    with pytest.raises(StepError, match=r"takes back neither all of a dict.*output=, state="):
        adapted(mapping)
    runs(adapted(mapping, output=lambda r: r["y"], state=lambda r: r["h"]), (H,))

    def three(self, x, state):
        a, b = (torch.zeros(x.shape[0], H),) * 2 if state is None else state
        return x @ self.weight + b, a + x, b + a

    runs(adapted(three), (H,), (H,))


def test_two_readings_that_fit_are_asked_about():
    def lenient(self, x, state):
        h = total(self, x, state[-1] if isinstance(state, tuple) else state)
        return h, h + 1

    with pytest.raises(OptionError, match="takes back all of .* and also a part of it"):
        adapted(lenient)
    runs(adapted(lenient, output=0, state=lambda pair: pair), (H,), (H,))
    runs(adapted(lenient, output=0, state=1), (H,))


def test_what_is_no_cell():
    with pytest.raises(OptionError, match=r"LSTM is one of Ostinato's cells already"):
        Adapted(LSTM(I, H))
    with pytest.raises(OptionError, match=r"Ours has no attribute input_size"):
        Adapted(Ours(total))
    with pytest.raises(ShapeError, match=r"input_size must be a whole number"):
        Adapted(Ours(total), 0)
    with pytest.raises(StepError, match=r"to put out \[B, …\].*whole sequences is no cell"):
        adapted(lambda self, x, s: (x.sum(0), total(self, x, s)))
    with pytest.raises(StepError, match=r"one row for each of x_t, got shapes \[1, 4\] for 2 rows"):
        Adapted(nn.LSTM(I, H))
    with pytest.raises(StepError, match=r"takes back neither all of a str"):
        adapted(lambda self, x, s: "h")

    def in_place(self, x, state):
        h = torch.zeros(x.shape[0], H) if state is None else state
        return h.mul_(0.5).add_(x @ self.weight)

    with pytest.raises(StepError, match=r"changes its input or its state in place"):
        adapted(in_place)

    def elsewhere(self, x, state):
        return total(self, x, torch.ones(x.shape[0], H) if state is None else state)

    with pytest.raises(StepError, match=r"begin with zeros.*initial="):
        adapted(elsewhere)
    assert adapted(elsewhere, initial=lambda batch: torch.ones(batch, H)).initial_state(2).h.all()
    with pytest.raises(StateError, match="expected a state of type HiddenState"):
        Recurrent(adapted(total))(torch.randn(B, T, H), torch.zeros(B, H))


def test_looking_leaves_no_trace():
    def normed(self, x, state):
        return torch.dropout(self.norm(total(self, x, state)), 0.5, self.training)

    module = Ours(normed)
    module.norm.eval()
    kept = copy.deepcopy(module.state_dict())
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Adapted(module, H)
    assert torch.equal(torch.rand(3), expected)
    assert all(
        torch.equal(a, b) for a, b in zip(kept.values(), module.state_dict().values(), strict=True)
    )
    assert module.training
    assert not module.norm.training
    assert module.weight.grad is None


def test_weights_are_drawn_anew_by_the_module():
    for cell in (Adapted(nn.LSTMCell(I, H)), adapted(total)):
        torch.manual_seed(3)
        for weight in cell.parameters():
            nn.init.constant_(weight, 7)
        cell.reset_parameters()
        assert any((weight != 7).any() for weight in cell.parameters())

    class Bare(nn.Module):
        def forward(self, x, h=None):
            return x if h is None else x + h

    bare = Adapted(Bare(), H)
    assert bare.initial_state(2).h.shape == (2, H)
    with pytest.raises(OptionError, match="Bare has no reset_parameters"):
        bare.reset_parameters()


def test_a_learned_start_begins_where_the_given_one_does():
    def ones(batch):
        return torch.ones(batch, 4)

    cell = Adapted(nn.GRUCell(3, 4), initial=ones).learn_initial_state()
    assert torch.equal(cell.initial_state(2)[0], torch.ones(2, 4))
    with torch.no_grad():
        for name, each in cell.named_parameters():
            if name.endswith("_0"):
                each.fill_(0.5)
    assert torch.equal(cell.initial_state(2)[0], torch.full((2, 4), 0.5))
