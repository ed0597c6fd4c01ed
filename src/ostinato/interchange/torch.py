"""Whole layers of torch.nn: an LSTM, GRU or RNN as a layer of this library, and back."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells import GRU, LSTM, Cell, Elman
from ostinato.cells.activations import Activation
from ostinato.drivers import Recurrent
from ostinato.errors import WeightsError, nearest
from ostinato.interchange import torch_cells
from ostinato.wrappers import Bidirectional, Stack
from ostinato.wrappers.bidirectional import concatenate


def from_torch(
    layer: nn.Module, source: nn.Module | Mapping[str, Tensor], *, scope: str = ""
) -> tuple[str, ...]:
    """Copies the weights of a `torch.nn.LSTM`, `GRU` or `RNN` into a layer; returns the names not used.

    `layer` is a cell, a Recurrent, a Bidirectional of two, or a Stack of those. `source` is torch's
    module or its state dict, of which `scope` is the part to be read: "encoder.rnn" for
    "encoder.rnn.weight_ih_l0" and the others beside it.

    Two biases that torch adds are one here. What an `LSTM` adds to its bias at run time is taken off
    torch's. An initial state that is learned stays as it is.

    Raises WeightsError where a name is missing or unknown or a shape does not fit, saying which, and
    what was expected; and for an option that torch does not have. Then nothing has been copied.
    """
    weights, unused = _read(source, scope)
    cells = list(_suffixed(_rows(layer)))
    biased = any(name.startswith("bias_") for name in weights)
    given: dict[str, dict[str, Tensor]] = {}
    expected: dict[str, tuple[int, ...]] = {}
    for suffix, cell in cells:
        torch_cells.refuse_what_torch_lacks(cell, learned_start=True)
        shapes = torch_cells.shapes(cell, biased)
        names = [name for name in shapes if name.startswith(("weight_", "bias_"))]
        expected |= {f"{name}{suffix}": shapes[name] for name in names}
        given[suffix] = {name: weights.get(f"{name}{suffix}", torch.empty(0)) for name in names}
    _check_fit(weights, expected)
    with torch.no_grad():
        for suffix, cell in cells:
            ours = dict(cell.named_parameters())
            for name, each in torch_cells.from_torch(cell, given[suffix]).items():
                ours[name].copy_(each)
            if isinstance(cell, LSTM):
                cell.b.sub_(torch_cells.added_forget_bias(cell))
    return unused


def layer_from_torch(
    source: nn.Module | Mapping[str, Tensor], *, scope: str = "", nonlinearity: Activation = "tanh"
) -> nn.Module:
    """The layer that computes what a `torch.nn.LSTM`, `GRU` or `RNN` does, with copies of its weights.

    `source` and `scope` are as in `from_torch`. All else is told by names and shapes, but for the
    `nonlinearity` of an RNN of which there is a dictionary alone, and dropout.

    Returns a Recurrent, a Bidirectional of two, or a Stack of those, batch-first; on the device, in the
    dtype and, of a module, in the mode of the source. Raises WeightsError as `from_torch` does.
    """
    weights, _ = _read(source, scope)
    if isinstance(source, nn.RNN):
        nonlinearity = source.nonlinearity
    layer = _layer_for(weights, float(getattr(source, "dropout", 0.0)), nonlinearity)
    from_torch(layer, source, scope=scope)
    return layer.train(getattr(source, "training", True))


def to_torch(layer: nn.Module) -> dict[str, Tensor]:
    """A layer's weights by torch's names: what `load_state_dict` of torch's layer takes; copies.

    A forget bias that an `LSTM` adds at run time goes into bias_ih; bias_hh is 0 but for a GRU's b_n.

    Raises WeightsError, naming it, for what torch cannot express.
    """
    return {
        f"{name}{suffix}": each.detach().clone()
        for suffix, cell in _suffixed(_rows(layer))
        for name, each in torch_cells.to_torch(cell).items()
    }


def layer_to_torch(layer: nn.Module) -> nn.RNNBase:
    """The layer of torch.nn that computes what `layer` does: batch-first, with copies of its weights.

    `layer` is a cell, a Recurrent, a Bidirectional of two, or a Stack of those, all of `LSTM`, of `GRU`
    with reset_after, or of `Elman` cells of one width.

    Raises WeightsError, naming it, for what torch cannot express.
    """
    weights, rows = to_torch(layer), _rows(layer)
    cells = [cell for row in rows for cell in row]
    first = cells[0]
    for what, of in (
        ("kind of cell", lambda cell: type(cell).__name__),
        ("hidden_size", lambda cell: cell.hidden_size),
        ("width of outputs", lambda cell: cell.output_size),
        ("activation", lambda cell: cell.activation),
    ):
        if len({of(cell) for cell in cells}) > 1:
            raise WeightsError(
                f"A layer of torch.nn has one {what} throughout, here there are "
                f"{', '.join(str(of(cell)) for cell in cells)}. Convert them one by one."
            )
    if len({len(row) for row in rows}) > 1:
        raise WeightsError(
            "Of a layer of torch.nn either all parts read in both directions or none does, here some "
            "do. Convert them one by one."
        )
    options: dict[str, Any] = {}
    if isinstance(first, LSTM):
        options = {"proj_size": first.projection or 0}
    elif isinstance(first, Elman):
        options = {"nonlinearity": first.activation}
    like = weights["weight_ih_l0"]
    theirs: Any = torch_cells.KINDS[type(first)]
    made: nn.RNNBase = theirs(
        first.input_size,
        first.hidden_size,
        len(rows),
        batch_first=True,
        dropout=layer.dropout if isinstance(layer, Stack) and len(rows) > 1 else 0.0,
        bidirectional=len(rows[0]) == 2,
        device=like.device,
        dtype=like.dtype,
        **options,
    )
    made.load_state_dict(weights)
    return made.train(layer.training)


def _read(
    source: nn.Module | Mapping[str, Tensor], scope: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights within a scope, and the names outside it."""
    if isinstance(source, nn.Module):
        if not isinstance(source, nn.RNNBase):
            raise WeightsError(
                f"Expected a torch.nn.LSTM, GRU or RNN, or a state dict, got {type(source).__name__}. "
                "Of a greater module give the part, or its state_dict() with scope=."
            )
        source = source.state_dict()
    prefix = f"{scope}." if scope else ""
    found = {
        name.removeprefix(prefix): each for name, each in source.items() if name.startswith(prefix)
    }
    for name in ("weight_ih_l0", "weight_hh_l0"):
        if name not in found:
            known = ", ".join(sorted(source)[:8]) + (", …" if len(source) > 8 else "")
            raise WeightsError(
                f'Expected weights of a layer of torch.nn, of which "{prefix}{name}" is missing; found '
                f"{known or 'no names'}. If they are a part of a greater whole, say which: scope=."
            )
    return found, tuple(name for name in source if not name.startswith(prefix))


