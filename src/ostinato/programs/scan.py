"""A walk that is linear in the state, `c ← a·c + b`, run as a scan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ostinato.programs.builder import Builder
from ostinato.programs.naming import Namer
from ostinato.programs.program import Carried, Input, Op, Program, Value
from ostinato.programs.split import Parts, live


@dataclass(frozen=True)
class Scan:
    """`handed_on = a · given + b`, for one carried value."""

    carried: Carried
    a: Input
    b: Input


def as_scans(program: Program, parts: Parts) -> tuple[tuple[Scan, ...], tuple[Op, ...]] | None:
    """The walk as scans, and the operations that make their coefficients; None if it is none.

    Each walked value has to follow linearly from itself alone, with coefficients known before the walk.
    """
    build = Builder(Namer(program.everything))
    walked = [each.given for each in parts.walked]
    lines: dict[Value, _Line] = {each: _Line(each, 1.0, 0.0) for each in walked}
    for op in parts.walk:
        build.line = op.line
        line = _through(build, op, [lines.get(v, v) if isinstance(v, Value) else v for v in op.inputs])
        if line is None:
            return None
        lines[op.output] = line
    scans = []
    for each in parts.walked:
        line = lines.get(each.handed_on)
        if line is None or line.of is not each.given:
            return None
        scans.append(Scan(each, line.a, line.b))
    wanted = [v for scan in scans for v in (scan.a, scan.b) if isinstance(v, Value)]
    return (tuple(scans), tuple(live(build.ops, wanted))) if scans else None


@dataclass(frozen=True)
class _Line:
    """`a · of + b`."""

    of: Value
    a: Input
    b: Input


def _through(build: Builder, op: Op, inputs: Sequence["_Line | Input"]) -> "_Line | None":
    """What an operation makes of values that are linear in the state; None if that is not linear."""
    rule = _RULES.get(op.kind)
    return None if rule is None else rule(build, *inputs)


def _add(build: Builder, p: "_Line | Input", q: "_Line | Input") -> "_Line | None":
    if isinstance(p, _Line) and isinstance(q, _Line):
        return _Line(p.of, _sum(build, p.a, q.a), _sum(build, p.b, q.b)) if p.of is q.of else None
    line, other = (p, q) if isinstance(p, _Line) else (q, p)
    assert isinstance(line, _Line)
    assert not isinstance(other, _Line)
    return _Line(line.of, line.a, _sum(build, line.b, other))


def _neg(build: Builder, p: "_Line | Input") -> "_Line | None":
    return _mul(build, p, -1.0)


def _sub(build: Builder, p: "_Line | Input", q: "_Line | Input") -> "_Line | None":
    minus = _neg(build, q) if isinstance(q, _Line) else _times(build, q, -1.0)
    return None if minus is None else _add(build, p, minus)


def _rsub(build: Builder, p: "_Line | Input", q: "_Line | Input") -> "_Line | None":
    return _sub(build, q, p)


def _mul(build: Builder, p: "_Line | Input", q: "_Line | Input") -> "_Line | None":
    if isinstance(p, _Line) and isinstance(q, _Line):
        return None
    line, other = (p, q) if isinstance(p, _Line) else (q, p)
    assert isinstance(line, _Line)
    assert not isinstance(other, _Line)
    return _Line(line.of, _times(build, line.a, other), _times(build, line.b, other))


_RULES: dict[str, Callable[..., "_Line | None"]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "neg": _neg,
    "rsub": _rsub,
}


def _sum(build: Builder, a: Input, b: Input) -> Input:
    if isinstance(a, Value) or isinstance(b, Value):
        return build.add(a, b)
    return a + b


def _times(build: Builder, a: Input, b: Input) -> Input:
    if 0 in (a, b):
        return 0.0
    if isinstance(a, Value) or isinstance(b, Value):
        return build.mul(a, b)
    return a * b


SMALL = 4096
"""Steps of fewer numbers than this cost more to call than to compute; they are scanned in chunks."""


def scan(a: Tensor, b: Tensor, start: Tensor, out: Tensor, backwards: bool = False) -> None:
    """`out[t] = a[t] · out[t−1] + b[t]` over the first axis, `out[−1]` being `start`.

    `a` and `b` broadcast to `out`; `backwards` goes from the last t to the first. Small steps are
    done in chunks: all chunks are walked side by side from zero, then each is given what came before
    it. That adds and multiplies the same numbers in another order, and divides none, so gates at
    exactly 0 or 1 are as good as any.
    """
    a, b = a.expand_as(out), b.expand_as(out)
    time = out.shape[0]
    if time < 32 or out[0].numel() * 2 > SMALL:
        _walk(a, b, start, out, backwards)
    elif backwards:
        turned = torch.empty_like(out)
        _in_chunks(a.flip(0), b.flip(0), start, turned)
        out.copy_(turned.flip(0))
    else:
        _in_chunks(a, b, start, out)


def _in_chunks(a: Tensor, b: Tensor, start: Tensor, out: Tensor) -> None:
    time = out.shape[0]
    chunk = max(8, int(time**0.5))
    whole = time // chunk * chunk
    shape = (whole // chunk, chunk, *out.shape[1:])
    a_c, b_c = (each[:whole].reshape(shape) for each in (a, b))
    local = torch.empty_like(b_c)
    _walk(a_c.transpose(0, 1), b_c.transpose(0, 1), torch.zeros_like(b_c[:, 0]), local.transpose(0, 1))
    decay = torch.cumprod(a_c, 1)
    ends = torch.empty_like(local[:, -1])
    _walk(decay[:, -1], local[:, -1], start, ends)
    starts = torch.cat([start[None], ends[:-1]])
    torch.addcmul(local, decay, starts[:, None], out=out[:whole].view(shape))
    _walk(a[whole:], b[whole:], out[whole - 1], out[whole:])


def _walk(a: Tensor, b: Tensor, state: Tensor, out: Tensor, backwards: bool = False) -> None:
    order = slice(None, None, -1 if backwards else 1)
    for a_t, b_t, out_t in zip(*(each.unbind()[order] for each in (a, b, out)), strict=True):
        state = torch.addcmul(b_t, a_t, state, out=out_t)
