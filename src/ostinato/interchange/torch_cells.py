"""What torch.nn's LSTM, GRU and RNN call a cell's weights, and how they lay them out.

    torch, one layer and direction     a cell here
    weight_ih_l0 [G, I]                W_x [I, G]             G = 4H: i, f, g, o    LSTM
    weight_hh_l0 [G, P]                W_h [P, G]             G = 3H: r, z, n       GRU
    bias_ih_l0 + bias_hh_l0 [G]        b [G]                  G = H                 RNN, here Elman
    weight_hr_l0 [P, H]                W_p [H, P]

Of a GRU, torch's last third of weight_hh is W_n here; where the reset gate acts after the product,
that third of bias_hh is b_n. `_l1` is the layer above, `_l0_reverse` the direction from the end; the
functions here leave these suffixes off.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ostinato.cells import GRU, LSTM, Cell, Elman
from ostinato.errors import WeightsError

KINDS: dict[type[Cell], type[nn.RNNBase]] = {LSTM: nn.LSTM, GRU: nn.GRU, Elman: nn.RNN}
"""Which layer of torch's is made of which cell."""

_RENAMED = ("W_x", "W_h", "W_n", "b", "b_n", "W_p")

_ONLY: dict[type[Cell], dict[str, tuple[Any, ...]]] = {
    LSTM: {
        "coupled": (False,),
        "cell_clip": (None,),
        "projection_clip": (None,),
        "activation": ("tanh",),
        "gate_activation": ("sigmoid",),
        "output_activation": ("tanh",),
    },
    GRU: {"reset_after": (True,), "activation": ("tanh",), "gate_activation": ("sigmoid",)},
    Elman: {"activation": ("tanh", "relu")},
}
"""The values of each option that torch has."""


def shapes(cell: Cell, bias: bool = True) -> dict[str, tuple[int, ...]]:
    """Torch's names for a cell's weights, in torch's order, and their shapes.

    Behind them, under their own names, the weights that torch does not have, such as peepholes.
    """
    own = {name: tuple(each.shape) for name, each in cell.named_parameters()}
    inputs, gates = own["W_x"]
    named: dict[str, tuple[int, ...]] = {
        "weight_ih": (gates, inputs),
        "weight_hh": (gates, cell.output_size),
    }
    if bias:
        named |= {"bias_ih": (gates,), "bias_hh": (gates,)}
    if "W_p" in own:
        named["weight_hr"] = own["W_p"][::-1]
    return named | {name: shape for name, shape in own.items() if name not in _RENAMED}


def from_torch(cell: Cell, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A cell's weights, computed from those that `shapes` names; autograd follows."""
    weights = {name: each for name, each in given.items() if not name.startswith(("weight_", "bias_"))}
    W_h = given["weight_hh"].t()
    weights |= {"W_x": given["weight_ih"].t(), "W_h": W_h}
    if "weight_hr" in given:
        weights["W_p"] = given["weight_hr"].t()
    if "bias_ih" in given:
        b, b_h = given["bias_ih"], given["bias_hh"]
    else:
        b = b_h = W_h.new_zeros(W_h.shape[1])
    if isinstance(cell, GRU):
        H = cell.hidden_size
        weights |= {"W_h": W_h[:, : 2 * H], "W_n": W_h[:, 2 * H :]}
        if cell.reset_after:
            weights["b_n"] = b_h[2 * H :]
            b_h = pad(b_h[: 2 * H], (0, H))
    weights["b"] = b + b_h
    return weights


def to_torch(cell: Cell) -> dict[str, Tensor]:
    """What torch holds for a cell; autograd follows.

    A forget bias that the cell adds at run time goes into bias_ih; bias_hh is zero but for a GRU's b_n.

    Raises WeightsError, naming it, for what torch cannot express.
    """
    refuse_what_torch_lacks(cell)
    weights: dict[str, Tensor] = dict(cell.named_parameters())
    W_h, b = weights["W_h"], weights["b"]
    b_h = torch.zeros_like(b)
    if isinstance(cell, GRU):
        W_h = torch.cat([W_h, weights["W_n"]], dim=1)
        b_h = pad(weights["b_n"], (2 * cell.hidden_size, 0))
    elif isinstance(cell, LSTM):
        b = b + added_forget_bias(cell)
    given = {"weight_ih": weights["W_x"].t(), "weight_hh": W_h.t(), "bias_ih": b, "bias_hh": b_h}
    if "W_p" in weights:
        given["weight_hr"] = weights["W_p"].t()
    return given


def added_forget_bias(cell: LSTM) -> Tensor:
    """What an LSTM adds to its `b` at run time; zero where torch has nothing either."""
    added = torch.zeros_like(cell.b)
    if not cell.forget_bias_stored:
        first = 0 if cell.coupled else cell.hidden_size
        added[first : first + cell.hidden_size] = cell.forget_bias
    return added


def refuse_what_torch_lacks(cell: Cell, learned_start: bool = False) -> None:
    """Raises WeightsError, naming it, for a cell or an option that is not torch's.

    An initial state that is learned is refused too, unless it does no harm.
    """
    name = type(cell).__name__
    if type(cell) not in KINDS:
        raise WeightsError(
            f"{name}: torch.nn has no such layer. It has what LSTM, GRU and Elman are here."
        )
    for option, known in _ONLY[type(cell)].items():
        value = getattr(cell, option)
        if value not in known:
            raise WeightsError(
                f"{name}: torch.nn has no {option}={value!r}; expected "
                f"{' or '.join(map(repr, known))}. With it, torch would give other numbers."
            )
    others = [
        each
        for each, _ in cell.named_parameters()
        if each not in _RENAMED and not (learned_start and each.endswith("_0"))
    ]
    if others:
        raise WeightsError(
            f"{name}: torch.nn has nothing for the weights {', '.join(others)} (p_… are peepholes, "
            "…_0 a learned initial state)."
        )
    if cell.output_size > cell.hidden_size:
        raise WeightsError(
            f"{name}: torch.nn projects to less than hidden_size={cell.hidden_size}, got "
            f"projection={cell.output_size}."
        )
