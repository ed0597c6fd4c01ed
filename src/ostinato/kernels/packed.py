"""Weights as products read them, kept from call to call where nothing is learned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import ref

from torch import Tensor

from ostinato.kernels.core import core

Mark = tuple[int, int, int]
"""Where a tensor's numbers are, how often torch has seen them change, and a sample of them: what is
written by way of `.data` torch does not see."""


@dataclass(frozen=True)
class _Kept:
    tensors: tuple[ref[Tensor], ...]
    marks: tuple[Mark, ...]
    packed: Tensor


class Packed:
    """`packed(weights, make)`: what `make` made of these weights, if they are still what they were.

    It is kept no longer than the first of them.
    """

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def __call__(self, weights: Sequence[Tensor], make: Callable[[], Tensor]) -> Tensor:
        marks = tuple(map(_mark, weights))
        if not weights or None in marks:
            return make()
        first = id(weights[0])
        kept = self._kept.get(first)
        if kept is None or kept.marks != marks or not _same(kept.tensors, weights):
            packed = make()
            there = (ref(weights[0], lambda _: self._kept.pop(first, None)), *map(ref, weights[1:]))
            kept = self._kept[first] = _Kept(there, marks, packed)  # type: ignore[arg-type]
        return kept.packed


def _mark(weight: Tensor) -> Mark | None:
    """None for what does not say when it changes, or lies here and there."""
    if weight.is_inference() or not weight.is_contiguous():
        return None
    module = core()
    assert module is not None
    place = weight.data_ptr()
    return place, weight._version, module.sample(place, weight.numel())


def _same(kept: Sequence[ref[Tensor]], weights: Sequence[Tensor]) -> bool:
    return len(kept) == len(weights) and all(a() is b for a, b in zip(kept, weights, strict=True))
