"""SRU in JAX: products outside, the recurrence in `lax.scan`, all of a training step under one jit.

On CPUs this is the best of JAX's ways that were tried: unrolling the scan by 4, 8 or 28 steps and
`lax.associative_scan` both took longer. JAX uses every core that it finds.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness import NotThere, Side
from ostinato.cells import SRU
from ostinato.drivers import Recurrent
from work import Work


def sru(work: Work) -> Side:
    """A training step of one layer."""
    try:
        import jax
        from jax import lax, nn
        from jax import numpy as jnp
    except ImportError:
        raise NotThere("jax is not installed: pip install 'ostinato[bench]'") from None
    assert isinstance(work.layer, Recurrent)
    cell = work.layer.cell
    assert isinstance(cell, SRU)

    def outputs(weights: dict[str, Any], x: Any) -> Any:
        z, f, r = jnp.split(x @ weights["cell.W"], 3, -1)
        f, r = nn.sigmoid(f + weights["cell.b_f"]), nn.sigmoid(r + weights["cell.b_r"])

        def step(c: Any, now: Any) -> Any:
            c = now[0] * c + now[1]
            return c, c

        _, c = lax.scan(step, jnp.zeros(z.shape[1:]), (f, (1 - f) * z))
        return r * jnp.tanh(c)

    @jax.jit
    def step(weights: dict[str, Any], x: Any, gradient: Any) -> Any:
        made, back = jax.vjp(lambda weights: outputs(weights, x), weights)
        return made, back(gradient)[0]

    given = {name: _array(each) for name, each in work.layer.named_parameters()}
    x, gradient = (jnp.asarray(_array(each.transpose(0, 1))) for each in (work.x, work.gradient))
    weights = {name: jnp.asarray(each) for name, each in given.items()}

    def numbers() -> dict[str, Tensor]:
        made, gradients = step(weights, x, gradient)
        found = {name: torch.tensor(np.asarray(each)) for name, each in gradients.items()}
        return {"outputs": torch.tensor(np.asarray(made)).transpose(0, 1), **found}

    return Side(lambda: jax.block_until_ready(step(weights, x, gradient)), numbers)


def _array(a: Tensor) -> Any:
    return np.ascontiguousarray(a.detach().numpy())
