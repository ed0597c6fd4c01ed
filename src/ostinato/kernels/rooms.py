"""Memory that is used again: what a walk fills is as large at the next call, and new memory is slow.

The system hands out fresh memory page by page when it is first written to, which costs as much as
computing what is written. So tensors of some size are remembered; one that nobody else holds on to any
more, neither autograd nor the user, is given out again.
"""

from collections import deque
from collections.abc import Sequence
from math import prod
from threading import Lock

import torch
from torch import Tensor

from ostinato.programs.block import HOST

SMALL = 1 << 14
"""Fewer numbers than these come from memory that is warm anyway."""

FEW = 4
"""So many tensors of a size are looked at before another is made."""

IDLE = 512
"""Tensors that have not been given out while so many others were are forgotten."""

_lock = Lock()
_rooms: dict[int, deque[tuple[int, Tensor]]] = {}
_given = 0


def room(shape: Sequence[int]) -> Tensor:
    """A float32 tensor on the CPU with anything in it."""
    numbers = prod(shape)
    if numbers < SMALL:
        return _new(numbers).view(*shape)
    with _lock:
        return _room(numbers).view(*shape)


def _new(numbers: int) -> Tensor:
    # Whatever torch's defaults are; and one made in inference mode could never be saved for autograd.
    with torch.inference_mode(False):
        return torch.empty(numbers, dtype=torch.float32, device=HOST)


def _room(numbers: int) -> Tensor:
    global _given
    _given += 1
    if not _given % FEW**3:
        _forget()
    known = _rooms.setdefault(numbers, deque())
    for _ in range(min(FEW, len(known))):
        used, tensor = known.popleft()
        if not _ours(tensor):
            continue
        if _free(tensor):
            known.append((_given, tensor))
            return tensor
        known.append((used, tensor))
    tensor = _new(numbers)
    known.append((_given, tensor))
    return tensor


def _ours(tensor: Tensor) -> bool:
    """Whether the memory is still what it was: not handed to another process, nor given back."""
    shared: bool = tensor.is_shared()  # type: ignore[no-untyped-call]
    return not shared and tensor.untyped_storage().nbytes() == 4 * tensor.numel()


def _free(tensor: Tensor) -> bool:
    storage = tensor.untyped_storage()
    # That of the tensor itself, and that of the line above.
    return int(torch._C._storage_Use_Count(storage._cdata)) <= 2


def _forget() -> None:
    """Tensors of sizes that are not asked for any more."""
    for numbers, known in list(_rooms.items()):
        left = deque((used, each) for used, each in known if _given - used < max(IDLE, 4 * len(known)))
        if left:
            _rooms[numbers] = left
        else:
            del _rooms[numbers]
