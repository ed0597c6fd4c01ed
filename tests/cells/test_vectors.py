"""Our cells, in float64, against what other libraries' own compute, gradients included.

Their weights come in through `ostinato.interchange`.
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from ostinato.cells import GRU, LSTM, SRU, SRU2, Elman, LayerNormLSTM, SRUState
from ostinato.drivers import Recurrent
from ostinato.interchange.keras import from_keras
from ostinato.interchange.tensorflow import from_tensorflow
from ostinato.wrappers import Bidirectional, Residual, Stack

VECTORS = Path(__file__).parents[1] / "vectors"
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
I, H = 5, 8  # noqa: E741


class Case:
    """One file of vectors."""

    def __init__(self, name):
        self.arrays = {k: torch.from_numpy(v) for k, v in np.load(VECTORS / f"{name}.npz").items()}

    def __getitem__(self, name):
        return self.arrays[name]

    def named(self, kind):
        """All arrays of a kind, such as "weight" or "grad", by the names that they have there."""
        return {
            n.removeprefix(f"{kind}/"): a for n, a in self.arrays.items() if n.startswith(f"{kind}/")
        }

    def states(self, kind="state"):
        return [self.arrays[f"{kind}/{n}"] for n in range(9) if f"{kind}/{n}" in self.arrays]


def pair(make, inputs, **how):
    """One layer from each end."""
    return Bidirectional(Recurrent(make(inputs, H)), Recurrent(make(inputs, H), reverse=True), **how)


TENSORFLOW = {
    "basic_rnn": lambda: Elman(I, H),
    "basic_rnn_relu": lambda: Elman(I, H, activation="relu"),
    "basic_lstm": lambda: LSTM(I, H),
    "lstm": lambda: LSTM(I, H),
    "lstm_forget0": lambda: LSTM(I, H, forget_bias=0.0),
    "lstm_cellclip": lambda: LSTM(I, H, cell_clip=0.15),
    "lstm_peephole": lambda: LSTM(I, H, peepholes=True),
    "lstm_proj": lambda: LSTM(I, H, projection=4),
    "lstm_proj_clip_peephole": lambda: LSTM(
        I, H, peepholes=True, cell_clip=0.3, projection=4, projection_clip=0.1
    ),
    "gru": lambda: GRU(I, H),
    "sru": lambda: SRU(I, H),
    "sru_highway": lambda: SRU(I, H, highway=True),
    "layer_norm_basic_lstm": lambda: LayerNormLSTM(I, H),
    "multi_lstm_gru": lambda: Stack([Recurrent(LSTM(I, 8)), Recurrent(GRU(8, 9))]),
    "residual_gru": lambda: Stack([Recurrent(GRU(I, I)), Recurrent(Residual(GRU(I, I)))]),
    "bidirectional_gru": lambda: pair(GRU, I),
    "stack_bidirectional_gru": lambda: Stack([pair(GRU, I), pair(GRU, 2 * H)]),
}
KERAS = {
    "simple_rnn": lambda: Elman(I, H),
    "lstm": lambda: LSTM(I, H, forget_bias=0.0),
    "gru_reset_before": lambda: GRU(I, H),
    "gru_reset_after": lambda: GRU(I, H, reset_after=True),
    "bidirectional_gru_concat": lambda: pair(lambda i, h: GRU(i, h, reset_after=True), I),
    "bidirectional_lstm_sum": lambda: pair(
        lambda i, h: LSTM(i, h, forget_bias=0.0), I, merge=torch.add, output_size=H
    ),
}


def layer_of(make):
    made = make().double()
    return made if isinstance(made, (Stack, Bidirectional)) else Recurrent(made)


def flat(state, order):
    """The tensors of a state; of an LSTM's in the other library's order."""
    if hasattr(state, "c") and hasattr(state, "h"):
        return [getattr(state, field) for field in order]
    return (
        [state] if isinstance(state, torch.Tensor) else [t for part in state for t in flat(part, order)]
    )


def compare(case, layer, pairs, expected):
    """Losses and gradients, the weights' given as those of a layer of the same kind."""
    loss = sum((ours * probe).sum() for ours, probe in pairs)
    torch.testing.assert_close(loss, case["loss"], **CLOSE)
    loss.backward()
    torch.testing.assert_close(case["x"].grad, case["grad/x"], **CLOSE)
    gradients = dict(expected.named_parameters())
    for name, weight in layer.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name].detach(), **CLOSE)


@pytest.mark.parametrize("name", TENSORFLOW)
def test_tensorflow(name):
    case, layer = Case(f"tensorflow/{name}"), layer_of(TENSORFLOW[name])
    assert from_tensorflow(layer, case.named("weight")) == ()
    outputs, state = layer(case["x"].requires_grad_(), lengths=case["lengths"])
    states = flat(state, "ch")
    if name.startswith("sru"):  # there its state has a copy of its last output, which nothing reads
        states.append(outputs[torch.arange(len(outputs)), case["lengths"] - 1])
    for ours, theirs in zip([outputs, *states], [case["outputs"], *case.states()], strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)

    gradients = copy.deepcopy(layer)
    from_tensorflow(gradients, {n: a for n, a in case.named("grad").items() if n != "x"})
    probes = [case["probe_outputs"], *case.states("probe_state")]
    compare(case, layer, list(zip([outputs, *states], probes, strict=True)), gradients)


@pytest.mark.parametrize("name", KERAS)
def test_keras(name):
    case, layer = Case(f"keras/{name}"), layer_of(KERAS[name])
    assert from_keras(layer, case.named("weight")) == ()
    outputs, state = layer(case["x"].requires_grad_(), lengths=case["lengths"])
    if isinstance(
        layer, Recurrent
    ):  # there the last output stands in the padding too; zeros in a pair's
        valid = torch.arange(outputs.shape[1]) < case["lengths"][:, None]
        last = outputs[torch.arange(len(outputs)), case["lengths"] - 1]
        outputs = torch.where(valid[..., None], outputs, last[:, None])
    states = flat(state, "hc")
    for ours, theirs in zip([outputs, *states], [case["outputs"], *case.states()], strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)

    given = {n: a.clone() for n, a in case.named("grad").items() if n != "x"}
    for array in given.values():
        if array.shape == (
            2,
            3 * H,
        ):  # both biases of r and z are our b, so their gradients are the same
            torch.testing.assert_close(array[0, : 2 * H], array[1, : 2 * H], **CLOSE)
            array[1, : 2 * H] = 0
    gradients = copy.deepcopy(layer)
    from_keras(gradients, given)
    probes = [case["probe_outputs"], *case.states("probe_state")]
    compare(case, layer, list(zip([outputs, *states], probes, strict=True)), gradients)


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
    layer = Recurrent(AUTHORS_SRU[name]().double())
    layer.cell.load_state_dict(authors_sru(lambda n: case[f"weight/{n}"]))
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
