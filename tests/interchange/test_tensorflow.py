"""To and from TensorFlow 1's variables: a checkpoint, every cell there and back, and what is said."""

import copy

import numpy as np
import pytest
import torch

from ostinato.cells import GRU, LSTM, SRU, UGRNN, Elman, IndRNN, LayerNormLSTM
from ostinato.drivers import Recurrent, Static
from ostinato.errors import WeightsError
from ostinato.interchange.tensorflow import from_tensorflow, layer_from_tensorflow, to_tensorflow
from ostinato.wrappers import (
    Around,
    Bidirectional,
    CellStack,
    Device,
    Dropout,
    Highway,
    Residual,
    Stack,
    Sum,
    WeightDrop,
)
from tests.cells.test_vectors import CLOSE, Case

I, H = 3, 4  # noqa: E741


def both(make, inputs=I):
    return Bidirectional(Recurrent(make(inputs, H)), Recurrent(make(inputs, H), reverse=True))


LAYERS = {
    "elman": lambda: Elman(I, H),
    "lstm": lambda: Recurrent(LSTM(I, H)),
    "everything": lambda: Recurrent(LSTM(I, H, 0.5, peepholes=True, cell_clip=1.0, projection=2)),
    "coupled": lambda: Recurrent(LSTM(I, H, coupled=True, peepholes=True, projection=2)),
    "gru": lambda: Recurrent(GRU(I, H)),
    "gru-after": lambda: Recurrent(GRU(I, H, reset_after=True)),
    "layer-norm": lambda: Recurrent(LayerNormLSTM(I, H)),
    "ugrnn": lambda: Recurrent(UGRNN(I, H)),
    "sru": lambda: Recurrent(SRU(I, H)),
    "sru-highway": lambda: Recurrent(SRU(I, H, highway=True)),
    "stack": lambda: Stack([Recurrent(LSTM(I, H)), Recurrent(GRU(H, 2)), Recurrent(Elman(2, 2))]),
    "stack-of-11": lambda: Stack([Recurrent(Elman(H, H)) for _ in range(11)]),
    "both": lambda: both(GRU),
    "both-deep": lambda: Bidirectional(
        Stack([Recurrent(GRU(I, H)), Recurrent(LSTM(H, 2))]),
        Stack([Recurrent(GRU(I, H), reverse=True), Recurrent(LSTM(H, 2), reverse=True)]),
    ),
    "stacked-both": lambda: Stack([both(LSTM), both(GRU, 2 * H)]),
    "mixed": lambda: Stack([both(GRU), Recurrent(SRU(2 * H, 2))]),
    "static": lambda: Static(Recurrent(GRU(I, H)), 5),
    "dropout": lambda: Recurrent(Dropout(GRU(I, H), output=0.5)),
    "wrapped": lambda: Stack(
        [
            Device(Recurrent(WeightDrop(LSTM(I, H), 0.5, ["W_h"])), "cpu"),
            Around(Recurrent(Residual(GRU(H, H))), Sum()),
        ]
    ),
    "cells": lambda: Recurrent(CellStack([LSTM(I, H), GRU(H, 2)])),
}
SAME = [name for name in LAYERS if name != "wrapped"]
"""Those that are not more than the names tell."""


def random(layer):
    for weight in layer.parameters():
        torch.nn.init.normal_(weight)
    return layer


def state_of(layer):
    return {name: weight.clone() for name, weight in layer.state_dict().items()}


def same(ours, theirs):
    assert list(ours) == list(theirs)
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("name", LAYERS)
def test_there_and_back_bit_for_bit(name):
    layer = random(LAYERS[name]())
    arrays = to_tensorflow(layer)
    twin = random(copy.deepcopy(layer))
    assert from_tensorflow(twin, {f"{n}:0": a for n, a in arrays.items()}) == ()
    same(state_of(twin), state_of(layer))


@pytest.mark.parametrize("name", SAME)
def test_a_layer_is_told_by_its_names(name):
    layer = random(LAYERS[name]())
    bias = 0.5 if name == "everything" else 1.0
    made = layer_from_tensorflow(to_tensorflow(layer), forget_bias=bias)
    x = torch.randn(2, 5, H if name == "stack-of-11" else I)
    layer = Recurrent(layer) if name == "elman" else layer
    if name == "everything":
        layer.cell.cell_clip = None  # is in no variable
    assert torch.equal(made(x)[0], layer.eval()(x)[0])


