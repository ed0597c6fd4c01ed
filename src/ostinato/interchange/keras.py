"""Weights of Keras' SimpleRNN, LSTM, GRU and Bidirectional, of every version that has these names."""

import io
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ostinato.cells import GRU, LSTM, Cell, Elman
from ostinato.errors import OptionError, WeightsError, nearest
from ostinato.interchange.blocks import (
    Arrays,
    Layout,
    as_array,
    as_tensor,
    blocks,
    converted,
    load,
    refuse_learned_start,
    refuse_options,
    refuse_two_activations,
    refuse_weights,
    written,
)
from ostinato.interchange.names import Leaf, leaves, nested, paired, rebuilt, stem, tree
from ostinato.interchange.variables import Variables
from ostinato.wrappers.bidirectional import concatenate

KINDS: dict[type[Cell], Layout] = {
    Elman: {"kernel": "W_x", "recurrent_kernel": "W_h", "bias": "b"},
    LSTM: {"kernel": "W_x.ifgo", "recurrent_kernel": "W_h.ifgo", "bias": "b.ifgo"},
    GRU: {"kernel": "W_x.zrn", "recurrent_kernel": "W_h.zr W_n", "bias": "b.zrn"},
}
"""In the order of `get_weights()`. Keras' c of an LSTM is g here, its h of a GRU is n."""

RESET_AFTER: Layout = KINDS[GRU] | {"bias": "b.zrn / +b.zr b_n"}
"""The second row holds the recurrent biases, of which only n's is one by itself."""

NAMES = tuple(KINDS[LSTM])

SCOPES = {"simple_rnn_cell", "lstm_cell", "gru_cell", "cell"}
"""The scopes of cells, within those of layers; the last in files, whose arrays are numbered."""

LAYERS = re.compile(r"^((forward|backward)_)?(simple_rnn|lstm|gru)$")
"""The scopes of layers, in which Keras before 2.3 kept weights with no cell between."""

MERGES = {"concat": concatenate, "sum": torch.add, "mul": torch.mul, "ave": lambda a, b: (a + b) / 2}
"""Keras' merge modes as functions for Bidirectional."""

DAMAGED = (OSError, EOFError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)
"""What zipfile and h5py raise for files that are missing, damaged or something else."""

OPTIONS = {"bias": " A Keras layer with use_bias=False has none: put zeros there."}
"""What is said of an array that is missing."""


def from_keras(layer: nn.Module, weights: Any, *, scope: str = "") -> tuple[str, ...]:
    """Loads Keras' weights into a cell or a layer of cells; returns the names not used.

    `weights`: the list of `get_weights()`, of one layer or of several in order (kernel, recurrent
    kernel, bias of each; forwards before backwards), or a mapping from names to arrays, such as
    `{w.path: w.numpy() for w in model.weights}` or what `read_keras` returns. `scope` keeps to the
    names below it.

    Keras keeps an LSTM's whole forget bias in the bias. What an `LSTM` here adds to it at run time is
    taken off; with `forget_bias=0.0`, weights go in and out bit for bit. A GRU's two biases of r and z
    are one here, their sum. An initial state that is learned stays as it is.

    Raises WeightsError for a name or an array that is missing or left over, another shape, layers
    nested otherwise, or an option that Keras does not have. Then nothing has been loaded.
    """
    node = tree(layer)
    if isinstance(weights, Mapping):
        found = Variables(weights, scope)
        pairs, unused = paired(node, nested(_cells(found, scope), "Keras cell")), found.unused()
    else:
        pairs, unused = _listed(leaves(node), weights, scope), ()
    plan = []
    for cell, arrays in pairs:
        parts = converted(cell, _layout(cell), arrays, OPTIONS)
        plan.append((cell, _with_forget_bias(cell, parts, -1)))
    load(plan)
    return unused


def to_keras(layer: nn.Module) -> list[np.ndarray[Any, Any]]:
    """The weights of a cell or a layer as Keras' `set_weights` takes them.

    A forget bias that an LSTM adds at run time goes into its bias.

    Raises WeightsError for a cell or an option that Keras does not have, or an initial state that is
    learned.
    """
    arrays = []
    for cell in leaves(tree(layer)):
        refuse_learned_start(cell, "Keras' layer")
        layout = _layout(cell)
        parts = _with_forget_bias(cell, blocks(cell), 1)
        arrays += [as_array(written(line, parts)) for line in layout.values()]
    return arrays


def layer_from_keras(weights: Any, *, scope: str = "", merge: str = "concat") -> nn.Module:
    """The layer that names and shapes describe, with the weights loaded, in their dtype.

    `weights` and `scope` are as in `from_keras`; a list is that of one layer in one direction. `merge`
    is Keras' `merge_mode`. Activations are not among the weights: for other ones than Keras' defaults
    make the layer, and load it with `from_keras`.

    Raises WeightsError as `from_keras` does; OptionError for an unknown `merge`.
    """
    if merge not in MERGES:
        raise OptionError(f'layer_from_keras: unknown merge "{merge}"; {nearest(merge, MERGES)}')
    if isinstance(weights, Mapping):
        node = nested(_cells(Variables(weights, scope), scope), "Keras cell")
    else:
        node = Leaf(_listed([None], weights, scope)[0][1])
    width = {} if merge == "concat" else {"output_size": leaves(node)[0].matrix("recurrent_kernel")[0]}
    layer = rebuilt(node, _described, {"merge": MERGES[merge], **width})
    layer.to(as_tensor(leaves(node)[0].named["kernel"], "kernel").dtype)
    from_keras(layer, weights, scope=scope)
    return layer


