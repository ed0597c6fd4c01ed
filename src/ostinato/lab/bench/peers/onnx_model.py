"""A layer of ours as an ONNX model of LSTM or GRU nodes, written node by node."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from ostinato.interchange import to_torch

GATES = {4: ("LSTM", (0, 3, 1, 2)), 3: ("GRU", (1, 0, 2))}
"""By the number of gates: ONNX's operator, and where its gates stand among torch's."""

OPSET, IR = 17, 9
"""Of ONNX: what every runtime of recent years reads."""


@dataclass
class Model:
    """`x [T, B, I] → y [T, B, H]`, of fixed sizes; with states, each `[1, B, H]`, in and out too."""

    content: bytes
    states: list[str] = field(default_factory=list)
    """what they are called on their way in; on their way out `new_` stands before it"""


def model_of(layer: nn.Module, time: int, batch: int, states: bool) -> Model:
    """Of a Recurrent or a Stack of those, all LSTM or all GRU in torch's form. Needs onnx."""
    from onnx import TensorProto, helper, numpy_helper

    weights = {name: each.numpy() for name, each in to_torch(layer).items()}
    depth = sum(name.startswith("weight_hh") for name in weights)
    hidden = weights["weight_hh_l0"].shape[1]
    kind, order = GATES[weights["weight_hh_l0"].shape[0] // hidden]
    options = {"hidden_size": hidden} | ({"linear_before_reset": 1} if kind == "GRU" else {})
    letters = ("h", "c") if kind == "LSTM" else ("h",)

    def reordered(name: str) -> Any:
        blocks = np.split(weights[name], len(order))
        return np.concatenate([blocks[gate] for gate in order])[None]

    nodes, began = [], []
    constants = {"directions": np.array([1])}
    below = "x"
    for index in range(depth):
        biases = [reordered(f"bias_{which}_l{index}") for which in ("ih", "hh")]
        given = {
            f"W{index}": reordered(f"weight_ih_l{index}"),
            f"R{index}": reordered(f"weight_hh_l{index}"),
            f"B{index}": np.concatenate(biases, 1),
        }
        start = [f"{letter}{index}" for letter in letters] if states else []
        above = "y" if index == depth - 1 else f"y{index}"
        # An empty name stands for lengths, which are not given.
        inputs = [below, *given, *(["", *start] if states else [])]
        outputs = [f"Y{index}", *(f"new_{each}" for each in start)]
        nodes.append(helper.make_node(kind, inputs, outputs, **options))
        nodes.append(helper.make_node("Squeeze", [f"Y{index}", "directions"], [above]))
        constants |= given
        began += start
        below = above

    def described(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "recurrent",
        [described("x", time, batch, weights["weight_ih_l0"].shape[1])]
        + [described(name, 1, batch, hidden) for name in began],
        [described("y", time, batch, hidden)]
        + [described(f"new_{name}", 1, batch, hidden) for name in began],
        [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in constants.items()],
    )
    imports = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=IR)
    return Model(made.SerializeToString(), began)