def test_names_are_those_of_tensorflows_drivers():
    names = {
        "lstm": "rnn/lstm_cell/kernel",
        "coupled": "rnn/coupled_input_forget_gate_lstm_cell/W_F_diag",
        "gru-after": "rnn/cudnn_compatible_gru_cell/candidate/hidden_projection/bias",
        "layer-norm": "rnn/layer_norm_basic_lstm_cell/transform/gamma",
        "stack": "rnn/multi_rnn_cell/cell_1/gru_cell/candidate/kernel",
        "both": "bidirectional_rnn/bw/gru_cell/gates/bias",
        "both-deep": "bidirectional_rnn/fw/multi_rnn_cell/cell_1/lstm_cell/bias",
        "stacked-both": "stack_bidirectional_rnn/cell_1/bidirectional_rnn/fw/gru_cell/gates/kernel",
        "mixed": "layer_1/rnn/sru_cell/W_u",
        "elman": "basic_rnn_cell/bias",
    }
    for layer, name in names.items():
        assert name in to_tensorflow(LAYERS[layer]()), layer


@pytest.fixture
def checkpoint():
    return Case("tensorflow/checkpoint")


def variables(case):
    return {name: array.numpy() for name, array in case.named("checkpoint").items()}


def test_a_checkpoint_that_tensorflow_wrote(checkpoint):
    """With what Adam and an average keep, two networks, and a layer that is none of ours."""
    lower, upper = LSTM(4, 4, 0.5, peepholes=True, projection=3), Residual(GRU(3, 3))
    encoder = Stack([Recurrent(lower), Recurrent(upper)]).double()
    assert from_tensorflow(encoder, variables(checkpoint), scope="encoder") == ()
    outputs, (first, second) = encoder(checkpoint["x"], lengths=checkpoint["lengths"])
    torch.testing.assert_close(outputs, checkpoint["encoded"], **CLOSE)
    torch.testing.assert_close(first.c, checkpoint["lower/c"], **CLOSE)
    torch.testing.assert_close(first.h, checkpoint["lower/h"], **CLOSE)
    torch.testing.assert_close(second.h, checkpoint["upper/h"], **CLOSE)

    reader = layer_from_tensorflow(variables(checkpoint), scope="reader", forget_bias=1.0)
    outputs, state = reader(checkpoint["x"], lengths=checkpoint["lengths"])
    torch.testing.assert_close(outputs, checkpoint["read"], **CLOSE)
    for side, got in zip(("fw", "bw"), state, strict=True):
        torch.testing.assert_close(got.c, checkpoint[f"{side}/c"], **CLOSE)
        torch.testing.assert_close(got.h, checkpoint[f"{side}/h"], **CLOSE)


def test_names_that_no_cell_takes_are_told(checkpoint):
    given = {n: a for n, a in variables(checkpoint).items() if not n.startswith("reader")}
    encoder = Stack([Recurrent(LSTM(4, 4, 0.5, peepholes=True, projection=3)), Recurrent(GRU(3, 3))])
    assert from_tensorflow(encoder, given) == ("dense/bias", "dense/kernel")


def test_a_checkpoint_reader_is_read_like_a_mapping(checkpoint):
    class Reader:
        """As tf.train.load_checkpoint returns it."""

        def get_variable_to_shape_map(self):
            return {name: list(array.shape) for name, array in variables(checkpoint).items()}

        def get_tensor(self, name):
            assert "Adam" not in name
            return variables(checkpoint)[name]

    ours, theirs = both(LSTM, 4), both(LSTM, 4)
    for layer in (ours, theirs):
        layer.forward_layer.cell = LSTM(4, 2)
        layer.backward_layer.cell = LSTM(4, 2)
    from_tensorflow(ours, Reader(), scope="reader/")
    from_tensorflow(theirs, variables(checkpoint), scope="reader")
    same(state_of(ours), state_of(theirs))


