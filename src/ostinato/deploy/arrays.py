"""What arrays a session takes, and what is said of others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.errors import DeviceError, DtypeError, KindError, OptionError, ShapeError


def readable(x: Any, name: str, shape: Sequence[int], axes: Sequence[str]) -> Any:
    """`x` as a plain array whose rows lie together, copied if need be.

    `axes` names the leading axes; the first has `shape[0]` numbers, a second any.
    Raises KindError, DtypeError, DeviceError or ShapeError.
    """
    _check(x, name)
    if len(x.shape) != len(axes) + len(shape) - 1 or (x.shape[0], *x.shape[len(axes) :]) != tuple(
        shape
    ):
        first = [f"{axes[0]}={shape[0]}", *axes[1:], *map(str, shape[1:])]
        raise ShapeError(
            f"Session: expected {name} of shape [{', '.join(first)}], got {list(x.shape)}. "
            "One step is `step`, a chunk of them `run`."
        )
    if isinstance(x, Tensor):
        return x.detach().as_subclass(Tensor).contiguous()
    return np.require(x, np.float32, ["C", "A", "E"])  # contiguous, aligned, no subclass


def check_writable(out: Any, shape: Sequence[int]) -> None:
    """Raises as `readable` does, and OptionError, unless an output of this shape can be put there."""
    _check(out, "out")
    if tuple(out.shape) != tuple(shape):
        raise ShapeError(f"Session: expected out of shape {list(shape)}, got {list(out.shape)}.")
    plain = type(out) in (np.ndarray, Tensor) and not (isinstance(out, np.ndarray) and _locked(out))
    strides = [each // 4 for each in out.strides] if isinstance(out, np.ndarray) else out.stride()
    if not plain or (shape[-1] > 1 and strides[-1] != 1):
        raise OptionError(
            "Session: expected out as a plain array that can be written to, the numbers of a row one "
            "after another. Give a new one, such as numpy.empty(shape, numpy.float32)."
        )


def _locked(array: Any) -> bool:
    return not array.flags.writeable


def _check(x: Any, name: str) -> None:
    if not isinstance(x, Tensor | np.ndarray):
        raise KindError(
            f"Session: expected {name} as a numpy array or a torch tensor, got {type(x).__name__}."
        )
    if isinstance(x, Tensor) and x.layout != torch.strided:
        raise KindError(f"Session: expected {name} as a dense tensor, got {x.layout}.")
    if isinstance(x, Tensor) and x.device.type != "cpu":
        raise DeviceError(
            f"Session: expected {name} on the CPU, got {x.device}. Move it: {name}.cpu()."
        )
    if x.dtype not in (torch.float32, np.dtype(np.float32)):
        raise DtypeError(
            f"Session: expected {name} in float32, as the weights are; got {x.dtype}. Convert it."
        )
