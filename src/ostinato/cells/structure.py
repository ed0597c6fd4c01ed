"""Nested states taken apart into a flat list of tensors, and put together again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from ostinato.errors import StepError

LEAF = None
"""The structure of a tensor; of anything else it is `(type, keys or None, structures)`."""


def flatten(state: Any) -> tuple[list[Tensor], Any]:
    """The tensors of nested tuples, lists, named tuples and dicts in order, and how they were nested.

    Raises StepError for anything else.
    """
    if isinstance(state, Tensor):
        return [state], LEAF
    if isinstance(state, Mapping):
        keys: tuple[Any, ...] | None = tuple(state)
        parts = list(state.values())
    elif isinstance(state, (tuple, list)):
        keys, parts = None, list(state)
    else:
        raise StepError(
            f"expected tensors, in tuples, lists or dicts; got {type(state).__name__}. Return tensors "
            "alone."
        )
    leaves: list[Tensor] = []
    structures = []
    for part in parts:
        inner, structure = flatten(part)
        leaves += inner
        structures.append(structure)
    return leaves, (type(state), keys, tuple(structures))


def rebuild(structure: Any, leaves: Sequence[Tensor]) -> Any:
    """Nests the tensors as they were."""
    return _rebuild(structure, iter(leaves))


def _rebuild(structure: Any, leaves: Iterator[Tensor]) -> Any:
    if structure is LEAF:
        return next(leaves)
    kind, keys, structures = structure
    parts = [_rebuild(inner, leaves) for inner in structures]
    if keys is not None:
        return kind(zip(keys, parts, strict=True))
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
