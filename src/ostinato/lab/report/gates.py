"""What happens inside a recurrent layer while it reads: every gate by its name, and the state.

A gate is what a step puts through a sigmoid. It is caught where torch is called, so any cell will do,
and it is named by the line of the step that asks for it:

    f, r = sigmoid(f + self.b_f), sigmoid(r + self.b_r)                  f, r
    r, z = activate(self.gate_activation, gates).chunk(2, -1)            r, z: half of it each
    h = self._gate(o, self.p_o, c) * tanh(c)                             o: what it was made of
"""

import ast
import linecache
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ostinato.cells import Cell
from ostinato.drivers import Recurrent
from ostinato.drivers.hooks import before_a_walk

aten = torch.ops.aten
SIGMOIDS = (aten.sigmoid.default, aten.hardsigmoid.default)
CLAMP = aten.clamp.default

Span = tuple[int, int, int, int]
"""Of a piece of source: first line, last line, first column, last column."""


@dataclass(frozen=True)
class Walked:
    """One layer over a batch, each thing `[B, T, width]`; steps stand at the places that they read."""

    name: str
    cell: str
    reverse: bool
    gates: dict[str, Tensor]
    state: dict[str, Tensor]
    outputs: Tensor


@torch.no_grad()
def walked_layers(encoder: nn.Module, x: Tensor) -> list[Walked]:
    """Every layer of an encoder in evaluation mode, while it reads `x [B, T, I]`.

    The layers run as they are wired; then each is walked once more by itself, over what it was given.
    """
    found: list[tuple[Recurrent, Tensor]] = []
    layers = [part for part in encoder.modules() if isinstance(part, Recurrent)]
    hooks = [
        layer.register_forward_pre_hook(lambda part, given: found.append((part, given[0])))
        for layer in layers
    ]
    try:
        encoder(x)
    finally:
        for hook in hooks:
            hook.remove()
    # Both directions of a layer are given the same tensor.
    numbers = {id(given): number for number, given in enumerate(_different(found), start=1)}
    return [
        _walk(layer, given, f"Layer {numbers[id(given)]}{', from the end' if layer.reverse else ''}")
        for layer, given in found
    ]


def _different(found: list[tuple[Recurrent, Tensor]]) -> list[Tensor]:
    return list({id(given): given for _, given in found}.values())


def _walk(layer: Recurrent, x: Tensor, name: str) -> Walked:
    cell = layer.cell
    before_a_walk(cell, x)
    cell.begin()
    state, steps = cell.initial_state(len(x)), []
    for x_t in x.flip(1).unbind(1) if layer.reverse else x.unbind(1):
        with _Gates() as gates:
            output, state = cell.step(x_t, state)
        fields = {
            field: value for field, value in state._asdict().items() if field not in cell.counters
        }
        steps.append((gates.found, fields, {"output": output}))
    if layer.reverse:
        steps.reverse()
    every = [{key: torch.stack([step[part][key] for step in steps], 1) for key in steps[0][part]}
             for part in range(3)]  # fmt: skip
    return Walked(name, type(cell).__name__, layer.reverse, every[0], every[1], every[2]["output"])


class _Gates(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Catches what comes out of sigmoids while a step runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, Tensor] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would import its compiler to keep it off this class, which takes a second."""
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if func in SIGMOIDS or (func is CLAMP and args[1:] == (0, 1)):
            names = _names(sys._getframe(1)) or (f"gate {len(self.found) + 1}",)
            even = out.shape[-1] % len(names) == 0
            parts = out.chunk(len(names), -1) if even else (out,)
            for name, part in zip(names, parts, strict=False):
                self.found[name if name not in self.found else f"{name} ({len(self.found) + 1})"] = part
        return out


def _names(frame: FrameType | None) -> tuple[str, ...]:
    """What the innermost step on the way here calls what it asked for; nothing without its source."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "step" and isinstance(frame.f_locals.get("self"), Cell):
            positions: Any = next(islice(code.co_positions(), frame.f_lasti // 2, None))
            return _named_at(code.co_filename, positions)
        frame = frame.f_back
    return ()


@cache
def _named_at(file: str, span: Span) -> tuple[str, ...]:
    for statement in _statements(file):
        if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return):
            continue
        for call in ast.walk(statement):
            if isinstance(call, ast.Call) and _span(call) == span:
                return _wanted_as(statement, call) or (_made_of(call),)
    return ()


@cache
def _statements(file: str) -> tuple[ast.AST, ...]:
    try:
        return tuple(ast.walk(ast.parse("".join(linecache.getlines(file)))))
    except SyntaxError:
        return ()


def _span(node: ast.Call) -> Span:
    return node.lineno, node.end_lineno or 0, node.col_offset, node.end_col_offset or 0


def _wanted_as(statement: ast.AST, call: ast.Call) -> tuple[str, ...]:
    """The names that the result is given; none where more is done to it first."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
        return ()
    target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
    if isinstance(target, ast.Name):
        return (target.id,) if call in _choices(statement.value) else ()
    if not isinstance(target, ast.Tuple) or not all(isinstance(each, ast.Name) for each in target.elts):
        return ()
    names = tuple(each.id for each in target.elts if isinstance(each, ast.Name))
    if isinstance(statement.value, ast.Tuple):
        pairs = zip(names, statement.value.elts, strict=True)
        return tuple(name for name, value in pairs if call in _choices(value))
    cut = statement.value
    is_cut = (
        isinstance(cut, ast.Call) and isinstance(cut.func, ast.Attribute) and cut.func.value is call
    )
    return names if is_cut else ()


def _choices(value: ast.AST) -> Iterator[ast.AST]:
    """What an expression may be: itself, or either side of `a if … else b`."""
    if isinstance(value, ast.IfExp):
        yield from _choices(value.body)
        yield from _choices(value.orelse)
    else:
        yield value


def _made_of(call: ast.Call) -> str:
    """What the gate was before: a name, by itself or with something added, or else all as written."""
    for argument in call.args:
        for term in _terms(argument):
            if isinstance(term, ast.Name) or (
                isinstance(term, ast.Subscript) and isinstance(term.value, ast.Name)
            ):
                return ast.unparse(term)
    return ", ".join(map(ast.unparse, call.args)) or ast.unparse(call)


def _terms(value: ast.AST) -> Iterator[ast.AST]:
    """What is added up, in the order of the text."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        yield from _terms(value.left)
        yield from _terms(value.right)
    else:
        yield value