def read_keras(path: str | Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a `.weights.h5`, `.h5` or `.keras` file by name, for `from_keras`. Needs h5py.

    Keras 3 numbers the arrays of a cell; they get their names here. What the optimizer keeps is left
    out. Nothing in the file is run.

    Raises WeightsError if h5py is not installed, or for a file that is missing or something else.
    """
    try:
        import h5py
    except ImportError as error:
        raise WeightsError(
            f'"{path}" is an HDF5 file, which h5py reads, and it is not installed: '
            'pip install "ostinato[keras]".'
        ) from error
    arrays: dict[str, np.ndarray[Any, Any]] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            numbered = re.fullmatch(r"(.*\b(?:cell|cells/[^/]+))/vars/([012])", name)
            arrays[f"{numbered[1]}/{NAMES[int(numbered[2])]}" if numbered else name] = item[()]

    try:
        source = io.BytesIO(Path(path).read_bytes())
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                source = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(source, "r") as file:
            file.visititems(keep)
    except DAMAGED as error:
        raise WeightsError(
            f'"{path}": expected a file that Keras saved, .weights.h5, .h5 or .keras ({error}).'
        ) from error
    return arrays


def _cells(found: Variables, scope: str) -> dict[str, Arrays]:
    """The cells among the names: those in scopes of cells; if there are none, in those of layers; if
    there are none, and a scope was said, all that could be."""

    def within_cells(where: str) -> bool:
        return stem(where.rsplit("/", 1)[-1]) in SCOPES or "/cells/" in where

    def within_layers(where: str) -> bool:
        return LAYERS.match(stem(where.rsplit("/", 1)[-1])) is not None

    def meant(where: str) -> bool:
        return bool(scope) or not where

    ways = (found.cells(NAMES, test) for test in (within_cells, within_layers, meant))
    return next((cells for cells in ways if cells), {})


def _listed(cells: Sequence[Any], weights: Any, scope: str) -> list[tuple[Any, Arrays]]:
    """Each cell with its three arrays of a list."""
    if scope:
        raise OptionError(f'scope="{scope}" picks among names, and a list of arrays has none.')
    if not isinstance(weights, Sequence):
        raise WeightsError(
            "expected the list of arrays that get_weights() returns, or a mapping from names to "
            f"arrays; got {type(weights).__name__}."
        )
    arrays = list(weights)
    if len(arrays) != 3 * len(cells):
        raise WeightsError(
            f"expected {3 * len(cells)} arrays ({', '.join(NAMES)} of each of {len(cells)} cells), got "
            f"{len(arrays)}. Keras leaves out the bias of a layer with use_bias=False: put zeros there."
        )
    threes = (dict(zip(NAMES, arrays[at : at + 3], strict=True)) for at in range(0, len(arrays), 3))
    return [
        (cell, Arrays(f"cell {k}", each))
        for k, (cell, each) in enumerate(zip(cells, threes, strict=True))
    ]


def _layout(cell: Cell) -> Layout:
    """How Keras keeps such a cell. Raises WeightsError for what Keras does not have."""
    if type(cell) not in KINDS:
        raise WeightsError(
            f"{type(cell).__name__}: Keras has no such layer; known: "
            f"{', '.join(kind.__name__ for kind in KINDS)}."
        )
    refuse_options(cell, "Keras", {"coupled": [False], "cell_clip": [], "projection_clip": []})
    refuse_two_activations(cell, "Keras")
    layout = RESET_AFTER if getattr(cell, "reset_after", False) else KINDS[type(cell)]
    refuse_weights(cell, layout, "Keras")
    return layout


def _with_forget_bias(cell: Cell, parts: Mapping[str, Tensor], sign: int) -> dict[str, Tensor]:
    """The blocks, with what an LSTM adds at run time put into b, or taken off it."""
    added = 0.0 if getattr(cell, "forget_bias_stored", False) else getattr(cell, "forget_bias", 0.0)
    return {**parts, "b.f": parts["b.f"] + sign * added} if added else dict(parts)


def _described(arrays: Arrays) -> Cell:
    """A new cell of the kind and sizes that the shapes tell."""
    inputs, columns = arrays.matrix("kernel")
    units = arrays.matrix("recurrent_kernel")[0]
    if columns == units:
        return Elman(inputs, units)
    if columns == 3 * units:
        return GRU(inputs, units, reset_after=len(arrays.shape("bias")) == 2)
    if columns == 4 * units:
        return LSTM(inputs, units, forget_bias=0.0)
    raise WeightsError(
        f'"{arrays.full("kernel")}": expected 1, 3 or 4 times {units} columns, as SimpleRNN, GRU and '
        f"LSTM of so many units have; got {columns}."
    )
