"""The element-wise functions that an option of a cell may name."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ostinato.errors import OptionError, nearest

ActivationName = Literal[
    "tanh",
    "relu",
    "sigmoid",
    "hard_sigmoid",
    "hard_tanh",
    "softsign",
    "softplus",
    "identity",
    "linear",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
]
Activation = str | Callable[[Tensor], Tensor]
"""One of those names, or an element-wise function of one's own."""


def _identity(a: Tensor) -> Tensor:
    return a


def _hard_sigmoid(a: Tensor) -> Tensor:
    # torch's own has no second derivative.
    return (a / 6 + 0.5).clamp(0, 1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": _hard_sigmoid,
    "hard_tanh": functional.hardtanh,
    "softsign": functional.softsign,
    "softplus": functional.softplus,
    "identity": _identity,
    "linear": _identity,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "mish": functional.mish,
}
"""As torch defines them: hard_sigmoid is a/6 + 1/2 within 0…1, as in Keras 3 (Keras 2 had a/5); the
slope of leaky_relu is 0.01, gelu is the exact one, elu has α = 1. "linear" is "identity"."""


def check_activation(owner: object, activation: Activation, option: str = "activation") -> Activation:
    """The activation itself; raises OptionError for an unknown name, or for what cannot be called."""
    name = type(owner).__name__
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise OptionError(
                f'{name}: unknown {option} "{activation}"; {nearest(activation, ACTIVATIONS)}'
            )
    elif not callable(activation):
        raise OptionError(
            f"{name}: {option} must be the name of an activation or a function, got {activation!r}; "
            f"known: {', '.join(sorted(ACTIVATIONS))}"
        )
    return activation


def activate(activation: Activation, a: Tensor) -> Tensor:
    """φ(a), element by element."""
    return (ACTIVATIONS[activation] if isinstance(activation, str) else activation)(a)
