"""Weights as products read them, kept from call to call where nothing is learned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from weakref import ref

import torch
from torch import Tensor, nn

from ostinato.kernels.core import core

Form = tuple[torch.Size, tuple[int, ...], torch.dtype]


@dataclass(frozen=True)
class _Copy:
    """The numbers that a weight had, as they lay."""

    form: Form
    memory: Tensor

    @staticmethod
    def of(weight: Tensor) -> "_Copy":
        lies = weight.detach().as_strided((_span(weight),), (1,))
        return _Copy(_form(weight), lies.clone())

    def holds(self, weight: Tensor) -> bool:
        module = core()
        assert module is not None
        return self.form == _form(weight) and module.same(
            weight.data_ptr(), self.memory.data_ptr(), self.memory.nbytes
        )


@dataclass(frozen=True)
class _Kept:
    owner: ref[nn.Parameter]
    copies: tuple[_Copy, ...]
    packed: Tensor

    def holds(self, weights: Sequence[Tensor]) -> bool:
        return len(self.copies) == len(weights) and all(
            copy.holds(weight) for copy, weight in zip(self.copies, weights, strict=True)
        )


class Packed:
    """`packed(weights, make)`: what `make` made of these weights, if they are still what they were.

    All their numbers are compared. Torch counts how often a tensor changes, but not what is written by
    way of `.data` or numpy, nor the steps of its fused optimisers. What was packed is kept no longer
    than the first parameter that is a weight, or that a weight is a view of; without one, not at all.
    """

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def __call__(self, weights: Sequence[Tensor], make: Callable[[], Tensor]) -> Tensor:
        owner = _owner(weights)
        if owner is None or any(weight.is_neg() for weight in weights):
            return make()
        kept = self._kept.get(id(owner))
        if kept is None or not kept.holds(weights):
            gone = partial(self._gone, id(owner))
            kept = _Kept(ref(owner, gone), tuple(map(_Copy.of, weights)), make())
            self._kept[id(owner)] = kept
        return kept.packed

    def _gone(self, owner: int, _: object) -> None:
        self._kept.pop(owner, None)


def _owner(weights: Sequence[Tensor]) -> nn.Parameter | None:
    origins = (weight if weight._base is None else weight._base for weight in weights)
    return next((each for each in origins if isinstance(each, nn.Parameter)), None)


def _form(weight: Tensor) -> Form:
    return weight.shape, weight.stride(), weight.dtype


def _span(weight: Tensor) -> int:
    """How many numbers lie from its first to its last."""
    if not weight.numel():
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(*_form(weight)[:2], strict=True))
