"""Cells that no stored vectors cover, against their papers' equations in plain numpy loops."""

import itertools
import math

import numpy as np
import pytest
import torch

from ostinato.cells import (
    LRU,
    LSTM,
    QRNN,
    SRU2,
    UGRNN,
    ConvLSTM,
    IndRNN,
    LayerNormGRU,
    MinGRU,
    MinLSTM,
    SplitLayerNormLSTM,
)
from ostinato.drivers import Recurrent
from ostinato.errors import OptionError, ShapeError

B, T, I, H = 2, 5, 3, 4  # noqa: E741
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def relu(a):
    return np.maximum(a, 0)


def normalised(a, gain, shift=0.0, epsilon=1e-5):
    spread = np.sqrt(((a - a.mean()) ** 2).mean() + epsilon)
    return gain * (a - a.mean()) / spread + shift


def holds(cell, step):
    """Walks every row by `step(weights, x_t, *state) → (output, *state)` on numpy vectors."""
    torch.manual_seed(0)
    cell = cell.double()
    with torch.no_grad():
        for weight in cell.parameters():
            weight.copy_(torch.randn_like(weight) * 0.7)
    x = torch.randn(B, T, *cell.input_shape, dtype=torch.float64)
    start = cell.State(*(torch.randn_like(field) for field in cell.initial_state(B)))
    outputs, state = Recurrent(cell)(x, start)
    weights = {name: weight.detach().numpy() for name, weight in cell.named_parameters()}
    for row in range(B):
        fields = [field[row].numpy() for field in start]
        for t in range(T):
            expected, *fields = step(weights, x[row, t].numpy(), *fields)
            np.testing.assert_allclose(outputs[row, t].detach().numpy(), expected, **EXACT)
        for ours, theirs in zip(state, fields, strict=True):
            np.testing.assert_allclose(ours[row].detach().numpy(), theirs, **EXACT)


def blocks(vector, *widths):
    return np.split(vector, np.cumsum(widths)[:-1])


def lstm(w, x, h, c, *, forget_bias=1.0, clip=np.inf, projection_clip=np.inf, phi=np.tanh):
    """Whatever weights there are say which options are on."""
    a = x @ w["W_x"] + h @ w["W_h"] + w["b"]
    coupled = len(a) == 3 * H
    parts = blocks(a, *[H] * (3 if coupled else 4))
    f, g, o = parts[-3:]
    forget = sigmoid(f + forget_bias + w.get("p_f", 0) * c)
    let_in = 1 - forget if coupled else sigmoid(parts[0] + w.get("p_i", 0) * c)
    c = np.clip(forget * c + let_in * phi(g), -clip, clip)
    h = sigmoid(o + w.get("p_o", 0) * c) * np.tanh(c)
    if "W_p" in w:
        h = np.clip(h @ w["W_p"], -projection_clip, projection_clip)
    return h, h, c


@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("projection", [None, 2, 6])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_lstm_with_any_options(peepholes, coupled, projection, clip):
    options = {"peepholes": peepholes, "coupled": coupled, "cell_clip": clip, "projection": projection}
    clips = {"clip": clip or np.inf}
    if projection and clip:
        options["projection_clip"] = clips["projection_clip"] = 0.3
    cell = LSTM(I, H, 0.6, **options)
    assert (cell.p_f is not None, cell.p_i is not None) == (peepholes, peepholes and not coupled)
    assert cell.output_size == (projection or H)
    holds(cell, lambda *a: lstm(*a, forget_bias=0.6, **clips))


def test_lstm_activations_have_each_their_place():
    cell = LSTM(I, H, activation="relu", gate_activation="softsign", output_activation="sigmoid")

    def step(w, x, h, c):
        i, f, g, o = blocks(x @ w["W_x"] + h @ w["W_h"] + w["b"], H, H, H, H)
        i, f, o = (a / (1 + abs(a)) for a in (i, f + 1, o))
        c = f * c + i * relu(g)
        return o * sigmoid(c), o * sigmoid(c), c

    holds(cell, step)


@pytest.mark.parametrize("coupled", [False, True])
def test_a_stored_forget_bias_lies_in_b_and_nowhere_else(coupled):
    stored = LSTM(I, H, 0.7, forget_bias_stored=True, coupled=coupled)
    parts = stored.b.detach().chunk(3 if coupled else 4)
    for index, part in enumerate(parts):
        expected = 0.7 if index == len(parts) - 3 else 0.0
        assert torch.equal(part, torch.full((H,), expected))
    added = LSTM(I, H, 0.7, coupled=coupled)
    added.load_state_dict(stored.state_dict() | {"b": torch.zeros_like(added.b)})
    x = torch.randn(2, I)
    torch.testing.assert_close(stored(x)[0], added(x)[0])
    holds(stored, lambda *a: lstm(*a, forget_bias=0.0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"projection_clip": 0.5}, r"projection_clip=0.5 holds .*; give projection too, or cell_clip"),
        ({"cell_clip": 0.0}, r"LSTM: cell_clip must be above 0, or None for no clip; got 0.0"),
        ({"cell_clip": math.nan}, r"cell_clip must be above 0"),
        ({"projection": 2, "projection_clip": -1}, r"projection_clip must be above 0.*got -1"),
    ],
)
def test_options_that_lstm_cannot_have(options, words):
    with pytest.raises(OptionError, match=words):
        LSTM(I, H, **options)


