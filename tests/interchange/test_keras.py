"""To and from Keras' weights: lists, names and files, every layer there and back, and what is said."""

import builtins
import copy

import h5py
import numpy as np
import pytest
import torch

from ostinato.cells import GRU, LSTM, SRU, Elman
from ostinato.drivers import Recurrent
from ostinato.errors import OptionError, WeightsError
from ostinato.interchange.keras import from_keras, layer_from_keras, read_keras, to_keras
from ostinato.wrappers import Bidirectional, Stack
from tests.cells.test_vectors import CLOSE, VECTORS, Case
from tests.interchange.test_tensorflow import random, same, state_of

I, H = 3, 4  # noqa: E741
SAVED = VECTORS / "keras/saved.keras"


def after(inputs=I):
    return GRU(inputs, H, reset_after=True)


def both(make, **how):
    return Bidirectional(Recurrent(make()), Recurrent(make(), reverse=True), **how)


LAYERS = {
    "cell": lambda: Elman(I, H),
    "rnn": lambda: Recurrent(Elman(I, H, activation="relu")),
    "lstm": lambda: Recurrent(LSTM(I, H, forget_bias=0.0)),
    "lstm-stored": lambda: Recurrent(LSTM(I, H, forget_bias_stored=True)),
    "gru-before": lambda: Recurrent(GRU(I, H)),
    "gru-after": lambda: Recurrent(after()),
    "gru-old": lambda: Recurrent(GRU(I, H, gate_activation="hard_sigmoid")),
    "both": lambda: both(after),
    "stack": lambda: Stack([both(after), Recurrent(LSTM(2 * H, 2, 0.0))]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_there_and_back_bit_for_bit(name):
    layer = random(LAYERS[name]())
    twin = random(copy.deepcopy(layer))
    assert from_keras(twin, to_keras(layer)) == ()
    same(state_of(twin), state_of(layer))


def test_a_run_time_forget_bias_is_in_keras_bias():
    there = random(Recurrent(LSTM(I, H, 0.0)))
    here = Recurrent(LSTM(I, H))
    from_keras(here, to_keras(there))
    x = torch.randn(2, 5, I)
    torch.testing.assert_close(here(x), there(x))
    for ours, theirs in zip(to_keras(here), to_keras(there), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_both_recurrent_biases_of_a_gate_are_one_here():
    kernel, recurrent, bias = to_keras(random(after()))
    other = bias.copy()
    other[0, : 2 * H], other[1, : 2 * H] = bias[0, : 2 * H] - 0.5, 0.5
    ours, theirs = after(), after()
    from_keras(ours, [kernel, recurrent, bias])
    from_keras(theirs, [kernel, recurrent, other])
    torch.testing.assert_close(ours.b, theirs.b)
    assert torch.equal(ours.b_n, theirs.b_n)


KINDS = {
    "simple_rnn": Elman,
    "lstm": LSTM,
    "gru_reset_before": GRU,
    "gru_reset_after": GRU,
}


@pytest.mark.parametrize("listed", [True, False], ids=["list", "names"])
@pytest.mark.parametrize("name", KINDS)
def test_a_layer_is_told_by_shapes(name, listed):
    case = Case(f"keras/{name}")
    weights = {n: a.numpy() for n, a in case.named("weight").items()}
    layer = layer_from_keras(list(weights.values()) if listed else weights)
    assert type(layer.cell) is KINDS[name]
    assert getattr(layer.cell, "reset_after", True) is (name != "gru_reset_before")
    _, state = layer(case["x"], lengths=case["lengths"])
    torch.testing.assert_close(state[0], case["state/0"], **CLOSE)


@pytest.mark.parametrize(
    ("merge", "function"),
    [
        ("concat", lambda a, b: torch.cat([a, b], -1)),
        ("sum", lambda a, b: a + b),
        ("mul", lambda a, b: a * b),
        ("ave", lambda a, b: (a + b) / 2),
    ],
)
def test_merge_modes(merge, function):
    case = Case("keras/bidirectional_lstm_sum")
    layer = layer_from_keras(case.named("weight"), merge=merge)
    outputs, _ = layer(case["x"], lengths=case["lengths"])
    ahead, _ = layer.forward_layer(case["x"], lengths=case["lengths"])
    behind, _ = layer.backward_layer(case["x"], lengths=case["lengths"])
    assert torch.equal(outputs, function(ahead, behind))
    assert layer.output_size == outputs.shape[-1]
    if merge == "sum":
        torch.testing.assert_close(outputs, case["outputs"], **CLOSE)


def test_a_file_that_keras_saved():
    arrays, case = read_keras(SAVED), Case("keras/saved")
    lower = layer_from_keras(arrays, scope="layers/bidirectional")
    upper = Recurrent(LSTM(4, 2, forget_bias=0.0).double())
    assert from_keras(upper, arrays, scope="layers/lstm") == ()
    _, (_, state) = Stack([lower, upper])(case["x"])
    torch.testing.assert_close(state.h, case["outputs"], **CLOSE)
    assert arrays["layers/dense/vars/0"].shape == (2, 1)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("lstm/lstm_cell/{}:0", "lstm_1/lstm_cell_1/{}:0"),
        ("lstm_3/{}:0", "lstm_10/{}:0"),
        ("lstm/lstm/lstm_cell/{}:0", "lstm_1/lstm_1/lstm_cell/{}:0"),
        ("sequential/lstm/lstm_cell/{}", "sequential/lstm_1/lstm_cell/{}"),
    ],
    ids=["tf.keras", "Keras 2.2", "its files", "Keras 3"],
)
def test_names_of_every_version(one, two):
    lower, upper = random(LAYERS["lstm"]()), random(Recurrent(LSTM(H, H, 0.0)))
    names = ("kernel", "recurrent_kernel", "bias")
    given = {"dense/kernel": np.zeros((2, 2)), "dense/bias": np.zeros(2)}
    for layer, pattern in ((upper, two), (lower, one)):
        given |= {pattern.format(n): a for n, a in zip(names, to_keras(layer), strict=True)}
    stack = Stack([LAYERS["lstm"](), Recurrent(LSTM(H, H, 0.0))])
    assert from_keras(stack, given) == ("dense/bias", "dense/kernel")
    same(state_of(stack), state_of(Stack([lower, upper])))


def test_a_file_of_keras_2(tmp_path):
    """Its arrays have names, and stand in the alphabet's order."""
    layer = random(LAYERS["lstm"]())
    with h5py.File(tmp_path / "model.h5", "w") as file:
        for name, array in zip(("kernel", "recurrent_kernel", "bias"), to_keras(layer), strict=True):
            file[f"model_weights/lstm_1/lstm_1/lstm_cell/{name}:0"] = array
        file["model_weights/dense/dense/kernel:0"] = np.zeros((4, 2))
        file["optimizer_weights/Adam/m/lstm_1/lstm_cell/kernel:0"] = np.zeros((3, 16))
    same(state_of(layer_from_keras(read_keras(tmp_path / "model.h5"))), state_of(layer))


def arrays_of(name="lstm", **changed):
    """What a layer holds, by name, with some arrays in the place of others (None takes one out)."""
    names = [f"lstm_cell/{n}" for n in ("kernel", "recurrent_kernel", "bias")]
    given = dict(zip(names, to_keras(random(LAYERS[name]())), strict=True))
    given |= {f"lstm_cell/{n}": array for n, array in changed.items()}
    return {n: array for n, array in given.items() if array is not None}


WRONG = {
    "missing": (
        lambda: from_keras(LSTM(I, H), arrays_of(recurrent_kernel=None)),
        r'"lstm_cell/recurrent_kernel" is missing: LSTM\(.*\) takes kernel, recurrent_kernel, bias, '
        r"and recurrent_kernel should have shape \[4, 16\]; given: kernel, bias.",
    ),
    "no bias": (
        lambda: from_keras(LSTM(I, H), arrays_of(bias=None)),
        '"lstm_cell/bias" is missing: .* A Keras layer with use_bias=False has none: put zeros there.',
    ),
    "left over": (
        lambda: from_keras(LSTM(I, H), arrays_of(biases=np.zeros(16))),
        r'"lstm_cell/biases" is left over: .* did you mean "bias"\?',
    ),
    "a list too short": (
        lambda: from_keras(both(after), to_keras(after())),
        r"expected 6 arrays \(kernel, recurrent_kernel, bias of each of 2 cells\), got 3. Keras leaves "
        "out the bias of a layer with use_bias=False: put zeros there.",
    ),
    "no list": (
        lambda: from_keras(LSTM(I, H), np.zeros(3)),
        r"expected the list of arrays that get_weights\(\) returns, or a mapping .*; got ndarray",
    ),
    "no array": (
        lambda: from_keras(LSTM(I, H), [np.zeros((3, 16)), None, np.zeros(16)]),
        '"cell 0/recurrent_kernel": expected an array of numbers, got object',
    ),
    "no matrix": (
        lambda: layer_from_keras([np.zeros(3), np.zeros((3, 3)), np.zeros(3)]),
        r'"cell 0/kernel": expected a matrix, \[in, out\], got shape \[3\]',
    ),
    "reset after": (
        lambda: from_keras(GRU(I, H), to_keras(after())),
        r'"cell 0/bias": expected shape \[12\] for GRU\(.*\), got \[2, 12\]. That is the other form '
        r"of GRU: reset_after=True\?",
    ),
    "reset before": (
        lambda: from_keras(after(), to_keras(GRU(I, H))),
        r"expected shape \[2, 12\] .* got \[12\]. That is the other form of GRU: reset_after=False\?",
    ),
    "transposed": (
        lambda: from_keras(LSTM(I, H), arrays_of(kernel=np.zeros((16, 3)))),
        r'"lstm_cell/kernel": expected shape \[3, 16\] .* got \[16, 3\]. It is transposed',
    ),
    "other inputs": (
        lambda: from_keras(LSTM(I, H), arrays_of(kernel=np.zeros((7, 16)))),
        r"It reads 7 inputs: input_size=7\?",
    ),
    "other units": (
        lambda: from_keras(LSTM(I, 5), arrays_of()),
        r"It has 4 gates of 4 units: hidden_size=4\?",
    ),
    "nothing": (
        lambda: from_keras(LSTM(I, H), {"dense/kernel": np.zeros((2, 2))}),
        "no Keras cell among the names. .* scope=",
    ),
    "not one stack": (
        lambda: from_keras(
            Stack([Recurrent(LSTM(I, H)), Recurrent(LSTM(H, H))]),
            {f"{layer}/{n}": a for layer in ("a", "b") for n, a in arrays_of().items()},
        ),
        "several layers that are no stack: a, b. Load one at a time: scope=",
    ),
    "columns": (
        lambda: layer_from_keras([np.zeros((3, 10)), np.zeros((5, 10)), np.zeros(10)]),
        '"cell 0/kernel": expected 1, 3 or 4 times 5 columns, as SimpleRNN, GRU and LSTM .* got 10.',
    ),
    "no such layer": (
        lambda: to_keras(Recurrent(SRU(I, H))),
        "SRU: Keras has no such layer; known: Elman, LSTM, GRU",
    ),
    "coupled": (
        lambda: to_keras(LSTM(I, H, coupled=True)),
        "LSTM: Keras has no coupled=True, .* expected False",
    ),
    "clip": (
        lambda: from_keras(LSTM(I, H, cell_clip=3.0), arrays_of()),
        "LSTM: Keras has no cell_clip=3.0, .* expected None",
    ),
    "projection": (
        lambda: to_keras(LSTM(I, H, projection=2)),
        r"LSTM\(.*projection=2\): Keras has no place for its weight W_p",
    ),
    "peepholes": (
        lambda: to_keras(LSTM(I, H, peepholes=True)),
        r"LSTM\(.*peepholes=True\): Keras has no place for its weight p_i",
    ),
    "learned start": (
        lambda: to_keras(Recurrent(GRU(I, H).learn_initial_state())),
        r"GRU\(.*\): Keras' layer has no place for an initial state that is learned, h_0",
    ),
    "two activations": (
        lambda: to_keras(LSTM(I, H, output_activation="relu")),
        "LSTM: Keras has one activation for g and c, .* output_activation='relu'",
    ),
    "no file": (
        lambda: read_keras(SAVED.with_name("none.keras")),
        'none.keras": expected a file that Keras saved, .weights.h5, .h5 or .keras .*No such file',
    ),
    "another file": (
        lambda: read_keras(SAVED.with_name("make.py")),
        'make.py": expected a file that Keras saved',
    ),
    "another zip": (
        lambda: read_keras(SAVED.with_name("saved.npz")),
        'saved.npz": expected a file that Keras saved',
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_said(name):
    do, words = WRONG[name]
    with pytest.raises(WeightsError, match=words):
        do()


@pytest.mark.parametrize("at", range(0, 33000, 1234))
def test_a_damaged_file_is_said_to_be_one_or_does_not_matter(tmp_path, at):
    damaged = bytearray(SAVED.read_bytes())
    damaged[at : at + 9] = bytes(9 * [255])
    (tmp_path / "model.keras").write_bytes(damaged)
    try:
        arrays = read_keras(tmp_path / "model.keras")
    except WeightsError:
        return
    assert all(np.array_equal(array, arrays[name]) for name, array in read_keras(SAVED).items())


def test_what_is_said_of_options():
    with pytest.raises(OptionError, match='unknown merge "ad"; did you mean "ave"|known: ave, concat'):
        layer_from_keras(arrays_of(), merge="ad")
    with pytest.raises(
        OptionError, match='scope="lstm" picks among names, and a list of arrays has none'
    ):
        from_keras(LSTM(I, H), to_keras(LSTM(I, H)), scope="lstm")


def test_without_h5py_the_extra_is_named(monkeypatch):
    found = builtins.__import__

    def without(name, *rest, **more):
        if name == "h5py":
            raise ImportError(name)
        return found(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(WeightsError, match=r'which h5py reads, .* pip install "ostinato\[keras\]"'):
        read_keras(SAVED)


def test_nothing_is_loaded_where_the_last_array_does_not_fit():
    layer = LAYERS["stack"]()
    before, arrays = state_of(layer), to_keras(random(LAYERS["stack"]()))
    with pytest.raises(WeightsError, match='"cell 2/bias"'):
        from_keras(layer, [*arrays[:-1], np.zeros(3)])
    same(state_of(layer), before)
