"""From names with slashes to layers: which cells an array's names describe, and how they are nested."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from torch import nn

from ostinato.cells import Cell
from ostinato.drivers import Recurrent, Static
from ostinato.errors import WeightsError
from ostinato.wrappers import Around, Bidirectional, CellStack, Device, Stack, Wrapped


class Leaf(NamedTuple):
    """One cell: ours, or the arrays of one there."""

    it: Any


class Layers(NamedTuple):
    """One upon another, the lowest first."""

    parts: "tuple[Node, ...]"


class Both(NamedTuple):
    """One from each end."""

    forward: "Node"
    backward: "Node"


Node = Leaf | Layers | Both


def tree(layer: nn.Module) -> Node:
    """The cells of a layer, nested as they are, wrappers left off.

    Raises WeightsError for what is no layer of cells, and for a wrapper with weights of its own.
    """
    if isinstance(layer, CellStack):
        return stacked(tree(cell) for cell in layer.cells)
    if isinstance(layer, Wrapped | Recurrent):
        return _within(layer, "cell")
    if isinstance(layer, Cell):
        return Leaf(layer)
    if isinstance(layer, Static | Device | Around):
        return _within(layer, "layer")
    if isinstance(layer, Stack):
        return stacked(tree(each) for each in layer.layers)
    if isinstance(layer, Bidirectional):
        return Both(tree(layer.forward_layer), tree(layer.backward_layer))
    raise WeightsError(
        f"expected a cell, or a Recurrent, Stack, Bidirectional or Static of cells; got "
        f"{type(layer).__name__}."
    )


def _within(layer: nn.Module, part: str) -> Node:
    """What a wrapper holds as its `part`."""
    own = [name for name, _ in layer.named_parameters() if not name.startswith(f"{part}.")]
    if own:
        raise WeightsError(
            f"{type(layer).__name__} has weights of its own, {', '.join(own)}, which have no place "
            f"among another library's. Take what it wraps: its .{part}."
        )
    return tree(getattr(layer, part))


def stacked(parts: Iterable[Node]) -> Node:
    """Layers, without stacks within stacks and stacks of one."""
    flat: list[Node] = []
    for part in parts:
        flat += part.parts if isinstance(part, Layers) else [part]
    return flat[0] if len(flat) == 1 else Layers(tuple(flat))


def leaves(node: Node) -> list[Any]:
    """What the leaves hold: the lowest layer first, forwards before backwards."""
    if isinstance(node, Leaf):
        return [node.it]
    parts = node.parts if isinstance(node, Layers) else node
    return [leaf for part in parts for leaf in leaves(part)]


def paired(ours: Node, theirs: Node) -> list[tuple[Cell, Any]]:
    """Each cell with what is there in its place; WeightsError where they are nested otherwise."""
    if shape(ours) != shape(theirs):
        raise WeightsError(
            f"the layer is {words(ours)}, but the names describe {words(theirs)}. Make a layer of that "
            "form, or load it part by part with scope=…"
        )
    return list(zip(leaves(ours), leaves(theirs), strict=True))


def shape(node: Node) -> Any:
    """How it is nested, whatever the cells."""
    if isinstance(node, Leaf):
        return None
    parts = node.parts if isinstance(node, Layers) else node
    return type(node), tuple(shape(part) for part in parts)


def words(node: Node) -> str:
    """`a stack of 2 (both directions (LSTM, LSTM), GRU)`."""
    if isinstance(node, Leaf):
        return type(node.it).__name__ if isinstance(node.it, Cell) else f'"{node.it.where}"'
    if isinstance(node, Both):
        return f"both directions ({words(node.forward)}, {words(node.backward)})"
    return f"a stack of {len(node.parts)} ({', '.join(words(part) for part in node.parts)})"


def nested(found: Mapping[str, Any], what: str) -> Node:
    """The layers that scopes describe: `…/fw/…` and `…/bw/…` are both directions, `cell_0`, `cell_1`,
    or any names that differ in their last number, are a stack. `found`: what each scope holds.

    Raises WeightsError where there is none, or where names stand side by side otherwise.
    """
    if not found:
        raise WeightsError(f"no {what} among the names. If they have other names, say scope=….")
    return _nested([(scope.split("/"), it) for scope, it in found.items()])


def _nested(found: list[tuple[list[str], Any]]) -> Node:
    if len(found) == 1:
        return Leaf(found[0][1])
    heads: dict[str, list[tuple[list[str], Any]]] = {}
    for path, it in found:
        heads.setdefault(path[0] if path else "", []).append((path[1:], it))
    if len(heads) == 1:
        return _nested(next(iter(heads.values())))
    for forward, backward in (("fw", "bw"), ("forward", "backward")):
        ahead = [head for head in heads if re.match(rf"{forward}(_|$)", head)]
        behind = [head for head in heads if re.match(rf"{backward}(_|$)", head)]
        if len(ahead) == len(behind) == 1 and len(heads) == 2:
            return Both(_nested(heads[ahead[0]]), _nested(heads[behind[0]]))
    if len({stem(head) for head in heads}) == 1 and "" not in heads:
        return stacked(_nested(heads[head]) for head in sorted(heads, key=_number))
    raise WeightsError(
        f"the names describe several layers that are no stack: {', '.join(sorted(heads))}. Load one "
        "at a time: scope=…"
    )


def stem(name: str) -> str:
    """A name without the number at its end: `cell_1`, `layer2` and `rnn` are cell, layer and rnn."""
    return re.sub(r"_?\d+$", "", name)


def _number(name: str) -> int:
    number = re.search(r"\d+$", name)
    return int(number[0]) if number else 0


def rebuilt(node: Node, make: Callable[[Any], Cell], merge: Any = None) -> nn.Module:
    """Layers of new cells, nested as the names are; `make` makes the cell of a leaf."""
    return _rebuilt(node, make, merge or {}, reverse=False)


def _rebuilt(node: Node, make: Callable[[Any], Cell], merge: Any, reverse: bool) -> nn.Module:
    if isinstance(node, Leaf):
        return Recurrent(make(node.it), reverse=reverse)
    if isinstance(node, Both):
        ahead, behind = (
            _rebuilt(part, make, merge, back) for part, back in zip(node, (False, True), strict=True)
        )
        return Bidirectional(ahead, behind, **merge)
    return Stack([_rebuilt(part, make, merge, reverse) for part in node.parts])
