"""Our cells, in float64, against what other libraries' own compute, gradients included."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ostinato.cells import GRU, LSTM, SRU, SRU2, Elman, LayerNormLSTM, SRUState
from ostinato.drivers import Recurrent
from ostinato.wrappers import Bidirectional, Stack

VECTORS = Path(__file__).parents[1] / "vectors"
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
KERAS_CLOSE = {"rtol": 1e-5, "atol": 2e-7}
"""Keras' vectors are stored in float64, but its products were not computed in it: a first step of
SimpleRNN, done by hand in float64, is already 5e-8 away from the stored one."""
I, H = 5, 8  # noqa: E741


class Case:
    """One file of vectors; looks tensors up by the end of their name."""

    def __init__(self, name):
        self.arrays = {k: torch.from_numpy(v) for k, v in np.load(VECTORS / f"{name}.npz").items()}

    def __getitem__(self, name):
        return self.arrays[name]

    def find(self, ending, kind="weight"):
        (name,) = [n for n in self.arrays if n.startswith(f"{kind}/") and n.endswith(f"/{ending}")]
        return self.arrays[name]

    def states(self, kind="state"):
        return [self.arrays[f"{kind}/{n}"] for n in range(9) if f"{kind}/{n}" in self.arrays]


def gates(matrix, order):
    """The equal blocks of the last axis, put into another order."""
    blocks = matrix.chunk(len(order), -1)
    return torch.cat([blocks[n] for n in order], -1)


def rows(kernel, inputs):
    """TensorFlow keeps the weights of input and state in one matrix."""
    return kernel[:inputs], kernel[inputs:]


TF_LSTM = (0, 2, 1, 3)  # i, j, f, o → i, f, g, o
KERAS_GRU = (1, 0, 2)  # z, r, h → r, z, n


def tf_elman(get, inputs=I):
    W_x, W_h = rows(get("kernel"), inputs)
    return {"W_x": W_x, "W_h": W_h, "b": get("bias")}


def tf_lstm(get, inputs=I):
    W_x, W_h = rows(gates(get("lstm_cell/kernel"), TF_LSTM), inputs)
    return {"W_x": W_x, "W_h": W_h, "b": gates(get("lstm_cell/bias"), TF_LSTM)}


def tf_peepholes(get):
    return tf_lstm(get) | {f"p_{gate}": get(f"w_{gate}_diag") for gate in "ifo"}


def tf_projected(get):
    return tf_lstm(get) | {"W_p": get("projection/kernel")}


def tf_everything(get):
    return tf_peepholes(get) | tf_projected(get)


def tf_gru(get, inputs=I):
    gate_x, gate_h = rows(get("gates/kernel"), inputs)
    new_x, new_h = rows(get("candidate/kernel"), inputs)
    bias = torch.cat([get("gates/bias"), get("candidate/bias")])
    return {"W_x": torch.cat([gate_x, new_x], 1), "W_h": gate_h, "W_n": new_h, "b": bias}


def tf_sru(get):
    return {"W": get("W_u"), "b_f": get("b_f"), "b_r": get("b_r")}


def tf_layer_norm(get):
    W_x, W_h = rows(gates(get("kernel"), TF_LSTM), I)
    names = ("input", "forget", "transform", "output", "state")
    gamma, beta = (torch.stack([get(f"{n}/{kind}") for n in names]) for kind in ("gamma", "beta"))
    return {"W_x": W_x, "W_h": W_h, "gamma": gamma, "beta": beta}


TENSORFLOW = {
    "basic_rnn": (lambda: Elman(I, H), tf_elman),
    "basic_rnn_relu": (lambda: Elman(I, H, activation="relu"), tf_elman),
    "lstm": (lambda: LSTM(I, H), tf_lstm),
    "lstm_forget0": (lambda: LSTM(I, H, forget_bias=0.0), tf_lstm),
    "lstm_cellclip": (lambda: LSTM(I, H, cell_clip=0.15), tf_lstm),
    "lstm_peephole": (lambda: LSTM(I, H, peepholes=True), tf_peepholes),
    "lstm_proj": (lambda: LSTM(I, H, projection=4), tf_projected),
    "lstm_proj_clip_peephole": (
        lambda: LSTM(I, H, peepholes=True, cell_clip=0.3, projection=4, projection_clip=0.1),
        tf_everything,
    ),
    "gru": (lambda: GRU(I, H), tf_gru),
    "sru": (lambda: SRU(I, H), tf_sru),
    "sru_highway": (lambda: SRU(I, H, highway=True), tf_sru),
    "layer_norm_basic_lstm": (lambda: LayerNormLSTM(I, H), tf_layer_norm),
}


def load(cell, weights):
    cell = cell.double()
    cell.load_state_dict(weights)
    return cell


def tf_states(state):
    """TensorFlow's order: c before h; its SRU keeps a copy of the output that nothing reads."""
    return [state.c, state.h] if hasattr(state, "h") and hasattr(state, "c") else list(state)


