"""From what a step calls in torch to the small set of operations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ostinato.cells.masks import RANDOM_MASK
from ostinato.programs.builder import Builder
from ostinato.programs.naming import Namer
from ostinato.programs.operations import WEIGHT_WORK
from ostinato.programs.program import Carried, Program, Value, counts_by
from ostinato.programs.trace import Batch, Call, Recording, Ref, Untraceable
from ostinato.programs.understood import MAKE_MASKS, RULES, TAKE_MASKS

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class WeightWork:
    """Operations on weights alone: done once a call, before everything else, by torch and autograd."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Value | None, ...]
    line: str = ""

    @property
    def made(self) -> tuple[Value, ...]:
        return tuple(value for value in self.outputs if value is not None)


@dataclass(frozen=True, eq=False)
class Lowered:
    """The program of a step, and where its weights come from."""

    program: Program
    named: dict[Value, str]
    constants: dict[Value, Tensor]
    work: tuple[WeightWork, ...]

    def weights(self, tensors: dict[str, Tensor]) -> list[Tensor]:
        """What stands behind `program.weights`, from the cell's parameters and buffers by name."""
        known = {value: tensors[name] for value, name in self.named.items()} | self.constants
        for work in self.work:
            made = work.function(*_filled(work.args, known), **_filled(work.kwargs, known))
            outs = made if isinstance(made, list | tuple) else (made,)
            known |= {v: out for v, out in zip(work.outputs, outs, strict=True) if v is not None}
        return [known[value] for value in self.program.weights]


def lower(recording: Recording, fields: Sequence[str], counters: Sequence[str] = ()) -> Lowered:
    """The program of a recorded step.

    Raises Untraceable, naming operation and line, for what has no place in a program.
    """
    return _Lowering(recording, fields, counters).run()


def without_weight_work(lowered: Lowered, program: Program) -> Lowered:
    """The same with another program, whose operations on weights alone join those done once a call."""
    work = [
        WeightWork(
            op.kind, partial(WEIGHT_WORK[op.kind], **op.options), op.inputs, {}, op.outputs, op.line
        )
        for op in program.ops
        if not op.output.rows
    ]
    made = [value for each in work for value in each.made]
    ops = [op for op in program.ops if op.output.rows]
    used = {value for op in ops for value in op.values}
    weights = tuple(value for value in (*lowered.program.weights, *made) if value in used)
    program = program.with_ops(ops, weights=weights)
    return replace(lowered, program=program, work=(*lowered.work, *work))