def test_block_cells_compute_what_ours_do():
    """One step of TensorFlow's own operations, in float32: gate order, peepholes, clip, forget bias."""
    case = Case("tensorflow/block_cells")
    lstm = LSTM(4, 2, 0.5, peepholes=True, cell_clip=0.4)
    from_tensorflow(lstm, case.named("weight"), scope="lstm_cell", forget_bias=0.5)
    _, state = lstm(case["x"], lstm.State(case["h"], case["c"]))
    torch.testing.assert_close(state.h, case["lstm/h"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(state.c, case["lstm/c"], rtol=1e-6, atol=1e-6)
    gru = GRU(4, 2)
    from_tensorflow(gru, case.named("weight"), scope="gru_cell")
    h, _ = gru(case["x"], gru.State(case["h"]))
    torch.testing.assert_close(h, case["gru/h"], rtol=1e-6, atol=1e-6)


def sigma(a):
    return 1 / (1 + np.exp(-a))


def contrib_coupled(v, x, h, c):
    j, f, o = np.split(np.concatenate([x, h], 1) @ v["W_0"] + v["B"], 3, 1)
    f = sigma(f + 1.0 + v["W_F_diag"] * c)
    c = f * c + (1 - f) * np.tanh(j)
    return (sigma(o + v["W_O_diag"] * c) * np.tanh(c)) @ v["W_P_0"], c


def contrib_ugrnn(v, x, h):
    g, c = np.split(np.concatenate([x, h], 1) @ v["kernel"] + v["bias"], 2, 1)
    g = sigma(g + 1.0)
    return (g * h + (1 - g) * np.tanh(c),)


def contrib_sru(v, x, c):
    x_bar, f, r, x_tx = np.split(x @ v["kernel"], 4, 1)
    f, r = np.split(sigma(np.concatenate([f, r], 1) + v["bias"]), 2, 1)
    c = f * c + (1 - f) * x_bar
    return r * np.tanh(c) + (1 - r) * x_tx, c


def contrib_cudnn_gru(v, x, h):
    r, u = np.split(sigma(np.concatenate([x, h], 1) @ v["gates/kernel"] + v["gates/bias"]), 2, 1)
    read, fed_back = (
        a @ v[f"candidate/{part}_projection/kernel"] + v[f"candidate/{part}_projection/bias"]
        for a, part in ((x, "input"), (h, "hidden"))
    )
    return ((1 - u) * np.tanh(read + r * fed_back) + u * h,)


CONTRIB = {
    "coupled": (contrib_coupled, lambda: LSTM(I, H, coupled=True, peepholes=True, projection=2)),
    "ugrnn": (contrib_ugrnn, lambda: UGRNN(I, H)),
    "sru": (contrib_sru, lambda: SRU(I, H, highway=True)),
    "cudnn_gru": (contrib_cudnn_gru, lambda: GRU(I, H, reset_after=True)),
}


@pytest.mark.parametrize("name", CONTRIB)
def test_cells_that_have_left_tensorflow_by_the_formulas_of_its_source(name):
    formula, make = CONTRIB[name]
    cell = random(make().double())
    state = cell.State(*(torch.randn(2, *shape).double() for shape in cell.state_shapes))
    x, arrays = torch.randn(2, I).double(), to_tensorflow(cell)
    variables = {name.split("/", 1)[1]: array for name, array in arrays.items()}
    expected = formula(variables, x.numpy(), *(each.numpy() for each in state))
    output, after = cell(x, state)
    torch.testing.assert_close(output, torch.from_numpy(expected[0]))
    torch.testing.assert_close(after[-1], torch.from_numpy(expected[-1]))


def test_names_from_before_1_2():
    layer = random(Stack([Recurrent(LSTM(I, H, projection=2)), Recurrent(GRU(2, H))]))
    old = {
        name.replace("kernel", "weights").replace("bias", "biases"): array
        for name, array in to_tensorflow(layer).items()
    }
    assert "rnn/multi_rnn_cell/cell_0/lstm_cell/projection/weights" in old
    same(state_of(layer_from_tensorflow(old, forget_bias=1.0)), state_of(layer))


def test_sru_of_contrib_and_of_the_tutorial():
    layer = random(Recurrent(SRU(I, H, highway=True)))
    arrays = to_tensorflow(layer)
    kernel, (f, r) = arrays["rnn/sru_cell/kernel"], np.split(arrays["rnn/sru_cell/bias"], 2)
    for given in (arrays, {"rnn/SRUCell/W_u": kernel, "rnn/SRUCell/b_f": f, "rnn/SRUCell/b_r": r}):
        same(state_of(layer_from_tensorflow(given)), state_of(layer))


def test_cells_with_names_of_their_own():
    layer = random(Stack([Recurrent(GRU(I, H)), Recurrent(GRU(H, H))]))
    mine = {name.replace("gru_cell", "mine"): array for name, array in to_tensorflow(layer).items()} | {
        "dense/kernel": np.zeros((2, 2)),
        "dense/bias": np.zeros(2),
    }
    twin = Stack([Recurrent(GRU(I, H)), Recurrent(GRU(H, H))])
    assert from_tensorflow(twin, mine) == ("dense/bias", "dense/kernel")
    same(state_of(twin), state_of(layer))
    alone = {n.rsplit("mine/")[1]: a for n, a in mine.items() if "cell_0" in n}
    cell = GRU(I, H)
    from_tensorflow(cell, alone)
    same(state_of(cell), state_of(layer.layers[0].cell))


@pytest.mark.parametrize("said", [1.0, 0.25])
def test_a_stored_forget_bias_is_added(said):
    """What a cell there adds at run time is in b here, and the outputs are the same."""
    there = random(Recurrent(LSTM(I, H, said)))
    here = Recurrent(LSTM(I, H, forget_bias_stored=True))
    from_tensorflow(here, to_tensorflow(there), forget_bias=said)
    x = torch.randn(2, 5, I)
    torch.testing.assert_close(here(x), there(x))


def test_the_forget_bias_of_the_cudnn_cell_is_none():
    arrays = {
        n.replace("lstm", "cudnn_compatible_lstm"): a
        for n, a in to_tensorflow(LAYERS["lstm"]()).items()
    }
    assert layer_from_tensorflow(arrays).cell.forget_bias == 0
    with pytest.raises(WeightsError, match="adds 0.0 to the forget gate"):
        from_tensorflow(Recurrent(LSTM(I, H)), arrays)


OPTIMIZERS = ("Adadelta", "Adagrad", "Adam", "Adam_1", "Ftrl_1", "Momentum", "RMSProp", "RMSProp_1")


def test_what_optimizers_keep_is_passed_over():
    """Under a variable's name, whatever they are called; in a scope of their own, by their name."""
    arrays = to_tensorflow(random(Recurrent(LSTM(I, H))))
    kept = {
        f"{name}/{slot}": a for name, a in arrays.items() for slot in (*OPTIMIZERS, "adam_m", "LARS")
    }
    kept |= {f"OptimizeLoss/{name}/{slot}": a for name, a in arrays.items() for slot in OPTIMIZERS}
    kept |= {name: np.ones(()) for name in ("beta1_power", "OptimizeLoss/beta2_power_1", "global_step")}
    assert from_tensorflow(LSTM(I, H), arrays | kept) == ()


def test_what_cudnn_lstm_saves_beside():
    """Both halves of the bias, whose sum is the bias."""
    layer = random(Bidirectional(*(Recurrent(LSTM(I, H, 0.0), reverse=r) for r in (False, True))))
    arrays = {n.replace("lstm", "cudnn_compatible_lstm"): a for n, a in to_tensorflow(layer).items()}
    arrays = {f"cudnn_lstm/stack_bidirectional_rnn/cell_0/{name}": a for name, a in arrays.items()}
    halves = {f"{n}_cudnn_{k}": a / 2 for n, a in arrays.items() if n.endswith("bias") for k in (0, 1)}
    made = layer_from_tensorflow(arrays | halves)
    assert [float(each.cell.forget_bias) for each in (made.forward_layer, made.backward_layer)] == [
        0,
        0,
    ]
    same(state_of(made), state_of(layer))


def arrays_of(name="lstm", **changed):
    """What a layer holds, with some arrays in the place of others (None takes one out)."""
    given = to_tensorflow(random(LAYERS[name]())) | changed
    return {name: array for name, array in given.items() if array is not None}


PREFIX = "rnn/lstm_cell"
WRONG = {
    "missing": (
        lambda: from_tensorflow(LSTM(I, H), arrays_of(**{f"{PREFIX}/bias": None})),
        r'"rnn/lstm_cell/bias" is missing: LSTM\(input_size=3, hidden_size=4\) takes kernel, bias, and '
        r"bias should have shape \[16\]; given: kernel.",
    ),
    "missing option": (
        lambda: from_tensorflow(LSTM(I, H, peepholes=True), arrays_of()),
        r'"rnn/lstm_cell/w_i_diag" is missing: .* It goes with peepholes=True.',
    ),
    "left over": (
        lambda: from_tensorflow(LSTM(I, H), arrays_of(**{f"{PREFIX}/biass": np.zeros(16)})),
        r'"rnn/lstm_cell/biass" is left over: LSTM\(.*\) takes kernel, bias; did you mean "bias"\?',
    ),
    "left over option": (
        lambda: from_tensorflow(
            LSTM(I, H), arrays_of(**{f"{PREFIX}/projection/kernel": np.zeros((4, 2))})
        ),
        r'"rnn/lstm_cell/projection/kernel" is left over: .* It goes with a projection.',
    ),
    "other cell": (
        lambda: from_tensorflow(Recurrent(GRU(I, H)), arrays_of()),
        r'"rnn/lstm_cell/kernel" is left over: GRU\(.*\) takes gates/kernel',
    ),
    "other GRU": (
        lambda: from_tensorflow(Recurrent(GRU(I, H)), arrays_of("gru-after")),
        r'"rnn/cudnn_compatible_gru_cell/candidate/input_projection/kernel" is left over: .* It goes '
        "with reset_after=True.",
    ),
    "transposed": (
        lambda: from_tensorflow(LSTM(I, H), arrays_of(**{f"{PREFIX}/kernel": np.zeros((16, 7))})),
        r'"rnn/lstm_cell/kernel": expected shape \[7, 16\] for LSTM\(.*\), got \[16, 7\]. It is '
        "transposed: rows are inputs",
    ),
    "other inputs": (
        lambda: from_tensorflow(LSTM(I, H), arrays_of(**{f"{PREFIX}/kernel": np.zeros((9, 16))})),
        r"expected shape \[7, 16\] .* got \[9, 16\]. It reads 5 inputs: input_size=5\?",
    ),
    "other units": (
        lambda: from_tensorflow(LSTM(I, 5), arrays_of()),
        r"expected shape \[8, 20\] .* got \[7, 16\]. It has 4 gates of 4 units: hidden_size=4\?",
    ),
    "other kind": (
        lambda: from_tensorflow(Elman(I, H), arrays_of()),
        r"It has 4 gates of 4 units, this cell 1: another kind of cell\?",
    ),
    "no numbers": (
        lambda: from_tensorflow(LSTM(I, H), arrays_of(**{f"{PREFIX}/bias": np.array(["a"] * 16)})),
        r'"rnn/lstm_cell/bias": expected an array of numbers, got <U1',
    ),
    "nothing": (
        lambda: from_tensorflow(LSTM(I, H), {"dense/kernel": np.zeros((2, 2))}),
        "no TensorFlow cell among the names. .* scope=",
    ),
    "no mapping": (
        lambda: from_tensorflow(LSTM(I, H), [np.zeros(2)]),
        "expected a mapping from names to arrays, or what tf.train.load_checkpoint returns; got list",
    ),
    "no such scope": (
        lambda: from_tensorflow(LSTM(I, H), arrays_of(), scope="rn"),
        'no name below the scope "rn"; did you mean "rnn"',
    ),
    "two networks": (
        lambda: from_tensorflow(
            LSTM(I, H), {f"{s}/{n}": a for s in ("encoder", "decoder") for n, a in arrays_of().items()}
        ),
        "several layers that are no stack: decoder, encoder. Load one at a time: scope=",
    ),
    "nested otherwise": (
        lambda: from_tensorflow(both(GRU), arrays_of("stack")),
        r'the layer is both directions \(GRU, GRU\), but the names describe a stack of 3 \("rnn/multi',
    ),
    "weights of a wrapper": (
        lambda: to_tensorflow(Recurrent(Highway(GRU(H, H)))),
        "Highway has weights of its own, join.W_c, join.b_c, which have no place among another "
        "library's. Take what it wraps: its .cell.",
    ),
    "weights of a join": (
        lambda: to_tensorflow(Around(Recurrent(GRU(I, H)), Sum(I, H))),
        "Around has weights of its own, join.W_p, .* its .layer.",
    ),
    "no layer": (
        lambda: from_tensorflow(torch.nn.Linear(2, 2), arrays_of()),
        "expected a cell, or a Recurrent, Stack, Bidirectional or Static of cells; got Linear",
    ),
    "forget bias": (
        lambda: from_tensorflow(LSTM(I, H), arrays_of(), forget_bias=0.0),
        r'"rnn/lstm_cell": its cell adds 0.0 to the forget gate at run time, LSTM\(.*\) adds 1.0. Make '
        "the cell with forget_bias=0.0",
    ),
    "forget bias unsaid": (
        lambda: from_tensorflow(LSTM(I, H, forget_bias_stored=True), arrays_of()),
        "adds a forget bias at run time and keeps it in no variable, and forget_bias_stored=True keeps "
        "it in b. Say what the cell there was made with: forget_bias=1.0 unless",
    ),
    "forget bias of a new cell": (
        lambda: layer_from_tensorflow(arrays_of()),
        "and a new cell has to be told. Say what the cell there was made with",
    ),
    "which cell": (
        lambda: layer_from_tensorflow(
            {"rnn/mine/kernel": np.zeros((7, 4)), "rnn/mine/bias": np.zeros(4)}
        ),
        '"rnn/mine": cannot tell which cell has kernel, bias under that name; known scopes: basic_rnn',
    ),
    "no size": (
        lambda: layer_from_tensorflow({"rnn/gru_cell/gates/bias": np.zeros(8)}),
        '"rnn/gru_cell/gates/kernel" is missing: the cell\'s size is told by it; given: gates/bias',
    ),
    "no matrix": (
        lambda: layer_from_tensorflow({"rnn/gru_cell/w_ru": np.zeros(8)}),
        r'"rnn/gru_cell/w_ru": expected a matrix, \[in, out\], got shape \[8\]',
    ),
    "transposed new": (
        lambda: layer_from_tensorflow(
            {"basic_lstm_cell/kernel": np.zeros((4, 64)), "basic_lstm_cell/bias": np.zeros(64)},
            forget_bias=1.0,
        ),
        "expected a kernel with a row for every input and every unit; got 4 rows, and 16 units alone. "
        "Is it transposed",
    ),
    "no such cell": (
        lambda: to_tensorflow(Recurrent(IndRNN(I, H))),
        "IndRNN: TensorFlow 1 has no such cell; known: Elman, GRU, LSTM, LayerNormLSTM, SRU, UGRNN",
    ),
    "gate activation": (
        lambda: to_tensorflow(GRU(I, H, gate_activation="hard_sigmoid")),
        "GRU: TensorFlow 1 has no gate_activation='hard_sigmoid', .* expected 'sigmoid'",
    ),
    "two activations": (
        lambda: to_tensorflow(LSTM(I, H, activation="relu")),
        "LSTM: TensorFlow 1 has one activation for g and c, .* got activation='relu' and "
        "output_activation='tanh'",
    ),
    "coupled clip": (
        lambda: to_tensorflow(LSTM(I, H, coupled=True, cell_clip=1.0)),
        "LSTM: TensorFlow 1's CoupledInputForgetGateLSTMCell has no cell_clip=1.0, .* expected None",
    ),
    "learned start": (
        lambda: to_tensorflow(Recurrent(LSTM(I, H).learn_initial_state())),
        r"LSTM\(.*\): TensorFlow 1's cell has no place for an initial state that is learned, c_0, h_0; "
        "it is a variable of one's own there",
    ),
    "epsilon": (
        lambda: to_tensorflow(LayerNormLSTM(I, H, epsilon=1e-5)),
        "LayerNormLSTM: TensorFlow 1 has no epsilon=1e-05, .* expected 1e-12",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_said(name):
    do, words = WRONG[name]
    with pytest.raises(WeightsError, match=words):
        do()


def test_nothing_is_loaded_where_the_last_array_does_not_fit():
    layer = LAYERS["stack"]()
    before = state_of(layer)
    with pytest.raises(WeightsError, match="cell_2/basic_rnn_cell/bias"):
        from_tensorflow(
            layer, arrays_of("stack", **{"rnn/multi_rnn_cell/cell_2/basic_rnn_cell/bias": np.zeros(3)})
        )
    same(state_of(layer), before)


def test_a_learned_start_stays():
    cell = random(GRU(I, H).learn_initial_state())
    start, arrays = cell.h_0.clone(), to_tensorflow(random(GRU(I, H)))
    from_tensorflow(cell, arrays)
    assert torch.equal(cell.h_0, start)
    assert torch.equal(cell.b[2 * H :], torch.from_numpy(arrays["gru_cell/candidate/bias"]))


def test_arrays_are_copies_and_bfloat16_is_widened():
    cell = Elman(I, H)
    to_tensorflow(cell)["basic_rnn_cell/bias"][:] = 7
    assert not cell.b.any()
    assert to_tensorflow(Elman(I, H).bfloat16())["basic_rnn_cell/kernel"].dtype == np.float32
