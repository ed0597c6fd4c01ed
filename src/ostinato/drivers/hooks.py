"""What is to happen before a module is called, for cells, of which a driver calls the step alone."""

from typing import Any

from torch import nn

from ostinato.cells import Cell
from ostinato.errors import OptionError


def before_a_walk(layer: nn.Module, *given: Any) -> None:
    """Calls the forward pre-hooks of all cells within, once for all steps.

    Such hooks make weights from others: torch's pruning, its older weight norm and spectral norm.
    Raises OptionError for one that would change what the cell is given.
    """
    for part in layer.modules():
        if isinstance(part, Cell) and part._forward_pre_hooks:
            for key, hook in part._forward_pre_hooks.items():
                named = key in part._forward_pre_hooks_with_kwargs
                if (hook(part, given, {}) if named else hook(part, given)) is not None:
                    raise OptionError(
                        f"{type(part).__name__}: expected a forward pre-hook that changes nothing of "
                        "what it is given, since a driver calls it once for all steps; got one that "
                        "returns something. Register it on the layer: "
                        "layer.register_forward_pre_hook(hook)."
                    )