@pytest.mark.parametrize("name", TENSORFLOW)
def test_tensorflow_cells(name):
    make, convert = TENSORFLOW[name]
    case = Case(f"tensorflow/{name}")
    layer = Recurrent(load(make(), convert(case.find)))
    x = case["x"].requires_grad_()
    outputs, state = layer(x, lengths=case["lengths"])
    torch.testing.assert_close(outputs, case["outputs"], **CLOSE)
    loss = (outputs * case["probe_outputs"]).sum()
    for ours, theirs, probe in zip(
        tf_states(state), case.states(), case.states("probe_state"), strict=False
    ):
        torch.testing.assert_close(ours, theirs, **CLOSE)
        loss = loss + (ours * probe).sum()
    if name.startswith("sru"):  # its h is its last output
        last = outputs[torch.arange(len(outputs)), case["lengths"] - 1]
        torch.testing.assert_close(last, case["state/1"], **CLOSE)
        loss = loss + (last * case["probe_state/1"]).sum()
    torch.testing.assert_close(loss, case["loss"], **CLOSE)

    loss.backward()
    torch.testing.assert_close(x.grad, case["grad/x"], **CLOSE)
    expected = convert(lambda ending: case.find(ending, "grad"))
    for weight_name, weight in layer.cell.named_parameters():
        torch.testing.assert_close(weight.grad, expected[weight_name], **CLOSE)


def keras_rnn(get):
    return {"W_x": get("kernel"), "W_h": get("recurrent_kernel"), "b": get("bias")}


def keras_lstm(get):
    return keras_rnn(get)  # i, f, c, o is our order


def keras_gru(get):
    W_x, W_h = (gates(get(n), KERAS_GRU) for n in ("kernel", "recurrent_kernel"))
    weights = {"W_x": W_x, "W_h": W_h[:, : 2 * H], "W_n": W_h[:, 2 * H :]}
    bias = gates(get("bias"), KERAS_GRU)
    if bias.dim() == 1:
        return weights | {"b": bias}
    added = torch.cat([bias[1, : 2 * H], torch.zeros(H, dtype=torch.float64)])
    return weights | {"b": bias[0] + added, "b_n": bias[1, 2 * H :]}


KERAS = {
    "simple_rnn": (lambda: Elman(I, H), keras_rnn),
    "lstm": (lambda: LSTM(I, H, forget_bias=0.0), keras_lstm),
    "gru_reset_before": (lambda: GRU(I, H), keras_gru),
    "gru_reset_after": (lambda: GRU(I, H, reset_after=True), keras_gru),
}


def keras_find(case, part=""):
    def find(ending):
        (name,) = [n for n in case.arrays if part in n and n.endswith(f"/{ending}")]
        return case[name]

    return find


@pytest.mark.parametrize("name", KERAS)
def test_keras_cells(name):
    make, convert = KERAS[name]
    case = Case(f"keras/{name}")
    layer = Recurrent(load(make(), convert(keras_find(case))))
    outputs, state = layer(case["x"], lengths=case["lengths"])
    valid = torch.arange(outputs.shape[1]) < case["lengths"][:, None]
    torch.testing.assert_close(outputs[valid], case["outputs"][valid], **KERAS_CLOSE)
    for ours, theirs in zip(state, case.states(), strict=True):
        torch.testing.assert_close(ours, theirs, **KERAS_CLOSE)


def both(case, convert, find, inputs):
    def one(part, reverse):
        cell = GRU(inputs, H, reset_after="b_n" in (w := convert(find(part))))
        return Recurrent(load(cell, w), reverse=reverse)

    return Bidirectional(one("forward", False), one("backward", True))