def _layer_for(weights: Mapping[str, Tensor], dropout: float, nonlinearity: Activation) -> nn.Module:
    """Layers of the kind, sizes and number that names and shapes tell."""
    like = weights["weight_ih_l0"]
    (gates, inputs), P = like.shape, weights["weight_hh_l0"].shape[-1]
    projection = P if "weight_hr_l0" in weights else None
    H = weights["weight_hr_l0"].shape[-1] if projection else P
    both = any(name.endswith("_reverse") for name in weights)
    highest = max(int(number) for name in weights for number in re.findall(r"_l(\d+)", name))

    def cell(width: int) -> Cell:
        if gates == H:
            return Elman(width, H, activation=nonlinearity)
        if gates == 3 * H:
            return GRU(width, H, reset_after=True)
        if gates == 4 * H:
            return LSTM(width, H, forget_bias=0.0, projection=projection)
        raise WeightsError(
            f"weight_ih_l0: expected {H}, {3 * H} or {4 * H} rows (RNN, GRU or LSTM of the width that "
            f"weight_hh_l0 says, H={H}), got {gates}."
        )

    def layer(width: int) -> nn.Module:
        ahead = Recurrent(cell(width))
        return Bidirectional(ahead, Recurrent(cell(width), reverse=True)) if both else ahead

    layers = [layer(P * (2 if both else 1) if number else inputs) for number in range(highest + 1)]
    whole = layers[0] if highest == 0 else Stack(layers, dropout)
    return whole.to(like.device, like.dtype)


def _rows(layer: nn.Module) -> list[list[Cell]]:
    """The cells of each layer from the bottom: one, or one a direction."""
    if isinstance(layer, Stack):
        return [row for each in layer.layers for row in _rows(each)]
    if isinstance(layer, Cell):
        return [[layer]]
    if isinstance(layer, Recurrent) and not layer.reverse:
        return [[layer.cell]]
    if isinstance(layer, Bidirectional) and layer.merge is concatenate:
        parts = (layer.forward_layer, layer.backward_layer)
        if all(isinstance(each, Recurrent) for each in parts):
            return [[each.cell for each in parts]]  # type: ignore[misc]
    raise WeightsError(
        "torch.nn has what a Recurrent is, a Bidirectional of two that concatenates, or a Stack of "
        f"those; got {type(layer).__name__}({layer.extra_repr()})."
    )


def _suffixed(rows: list[list[Cell]]) -> Iterator[tuple[str, Cell]]:
    for number, row in enumerate(rows):
        for cell, direction in zip(row, ("", "_reverse"), strict=False):
            yield f"_l{number}{direction}", cell


def _check_fit(weights: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    wrong = []
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights:
            wrong.append(f"{name} {list(expected[name])} is missing")
        elif name not in expected:
            wrong.append(f"{name} is not expected; {nearest(name, expected.keys() - weights.keys())}")
        elif tuple(weights[name].shape) != expected[name]:
            wrong.append(f"{name}: expected {list(expected[name])}, got {list(weights[name].shape)}")
    if wrong:
        more = f"; and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise WeightsError(f"The weights do not fit: {'; '.join(wrong[:4])}{more}.")
