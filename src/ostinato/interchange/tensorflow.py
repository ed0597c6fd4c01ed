"""Weights of TensorFlow 1's cells, by the names that its checkpoints hold: in, out, and as a layer."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from ostinato.cells import GRU, LSTM, SRU, UGRNN, Cell, Elman, LayerNormLSTM
from ostinato.errors import WeightsError
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
    said,
    written,
)
from ostinato.interchange.names import Both, Leaf, Node, leaves, nested, paired, rebuilt, stem, tree
from ostinato.interchange.variables import Variables

RNN: Layout = {"kernel": "W_x / W_h", "bias": "b"}
LSTM_FUSED: Layout = {"kernel": "W_x.igfo / W_h.igfo", "bias": "b.igfo"}
LSTM_PEEPHOLES: Layout = {"w_i_diag": "p_i", "w_f_diag": "p_f", "w_o_diag": "p_o"}
LSTM_PROJECTION: Layout = {"projection/kernel": "W_p"}
COUPLED: Layout = {"W_0": "W_x.gfo / W_h.gfo", "B": "b.gfo"}
COUPLED_PEEPHOLES: Layout = {"W_F_diag": "p_f", "W_O_diag": "p_o"}
COUPLED_PROJECTION: Layout = {"W_P_0": "W_p"}
GRU_GATES: Layout = {"gates/kernel": "W_x.rz / W_h.rz", "gates/bias": "b.rz"}
GRU_BEFORE: Layout = GRU_GATES | {"candidate/kernel": "W_x.n / W_n", "candidate/bias": "b.n"}
GRU_BLOCK: Layout = {
    "w_ru": "W_x.rz / W_h.rz",
    "b_ru": "b.rz",
    "w_c": "W_x.n / W_n",
    "b_c": "b.n",
}
GRU_CUDNN: Layout = GRU_GATES | {
    "candidate/input_projection/kernel": "W_x.n",
    "candidate/input_projection/bias": "b.n",
    "candidate/hidden_projection/kernel": "W_n",
    "candidate/hidden_projection/bias": "b_n",
}
LAYER_NORM: Layout = {"kernel": "W_x.igfo / W_h.igfo"} | {
    f"{name}/{kind}": f"{kind}.{gate}"
    for name, gate in zip(("input", "transform", "forget", "output", "state"), "igfoc", strict=True)
    for kind in ("gamma", "beta")
}
GATED: Layout = {"kernel": "W_x.gn / W_h.gn", "bias": "b.gn"}
SRU_TUTORIAL: Layout = {"W_u": "W.zfr", "b_f": "b_f", "b_r": "b_r"}
SRU_TUTORIAL_HIGHWAY: Layout = SRU_TUTORIAL | {"W_u": "W.zfrp"}
SRU_CONTRIB: Layout = {"kernel": "W.zfrp", "bias": "b_f b_r"}
"""u of TensorFlow's GRU is z here, j of its LSTM is g. SRU_CONTRIB is `tf.contrib.rnn.SRUCell`'s."""

ALL = (
    *(RNN, LSTM_FUSED, LSTM_PEEPHOLES, LSTM_PROJECTION),
    *(COUPLED, COUPLED_PEEPHOLES, COUPLED_PROJECTION),
    *(GRU_BEFORE, GRU_BLOCK, GRU_CUDNN, LAYER_NORM, GATED),
    *(SRU_TUTORIAL, SRU_CONTRIB),
)

SCOPES: dict[str, type[Cell]] = {
    "basic_rnn_cell": Elman,
    "basic_lstm_cell": LSTM,
    "lstm_cell": LSTM,
    "lstm_fused_cell": LSTM,
    "lstm_block_wrapper": LSTM,
    "cudnn_compatible_lstm_cell": LSTM,
    "coupled_input_forget_gate_lstm_cell": LSTM,
    "layer_norm_basic_lstm_cell": LayerNormLSTM,
    "gru_cell": GRU,
    "cudnn_compatible_gru_cell": GRU,
    "ugrnn_cell": UGRNN,
    "sru_cell": SRU,
}
"""The scope in which each of TensorFlow's cells keeps its variables, unless it was given a name."""

CUDNN_LSTM = "cudnn_compatible_lstm_cell"
"""The one LSTM there whose forget bias is 0 whatever is said."""

