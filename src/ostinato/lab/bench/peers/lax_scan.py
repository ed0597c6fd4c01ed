"""JAX: the recurrence in `lax.scan`, all of it under one jit.

On CPUs these are the best of JAX's ways that were tried. The product of the input stands within the
step of an LSTM, since outside it takes longer there; that of an SRU, which has no other, outside.
Unrolling the scan by 4 or 28 steps took longer for both, `lax.associative_scan` for an SRU. JAX uses
every core that it finds.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ostinato.cells import GRU, LSTM, SRU, Cell
from ostinato.drivers import Recurrent
from ostinato.lab.bench.harness import Side
from ostinato.lab.bench.peers.needed import needed
from ostinato.lab.bench.work import Work
from ostinato.wrappers import Bidirectional, Stack

Arrays = Mapping[str, Any]


def training(work: Work) -> Side:
    """A training step."""
    jax = needed("jax")
    encode = _encoder(jax, work)

    def step(weights: Arrays, x: Any, gradient: Any) -> Any:
        made, back = jax.vjp(lambda weights: encode(weights, x), weights)
        return made, back(gradient)[0]

    compiled = jax.jit(step)
    weights, x, gradient = _given(jax, work)

    def numbers() -> dict[str, Tensor]:
        made, gradients = compiled(weights, x, gradient)
        return {"outputs": _outputs(made), **{name: _tensor(each) for name, each in gradients.items()}}

    return Side(lambda: jax.block_until_ready(compiled(weights, x, gradient)), numbers)


def inferring(work: Work) -> Side:
    """Forwards alone."""
    jax = needed("jax")
    compiled = jax.jit(_encoder(jax, work))
    weights, x, _ = _given(jax, work)
    return Side(
        lambda: jax.block_until_ready(compiled(weights, x)),
        lambda: {"outputs": _outputs(compiled(weights, x))},
    )


def _encoder(jax: Any, work: Work) -> Callable[[Arrays, Any], Any]:
    """What the layer computes, time first; past a row's length zero."""
    T, B = work.sizes.time, work.sizes.batch
    keep = None if work.resets is None else _array(~work.resets.T[..., None]).astype(np.float32)
    valid = None
    if work.lengths is not None:
        valid = _array(torch.arange(T)[:, None] < work.lengths)[..., None]

    def walk(step: Callable[..., Any], start: Any, inputs: Any, reverse: bool) -> Any:
        """`step(state, inputs) → (state, output)`, its state put back where a row starts anew."""
        if keep is None:
            return jax.lax.scan(step, start, inputs, reverse=reverse)[1]

        def anew(state: Any, now: Any) -> Any:
            return step(jax.tree.map(lambda each: each * now[0], state), now[1])

        return jax.lax.scan(anew, start, (keep, inputs), reverse=reverse)[1]

    def encode(layer: nn.Module, prefix: str, weights: Arrays, x: Any) -> Any:
        if isinstance(layer, Stack):
            for index, each in enumerate(layer.layers):
                x = encode(each, f"{prefix}layers.{index}.", weights, x)
            return x
        if isinstance(layer, Bidirectional):
            both = ("forward_layer", "backward_layer")
            made = [encode(getattr(layer, each), f"{prefix}{each}.", weights, x) for each in both]
            return jax.numpy.concatenate(made, -1)
        assert isinstance(layer, Recurrent)
        cell, start = layer.cell, f"{prefix}cell."
        own = {name.removeprefix(start): each for name, each in weights.items() if start in name}
        zeros = jax.numpy.zeros((B, cell.hidden_size))
        return SCANS[type(cell)](jax, cell, own, x, zeros, walk, layer.reverse)

    def outputs(weights: Arrays, x: Any) -> Any:
        made = encode(work.layer, "", weights, x)
        return made if valid is None else jax.numpy.where(valid, made, 0)

    return outputs


def _lstm(jax: Any, cell: Cell, w: Arrays, x: Any, zeros: Any, walk: Any, reverse: bool) -> Any:
    assert isinstance(cell, LSTM)
    sigmoid, tanh = jax.nn.sigmoid, jax.numpy.tanh
    b = w["b"] + np.repeat(np.array([0, cell.forget_bias, 0, 0], np.float32), cell.hidden_size)

    def step(state: Any, now: Any) -> Any:
        h, c = state
        i, f, g, o = jax.numpy.split(now @ w["W_x"] + b + h @ w["W_h"], 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return (h, c), h

    return walk(step, (zeros, zeros), x, reverse)


def _gru(jax: Any, cell: Cell, w: Arrays, x: Any, zeros: Any, walk: Any, reverse: bool) -> Any:
    assert isinstance(cell, GRU)
    sigmoid, tanh, H = jax.nn.sigmoid, jax.numpy.tanh, cell.hidden_size

    def step(h: Any, now: Any) -> Any:
        a = now @ w["W_x"] + w["b"]
        r, z = jax.numpy.split(sigmoid(a[:, : 2 * H] + h @ w["W_h"]), 2, -1)
        if cell.reset_after:
            n = tanh(a[:, 2 * H :] + r * (h @ w["W_n"] + w["b_n"]))
        else:
            n = tanh(a[:, 2 * H :] + (r * h) @ w["W_n"])
        h = (1 - z) * n + z * h
        return h, h

    return walk(step, zeros, x, reverse)


def _sru(jax: Any, cell: Cell, w: Arrays, x: Any, zeros: Any, walk: Any, reverse: bool) -> Any:
    z, f, r = jax.numpy.split(x @ w["W"], 3, -1)
    f, r = jax.nn.sigmoid(f + w["b_f"]), jax.nn.sigmoid(r + w["b_r"])

    def step(c: Any, now: Any) -> Any:
        c = now[0] * c + now[1]
        return c, c

    return r * jax.numpy.tanh(walk(step, zeros, (f, (1 - f) * z), reverse))


SCANS: dict[type[Cell], Callable[..., Any]] = {LSTM: _lstm, GRU: _gru, SRU: _sru}


def _given(jax: Any, work: Work) -> tuple[dict[str, Any], Any, Any]:
    weights = {name: jax.numpy.asarray(_array(each)) for name, each in work.layer.named_parameters()}
    x, gradient = (jax.numpy.asarray(_array(each.transpose(0, 1))) for each in (work.x, work.gradient))
    return weights, x, gradient


def _array(a: Tensor) -> Any:
    return np.ascontiguousarray(a.detach().numpy())


def _tensor(a: Any) -> Tensor:
    return torch.tensor(np.asarray(a))


def _outputs(made: Any) -> Tensor:
    return _tensor(made).transpose(0, 1)
