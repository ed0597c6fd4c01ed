"""Convolutions, as the machine has them: lines of planes, every place of them met."""

from math import prod

from ostinato.programs.program import Op

CONVOLUTIONS = frozenset({"conv", "conv_t"})

SLACK = 32
"""Numbers beyond a padded image that may be read, and count for nothing: two vectors of the widest."""


def is_plain(op: Op) -> bool:
    """Whether it is one of lines or planes, which meets every place: no strides, no volumes."""
    stride = op.options["stride"]
    enough = all(each <= apart * (size - 1) for each, apart, size in zip(*_settings(op), strict=True))
    return len(stride) <= 2 and set(stride) == {1} and (op.kind == "conv" or enough)


def geometry(op: Op) -> tuple[list[float], int]:
    """What csrc/images.h is told, and how many numbers the padded image has.

    Lines are planes of height 1. A `conv_t` pads by what its convolution would still reach.
    """
    a, w = op.values
    groups = op.options["groups"]
    turned = op.kind == "conv_t"
    given, made = w.shape[1], w.shape[0] // groups  # planes of a group
    if turned:
        given, made = made, given
    size, padding, apart, kernel = _of_a_plane(a.shape[1:]), *_settings(op)
    around = [
        step * (k - 1) - pad if turned else pad
        for pad, step, k in zip(padding, apart, kernel, strict=True)
    ]
    room = groups * given * prod(n + 2 * pad for n, pad in zip(size, around, strict=True))
    numbers = [groups, given, made, *size, *kernel, *apart, *padding, turned]
    return [float(each) for each in numbers], room + SLACK


def _settings(op: Op) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Padding, dilation and size of the kernel, down and along."""
    _, w = op.values
    padding, dilation = (op.options[name] for name in ("padding", "dilation"))
    return _of_a_plane(padding, 0), _of_a_plane(dilation), _of_a_plane(w.shape[2:])


def _of_a_plane(sizes: tuple[int, ...], down: int = 1) -> tuple[int, ...]:
    return (*[down] * (2 - len(sizes)), *sizes)
