"""Random masks that are a function of a number: the same on every row, however a batch is split."""

import math
from typing import Any

import torch
from torch import Tensor


def _signed(word: int) -> int:
    """The same 64 bits as torch's integers have them."""
    return (word + (1 << 63)) % (1 << 64) - (1 << 63)


GAMMA = _signed(0x9E3779B97F4A7C15)
MULTIPLIERS = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB), 1)
"""SplitMix64's."""

WORDS = 1 << 13
"""So many 64-bit words are made at a time on a CPU: they and a copy stay in the first caches."""


def random_mask(
    draw: Tensor, shape: tuple[int, ...], drop: float, scale: float, stream: int, dtype: torch.dtype
) -> Tensor:
    """`[…, *shape]` of 0, with probability `drop`, and else `scale`, for each number of `draw […]`.

    The same numbers give the same mask, bit for bit, on any device and in any dtype; another `stream`
    gives an independent one. A step may call it with a counter of its state: its program then has one
    operation for it, which is done before the walk. No gradient flows through it.

    Source: Steele, Lea & Flood, "Fast splittable pseudorandom number generators" (2014): each number
    of `draw`, mixed with the stream, begins a SplitMix64 sequence of its own, of which each element
    takes 32 bits. Of the counter-based kind (Salmon et al. 2011): nothing is remembered between calls.
    """
    mask: Tensor = RANDOM_MASK(draw, shape, drop, scale, stream, dtype)
    return mask


def fresh_draws(batch: int, device: torch.device) -> Tensor:
    """`[B]` numbers from torch's generator of the CPU, whatever the device: where rows begin to draw.

    Two rows that draw T numbers each, one after another, meet with a chance of T in 2^62.
    """
    # An operation of its own, since a compiler would draw torch's numbers in another way.
    draws: Tensor = torch.ops.ostinato.fresh_draws(batch)
    return draws.to(device)


def _mixed(word: Tensor) -> Tensor:
    """A bijection of 64 bits that leaves no trace of order; changes `word`."""
    shifted = torch.empty_like(word)
    for shift, multiplier in zip((30, 27, 31), MULTIPLIERS, strict=True):
        torch.bitwise_right_shift(word, shift, out=shifted)
        # Of a signed number the sign is shifted in.
        shifted &= (1 << (64 - shift)) - 1
        word ^= shifted
        if multiplier != 1:
            word *= multiplier
    return word


def _random_mask(
    draw: Tensor, shape: list[int], drop: float, scale: float, stream: int, dtype: torch.dtype
) -> Tensor:
    mask = draw.new_empty(*draw.shape, *shape, dtype=dtype)
    width = math.prod(shape)
    words = -(-width // 2)
    flat = mask.view(draw.numel(), width)
    begins = _mixed(_mixed(draw.reshape(-1) + GAMMA) + _signed(stream * GAMMA))[:, None]
    places = torch.arange(1, words + 1, device=draw.device) * GAMMA
    least = min(round(drop * 2**32), 2**32 - 1) - 2**31
    size = max(1, WORDS // max(1, words) if draw.device.type == "cpu" else draw.numel())
    for start in range(0, draw.numel(), size):
        bits = _mixed(begins[start : start + size] + places).view(torch.int32)[:, :width]
        torch.ge(bits, least, out=flat[start : start + size])
    return mask if scale == 1 else mask.mul_(scale)


_library = torch.library.Library("ostinato", "DEF")  # type: ignore[no-untyped-call]
_library.define(  # type: ignore[no-untyped-call]
    "random_mask(Tensor draw, SymInt[] shape, float drop, float scale, int stream, ScalarType dtype)"
    " -> Tensor"
)
_library.impl(  # type: ignore[no-untyped-call]
    "random_mask", _random_mask, "CompositeExplicitAutograd"
)


def _fresh_draws(batch: int) -> Tensor:
    return torch.empty(batch, dtype=torch.long, device="cpu").random_()


_library.define(  # type: ignore[no-untyped-call]
    "fresh_draws(SymInt batch) -> Tensor", tags=torch.Tag.nondeterministic_seeded
)
_library.impl(  # type: ignore[no-untyped-call]
    "fresh_draws", _fresh_draws, "CompositeExplicitAutograd"
)


def _shaped(
    draw: Tensor, shape: list[int], drop: float, scale: float, stream: int, dtype: torch.dtype
) -> Tensor:
    return draw.new_empty(*draw.shape, *shape, dtype=dtype)


def _over_a_batch(info: object, in_dims: tuple[int, ...], draw: Tensor, *rest: object) -> object:
    return RANDOM_MASK(draw.movedim(in_dims[0], 0), *rest), 0


RANDOM_MASK = torch.ops.ostinato.random_mask
"""As a recorded step has it."""


def _shaped_draws(batch: int) -> Tensor:
    """Called by a compiler, which takes two calls with the same arguments for one: draws of two layers,
    or of a start and of what resets put back. It asks a list of its own, not the operator's tag."""
    from torch._functorch import compile_utils

    apart: list[Any] = getattr(compile_utils, "rand_ops", [])
    if torch.ops.ostinato.fresh_draws not in apart:
        apart.append(torch.ops.ostinato.fresh_draws)
    return torch.empty(batch, dtype=torch.long, device="cpu")


torch.library.register_fake("ostinato::random_mask", _shaped, lib=_library)
torch.library.register_fake("ostinato::fresh_draws", _shaped_draws, lib=_library)
torch.library.register_vmap("ostinato::random_mask", _over_a_batch, lib=_library)