def test_keras_bidirectional_gru():
    case = Case("keras/bidirectional_gru_concat")
    layer = both(case, keras_gru, lambda part: keras_find(case, part), I)
    outputs, (ahead, behind) = layer(case["x"], lengths=case["lengths"])
    valid = torch.arange(outputs.shape[1]) < case["lengths"][:, None]
    torch.testing.assert_close(outputs[valid], case["outputs"][valid], **KERAS_CLOSE)
    torch.testing.assert_close(ahead.h, case["state/0"], **KERAS_CLOSE)
    torch.testing.assert_close(behind.h, case["state/1"], **KERAS_CLOSE)


@pytest.mark.parametrize("layers", [1, 2])
def test_tensorflow_bidirectional_gru(layers):
    """A stacked pair: each layer reads both directions of the one below."""
    case = Case(f"tensorflow/{'stack_' if layers == 2 else ''}bidirectional_gru")

    def pair(number):
        inputs = I if number == 0 else 2 * H

        def find(part):
            prefix = f"layer{number}/bidirectional_rnn/{'fw' if part == 'forward' else 'bw'}/gru_cell"
            return lambda ending: case.find(f"{prefix}/{ending}")

        return both(case, lambda get: tf_gru(get, inputs), find, inputs)

    outputs, states = Stack([pair(n) for n in range(layers)])(case["x"], lengths=case["lengths"])
    torch.testing.assert_close(outputs, case["outputs"], **CLOSE)
    ours = [state.h for pair_state in states for state in pair_state]
    for got, expected in zip(ours, case.states(), strict=True):
        torch.testing.assert_close(got, expected, **CLOSE)


def test_tensorflow_stack_of_two_kinds():
    case = Case("tensorflow/multi_lstm_gru")
    lower = load(LSTM(I, 8), tf_lstm(lambda e: case.find(f"cell_0/{e}")))
    upper = load(GRU(8, 9), tf_gru(lambda e: case.find(f"cell_1/gru_cell/{e}"), 8))
    stack = Stack([Recurrent(lower), Recurrent(upper)])
    outputs, (first, second) = stack(case["x"], lengths=case["lengths"])
    torch.testing.assert_close(outputs, case["outputs"], **CLOSE)
    for got, expected in zip((first.c, first.h, second.h), case.states(), strict=True):
        torch.testing.assert_close(got, expected, **CLOSE)


def authors_sru(get):
    """The package keeps the three or four columns of a unit together, in order z, f, r, p."""
    columns = get("weight").view(I, len(get("bias")) // 2, -1)
    weights = {"W": columns.transpose(1, 2).flatten(1)}
    for name, halves in (("v", get("weight_c")), ("b", get("bias"))):
        weights[f"{name}_f"], weights[f"{name}_r"] = halves.chunk(2)
    return weights


AUTHORS_SRU = {
    "same_width": lambda: SRU2(I, I),
    "projected": lambda: SRU2(I, H),
    "highway_bias": lambda: SRU2(I, I, highway_bias=-1.5),
    "projected_highway_bias": lambda: SRU2(I, H, highway_bias=-1.5),
    "unscaled": lambda: SRU2(I, I, highway_bias=-1.5, rescale=False),
}


@pytest.mark.parametrize("name", AUTHORS_SRU)
def test_sru_of_its_authors(name):
    case = Case(f"sru/{name}")
    layer = Recurrent(load(AUTHORS_SRU[name](), authors_sru(lambda n: case[f"weight/{n}"])))
    x, start = case["x"].requires_grad_(), case["start"].requires_grad_()
    outputs, state = layer(x, SRUState(start))
    torch.testing.assert_close(outputs, case["outputs"], **CLOSE)
    torch.testing.assert_close(state.c, case["state/0"], **CLOSE)
    ((outputs * case["probe_outputs"]).sum() + (state.c * case["probe_state/0"]).sum()).backward()
    torch.testing.assert_close(x.grad, case["grad/x"], **CLOSE)
    torch.testing.assert_close(start.grad, case["grad/start"], **CLOSE)
    expected = authors_sru(lambda n: case[f"grad/{n}"])
    for weight_name, weight in layer.cell.named_parameters():
        torch.testing.assert_close(weight.grad, expected[weight_name], **CLOSE)
