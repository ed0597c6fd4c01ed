"""What each operation is in plain torch: the Python that a walk's source is made of."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ostinato.cells.masks import random_mask
from ostinato.programs.program import Op

aten = torch.ops.aten

DIRECT = frozenset(
    "add sub mul div maximum minimum gt ge lt le eq ne neg sigmoid tanh exp log log1p expm1 sqrt rsqrt "
    "reciprocal abs sign sin cos erf addmm addcmul mm lerp cat clamp dsigmoid dtanh".split()
)
"""Torch writes the result of these where it is told to (`out=`)."""


POINTWISE = DIRECT - {"addmm", "mm", "cat"}
"""Those of them that may write over what they read."""

FRESH = POINTWISE | frozenset("rsub product product_t addmm outer drelu".split())
"""Torch makes a tensor of its own for the result of these, and keeps hold of none that it reads."""


def expression(op: Op, names: list[str], rows: str) -> tuple[str, bool]:
    """The operation as Python, `names` for its inputs; and whether it takes `out=`.

    `rows` is the name of the number of rows at hand.
    """
    if op.kind in SPECIAL:
        return SPECIAL[op.kind](op, names, rows)
    options = [f"{key}={value!r}" for key, value in op.options.items()]
    return f"{op.kind}({', '.join([*names, *options])})", op.kind in DIRECT


Special = Callable[[Op, list[str], str], tuple[str, bool]]


def _product(op: Op, names: list[str], rows: str) -> tuple[str, bool]:
    a, w = names
    flat = len(op.output.shape) == 1
    return (f"mm({a}, {w})", True) if flat else (f"matmul({a}, {w})", False)


def _addmm(op: Op, names: list[str], rows: str) -> tuple[str, bool]:
    b, a, w = names
    turned = op.options["turned"]
    # Of one column there is nothing to sum, and a product first fills its result with what is added.
    column = op.inputs[1].shape == (1,)  # type: ignore[union-attr]
    return f"{'addcmul' if column else 'addmm'}({b}, {a}, {w}{'.t()' if turned else ''})", True


def _product_t(op: Op, names: list[str], rows: str) -> tuple[str, bool]:
    return _product(op, [names[0], f"{names[1]}.t()"], rows)


def _slice(op: Op, names: list[str], rows: str) -> tuple[str, bool]:
    start, stop = op.options["start"], op.options["stop"]
    return f"{names[0]}.narrow({op.options['axis'] + 1}, {start}, {stop - start})", False


def _shape(op: Op, key: str = "to") -> str:
    return ", ".join(str(size) for size in op.options[key])


SPECIAL: dict[str, Special] = {
    "product": _product,
    "product_t": _product_t,
    "addmm": _addmm,
    "slice": _slice,
    "cat": lambda op, n, r: (f"cat(({', '.join(n)},), {op.options['axis'] + 1})", True),
    "reshape": lambda op, n, r: (f"{n[0]}.reshape({r}, {_shape(op)})", False),
    "permute": lambda op, n, r: (
        f"{n[0]}.permute(0, {', '.join(str(axis + 1) for axis in op.options['axes'])})",
        False,
    ),
    "expand": lambda op, n, r: (f"{n[0]}.expand({r}, {_shape(op)})", False),
    "full": lambda op, n, r: (f"like.new_full(({r}, {_shape(op)}), {op.options['value']!r})", False),
    "sum": lambda op, n, r: (
        f"{n[0]}.sum({tuple(axis + 1 for axis in op.options['axes'])}, keepdim=True)",
        False,
    ),
    "softmax": lambda op, n, r: (f"softmax({n[0]}, {op.options['axis'] + 1})", False),
    "dsoftmax": lambda op, n, r: (
        f"dsoftmax({n[0]}, {n[1]}, {op.options['axis'] + 1}, {n[1]}.dtype)",
        False,
    ),
    "standardise": lambda op, n, r: (f"standardise({n[0]}, {_last(op)}, {op.options['eps']!r})", False),
    "dstandardise": lambda op, n, r: (f"dstandardise({', '.join(n)}, {_last(op)})", False),
    "power": lambda op, n, r: (f"power({n[0]}, {op.options['exponent']!r})", False),
    "clamp": lambda op, n, r: (f"clamp({n[0]}, {op.options['low']!r}, {op.options['high']!r})", True),
    "random_mask": lambda op, n, r: (
        f"random_mask({n[0]}, {op.options['to']!r}, {op.options['drop']!r}, "
        f"{op.options['scale']!r}, {op.options['stream']!r}, like.dtype)",
        False,
    ),
    "number": lambda op, n, r: (f"{n[0]}.to(like.dtype)", False),
    "copy": lambda op, n, r: (f"{n[0]}.clone()", False),
}


def _last(op: Op) -> list[int]:
    return list(op.output.shape[-op.options["axes"] :])


def _slope(backward: Any) -> Callable[..., Tensor]:
    """Of a function, from its result; torch calls `out=` by another name here."""
    plain, into = backward.default, backward.grad_input

    def slope(g: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
        made: Tensor = plain(g, y) if out is None else into(g, y, grad_input=out)
        return made

    return slope


def _dclamp(g: Tensor, a: Tensor, low: float, high: float) -> Tensor:
    if flat_at_its_limits():
        return torch.where((a > low) & (a < high), g, 0)
    return torch.where((a >= low) & (a <= high), g, 0)


@cache
def flat_at_its_limits() -> bool:
    """Whether torch's clamp is: 2.5 and 2.13 give it a slope of 1 there, 2.15 gives it none."""
    with torch.enable_grad():
        limit = torch.zeros((), requires_grad=True)
        (slope,) = torch.autograd.grad(limit.clamp(0, 1), limit)
    return not slope