class _Lowering:
    def __init__(self, recording: Recording, fields: Sequence[str], counters: Sequence[str]) -> None:
        self.recording = recording
        self.name = Namer()
        self.build = Builder(self.name)
        self.work: list[WeightWork] = []
        self.values: dict[Ref, Any] = {}
        self.shapes = {
            ref: shape
            for call in recording.calls
            for ref, shape in zip(call.outputs, call.shapes, strict=True)
            if ref is not None
        }
        self.fields = [(field, field in counters) for field in fields]
        self.masks: set[Value] = set()
        self.counters: set[Any] = set()

    def run(self) -> Lowered:
        recording, build = self.recording, self.build
        named, constants = {}, {}
        x = self.values[recording.x] = Value(self.name("x"), _row(recording.row_shapes[0]))
        shapes = recording.row_shapes[1:]
        given = [
            Value(self.name(field), _row(shape), counter=counts)
            for (field, counts), shape in zip(self.fields, shapes, strict=True)
        ]
        self.counters.update(each for each in given if each.counter)
        if len(self.counters) == len(given):
            raise Untraceable("the state counts, and holds nothing else")
        self.values |= dict(zip(recording.state, given, strict=True))
        for ref, name in recording.weights.items():
            value = Value(self.name(name), recording.weight_shapes[ref], rows=False)
            self.values[ref], named[value] = value, name
        for ref, tensor in recording.constants.items():
            value = Value(self.name("constant"), tuple(tensor.shape), rows=False)
            self.values[ref], constants[value] = value, tensor
        for call in recording.calls:
            build.line = call.line
            self._call(call)
        output = self._rows(recording.output)
        after = [self._rows(ref) for ref in recording.next_state]
        carried = tuple(Carried(a, b) for a, b in zip(given, after, strict=True))
        for each in carried:
            if each.given.counter and counts_by(each, build.made_by) is None:
                raise Untraceable(
                    f"{each.given} is a counter, and does more than add a number to itself"
                )
        made = {v for w in self.work for v in w.made}
        used = {v for op in build.ops for v in op.values if not v.rows}
        program = Program(
            sequences=(x,),
            weights=tuple(v for v in [*named, *constants, *sorted(made, key=repr)] if v in used),
            carried=carried,
            ops=tuple(build.ops),
            outputs=(output,),
        )
        return Lowered(program, named, constants, tuple(self.work))

    def _rows(self, ref: Ref) -> Value:
        value = self.values[ref]
        if not value.rows:
            zero = self.build.full(self.shapes[ref][1:] if ref in self.shapes else value.shape[1:], 0.0)
            return self.build.add(zero, value)
        return value  # type: ignore[no-any-return]

    def _call(self, call: Call) -> None:
        refs = [each for each in call.outputs if each is not None]
        of_rows = any(
            getattr(self.values.get(r), "rows", False) for r in _refs((call.args, call.kwargs))
        )
        spread = any(isinstance(shape, tuple) and Batch() in shape for shape in call.shapes)
        if torch.Tag.nondeterministic_seeded in call.function.tags:
            raise Untraceable(f"{call.function} at {call.line} draws random numbers")
        if not of_rows and not spread:
            self._work(call)
            return
        rule = RULES.get(call.function.overloadpacket)
        if rule is None:
            raise Untraceable(f"{call.function} at {call.line} is not in the set of operations")
        try:
            args = [self._argument(each) for each in call.args]
            counting = self._counts(call, args)
            self._check(call, counting)
            kwargs = {key: self._argument(each) for key, each in call.kwargs.items()}
            if call.function.overloadpacket not in TAKE_MASKS:
                args = [self._as_number(each) for each in args]
            out = rule(self.build, call, *args, **kwargs)
        except Untraceable as reason:
            raise Untraceable(f"{call.function} at {call.line}: {reason}") from None
        outs = out if isinstance(out, list | tuple) else [out]
        self.values |= dict(zip(refs, outs, strict=False))
        self.masks.update(v for v, kind in zip(outs, call.dtypes, strict=False) if kind == torch.bool)
        self.counters.update(outs if counting else ())

    def _counts(self, call: Call, args: list[Any]) -> bool:
        """Whether it adds a whole number to a counter; all else that a counter is for is a mask."""
        packet, read = call.function.overloadpacket, [self.values[ref] for ref in _refs(call.args)]
        counting = packet is aten.add and read == args[:1] and read[0] in self.counters
        if not counting and packet is not RANDOM_MASK and self.counters.intersection(read):
            raise Untraceable("a counter is added to by a whole number, and drawn from; nothing else")
        return counting

    def _check(self, call: Call, counting: bool) -> None:
        """A row's numbers are of the weights' kind, or masks; the batch is the first axis alone."""
        packet = call.function.overloadpacket
        if any(Batch() in shape[1:] for shape in call.shapes):
            raise Untraceable("the batch has to stay the first axis")
        if packet is not aten.slice and Batch() in (*call.args, *call.kwargs.values()):
            raise Untraceable("it computes with the batch size")
        kinds = {each for each in call.dtypes if each is not None}
        if torch.bool in kinds and packet not in MAKE_MASKS:
            raise Untraceable("of masks, only comparisons are in the set")
        if kinds - {torch.bool, torch.long if counting else self.recording.dtype}:
            raise Untraceable("numbers of another kind than the weights'")

    def _as_number(self, value: Any) -> Any:
        """A mask that is computed with is 1 or 0."""
        if isinstance(value, list):
            return [self._as_number(each) for each in value]
        if isinstance(value, Value) and value in self.masks:
            return self.build.map("number", value)
        return value

    def _argument(self, value: Any) -> Any:
        if isinstance(value, Ref):
            return self.values[value]
        if isinstance(value, tuple):
            return [self._argument(each) for each in value]
        return value

    def _work(self, call: Call) -> None:
        if None in call.dtypes:
            # It would be remembered, and the weight would change.
            raise Untraceable(f"{call.function} at {call.line} reads a number out of a weight")
        if _holds_batch((call.args, call.kwargs)):
            raise Untraceable(f"{call.function} at {call.line} computes with the batch size")
        args, kwargs = (_values(each, self.values) for each in (call.args, call.kwargs))
        outputs = []
        for ref, shape in zip(call.outputs, call.shapes, strict=True):
            value = None
            if ref is not None:
                value = self.values[ref] = Value(self.name("w"), shape, rows=False)
            outputs.append(value)
        name = call.function.overloadpacket.__name__
        self.work.append(WeightWork(name, call.function, args, kwargs, tuple(outputs), call.line))


def _row(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(shape[1:])


def _holds_batch(value: Any) -> bool:
    if isinstance(value, dict):
        value = tuple(value.values())
    return any(map(_holds_batch, value)) if isinstance(value, tuple) else value == Batch()


def _refs(value: Any) -> list[Ref]:
    if isinstance(value, Ref):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    return [ref for each in value for ref in _refs(each)] if isinstance(value, tuple) else []


def _values(value: Any, known: dict[Ref, Value]) -> Any:
    if isinstance(value, Ref):
        return known[value]
    if isinstance(value, tuple):
        return tuple(_values(each, known) for each in value)
    if isinstance(value, dict):
        return {key: _values(each, known) for key, each in value.items()}
    return value


def _filled(value: Any, known: dict[Value, Tensor]) -> Any:
    """The tensors in the place of their values."""
    if isinstance(value, Value):
        return known[value]
    if isinstance(value, tuple):
        return [_filled(each, known) for each in value]
    if isinstance(value, dict):
        return {key: _filled(each, known) for key, each in value.items()}
    return value