DRIVERS = {"rnn", "fw", "bw", "multi_rnn_cell", "cell"}
"""Scopes that TensorFlow's drivers and its MultiRNNCell put around cells, without numbers."""

OPTIONS = {
    name: f" It goes with {option}."
    for option, names in {
        "peepholes=True": (*LSTM_PEEPHOLES, *COUPLED_PEEPHOLES),
        "a projection": (*LSTM_PROJECTION, *COUPLED_PROJECTION),
        "reset_after=False": set(GRU_BEFORE) - set(GRU_CUDNN),
        "reset_after=True": set(GRU_CUDNN) - set(GRU_BEFORE),
        "coupled=True": COUPLED,
    }.items()
    for name in names
}
"""What is said of a variable that is missing or left over."""


def from_tensorflow(
    layer: nn.Module,
    variables: Any,
    *,
    scope: str = "",
    forget_bias: float | None = None,
) -> tuple[str, ...]:
    """Loads TensorFlow 1's variables into a cell or a layer of cells; returns the names not used.

    `variables`: name → array, or what `read_tensorflow` or `tf.train.load_checkpoint` returns. Names
    may end in `:0`; what optimizers keep is passed over. The cells are found by their scopes:
    `rnn/lstm_cell`, or `fw` and `bw`, `cell_0`, `cell_1`, … around them. `scope` keeps to the names
    below it, where a checkpoint has more than one network, or cells with names of their own. An initial
    state that is learned stays as it is.

    `forget_bias` is what the cells *there* were made with (1.0 unless said). It is in no variable: here
    it is the cell's option of that name, and one that differs from it raises. A cell with
    `forget_bias_stored` has no such option at run time, so it must be said, and is added to b.

    Raises WeightsError for a name that is missing or left over within a cell, another shape, cells
    nested otherwise than the layer's, or an option that TensorFlow's cell does not have. Then nothing
    has been loaded.
    """
    found = Variables(variables, scope)
    plan = []
    for cell, arrays in paired(tree(layer), _cells(found, scope)):
        parts = converted(cell, _layout(cell, arrays), arrays, OPTIONS)
        plan.append((cell, _with_forget_bias(cell, arrays, parts, forget_bias)))
    load(plan)
    return found.unused()


