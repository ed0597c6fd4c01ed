"""A module lent other weights for one call."""

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def lent(module: M, weights: Mapping[str, Tensor]) -> M:
    """The same module with these weights: a light copy, so that nothing changes that others hold.

    What torch.func.functional_call does to the module itself, for as long as it runs.
    """
    made = object.__new__(type(module))
    own: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in module._modules}
    for name, each in weights.items():
        part, _, rest = name.partition(".")
        (parts[part] if rest else own)[rest or name] = each
    inner = {
        name: None if part is None else lent(part, parts[name])
        for name, part in module._modules.items()
    }
    made.__dict__ = {**module.__dict__, "_parameters": own, "_modules": inner}
    return made
