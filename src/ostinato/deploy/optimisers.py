"""Whether any optimiser has stepped: torch does not count what a fused one does to a weight."""

from functools import cache

import torch
from torch.autograd.graph import increment_version
from torch.optim.optimizer import register_optimizer_step_post_hook

from ostinato.kernels.stepper import Watched


@cache
def steps_of_optimisers() -> Watched:
    """To be watched like a weight: it has changed once any optimiser of this process has stepped."""
    steps = torch.zeros((), device="cpu")
    register_optimizer_step_post_hook(lambda *_: increment_version(steps))
    return {"steps": steps}, "steps", steps
