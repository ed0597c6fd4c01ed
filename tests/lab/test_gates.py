"""Gates and states caught while a layer reads: of every cell, by the names that its step gives them."""

import linecache

import pytest
import torch
from torch import sigmoid

from ostinato.cells import CELLS, Cell
from ostinato.cells.cell import HiddenState
from ostinato.drivers import Recurrent
from ostinato.lab.report.gates import walked_layers
from ostinato.wrappers import Bidirectional, Stack

B, T, I, H = 2, 5, 3, 4  # noqa: E741

GATES = {
    "elman": [],
    "gru": ["r", "z"],
    "indrnn": [],
    "layer_norm_gru": ["r", "z"],
    "layer_norm_lstm": ["f", "i", "o"],
    "lru": [],
    "lstm": ["f", "i", "o"],
    "min_gru": ["z"],
    "min_lstm": ["f", "i"],
    "qrnn": ["f", "i", "others[0]"],
    "split_layer_norm_lstm": ["f", "i", "o"],
    "sru": ["f", "r"],
    "sru2": ["f", "r"],
    "ugrnn": ["g"],
}


def test_every_cell_that_reads_rows_is_here():
    assert {*GATES} == {*CELLS} - {"conv_lstm"}


@pytest.mark.parametrize("name", GATES)
def test_gates_have_the_names_of_the_step(name):
    options = {"pooling": "ifo"} if name == "qrnn" else {}
    layer = Recurrent(CELLS[name](I, H, **options)).eval()
    x = torch.randn(B, T, I)
    [walked] = walked_layers(layer, x)
    assert sorted(walked.gates) == GATES[name]
    for gate in walked.gates.values():
        assert gate.shape == (B, T, H)
        assert 0 < gate.min() < gate.max() < 1
    outputs, state = layer(x)
    torch.testing.assert_close(walked.outputs, outputs)
    assert [*walked.state] == [*state._fields]
    for field, last in state._asdict().items():
        torch.testing.assert_close(walked.state[field][:, -1], last)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"coupled": True}, ["f", "o"]),
        ({"peepholes": True}, ["f", "i", "o"]),
        ({"gate_activation": "hard_sigmoid"}, ["f", "i", "o"]),
        ({"gate_activation": "tanh"}, []),
    ],
)
def test_options_of_a_cell_are_followed(options, names):
    [walked] = walked_layers(Recurrent(CELLS["lstm"](I, H, **options)), torch.randn(B, T, I))
    assert sorted(walked.gates) == names


def test_a_gate_is_what_its_name_says():
    cell = CELLS["gru"](I, H)
    x = torch.randn(B, 1, I)
    with torch.no_grad():
        [walked] = walked_layers(Recurrent(cell), x)
        gates = (x[:, 0] @ cell.W_x + cell.b)[:, : 2 * H]
        r, z = sigmoid(gates + torch.zeros(B, H) @ cell.W_h).chunk(2, -1)
    torch.testing.assert_close(walked.gates["r"][:, 0], r)
    torch.testing.assert_close(walked.gates["z"][:, 0], z)


def test_layers_are_told_apart_and_read_from_their_own_end():
    def both(size):
        make = CELLS["gru"]
        return Bidirectional(Recurrent(make(size, H)), Recurrent(make(size, H), reverse=True))

    encoder = Stack([both(I), both(2 * H)]).eval()
    x = torch.randn(B, T, I)
    layers = walked_layers(encoder, x)
    ends = [(each.name, tuple(each.outputs.shape)) for each in layers]
    shape = (B, T, H)
    assert ends == [
        ("Layer 1", shape),
        ("Layer 1, from the end", shape),
        ("Layer 2", shape),
        ("Layer 2, from the end", shape),
    ]
    outputs, _ = encoder(x)
    torch.testing.assert_close(torch.cat([layers[2].outputs, layers[3].outputs], -1), outputs)


class Written(Cell):
    """A cell of someone else's, with gates in all the places that a step may have them."""

    State = HiddenState

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Parameter(torch.randn(input_size, hidden_size))

    def step(self, x, state):
        a = x @ self.W
        opened: torch.Tensor = sigmoid(a)
        closed = 1 - sigmoid(x @ self.W + 1)
        first, second = sigmoid(torch.cat([a, a], -1)).chunk(2, -1)
        h = opened * first + closed * second * sigmoid(state.h)
        return h, HiddenState(h)


def test_a_cell_of_ones_own():
    [walked] = walked_layers(Recurrent(Written(I, H)), torch.randn(B, T, I))
    assert [*walked.gates] == ["opened", "x @ self.W + 1", "first", "second", "state.h"]


def test_a_cell_whose_source_is_nowhere():
    source = (
        "def step(self, x, state):\n"
        "    f = sigmoid(x @ self.W)\n"
        "    return f, HiddenState(f * sigmoid(f))\n"
    )
    space = {"sigmoid": sigmoid, "HiddenState": HiddenState}
    exec(compile(source, "<typed by hand>", "exec"), space)
    assert not linecache.getlines("<typed by hand>")
    kind = type("Typed", (Written,), {"step": space["step"]})
    [walked] = walked_layers(Recurrent(kind(I, H)), torch.randn(B, T, I))
    assert [*walked.gates] == ["gate 1", "gate 2"]
