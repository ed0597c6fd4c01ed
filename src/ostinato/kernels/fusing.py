"""Several instructions in one: each spares a pass over the tile."""

from collections.abc import Iterable, Sequence
from typing import Any

from ostinato.kernels.instructions import MOST_SEGMENTS, Instruction, Operand, Piece
from ostinato.kernels.pieces import Run

Pattern = Any
"""A letter stands for any operand, the same one each time; `1` for that number."""

PATTERNS: tuple[tuple[str, str, Pattern], ...] = (
    (
        "sub_mul_dsigmoid",
        "abcd",
        ("dsigmoid", ("add", ("neg", ("mul", "a", "c")), ("mul", "a", "b")), "d"),
    ),
    ("mul_dsigmoid", "abc", ("dsigmoid", ("mul", "a", "b"), "c")),
    ("mul_dtanh_add", "abcd", ("add", ("dtanh", ("mul", "a", "b"), "c"), "d")),
    ("less_mul_dtanh", "abc", ("dtanh", ("mul", "a", ("sub", "1", "b")), "c")),
    ("mul_dtanh", "abc", ("dtanh", ("mul", "a", "b"), "c")),
    ("mix", "abc", ("add", ("mul", ("sub", "1", "c"), "a"), ("mul", "c", "b"))),
    ("tanh_mul_add", "abc", ("tanh", ("add", ("mul", "a", "b"), "c"))),
    ("sigmoid_mul_add", "abc", ("sigmoid", ("add", ("mul", "a", "b"), "c"))),
    ("mul_mul_add", "abcd", ("add", ("mul", "a", "b"), ("mul", "c", "d"))),
    ("mul_add", "abc", ("add", ("mul", "a", "b"), "c")),
    ("add3", "abc", ("add", ("add", "a", "b"), "c")),
    ("mul_tanh", "ab", ("mul", "a", ("tanh", "b"))),
    ("accumulate_product", "ab", ("accumulate", ("mul", "a", "b"))),
    ("less_mul", "ab", ("mul", ("sub", "1", "a"), "b")),
)
"""What the machine has in one, the order of its operands, what it is made of; the first that fits."""

COMMUTE = frozenset({"add", "mul"})
MOST_ADDENDS = 3


def fuse(instructions: Sequence[Instruction], kept: Iterable[Piece]) -> list[Instruction]:
    """Instructions that read what has no other reader are joined with those that make it."""
    return _Fusing(instructions, {*kept}).run()


class _Fusing:
    def __init__(self, instructions: Sequence[Instruction], kept: set[Piece]) -> None:
        self.list = list(instructions)
        self.kept = kept
        self.made_by = {piece: each for each in self.list for piece in each.outputs}
        self.reads: dict[Piece, int] = {}
        for each in self.list:
            for operand in each.operands:
                self._read(operand)

    def _read(self, operand: Operand) -> None:
        if isinstance(operand, Piece):
            self.reads[operand] = self.reads.get(operand, 0) + 1
            return
        for piece in self.made_by:  # a run of a value that is made: several readers for good
            if piece.base is operand.base:
                self.reads[piece] = self.reads.get(piece, 0) + 2

    def run(self) -> list[Instruction]:
        for fusion in (self._into_product, self._activated):
            for instruction in list(self.list):
                if instruction in self.list:
                    fusion(instruction)
        # From the end, so that what is joined is as long as it can be.
        for instruction in self.list[::-1]:
            if instruction in self.list:
                self._pattern(instruction)
        return self.list

    def _alone(self, operand: Operand, op: str = "") -> Instruction | None:
        """What makes an operand, if nothing else reads it."""
        if not isinstance(operand, Piece) or operand in self.kept or self.reads.get(operand) != 1:
            return None
        made = self.made_by.get(operand)
        return made if made is not None and (not op or made.op == op) else None

    def _replace(self, old: Instruction, new: Instruction, gone: Iterable[Instruction]) -> None:
        at = self.list.index(old)
        self.list[at] = new
        for each in gone:
            self.list.remove(each)
        self.made_by |= dict.fromkeys(new.outputs, new)

    def _into_product(self, add: Instruction) -> None:
        """`a @ W + b`, and sums of products."""
        if add.op != "add":
            return
        for one, other in (add.inputs, add.inputs[::-1]):
            product = self._alone(one, "product")
            if product is None or product.activation:
                continue
            second = self._alone(other, "product")
            terms, inputs, gone = [*product.terms], [*product.inputs], [product]
            if second is not None and not second.activation and second is not product:
                terms += second.terms
                inputs += second.inputs
                gone.append(second)
            else:
                inputs.append(other)
            numbers = [_number(each) for each in inputs]
            constant = sum(each for each in numbers if each is not None)
            constant += sum(each.numbers[0] for each in gone if each.numbers)
            inputs = [each for each, n in zip(inputs, numbers, strict=True) if n is None]
            if len(terms) <= MOST_SEGMENTS and len(inputs) <= MOST_ADDENDS:
                new = Instruction("product", inputs, add.outputs, terms, numbers=[constant])
                self._replace(add, new, gone)
                return

    def _activated(self, instruction: Instruction) -> None:
        if instruction.op in ("sigmoid", "tanh", "relu"):
            product = self._alone(instruction.inputs[0], "product")
            if product is not None and not product.activation:
                new = Instruction(
                    "product",
                    product.inputs,
                    instruction.outputs,
                    product.terms,
                    instruction.op,
                    product.numbers,
                )
                self._replace(instruction, new, [product])

    def _pattern(self, instruction: Instruction) -> None:
        for op, letters, pattern in PATTERNS:
            found: dict[str, Operand] = {}
            gone: list[Instruction] = []
            if self._fits(instruction, pattern, found, gone):
                inputs = [found[letter] for letter in letters]
                self._replace(instruction, Instruction(op, inputs, instruction.outputs), gone)
                return

    def _fits(
        self,
        instruction: Instruction,
        pattern: Pattern,
        found: dict[str, Operand],
        gone: list[Instruction],
    ) -> bool:
        op, *parts = pattern
        if instruction.op != op or len(instruction.inputs) != len(parts):
            return False
        orders = [instruction.inputs]
        if op in COMMUTE:
            orders.append(instruction.inputs[::-1])
        for order in orders:
            trial, left = dict(found), list(gone)
            if all(self._part(o, p, trial, left) for o, p in zip(order, parts, strict=True)):
                found.clear()
                found.update(trial)
                gone[:] = left
                return True
        return False

    def _part(
        self, operand: Operand, part: Pattern, found: dict[str, Operand], gone: list[Instruction]
    ) -> bool:
        if part == "1":
            return _number(operand) == 1
        if isinstance(part, str):
            return found.setdefault(part, operand) == operand
        made = self._alone(operand)
        if made is None or made in gone or not self._fits(made, part, found, gone):
            return False
        gone.append(made)
        return True


def _number(operand: Operand) -> float | None:
    """What a constant is."""
    if isinstance(operand, Run) and isinstance(operand.base, float):
        return operand.base
    return None