def to_tensorflow(layer: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    """The weights of a cell or a layer under the names and in the layout of TensorFlow 1.

    Names are those of `dynamic_rnn`, `MultiRNNCell`, `bidirectional_dynamic_rnn` and
    `stack_bidirectional_dynamic_rnn` around the cells; a stack of several kinds of layers, for which
    TensorFlow has no driver, gets `layer_0`, `layer_1`, …. Options that are in no variable, such as
    `forget_bias` (0 for a cell with `forget_bias_stored`), have to be said to the cell there.

    Raises WeightsError for a cell or an option that TensorFlow 1 does not have, or an initial state
    that is learned.
    """
    arrays = {}
    for where, cell in _scoped(tree(layer), "" if isinstance(layer, Cell) else "rnn/"):
        refuse_learned_start(cell, "TensorFlow 1's cell")
        layout, parts = _layouts(cell)[0], blocks(cell)
        for name, line in layout.items():
            arrays[f"{where}/{name}"] = as_array(written(line, parts))
    return arrays


def layer_from_tensorflow(
    variables: Any, *, scope: str = "", forget_bias: float | None = None
) -> nn.Module:
    """The layer that the names and shapes describe, with the weights loaded, in their dtype.

    `variables`, `scope` and `forget_bias` are as in `from_tensorflow`; `forget_bias` must be said where
    a cell adds one at run time. Activations and clips are in no variable either: for other ones than
    TensorFlow's defaults make the layer, and load it with `from_tensorflow`.

    Raises WeightsError as `from_tensorflow` does, and where a cell cannot be told by its names.
    """
    node = _cells(Variables(variables, scope), scope)
    layer = rebuilt(node, lambda arrays: _described(arrays, forget_bias))
    first = next(iter(leaves(node)[0].named.values()))
    layer.to(as_tensor(first, "").dtype)
    from_tensorflow(layer, variables, scope=scope, forget_bias=forget_bias)
    return layer


def _cells(found: Variables, scope: str) -> Node:
    """The cells among the variables: those in TensorFlow's own scopes; if there are none, those below
    its drivers; if there are none, and a scope was said, all that could be."""

    def below_drivers(where: str) -> bool:
        return any(stem(part) in DRIVERS for part in where.split("/"))

    def named(where: str) -> bool:
        return _kind(where) in SCOPES

    def meant(where: str) -> bool:
        return bool(scope) or not where

    shorts = {name for layout in ALL for name in layout}
    ways = (found.cells(shorts, test, _todays) for test in (named, below_drivers, meant))
    return nested(next((cells for cells in ways if cells), {}), "TensorFlow cell")


def _todays(name: str) -> str:
    """A variable's name as TensorFlow has it since 1.2."""
    return re.sub(r"biases$", "bias", re.sub(r"weights$", "kernel", name))


def _kind(where: str) -> str:
    return stem(where.rsplit("/", 1)[-1])


def _layouts(cell: Cell) -> list[Layout]:
    """How TensorFlow may keep such a cell; the first is how we write it."""
    _check_options(cell)
    layouts = _known_layouts(cell)
    refuse_weights(cell, layouts[0], "TensorFlow 1")
    return layouts


def _known_layouts(cell: Cell) -> list[Layout]:
    if isinstance(cell, LSTM):
        peepholes, projection = cell.p_f is not None, cell.W_p is not None
        base, extra, more = (
            (COUPLED, COUPLED_PEEPHOLES, COUPLED_PROJECTION)
            if cell.coupled
            else (LSTM_FUSED, LSTM_PEEPHOLES, LSTM_PROJECTION)
        )
        return [{**base, **(extra if peepholes else {}), **(more if projection else {})}]
    if isinstance(cell, GRU):
        return [GRU_CUDNN] if cell.reset_after else [GRU_BEFORE, GRU_BLOCK]
    if isinstance(cell, SRU):
        return [SRU_CONTRIB, SRU_TUTORIAL_HIGHWAY] if cell.highway else [SRU_TUTORIAL]
    if isinstance(cell, Elman):
        return [RNN]
    return [GATED] if isinstance(cell, UGRNN) else [LAYER_NORM]


def _layout(cell: Cell, arrays: Arrays) -> Layout:
    """The layout that has most of the names."""
    return max(_layouts(cell), key=lambda layout: len(set(layout) & set(arrays.named)))


def _check_options(cell: Cell) -> None:
    if type(cell) not in SCOPES.values():
        known = sorted({kind.__name__ for kind in SCOPES.values()})
        raise WeightsError(
            f"{type(cell).__name__}: TensorFlow 1 has no such cell; known: {', '.join(known)}."
        )
    refuse_two_activations(cell, "TensorFlow 1")
    if isinstance(cell, LSTM) and cell.coupled:
        refuse_options(cell, "TensorFlow 1's CoupledInputForgetGateLSTMCell", {"cell_clip": []})
    refuse_options(cell, "TensorFlow 1", {"gate_activation": ["sigmoid"], "epsilon": [1e-12]})


def _with_forget_bias(
    cell: Cell, arrays: Arrays, parts: dict[str, Tensor], there: float | None
) -> dict[str, Tensor]:
    """The blocks, and the forget bias there where this cell wants it."""
    here = getattr(cell, "forget_bias", None)
    if here is None:
        return parts
    if _kind(arrays.where) == CUDNN_LSTM:
        there = 0.0
    if getattr(cell, "forget_bias_stored", False):
        if there is None:
            raise WeightsError(_unsaid(arrays, "forget_bias_stored=True keeps it in b"))
        return parts | {"b.f": parts["b.f"] + there}
    if there not in (None, here):
        raise WeightsError(
            f'"{arrays.where}": its cell adds {there} to the forget gate at run time, {said(cell)} '
            f"adds {here}. Make the cell with forget_bias={there}."
        )
    return parts


def _unsaid(arrays: Arrays, why: str) -> str:
    return (
        f'"{arrays.where}": TensorFlow 1 adds a forget bias at run time and keeps it in no variable, '
        f"and {why}. Say what the cell there was made with: forget_bias=1.0 unless its code says "
        "otherwise."
    )


def _described(arrays: Arrays, forget_bias: float | None) -> Cell:
    """A new cell of the kind and sizes that the names and shapes tell."""
    named = arrays.named
    kind = SCOPES.get(_kind(arrays.where)) or _told(arrays)
    if kind is GRU:
        rows, columns = arrays.matrix("gates/kernel", "w_ru")
        return GRU(
            _inputs(arrays, rows, columns // 2), columns // 2, _has(GRU_CUDNN, GRU_BEFORE, named)
        )
    if kind is SRU:
        inputs, columns = arrays.matrix("W_u", "kernel")
        highway = "kernel" in named or [4 * units for units in arrays.shape("b_f")] == [columns]
        return SRU(inputs, columns // (4 if highway else 3), highway)
    if kind is Elman:
        rows, units = arrays.matrix("kernel")
        return Elman(_inputs(arrays, rows, units), units)
    if forget_bias is None and _kind(arrays.where) != CUDNN_LSTM:
        raise WeightsError(_unsaid(arrays, "a new cell has to be told"))
    bias = 0.0 if forget_bias is None else forget_bias
    rows, columns = arrays.matrix("kernel", "W_0")
    if kind is UGRNN:
        return UGRNN(_inputs(arrays, rows, columns // 2), columns // 2, bias)
    if kind is LayerNormLSTM:
        return LayerNormLSTM(_inputs(arrays, rows, columns // 4), columns // 4, bias)
    coupled = "W_0" in named
    units = columns // (3 if coupled else 4)
    projected = [name for name in (*LSTM_PROJECTION, *COUPLED_PROJECTION) if name in named]
    projection = arrays.matrix(*projected)[-1] if projected else None
    return LSTM(
        _inputs(arrays, rows, projection or units),
        units,
        bias,
        coupled=coupled,
        projection=projection,
        peepholes="w_f_diag" in named or "W_F_diag" in named,
    )


def _told(arrays: Arrays) -> type[Cell]:
    """The kind of a cell in a scope of its own name, where its variables tell."""
    for kind, telling in (
        (GRU, (*GRU_GATES, *GRU_BLOCK)),
        (SRU, SRU_TUTORIAL),
        (LayerNormLSTM, [name for name in LAYER_NORM if "/" in name]),
        (LSTM, (*COUPLED, *LSTM_PEEPHOLES, *LSTM_PROJECTION)),
    ):
        if set(telling) & set(arrays.named):
            return kind
    raise WeightsError(
        f'"{arrays.where}": cannot tell which cell has {", ".join(arrays.named)} under that name; '
        f"known scopes: {', '.join(SCOPES)}. Make the layer, and load it with from_tensorflow."
    )


def _has(layout: Layout, other: Layout, named: Mapping[str, Any]) -> bool:
    """Whether there are names of the one layout that the other has not."""
    return bool((set(layout) - set(other)) & set(named))


def _inputs(arrays: Arrays, rows: int, state: int) -> int:
    if rows <= state:
        raise WeightsError(
            f'"{arrays.where}": expected a kernel with a row for every input and every unit; got '
            f"{rows} rows, and {state} units alone. Is it transposed?"
        )
    return rows - state


def _scoped(node: Node, driver: str) -> list[tuple[str, Cell]]:
    """Each cell with the scope that TensorFlow's drivers put around it; `driver` is the innermost."""
    if isinstance(node, Leaf):
        return [(driver + _scope(node.it), node.it)]
    if isinstance(node, Both):
        sides = (("bidirectional_rnn/fw/", node.forward), ("bidirectional_rnn/bw/", node.backward))
        return [scoped for prefix, part in sides for scoped in _scoped_below(prefix, part, "")]
    kinds = {type(part) for part in node.parts}
    if kinds == {Leaf}:
        stack, inner = f"{driver}multi_rnn_cell/cell", ""
    elif kinds == {Both}:
        stack, inner = "stack_bidirectional_rnn/cell", ""
    else:
        stack, inner = "layer", "rnn/"
    parts = enumerate(node.parts)
    return [scoped for k, part in parts for scoped in _scoped_below(f"{stack}_{k}/", part, inner)]


def _scoped_below(prefix: str, node: Node, driver: str) -> list[tuple[str, Cell]]:
    return [(prefix + where, cell) for where, cell in _scoped(node, driver)]


def _scope(cell: Cell) -> str:
    _check_options(cell)
    if isinstance(cell, LSTM) and cell.coupled:
        return "coupled_input_forget_gate_lstm_cell"
    if isinstance(cell, LSTM):
        return "lstm_cell"
    if isinstance(cell, GRU) and cell.reset_after:
        return "cudnn_compatible_gru_cell"
    return next(scope for scope, kind in SCOPES.items() if kind is type(cell))