def _standardise(a: Tensor, shape: list[int], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    return torch.native_layer_norm(a, shape, None, None, eps)


def _dstandardise(g: Tensor, a: Tensor, mean: Tensor, rstd: Tensor, shape: list[int]) -> Tensor:
    backward = aten.native_layer_norm_backward
    return backward(g, a, shape, mean, rstd, None, None, [True, False, False])[0]  # type: ignore[no-any-return]


def _conv(a: Tensor, w: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor:
    return torch.convolution(a, w, None, stride, padding, dilation, False, [0] * len(stride), groups)


def _conv_back(
    g: Tensor, a: Tensor, w: Tensor, mask: list[bool], stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> Tensor:  # fmt: skip
    settings = (None, stride, padding, dilation, False, [0] * len(stride), groups, mask)
    return aten.convolution_backward(g, a, w, *settings)[0 if mask[0] else 1]  # type: ignore[no-any-return]


def _conv_t(g: Tensor, w: Tensor, to: Any, **settings: Any) -> Tensor:
    # Of the input its shape alone counts here.
    return _conv_back(g, g.new_empty(g.shape[0], *to), w, [True, False, False], **settings)


def _conv_outer(a: Tensor, g: Tensor, to: Any, **settings: Any) -> Tensor:
    return _conv_back(g, a, g.new_empty(*to), [False, True, False], **settings)


def _outer(a: Tensor, g: Tensor, before: Tensor | None = None) -> Tensor:
    """Of all rows together; added to that of the rows before, in its place."""
    a, g = a.reshape(-1, a.shape[-1]).t(), g.reshape(-1, g.shape[-1])
    return a @ g if before is None else before.addmm_(a, g)


def _sum_rows(g: Tensor, to: Any) -> Tensor:
    return g.sum_to_size(to)


NAMES: dict[str, Any] = {
    "random_mask": random_mask,
    **{
        name: getattr(torch, name)
        for name in (
            "add sub rsub mul div maximum minimum where gt ge lt le eq ne neg sigmoid tanh relu exp "
            "log log1p expm1 sqrt rsqrt reciprocal abs sign sin cos erf cat mm matmul addmm addcmul "
            "lerp softmax clamp"
        ).split()
    },
    "power": torch.pow,
    "hardsigmoid": functional.hardsigmoid,
    "softplus": functional.softplus,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "elu": lambda a, alpha, scale, input_scale: aten.elu(a, alpha, scale, input_scale),
    "leaky_relu": lambda a, slope: functional.leaky_relu(a, slope),
    "dsigmoid": _slope(aten.sigmoid_backward),
    "dtanh": _slope(aten.tanh_backward),
    "drelu": lambda g, y: aten.threshold_backward(g, y, 0),
    "dclamp": _dclamp,
    "hardtanh": lambda a, low, high: functional.hardtanh(a, low, high),
    # At the limits themselves it is flat, unlike clamp.
    "dhardtanh": lambda g, a, low, high: aten.hardtanh_backward(g, a, low, high),
    "dhardsigmoid": aten.hardsigmoid_backward.default,
    "dsoftplus": lambda g, a, beta, threshold: aten.softplus_backward(g, a, beta, threshold),
    "delu": lambda g, a, alpha, scale, input_scale: aten.elu_backward(
        g, alpha, scale, input_scale, False, a
    ),
    "dgelu": lambda g, a, approximate: aten.gelu_backward(g, a, approximate=approximate),
    "dsilu": aten.silu_backward.default,
    "dleaky_relu": lambda g, a, slope: aten.leaky_relu_backward(g, a, slope, False),
    "dsoftmax": torch._softmax_backward_data,
    "standardise": _standardise,
    "dstandardise": _dstandardise,
    "conv": _conv,
    "conv_t": _conv_t,
    "conv_outer": _conv_outer,
    "outer": _outer,
    "sum_rows": _sum_rows,
}
"""What the source may call."""

WEIGHT_WORK: dict[str, Callable[..., Any]] = {
    **NAMES,
    "slice": lambda w, axis, start, stop: w.narrow(axis, start, stop - start),
    "cat": lambda *parts, axis: torch.cat(parts, axis),
    "reshape": lambda w, to: w.reshape(to),
}
"""Operations on a weight alone, where no axis is the batch's."""