def test_a_projection_is_a_width():
    with pytest.raises(ShapeError, match="LSTM: projection must be a whole number .*, got 0"):
        LSTM(I, H, projection=0)


def test_split_layer_norm_lstm():
    def step(w, x, h, c):
        a = normalised(x @ w["W_x"], w["gamma_x"]) + normalised(h @ w["W_h"], w["gamma_h"]) + w["b"]
        i, f, g, o = blocks(a, H, H, H, H)
        c = sigmoid(f + 0.5) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(normalised(c, w["gamma_c"], w["beta_c"]))
        return h, h, c

    holds(SplitLayerNormLSTM(I, H, forget_bias=0.5), step)


@pytest.mark.parametrize("epsilon", [1e-5, 1e-2])
def test_layer_norm_gru(epsilon):
    def step(w, x, h):
        W_r, W_z, W_n = blocks(w["W_x"].T, H, H, H)
        b = blocks(w["b"], H, H, H)
        gates = np.concatenate([W_r @ x, W_z @ x])
        gates = normalised(gates, w["gamma_x"], epsilon=epsilon)
        gates = gates + normalised(h @ w["W_h"], w["gamma_h"], epsilon=epsilon)
        r, z = sigmoid(gates[:H] + b[0]), sigmoid(gates[H:] + b[1])
        fed_back = normalised(h @ w["W_n"], w["gamma_n"], w["b_n"], epsilon)
        new = np.tanh(normalised(W_n @ x, w["gamma_xn"], b[2], epsilon) + r * fed_back)
        h = (1 - z) * new + z * h
        return h, h

    holds(LayerNormGRU(I, H, epsilon), step)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_indrnn(activation):
    def step(w, x, h):
        h = (relu if activation == "relu" else np.tanh)(w["W"].T @ x + w["u"] * h + w["b"])
        return h, h

    holds(IndRNN(I, H, activation), step)


@pytest.mark.parametrize(("forget_bias", "activation"), [(1.0, "tanh"), (0.0, "relu")])
def test_ugrnn(forget_bias, activation):
    def step(w, x, h):
        both = np.concatenate([x, h]) @ np.concatenate([w["W_x"], w["W_h"]]) + w["b"]
        gate, new = sigmoid(both[:H] + forget_bias), both[H:]
        h = gate * h + (1 - gate) * (relu if activation == "relu" else np.tanh)(new)
        return h, h

    holds(UGRNN(I, H, forget_bias, activation=activation), step)


def test_min_gru():
    def step(w, x, h):
        z = sigmoid(x @ w["W"][:, :H] + w["b"][:H])
        h = h + z * (x @ w["W"][:, H:] + w["b"][H:] - h)
        return h, h

    holds(MinGRU(I, H), step)


def test_min_lstm():
    def step(w, x, h):
        f, i, new = blocks(x @ w["W"] + w["b"], H, H, H)
        share = sigmoid(f) / (sigmoid(f) + sigmoid(i))
        h = new + share * (h - new)
        return h, h

    holds(MinLSTM(I, H), step)


@pytest.mark.parametrize("state_size", [None, 6])
def test_lru(state_size):
    """In numpy's complex numbers."""

    def step(w, x, re, im):
        rate = np.exp(-np.exp(w["nu"]) + 1j * np.exp(w["theta"]))
        s = rate * (re + 1j * im) + np.exp(w["gamma"]) * (x @ (w["B_re"] + 1j * w["B_im"]))
        return (s @ (w["C_re"] + 1j * w["C_im"])).real + x @ w["D"], s.real, s.imag

    holds(LRU(I, H, state_size), step)


