"""The operations of torch that a step may call, and what each is in a program."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from ostinato.cells.masks import RANDOM_MASK
from ostinato.programs.builder import Builder
from ostinato.programs.program import Input, Value
from ostinato.programs.trace import Batch, Call, Untraceable

aten = torch.ops.aten

# One rule an operation of torch. Each takes the builder, the call, and the arguments as values.

Rule = Callable[..., Any]
RULES: dict[Any, Rule] = {}


R = TypeVar("R", bound=Rule)


def _rule(*packets: Any) -> Callable[[R], R]:
    def register(rule: R) -> R:
        RULES.update(dict.fromkeys(packets, rule))
        return rule

    return register


def _aligned(*inputs: Input) -> list[Input]:
    """Inputs that broadcast row by row; a weight loses a leading axis of 1 that meets the batch."""
    ranks = {len(each.shape) for each in inputs if isinstance(each, Value) and each.rows}
    if len(ranks) > 1:
        raise Untraceable("its inputs meet at different axes, so that rows would mix")
    (rank,) = ranks
    for each in inputs:
        if isinstance(each, Value) and not each.rows and len(each.shape) > rank:
            raise Untraceable("a weight has an axis where the batch is; give it one less")
    return list(inputs)


def _elementwise(kind: str) -> Rule:
    def rule(build: Builder, call: Call, *inputs: Input) -> Value:
        inputs = tuple(_aligned(*inputs))
        if not isinstance(inputs[0], Value):
            raise Untraceable("a number stands where a tensor is expected")
        return build.map(kind, *inputs)

    return rule


for _name in (
    "neg sigmoid tanh relu exp log log1p expm1 sqrt rsqrt reciprocal abs sign sin cos erf silu "
    "hardsigmoid maximum minimum gt ge lt le eq ne"
).split():
    RULES[getattr(aten, _name)] = _elementwise(_name)


COMPARISONS = frozenset((aten.gt, aten.ge, aten.lt, aten.le, aten.eq, aten.ne))
MASK_VIEWS = frozenset((
    aten.view, aten._unsafe_view, aten.reshape, aten.unsqueeze, aten.squeeze, aten.expand, aten.slice,
    aten.select, aten.split, aten.split_with_sizes, aten.unbind, aten.cat, aten.stack, aten.permute,
    aten.transpose, aten.t, aten.clone, aten.alias,
))  # fmt: skip
TAKE_MASKS = MASK_VIEWS | {aten.where}
MAKE_MASKS = MASK_VIEWS | COMPARISONS


@_rule(aten.add)
def _add(build: Builder, call: Call, a: Input, b: Input, alpha: float = 1) -> Value:
    a, b = _aligned(a, b)
    return build.add(a, _scaled(build, b, alpha))


@_rule(aten.sub)
def _sub(build: Builder, call: Call, a: Input, b: Input, alpha: float = 1) -> Value:
    a, b = _aligned(a, b)
    return build.sub(a, _scaled(build, b, alpha))


@_rule(aten.rsub)
def _rsub(build: Builder, call: Call, a: Input, b: Input, alpha: float = 1) -> Value:
    a, b = _aligned(a, b)
    return build.sub(b, _scaled(build, a, alpha))


def _scaled(build: Builder, a: Input, factor: float) -> Input:
    if factor == 1:
        return a
    return build.mul(a, factor) if isinstance(a, Value) else a * factor


@_rule(aten.mul)
def _mul(build: Builder, call: Call, a: Input, b: Input) -> Value:
    return build.mul(*_aligned(a, b))


@_rule(aten.div)
def _div(build: Builder, call: Call, a: Input, b: Input, rounding_mode: str | None = None) -> Value:
    if rounding_mode is not None:
        raise Untraceable("a rounding mode is not in the set")
    return build.div(*_aligned(a, b))


@_rule(aten.pow)
def _pow(build: Builder, call: Call, a: Input, exponent: Input) -> Value:
    if isinstance(exponent, Value) or not isinstance(a, Value):
        raise Untraceable("the exponent has to be a number")
    return build.mul(a, a) if exponent == 2 else build.map("power", a, exponent=float(exponent))


@_rule(aten.square)
def _square(build: Builder, call: Call, a: Value) -> Value:
    return build.mul(a, a)


@_rule(aten.hardtanh)
def _hardtanh(build: Builder, call: Call, a: Value, low: float = -1, high: float = 1) -> Value:
    return build.map("hardtanh", a, low=float(low), high=float(high))


@_rule(aten.clamp)
def _clamp(build: Builder, call: Call, a: Value, low: Any = None, high: Any = None) -> Value:
    if isinstance(low, Value) or isinstance(high, Value):
        raise Untraceable("the limits have to be numbers")
    low, high = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    return build.map("clamp", a, low=low, high=high)


@_rule(aten.clamp_min)
def _clamp_min(build: Builder, call: Call, a: Value, low: Any) -> Value:
    return _clamp(build, call, a, low)


@_rule(aten.clamp_max)
def _clamp_max(build: Builder, call: Call, a: Value, high: Any) -> Value:
    return _clamp(build, call, a, None, high)


@_rule(aten.softplus)
def _softplus(build: Builder, call: Call, a: Value, beta: float = 1, threshold: float = 20) -> Value:
    return build.map("softplus", a, beta=beta, threshold=threshold)


@_rule(aten.log_sigmoid_forward)
def _log_sigmoid(build: Builder, call: Call, a: Value) -> Value:
    return build.neg(build.map("softplus", build.neg(a), beta=1, threshold=20))


@_rule(aten.elu)
def _elu(
    build: Builder, call: Call, a: Value, alpha: float = 1, scale: float = 1, input_scale: float = 1
) -> Value:
    return build.map("elu", a, alpha=alpha, scale=scale, input_scale=input_scale)


@_rule(aten.celu)
def _celu(build: Builder, call: Call, a: Value, alpha: float = 1) -> Value:
    return _elu(build, call, a, alpha, 1, 1 / alpha)


@_rule(aten.gelu)
def _gelu(build: Builder, call: Call, a: Value, approximate: str = "none") -> Value:
    return build.map("gelu", a, approximate=approximate)


@_rule(aten.leaky_relu)
def _leaky_relu(build: Builder, call: Call, a: Value, slope: float = 0.01) -> Value:
    return build.map("leaky_relu", a, slope=slope)


@_rule(aten.hardswish)
def _hardswish(build: Builder, call: Call, a: Value) -> Value:
    return build.mul(a, build.map("hardsigmoid", a))


@_rule(aten.where)
def _where(build: Builder, call: Call, mask: Value, a: Input, b: Input) -> Value:
    return build.map("where", *_aligned(mask, a, b))


@_rule(aten.lerp)
def _lerp(build: Builder, call: Call, a: Input, b: Input, weight: Input) -> Value:
    a, b, weight = _aligned(a, b, weight)
    return build.add(a, build.mul(weight, build.sub(b, a)))


@_rule(aten.addcmul)
def _addcmul(build: Builder, call: Call, c: Input, a: Input, b: Input, value: float = 1) -> Value:
    c, a, b = _aligned(c, a, b)
    return build.add(c, _scaled(build, build.mul(a, b), value))


@_rule(RANDOM_MASK)
def _random_mask(
    build: Builder, call: Call, draw: Value, shape: list[int], drop: float, scale: float, stream: int,
    dtype: torch.dtype,
) -> Value:  # fmt: skip
    options: dict[str, Any] = {"drop": drop, "scale": scale, "stream": stream}
    return build.emit("random_mask", draw, shape=shape, to=tuple(shape), **options)


# Products with a weight.


@_rule(aten.mm)
def _mm(build: Builder, call: Call, a: Value, b: Value) -> Value:
    if not a.rows or b.rows:
        raise Untraceable("a product has rows on the left and a weight on the right: x @ W")
    return build.product(a, b)


@_rule(aten.addmm)
def _addmm(
    build: Builder, call: Call, c: Value, a: Value, b: Value, beta: float = 1, alpha: float = 1
) -> Value:
    product = _mm(build, call, a, b)
    c, product = _aligned(_scaled(build, c, beta), _scaled(build, product, alpha))  # type: ignore[assignment]
    return build.add(product, c)


@_rule(aten.convolution)
def _convolution(
    build: Builder,
    call: Call,
    a: Value,
    w: Value,
    bias: Value | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Value:
    if transposed or not a.rows or w.rows:
        raise Untraceable("a convolution has rows as input and a weight as kernel, not transposed")
    shape = call.shapes[0]
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    options: dict[str, Any] = {name: tuple(each) for name, each in settings.items()}
    options["groups"] = groups
    out = build.emit("conv", a, w, shape=shape[1:], **options)
    if bias is None:
        return out
    spread = build.emit(
        "reshape",
        bias,
        shape=(*bias.shape, *[1] * (len(out.shape) - 1)),
        rows=False,
        to=(*bias.shape, *[1] * (len(out.shape) - 1)),
    )
    return build.add(out, spread)


# Views: nothing is computed.


@_rule(aten.detach, aten.clone, aten.alias, aten.contiguous, aten._to_copy, aten.lift_fresh)
def _same(build: Builder, call: Call, a: Value, **_: Any) -> Value:
    # Torch detaches what it has just filled with a number.
    filled = a in build.made_by and build.made_by[a].kind == "full"
    if call.function.overloadpacket is aten.detach and not filled:
        raise Untraceable("a detached value has no gradient; leave detach() to the driver")
    if call.function.overloadpacket is aten._to_copy:
        raise Untraceable("numbers of another kind than the weights'")
    return a


@_rule(aten.view, aten._unsafe_view, aten.reshape)
def _view(build: Builder, call: Call, a: Value, shape: Any) -> Value:
    made = call.shapes[0]
    if not a.rows or not made or made[0] != Batch() or Batch() in made[1:]:
        raise Untraceable("the batch has to stay the first axis")
    return build.reshape(a, made[1:])


@_rule(aten.unsqueeze, aten.squeeze)
def _squeeze(build: Builder, call: Call, a: Value, *_: Any) -> Value:
    return _view(build, call, a, None)


@_rule(aten.expand)
def _expand(build: Builder, call: Call, a: Value, shape: Any, implicit: bool = False) -> Value:
    made = call.shapes[0]
    if made[0] != Batch():
        raise Untraceable("the batch has to stay the first axis")
    if a.rows:
        return build.expand(a, made[1:])
    if len(a.shape) == len(made):
        raise Untraceable("a weight has an axis where the batch is; give it one less")
    return build.add(build.full(made[1:], 0.0), a)


def _axis(a: Value, axis: int, past_end: int = 0) -> int:
    axis = axis + len(a.shape) + 1 + past_end if axis < 0 else axis
    if axis == 0 or not a.rows:
        raise Untraceable("the batch has to stay whole")
    return axis - 1


@_rule(aten.slice)
def _slice(
    build: Builder,
    call: Call,
    a: Value,
    axis: int = 0,
    start: Any = None,
    end: Any = None,
    step: int = 1,
) -> Value:
    made = call.shapes[0]
    if axis == 0 and start in (None, 0) and made[0] == Batch():
        return a
    axis = _axis(a, axis)
    if step != 1:
        raise Untraceable("a slice takes every element: step 1")
    start = (start or 0) + a.shape[axis] if (start or 0) < 0 else start or 0
    return build.slice(a, axis, start, start + made[axis + 1])


@_rule(aten.select)
def _select(build: Builder, call: Call, a: Value, axis: int, index: int) -> Value:
    axis = _axis(a, axis)
    index = index + a.shape[axis] if index < 0 else index
    piece = build.slice(a, axis, index, index + 1)
    return build.reshape(piece, (*a.shape[:axis], *a.shape[axis + 1 :]))


@_rule(aten.split, aten.split_with_sizes, aten.unsafe_split, aten.unsafe_split_with_sizes)
def _split(build: Builder, call: Call, a: Value, sizes: Any, axis: int = 0) -> list[Value]:
    axis = _axis(a, axis)
    pieces, start = [], 0
    for shape in call.shapes:
        pieces.append(build.slice(a, axis, start, start + shape[axis + 1]))
        start += shape[axis + 1]
    return pieces


@_rule(aten.unbind)
def _unbind(build: Builder, call: Call, a: Value, axis: int = 0) -> list[Value]:
    return [_select(build, call, a, axis, index) for index in range(a.shape[_axis(a, axis)])]


@_rule(aten.cat)
def _cat(build: Builder, call: Call, parts: list[Value], axis: int = 0) -> Value:
    parts = [_spread(build, each, call) for each in parts]
    return build.cat(parts, _axis(parts[0], axis))


@_rule(aten.stack)
def _stack(build: Builder, call: Call, parts: list[Value], axis: int = 0) -> Value:
    parts = [_spread(build, each, call) for each in parts]
    axis = _axis(parts[0], axis, past_end=1)
    shape = parts[0].shape
    return build.cat([build.reshape(p, (*shape[:axis], 1, *shape[axis:])) for p in parts], axis)


def _spread(build: Builder, part: Value, call: Call) -> Value:
    if not part.rows:
        raise Untraceable("a weight is put beside rows; expand it over the batch first")
    return part


@_rule(aten.permute, aten.transpose, aten.t)
def _permute(build: Builder, call: Call, a: Value, *axes: Any) -> Value:
    rank = len(a.shape) + 1
    packet = call.function.overloadpacket
    if packet is aten.permute:
        order = [axis % rank for axis in axes[0]]
    else:
        first, second = (0, 1) if packet is aten.t else (axis % rank for axis in axes)
        order = list(range(rank))
        order[first], order[second] = order[second], order[first]
    if order[0] != 0:
        raise Untraceable("the batch has to stay the first axis")
    return build.permute(a, [axis - 1 for axis in order[1:]])


@_rule(aten.full_like, aten.zeros_like, aten.ones_like, aten.full, aten.zeros, aten.ones,
       aten.new_zeros, aten.new_ones, aten.new_full, aten.scalar_tensor)  # fmt: skip
def _filled_rows(build: Builder, call: Call, *args: Any, **_: Any) -> Value:
    shape = call.shapes[0]
    name = call.function.overloadpacket.__name__
    if not shape or shape[0] != Batch():
        raise Untraceable("the batch has to be the first axis")
    value = 0.0 if "zeros" in name else 1.0 if "ones" in name else args[2 if name == "new_full" else 1]
    return build.full(shape[1:], float(value))


# Within a row.


def _axes(a: Value, axes: Any) -> list[int]:
    if axes is None or (isinstance(axes, list) and not axes):
        raise Untraceable("a sum over the batch mixes rows; name the axes")
    return [_axis(a, axis) for axis in ([axes] if isinstance(axes, int) else axes)]


@_rule(aten.sum)
def _sum(build: Builder, call: Call, a: Value, axes: Any = None, *_: Any, **__: Any) -> Value:
    made = call.shapes[0]
    return build.reshape(build.sum(a, _axes(a, axes)), made[1:])


@_rule(aten.mean)
def _mean(build: Builder, call: Call, a: Value, axes: Any = None, *_: Any, **__: Any) -> Value:
    count = math.prod(a.shape[axis] for axis in _axes(a, axes))
    return build.mul(_sum(build, call, a, axes), 1 / count)


@_rule(aten.var)
def _var(
    build: Builder, call: Call, a: Value, axes: Any = None, correction: Any = 1, keepdim: bool = False
) -> Value:
    made = call.shapes[0]
    which = _axes(a, axes)
    count = math.prod(a.shape[axis] for axis in which)
    away = build.sub(a, build.mul(build.sum(a, which), 1 / count))
    squares = build.sum(build.mul(away, away), which)
    return build.reshape(
        build.mul(squares, 1 / (count - (1 if correction is None else correction))), made[1:]
    )


@_rule(aten._softmax)
def _softmax(build: Builder, call: Call, a: Value, axis: int, _half: bool) -> Value:
    return build.emit("softmax", a, shape=a.shape, axis=_axis(a, axis))


@_rule(aten.native_layer_norm)
def _layer_norm(
    build: Builder, call: Call, a: Value, shape: Any, gain: Any, bias: Any, eps: float
) -> tuple[Value, Value, Value]:
    count = len(shape)
    small = (*a.shape[: len(a.shape) - count], *[1] * count)
    y, mean, rstd = build.emit_all("standardise", [a], [a.shape, small, small], axes=count, eps=eps)
    if gain is not None:
        y = build.mul(*_aligned(y, gain))
    if bias is not None:
        y = build.add(*_aligned(y, bias))
    return y, mean, rstd
