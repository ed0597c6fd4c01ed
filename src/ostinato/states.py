"""States of any layer, nested as they may be: saved, loaded, moved, detached, cut by rows, put back.

A state of the library has its batch first: `rows(state, [0, 2])`. One of `ostinato.nn` or `torch.nn`
has it second, behind layers and directions: `rows(state, [0, 2], dim=1)`. Nothing here changes what it
is given.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostinato.cells.structure import flatten, rebuild
from ostinato.errors import StateError, StepError
from ostinato.files import read_tensors, write_tensors

FORMAT = 1

ROOMS = ("ostinato.cells.", "ostinato.wrappers.")
"""Where the library's kinds of states live."""

PLAIN: dict[str, type] = {"tuple": tuple, "list": list, "dict": dict}


def detach(state: Any) -> Any:
    """The state without the graph behind it."""
    return _mapped(lambda tensor: tensor.detach(), state)


def to(state: Any, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Any:
    """The state on another device, or in another dtype; whole numbers in it stay whole."""

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    return _mapped(moved, state)


def rows(state: Any, which: Any, dim: int = 0) -> Any:
    """Some rows of a batch: an index, a slice, a list, a tensor of indices or a mask."""
    index = (*[slice(None)] * dim, [which] if isinstance(which, int) else which)
    return _mapped(lambda tensor: tensor[index], state)


def reset(state: Any, which: Tensor, initial: Any = None, dim: int = 0) -> Any:
    """Puts the rows where `which [B]` is True back to those of `initial`; to zeros if none is given.

    No gradient flows into what was there before, and a NaN there is gone.

    Raises StateError where `which` is no mask of the batch, or `initial` is another kind of state.
    """
    leaves, structure = _flat(state)
    starts = [torch.zeros_like(leaf) for leaf in leaves]
    if initial is not None:
        starts, other = _flat(initial)
        if other != structure or [s.shape for s in starts] != [leaf.shape for leaf in leaves]:
            raise StateError(
                f"reset: expected initial as the state is, {_words(state)}; got {_words(initial)}."
            )
    for leaf in leaves:
        batch = leaf.shape[dim] if leaf.dim() > dim else None
        if not isinstance(which, Tensor) or which.dtype != torch.bool or which.shape != (batch,):
            got = _words(which) if isinstance(which, Tensor) else type(which).__name__
            raise StateError(
                f"reset: expected a bool for each row, [B={batch}], got {got}. The batch is axis {dim} "
                f"of {list(leaf.shape)}; a state of ostinato.nn or torch.nn has it at dim=1."
            )
    masks = (which.to(each.device).view(-1, *[1] * (each.dim() - dim - 1)) for each in leaves)
    return rebuild(structure, list(map(torch.where, masks, starts, leaves)))


def save(path: str | Path, state: Any) -> None:
    """Writes a state as a safetensors file, in one move; nothing in it can run."""
    leaves, structure = _flat(state)
    # Copies, for a file holds no two names for one place in memory.
    tensors = {str(number): leaf.detach().clone() for number, leaf in enumerate(leaves)}
    write_tensors(Path(path), tensors, {"format": FORMAT, "state": _described(structure)})


def load(path: str | Path, kinds: Iterable[type] = ()) -> Any:
    """Reads a state that `save` wrote, nested as it was, on the CPU.

    `kinds`: named tuples of your own that the state is made of; those of the library are known.

    Raises StateError, naming the file, when it is missing, damaged or newer than this library, or when
    it needs a kind that is not known.
    """
    path = Path(path)
    header, tensors = read_tensors(path, FORMAT, StateError, "a state saved by Ostinato")
    own = {_name(kind): kind for kind in kinds}
    try:
        return rebuild(
            _structure(header["state"], own), [tensors[str(number)] for number in range(len(tensors))]
        )
    except (KeyError, TypeError, ValueError, StopIteration, RuntimeError) as cause:
        if isinstance(cause, StateError):
            raise StateError(f"{path}: {cause}") from cause
        raise StateError(
            f"{path}: its tensors are not nested as its header says ({cause!r}). The file was "
            "changed or damaged; save the state again."
        ) from cause


def _mapped(function: Callable[[Tensor], Tensor], state: Any) -> Any:
    leaves, structure = _flat(state)
    return rebuild(structure, list(map(function, leaves)))


def _flat(state: Any) -> tuple[list[Tensor], Any]:
    try:
        return flatten(state)
    except StepError as cause:
        raise StateError(f"A state is made of tensors: {cause}") from None


def _words(state: Any) -> str:
    leaves, _ = _flat(state)
    return (
        f"{type(state).__name__} of {', '.join(f'{leaf.dtype} {list(leaf.shape)}' for leaf in leaves)}"
    )


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _described(structure: Any) -> Any:
    """How a state is nested, as JSON; None for a tensor."""
    if structure is None:
        return None
    kind, keys, parts = structure
    name = kind.__name__ if kind in PLAIN.values() else _name(kind)
    return {"kind": name, "keys": keys, "parts": list(map(_described, parts))}


def _structure(described: Any, own: dict[str, type]) -> Any:
    if described is None:
        return None
    kind = _kind(described["kind"], own)
    parts = tuple(_structure(each, own) for each in described["parts"])
    keys = described["keys"]
    return kind, None if keys is None else tuple(keys), parts


def _kind(name: str, own: dict[str, type]) -> type:
    """The class of that name: plain, one of `own`, or a named tuple of this library, and no other."""
    found = PLAIN.get(name) or own.get(name)
    if found is None and name.startswith(ROOMS):  # importing any other might run something
        module, _, within = name.partition(":")
        try:
            found = getattr(import_module(module), within, None)
        except ImportError:
            found = None
        if not (isinstance(found, type) and issubclass(found, tuple) and hasattr(found, "_fields")):
            found = None
    if found is None:
        raise StateError(
            f"the state is made of {name}, which this version does not know. Is it a named tuple of "
            "yours, give it: load(path, kinds=[…])."
        )
    return found
