"""How another library lays out a cell's weights: each of its arrays is a grid of our blocks.

A layout is a dictionary from the array's name there to the grid, written as a line:

    "kernel": "W_x.igfo / W_h.igfo"    gates i, g, f, o of W_x side by side, and those of W_h below them
    "bias": "b.zrn / +b.zr b_n"        two rows; what has a + is added to the block on the way in, and
                                       is zero on the way out

`W_x.i` is gate i of W_x; a weight that has no gates goes by its own name. The same line reads and
writes, so that a round trip moves every number and changes none.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ostinato.cells import GRU, LSTM, SRU, UGRNN, Cell, LayerNormLSTM
from ostinato.errors import WeightsError, nearest

Layout = dict[str, str]


def blocks(cell: Cell) -> dict[str, Tensor]:
    """Every block of a cell's weights, as a view: `W_x.i`, …, `p_f`; a learned start is none."""
    orders, starts = _orders(cell), _starts(cell)
    found: dict[str, Tensor] = {}
    for name, weight in cell.named_parameters():
        if name in starts:
            continue
        order = orders.get(name)
        if order is None:
            found[name] = weight.detach()
        else:
            axis = 0 if name in ("gamma", "beta") else -1
            parts = weight.detach().chunk(len(order), axis)
            shape = weight.shape[1:] if axis == 0 else parts[0].shape
            found |= {
                f"{name}.{gate}": part.view(shape) for gate, part in zip(order, parts, strict=True)
            }
    return found


def _orders(cell: Cell) -> dict[str, str]:
    """The gate order of each weight that has gates, as the cell's docstring states it."""
    if isinstance(cell, LSTM):
        return dict.fromkeys(("W_x", "W_h", "b"), "fgo" if cell.coupled else "ifgo")
    if isinstance(cell, GRU):
        return {"W_x": "rzn", "W_h": "rz", "b": "rzn"}
    if isinstance(cell, UGRNN):
        return dict.fromkeys(("W_x", "W_h", "b"), "gn")
    if isinstance(cell, SRU):
        return {"W": "zfrp" if cell.highway else "zfr"}
    if isinstance(cell, LayerNormLSTM):
        return {"W_x": "ifgo", "W_h": "ifgo", "gamma": "ifgoc", "beta": "ifgoc"}
    return {}


def _starts(cell: Cell) -> set[str]:
    """What `learn_initial_state` calls its weights."""
    return {f"{field}_0" for field in cell.State._fields}  # type: ignore[attr-defined]


class Place(NamedTuple):
    """One block of a grid."""

    block: str
    added: bool


def grid(line: str) -> list[list[Place]]:
    """The rows of a layout's line."""
    rows = []
    for row in line.split(" / "):
        places = []
        for term in row.split():
            name, _, gates = term.lstrip("+").partition(".")
            parts = [f"{name}.{gate}" for gate in gates] or [name]
            places += [Place(part, term.startswith("+")) for part in parts]
        rows.append(places)
    return rows


def written(line: str, parts: Mapping[str, Tensor]) -> Tensor:
    """The other library's array, made of our blocks."""
    rows = [
        torch.cat([torch.zeros_like(parts[b]) if added else parts[b] for b, added in row], -1)
        for row in grid(line)
    ]
    if len(rows) == 1:
        return rows[0]
    return torch.stack(rows) if rows[0].dim() == 1 else torch.cat(rows)


def read(line: str, array: Tensor, parts: Mapping[str, Tensor], found: dict[str, Tensor]) -> None:
    """Cuts the other library's array into blocks, which go into `found`."""
    rows = grid(line)
    if len(rows) > 1:
        heights = [1 if (b := parts[row[0].block]).dim() == 1 else b.shape[0] for row in rows]
        bands = torch.split(array, heights)
    else:
        bands = (array,)
    for row, band in zip(rows, bands, strict=True):
        pieces = torch.split(band, [parts[place.block].shape[-1] for place in row], -1)
        for (block, added), piece in zip(row, pieces, strict=True):
            piece = piece.reshape(parts[block].shape)
            found[block] = found[block] + piece if added else piece


class Arrays(NamedTuple):
    """The arrays of one cell there: where they were found, and each one by its short name."""

    where: str
    named: Mapping[str, Any]

    def full(self, name: str) -> str:
        return f"{self.where}/{name}" if self.where else name

    def shape(self, *names: str) -> list[int]:
        """Of the first of these arrays that is there, by which the cell's size is told."""
        for name in names:
            if name in self.named:
                return list(as_tensor(self.named[name], self.full(name)).shape)
        raise WeightsError(
            f'"{self.full(names[0])}" is missing: the cell\'s size is told by it; given: '
            f"{', '.join(self.named) or 'nothing'}."
        )

    def matrix(self, *names: str) -> list[int]:
        """The shape of one that must be a matrix."""
        shape = self.shape(*names)
        if len(shape) != 2:
            name = next(name for name in names if name in self.named)
            raise WeightsError(f'"{self.full(name)}": expected a matrix, [in, out], got shape {shape}.')
        return shape


