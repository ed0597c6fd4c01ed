"""torch.compile: whole graphs without a loop in them, for any T."""

import pytest
import torch
from torch import nn

from ostinato.cells import LSTM, Cell, HiddenState
from ostinato.drivers import Recurrent
from ostinato.errors import RowError
from ostinato.kernels.core import why_missing
from ostinato.kernels.walker import Walker
from ostinato.programs import operator
from ostinato.programs.compiled import named_tensors
from ostinato.wrappers import Dropout, Stack, WeightDrop, Zoneout
from tests.contract.agree import randomise
from tests.inside.layers import B, I, close, layer_of, outcome, some_input

# Torch's own use of what it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _nothing_compiled_yet():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Counted:
    """A backend that keeps the graphs it is given, and runs them uncompiled."""

    def __init__(self):
        self.graphs = []

    def __call__(self, graph, inputs):
        self.graphs.append(str(graph.graph))
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)


def ragged(time):
    return {
        "lengths": torch.tensor([time, 0, 2]),
        "resets": torch.arange(3 * time).view(3, -1) % 4 == 0,
    }


@pytest.mark.parametrize("name", ["lstm", "lru", "reverse", "stack", "pair", "nn"])
@pytest.mark.parametrize("marks", [lambda time: {}, ragged], ids=["whole", "ragged"])
def test_a_graph_without_a_loop_for_any_time(name, marks):
    layer, backend = layer_of(name), Counted()
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    for time in (5, 6, 7, 40):
        x = some_input(B, time)
        close(outcome(compiled, x, **marks(time)), outcome(layer, x, **marks(time)))
    walks = 2 if name == "nn" else sum(isinstance(each, Recurrent) for each in layer.modules())
    # The first graph is for its own T, the second for any.
    assert [graph.count("ostinato.walk") for graph in backend.graphs] == [walks, walks]


@pytest.mark.skipif(bool(why_missing()), reason="there is no core")
@pytest.mark.parametrize("name", ["lstm", "sru", "layer-norm-lstm", "reverse", "stack", "pair", "nn"])
def test_the_core_walks_inside_a_graph(name, monkeypatch):
    """In float32, and not the program row by mistake."""
    layer, walked = layer_of(name, dtype=torch.float32), []
    call = Walker.__call__
    monkeypatch.setattr(Walker, "__call__", lambda self, *given: walked.append(1) or call(self, *given))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for time in (5, 7):
        x = some_input(B, time, dtype=torch.float32)
        walked.clear()
        got = outcome(compiled, x, **ragged(time))
        assert walked
        close(got, outcome(layer, x, **ragged(time)))


DRAWN = {
    "dropout": lambda: Dropout(LSTM(I, 4), input=0.3, output=0.3, state=0.3),
    "zoneout": lambda: Zoneout(LSTM(I, 4), 0.3),
    "weight drop": lambda: WeightDrop(LSTM(I, 4), 0.3, ["W_h"]),
}


@pytest.mark.parametrize("make", DRAWN.values(), ids=DRAWN.keys())
def test_what_is_drawn_is_drawn_alike(make):
    """Same seed, same masks, in a graph and out of it; and the counters of a state have no gradient."""
    below, above = Recurrent(make()), Recurrent(Dropout(LSTM(4, 4), input=0.3))
    layer, x = randomise(Stack([below, above]), 1), some_input()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    results = []
    for run in (layer, compiled, compiled):
        torch.manual_seed(7)
        results.append(outputs_and_gradients(run, x))
    close(results[1], results[0])
    close(results[2], results[0])
    torch.manual_seed(8)
    assert not torch.equal(compiled(x)[0], results[0][0])


def outputs_and_gradients(run, x):
    outputs, _ = run(x, **ragged(x.shape[1]))
    return [outputs.detach(), *torch.autograd.grad(outputs.sin().sum(), [*run.parameters()])]


def test_inductor_trains_a_model_with_a_layer_inside():
    """The real compiler, once; it needs the C++ compiler that Static needs too."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = layer_of("lstm"), nn.Linear(4, 2).double()

        def forward(self, x, state=None, lengths=None):
            outputs, state = self.layer(x, state, lengths=lengths)
            return self.head(outputs.relu()), state

    model = Model()
    compiled = torch.compile(model, fullgraph=True)
    for time in (4, 9):
        x, lengths = some_input(B, time), torch.tensor([time, 0, 2])
        close(outcome(compiled, x, lengths=lengths), outcome(model, x, lengths=lengths))


@pytest.mark.parametrize("row", ["program", "reference"])
def test_rows_that_are_named(row):
    """The reference is written out step by step: fine for a few steps."""
    layer, backend = layer_of("lstm", row), Counted()
    x = some_input(B, 3)
    close(outcome(torch.compile(layer, fullgraph=True, backend=backend), x), outcome(layer, x))
    assert ("ostinato.walk" in backend.graphs[0]) == (row == "program")


def test_an_option_that_is_changed_is_another_graph():
    layer = Recurrent(LSTM(I, 4)).double()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = some_input()
    for bias in (1.0, 0.25, 0.5, 0.75):
        layer.cell.forget_bias = bias
        assert torch.equal(compiled(x)[0], layer(x)[0])


def test_weights_are_never_stale():
    layer = layer_of("lstm")
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = some_input()
    before = compiled(x)[0]
    with torch.no_grad():
        for weight in layer.parameters():
            weight.mul_(0.5)
    assert torch.equal(compiled(x)[0], layer(x)[0])
    assert not torch.equal(compiled(x)[0], before)


def test_lengths_that_do_not_fit_are_told_by_the_graph():
    compiled = torch.compile(layer_of("lstm"), fullgraph=True, backend="aot_eager")
    with pytest.raises(RuntimeError, match="LSTM: expected lengths between 0 and T. Pad x or shorten"):
        compiled(some_input(), lengths=torch.tensor([6, 1, 1]))


class Loudest(Cell):
    State = HiddenState

    def step(self, x, state):
        h = torch.maximum(state.h, x.cummax(-1).values)
        return h, HiddenState(h)


def test_a_step_that_is_no_program_is_compiled_as_a_loop():
    x = some_input()
    layer = Recurrent(Loudest(I, I))
    assert torch.equal(torch.compile(layer, fullgraph=True, backend="eager")(x)[0], layer(x)[0])
    with pytest.raises(RowError, match="cannot run this call: the step cannot become a program"):
        torch.compile(Recurrent(Loudest(I, I), row="program"), backend="eager")(x)


def test_torch_nn_leaves_its_own_out_of_the_graph():
    """What the page says of torch."""
    layer, x = nn.LSTM(I, 4, batch_first=True).double(), some_input()
    with pytest.raises(RuntimeError, match="no compiled frames|graph break|Unsupported"):
        torch.compile(layer, fullgraph=True, backend="eager")(x)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("row", ["program", "native"])
def test_outputs_lie_as_a_compiler_is_told(reverse, marked, row):
    layer, x = layer_of("gru"), some_input(B, 6)
    if row == "native":
        layer, x = layer.float(), x.float()
    state = list(layer.cell.initial_state(B))
    tensors = list(named_tensors(layer.cell).values())
    resets = torch.arange(B * 6).view(B, 6) % 4 == 0 if marked else None
    fresh = state if marked else []
    call = (operator._number_of(layer.cell, row), x, state, fresh, tensors, None, resets, reverse, 1)
    torch.library.opcheck(operator.walk, call, test_utils="test_faketensor")
