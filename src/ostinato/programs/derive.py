"""The backward program of a step."""

from collections.abc import Iterable
from dataclasses import dataclass

from ostinato.programs.builder import Builder
from ostinato.programs.naming import Namer
from ostinato.programs.program import Carried, Program, Value
from ostinato.programs.slopes import DEAD, RULES, Gradients
from ostinato.programs.split import live


@dataclass(frozen=True)
class Backward:
    """The backward program, which is given the gradients of a step's outputs and next state.

    It is handed on the gradient of the state, from the last step to the first. `values` are those of
    the forward program that it reads.
    """

    program: Program
    output_gradients: tuple[Value, ...]
    gradients: tuple[Value | None, ...]
    """of each of the forward program's sequences; None where nobody wants it, or it is zero"""
    values: tuple[Value, ...]


def derive(program: Program, sequences: Iterable[Value], weights: Iterable[Value]) -> Backward:
    """The backward program for the gradients of the state, and of some sequences and weights."""
    sequences, weights = set(sequences), set(weights)
    state = [each for each in program.carried if not each.given.counter]
    names = Namer(program.everything)
    build = Builder(names)
    alive: set[Value] = {*sequences, *weights, *(each.given for each in state)}
    for op in program.ops:
        if op.kind not in DEAD and any(value in alive for value in op.values):
            alive.update(op.outputs)
    gradients = Gradients(build, alive)

    output_gradients = tuple(Value(names("d_output"), v.shape) for v in program.outputs)
    for value, gradient in zip(program.outputs, output_gradients, strict=True):
        gradients.give(value, gradient)
    given = tuple(Value(names(f"d_{c.given.name}"), c.given.shape) for c in state)
    for each, gradient in zip(state, given, strict=True):
        gradients.give(each.handed_on, gradient)

    for op in reversed(program.ops):
        flowed = gradients.of(op.output) if op.output in alive else None
        if flowed is not None:
            build.line = op.line
            RULES[op.kind](gradients, build, op, flowed)

    def total(value: Value) -> Value:
        return gradients.of(value) or build.full(value.shape, 0.0)

    handed_on = tuple(total(each.given) for each in state)
    wanted = [gradients.of(each) if each in sequences else None for each in program.sequences]
    sums = tuple((w, tuple(gradients.sums[w])) for w in program.weights if w in gradients.sums)
    backward = Program(
        sequences=(),
        weights=(),
        carried=tuple(Carried(a, b) for a, b in zip(given, handed_on, strict=True)),
        ops=(),
        outputs=tuple(each for each in wanted if each is not None),
        sums=sums,
    )
    ops = live(build.ops, backward.results)
    made = {value for op in ops for value in op.outputs}
    read = {value for op in ops for value in op.values} | set(backward.results)
    outside = read - made - set(given) - set(output_gradients)
    values = sorted((v for v in outside if v.rows), key=repr)
    backward = backward.with_ops(
        ops,
        sequences=(*(g for g in output_gradients if g in read), *values),
        weights=tuple(sorted((v for v in outside if not v.rows), key=repr)),
    )
    return Backward(backward, output_gradients, tuple(wanted), tuple(values))