def converted(cell: Cell, layout: Layout, given: Arrays, why: Mapping[str, str]) -> dict[str, Tensor]:
    """The cell's blocks, cut from the arrays of another library; nothing is written yet.

    `why` has a sentence on a name for the message.
    Raises WeightsError for a name that is missing or left over, or an array of another shape.
    """
    takes = ", ".join(layout)
    for name in given.named:
        if name not in layout:
            raise WeightsError(
                f'"{given.full(name)}" is left over: {said(cell)} takes {takes}; '
                f"{nearest(name, layout)}{why.get(name, '')}"
            )
    parts = blocks(cell)
    found: dict[str, Tensor] = {}
    for name, line in layout.items():
        expected = list(written(line, parts).shape)
        if name not in given.named:
            raise WeightsError(
                f'"{given.full(name)}" is missing: {said(cell)} takes {takes}, and {name} should have '
                f"shape {expected}; given: {', '.join(given.named) or 'nothing'}.{why.get(name, '')}"
            )
        array = as_tensor(given.named[name], given.full(name))
        if list(array.shape) != expected:
            raise WeightsError(
                f'"{given.full(name)}": expected shape {expected} for {said(cell)}, got '
                f"{list(array.shape)}.{_cause(cell, line, expected, list(array.shape))}"
            )
        read(line, array, parts, found)
    return found


def _cause(cell: Cell, line: str, expected: list[int], got: list[int]) -> str:
    """What probably happened, in a sentence."""
    if got == expected[::-1]:
        return " It is transposed: rows are inputs, columns are units."
    if len(got) != len(expected):
        if isinstance(cell, GRU) and got[-1:] == expected[-1:]:
            return f" That is the other form of GRU: reset_after={not cell.reset_after}?"
        return ""
    (first, *_), H = grid(line), cell.hidden_size
    if got[-1] != expected[-1]:
        gates = expected[-1] // H
        if expected[-1] % H == 0 and got[-1] % H == 0 and gates != got[-1] // H:
            return f" It has {_gates(got[-1] // H, H)}, this cell {gates}: another kind of cell?"
        if gates and got[-1] % gates == 0:
            units = got[-1] // gates
            return f" It has {_gates(gates, units)}: hidden_size={units}?"
        return ""
    inputs = got[0] - expected[0] + cell.input_size
    if len(got) == 2 and first[0].block.startswith(("W_x", "W.")) and inputs > 0:
        return f" It reads {inputs} inputs: input_size={inputs}?"
    return ""


def _gates(gates: int, units: int) -> str:
    return f"{gates} gates of {units} units" if gates > 1 else f"{units} units"


def as_tensor(array: Any, name: str) -> Tensor:
    """An array of numpy, TensorFlow or torch as a tensor; WeightsError unless it holds numbers."""
    if isinstance(array, Tensor):
        return array.detach()
    array = np.asarray(array)
    if array.dtype.name == "bfloat16":  # numpy's, from a library beside it, which torch does not know
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiu":
        raise WeightsError(f'"{name}": expected an array of numbers, got {array.dtype}.')
    return torch.from_numpy(np.array(array))


def as_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """A copy for numpy, which has no bfloat16."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).clone().numpy()


def refuse_two_activations(cell: Cell, there: str) -> None:
    """Raises WeightsError for an LSTM with different functions where the others have one option."""
    if isinstance(cell, LSTM) and cell.activation != cell.output_activation:
        raise WeightsError(
            f"LSTM: {there} has one activation for g and c, expected the same for both; got "
            f"activation={cell.activation!r} and output_activation={cell.output_activation!r}."
        )


def refuse_learned_start(cell: Cell, there: str) -> None:
    """Raises WeightsError for a cell with a learned initial state, which would be lost."""
    learned = sorted(_starts(cell) & {name for name, _ in cell.named_parameters()})
    if learned:
        raise WeightsError(
            f"{said(cell)}: {there} has no place for an initial state that is learned, "
            f"{', '.join(learned)}; it is a variable of one's own there."
        )


def refuse_weights(cell: Cell, layout: Layout, there: str) -> None:
    """Raises WeightsError for a weight that the other library has no place for."""
    kept = {place.block for line in layout.values() for row in grid(line) for place in row}
    for name in blocks(cell):
        if name not in kept:
            raise WeightsError(f"{said(cell)}: {there} has no place for its weight {name}.")


@torch.no_grad()
def load(plan: Iterable[tuple[Cell, Mapping[str, Tensor]]]) -> None:
    """Writes blocks into cells: all of them, or, where anything raised before, none."""
    for cell, found in plan:
        for name, part in blocks(cell).items():
            part.copy_(found[name])


def said(cell: Cell) -> str:
    """A cell in words, with the options that decide which weights it has."""
    options = [f"input_size={cell.input_size}", f"hidden_size={cell.hidden_size}"]
    for name in ("coupled", "highway", "reset_after", "projection"):
        value = getattr(cell, name, None)
        options += [f"{name}={value}"] if value else []
    options += ["peepholes=True"] if getattr(cell, "p_f", None) is not None else []
    return f"{type(cell).__name__}({', '.join(options)})"


def refuse_options(cell: Cell, there: str, defaults: Mapping[str, Sequence[Any]]) -> None:
    """Raises WeightsError for an option whose value the other library does not have.

    `defaults`: of each option, the values that it does have.
    """
    for option, known in defaults.items():
        value = getattr(cell, option, None)
        if value is not None and value not in known:
            raise WeightsError(
                f"{type(cell).__name__}: {there} has no {option}={value!r}, so weights from there or "
                f"for there would give other outputs; expected {' or '.join(map(repr, known)) or None}."
            )
