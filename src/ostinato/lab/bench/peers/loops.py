"""Cells as an expert writes them by hand in plain torch: what Ostinato is measured against.

One loop a cell, for that cell alone: the product of the input stands outside, for all steps at once and
in order of time, so that a step's rows lie together; constants are folded into the bias; state and
products meet in one `addmm`; a loop from the end walks the steps from the end and flips nothing.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import layer_norm

from ostinato.cells import GRU, LSTM, QRNN, SRU, SRU2, Cell, Elman, LayerNormLSTM, MinGRU
from ostinato.drivers import Recurrent
from ostinato.lab.bench.harness import Side
from ostinato.lab.bench.sides import inferred, trained
from ostinato.lab.bench.work import Work
from ostinato.wrappers import Bidirectional, Stack


def by_hand(work: Work) -> Side:
    """A training step by the loops below, with the weights of ours."""
    weights = dict(work.layer.named_parameters())
    return trained(lambda: encoder(work.layer, work.x), weights, work.gradient)


def inferring(work: Work) -> Side:
    """Forwards alone."""
    return inferred(lambda: encoder(work.layer, work.x))


def elman(cell: Elman, x: Tensor, reverse: bool = False) -> Tensor:
    """With tanh."""
    h = x.new_zeros(x.shape[0], cell.hidden_size)
    outputs = []
    for a in _steps(_product(x, cell.W_x, cell.b), reverse):
        h = tanh(torch.addmm(a, h, cell.W_h))
        outputs.append(h)
    return _together(outputs, reverse)


def lstm(cell: LSTM, x: Tensor, reverse: bool = False) -> Tensor:
    H = cell.hidden_size
    remember = torch.zeros(4, H, dtype=x.dtype)
    remember[1] = cell.forget_bias
    h = c = x.new_zeros(x.shape[0], H)
    outputs = []
    for a in _steps(_product(x, cell.W_x, cell.b + remember.flatten()), reverse):
        i, f, g, o = torch.addmm(a, h, cell.W_h).chunk(4, -1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        outputs.append(h)
    return _together(outputs, reverse)


def layer_norm_lstm(cell: LayerNormLSTM, x: Tensor, reverse: bool = False) -> Tensor:
    B, H = x.shape[0], cell.hidden_size
    remember = torch.zeros(4, H, dtype=x.dtype)
    remember[1] = cell.forget_bias
    # One normalisation of all four quarters takes less time than four with γ and β.
    gamma, beta = cell.gamma[:4], cell.beta[:4] + remember
    gamma_c, beta_c = cell.gamma[4], cell.beta[4]
    h = c = x.new_zeros(B, H)
    outputs = []
    for a in _steps(_product(x, cell.W_x), reverse):
        quarters = torch.addmm(a, h, cell.W_h).view(B, 4, H)
        normal = layer_norm(quarters, (H,), eps=cell.epsilon)
        i, f, g, o = torch.addcmul(beta, normal, gamma).unbind(1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        c = layer_norm(c, (H,), gamma_c, beta_c, cell.epsilon)
        h = sigmoid(o) * tanh(c)
        outputs.append(h)
    return _together(outputs, reverse)


def gru(cell: GRU, x: Tensor, reverse: bool = False) -> Tensor:
    H = cell.hidden_size
    h = x.new_zeros(x.shape[0], H)
    outputs = []
    for a in _steps(_product(x, cell.W_x, cell.b), reverse):
        gates, n = a.split([2 * H, H], -1)  # type: ignore[no-untyped-call]
        r, z = sigmoid(torch.addmm(gates, h, cell.W_h)).chunk(2, -1)
        if cell.b_n is None:
            n = tanh(torch.addmm(n, r * h, cell.W_n))
        else:
            n = tanh(n + r * torch.addmm(cell.b_n, h, cell.W_n))
        h = torch.lerp(n, h, z)
        outputs.append(h)
    return _together(outputs, reverse)


def sru(cell: SRU, x: Tensor, reverse: bool = False) -> Tensor:
    H = cell.hidden_size
    c = x.new_zeros(x.shape[0], H)
    z, f, r, *p = _product(x, cell.W).chunk(4 if cell.highway else 3, -1)
    f, r = sigmoid(f + cell.b_f), sigmoid(r + cell.b_r)
    states = []
    for f_t, b_t in zip(_steps(f, reverse), _steps((1 - f) * z, reverse), strict=True):
        c = f_t * c + b_t
        states.append(c)
    outputs = r * tanh(_together(states, reverse).transpose(0, 1))
    return (outputs + (1 - r) * p[0] if cell.highway else outputs).transpose(0, 1)


def sru2(cell: SRU2, x: Tensor, reverse: bool = False) -> Tensor:
    c = x.new_zeros(x.shape[0], cell.hidden_size)
    z, f, r, *p = _product(x, cell.W).chunk(cell.blocks, -1)
    f, r = f + cell.b_f, r + cell.b_r
    states, befores = [], []
    for f_t, z_t in zip(_steps(f, reverse), _steps(z, reverse), strict=True):
        befores.append(c)
        c = torch.lerp(z_t, c, sigmoid(torch.addcmul(f_t, cell.v_f, c)))
        states.append(c)
    r = sigmoid(r.transpose(0, 1) + cell.v_r * _together(befores, reverse))
    carried = p[0].transpose(0, 1) if p else cell.alpha * x
    return torch.lerp(carried, _together(states, reverse), r)


def min_gru(cell: MinGRU, x: Tensor, reverse: bool = False) -> Tensor:
    h = x.new_zeros(x.shape[0], cell.hidden_size)
    z, n = _product(x, cell.W, cell.b).chunk(2, -1)
    z = sigmoid(z)
    outputs = []
    for k, b in zip(_steps(1 - z, reverse), _steps(z * n, reverse), strict=True):
        h = k * h + b
        outputs.append(h)
    return _together(outputs, reverse)


def qrnn(cell: QRNN, x: Tensor, reverse: bool = False) -> Tensor:
    c = x.new_zeros(x.shape[0], cell.hidden_size)
    z, f, o = _product(x, cell.W, cell.b).chunk(3, -1)
    f = sigmoid(f)
    states = []
    for f_t, b_t in zip(_steps(f, reverse), _steps((1 - f) * tanh(z), reverse), strict=True):
        c = f_t * c + b_t
        states.append(c)
    return sigmoid(o).transpose(0, 1) * _together(states, reverse)


LOOPS: dict[type[Cell], Callable[..., Tensor]] = {
    Elman: elman,
    LSTM: lstm,
    LayerNormLSTM: layer_norm_lstm,
    GRU: gru,
    SRU: sru,
    SRU2: sru2,
    MinGRU: min_gru,
    QRNN: qrnn,
}


def encoder(layer: nn.Module, x: Tensor) -> Tensor:
    """What a stack, a pair or a layer of ours computes, with its weights, by the loops above."""
    if isinstance(layer, Stack):
        for each in layer.layers:
            x = encoder(each, x)
        return x
    if isinstance(layer, Bidirectional):
        return torch.cat([encoder(layer.forward_layer, x), encoder(layer.backward_layer, x)], -1)
    assert isinstance(layer, Recurrent)
    return LOOPS[type(layer.cell)](layer.cell, x, layer.reverse)


def slicing(layer: Recurrent, x: Tensor) -> Tensor:
    """A loop as it is often written: each step is cut from the whole, `x[:, t]`.

    The gradient of each cut is as large as the whole: T steps take time in T².
    """
    state = layer.cell.initial_state(x.shape[0])
    outputs = []
    for t in range(x.shape[1]):
        output, state = layer.cell.step(x[:, t], state)
        outputs.append(output)
    return torch.stack(outputs, 1)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x [B, T, I] → [T, B, …]`, one product."""
    flat = x.transpose(0, 1).flatten(0, 1)
    made = flat @ weight if bias is None else torch.addmm(bias, flat, weight)
    return made.view(x.shape[1], x.shape[0], -1)


def _steps(values: Tensor, reverse: bool) -> Iterable[Tensor]:
    steps = values.unbind()
    return reversed(steps) if reverse else steps


def _together(outputs: list[Tensor], reverse: bool) -> Tensor:
    """`[B, T, H]`, in order of time."""
    return torch.stack(outputs[::-1] if reverse else outputs).transpose(0, 1)