def test_lru_begins_on_its_ring():
    torch.manual_seed(0)
    cell = LRU(8, 4, state_size=2000, r_min=0.6, r_max=0.9, max_phase=0.5).double()
    cell.reset_parameters()
    sizes, angles = torch.exp(-torch.exp(cell.nu)), torch.exp(cell.theta)
    assert 0.6 <= sizes.min() < 0.61
    assert 0.89 < sizes.max() <= 0.9
    assert 0 < angles.min() < 0.01
    assert 0.49 < angles.max() <= 0.5
    inside = ((sizes**2 - 0.36) / (0.81 - 0.36)).mean()  # the share of the ring's area
    assert abs(inside - 0.5) < 0.03
    torch.testing.assert_close(torch.exp(cell.gamma), torch.sqrt(1 - sizes**2))
    assert abs(cell.B_re.std() - 0.25) < 0.01
    assert all(weight.isfinite().all() for weight in LRU(3, 1, 50_000).parameters())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"r_min": 0.9, "r_max": 0.5}, r"expected 0 ≤ r_min < r_max ≤ 1, got r_min=0.9, r_max=0.5"),
        ({"r_max": 1.5}, r"got r_min=0.0, r_max=1.5"),
        ({"max_phase": 0.0}, r"max_phase is an angle above 0 and at most 2π; got 0.0"),
    ],
)
def test_options_that_lru_cannot_have(options, words):
    with pytest.raises(OptionError, match=words):
        LRU(I, H, **options)
    with pytest.raises(ShapeError, match="LRU: state_size must be a whole number of at least 1, got 0"):
        LRU(I, H, 0)


@pytest.mark.parametrize("pooling", ["f", "fo", "ifo"])
@pytest.mark.parametrize("window", [1, 2])
def test_qrnn(pooling, window):
    def step(w, x, c, x_prev=None):
        a = w["b"] + w["W"].T @ x
        if window == 2:
            a = a + w["W_prev"].T @ x_prev
        gates = dict(zip("zfoi", blocks(a, *[H] * (len(a) // H)), strict=False))
        f = sigmoid(gates["f"])
        c = f * c + (sigmoid(gates["i"]) if pooling == "ifo" else 1 - f) * np.tanh(gates["z"])
        output = c if pooling == "f" else sigmoid(gates["o"]) * c
        return (output, c) if window == 1 else (output, c, x)

    holds(QRNN(I, H, pooling, window), step)


def test_options_that_qrnn_cannot_have():
    with pytest.raises(OptionError, match=r'QRNN: unknown pooling "max"; known: f, fo, ifo'):
        QRNN(I, H, "max")
    with pytest.raises(OptionError, match=r"QRNN: a window is 1 or 2 inputs wide; got 3"):
        QRNN(I, H, window=3)


@pytest.mark.parametrize(("kernel", "peepholes"), [(1, False), (3, False), (3, True), (5, True)])
def test_conv_lstm(kernel, peepholes):
    """Place by place: what each output sees is written out, zeros beyond the border."""
    rows, columns, reach = 3, 4, kernel // 2

    def correlated(image, kernels):
        result = np.zeros((len(kernels), rows, columns))
        for r, s, dr, ds in itertools.product(
            range(rows), range(columns), range(-reach, reach + 1), range(-reach, reach + 1)
        ):
            if 0 <= r + dr < rows and 0 <= s + ds < columns:
                result[:, r, s] += kernels[:, :, dr + reach, ds + reach] @ image[:, r + dr, s + ds]
        return result

    def step(w, x, h, c):
        a = correlated(x, w["W_x"]) + correlated(h, w["W_h"]) + w["b"][:, None, None]
        i, f, g, o = blocks(a, 2, 2, 2, 2)
        p = {gate: w[f"p_{gate}"] if peepholes else 0 for gate in "ifo"}
        c_new = sigmoid(f + 1 + p["f"] * c) * c + sigmoid(i + p["i"] * c) * np.tanh(g)
        h = sigmoid(o + p["o"] * c_new) * np.tanh(c_new)
        return h, h, c_new

    holds(ConvLSTM(I, 2, rows, columns, kernel, peepholes=peepholes), step)


def test_conv_lstm_says_what_it_reads():
    cell = ConvLSTM(3, 2, 5, 6)
    assert (cell.input_shape, cell.output_shape, cell.output_size) == ((3, 5, 6), (2, 5, 6), 2)
    with pytest.raises(OptionError, match=r"kernel must be odd.*got 4. Take 3 or 5"):
        ConvLSTM(3, 2, 5, 6, kernel=4)
    with pytest.raises(ShapeError, match=r"ConvLSTM: height must be a whole number .*, got 0"):
        ConvLSTM(3, 2, 0, 6)
    with pytest.raises(ShapeError, match=r"ConvLSTM: expected x of shape \[B, T, 3, 5, 6\], got"):
        Recurrent(cell)(torch.zeros(1, 2, 3, 5, 5))


def test_sru2_begins_as_its_paper_says():
    torch.manual_seed(0)
    plain = SRU2(200, 200, highway_bias=-1.0)
    assert plain.alpha == pytest.approx(math.sqrt(1 + 2 / math.e))
    assert plain.b_r.eq(-1).all()
    assert not plain.b_f.any()
    assert plain.v_f.var().item() == pytest.approx(0.5, rel=0.2)
    projected = SRU2(100, 200, highway_bias=-1.0)
    z, _, _, p = projected.W.detach().chunk(4, 1)
    assert (p.std() / z.std()).item() == pytest.approx(projected.alpha, rel=0.02)
    assert SRU2(3, 3, rescale=False).alpha == 1
