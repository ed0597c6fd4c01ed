"""How much memory a training step of a recipe needs, measured in a process of its own."""

import ctypes
import gc
from pathlib import Path

import torch
from torch import Tensor, nn

from ostinato.errors import OptionError
from ostinato.lab.peak import STATUS, in_fresh_processes, raised_by
from ostinato.models.build import build
from ostinato.models.settings import CNNSettings, ImageShape, RecurrentSettings
from ostinato.training import Recipe
from ostinato.training.learning import learn, make_optimizer

CLEAR = Path("/proc/self/clear_refs")


def memory_of_step(recipe: Recipe, shape: ImageShape, threads: int, device: str = "cpu") -> int:
    """Bytes: the gradients, what the batch leaves for the backward pass, and the optimiser's memory.

    The weights and the batch are there before. Raises OptionError where it cannot be measured.
    """
    if not STATUS.exists():
        raise OptionError("not measured here: this system has no /proc")
    if torch.device(device).type != "cpu":
        raise OptionError(f"not measured here: on {device}")
    return in_fresh_processes(1, _raised, recipe, shape, threads=threads)


def _raised(recipe: Recipe, shape: ImageShape) -> int:
    """In the fresh process."""
    small = recipe.model_copy(update={"model": _small(recipe.model)})
    _step(small, _network(small, shape), *_batch(2, shape))
    network, batch = _network(recipe, shape), _batch(recipe.training.batch, shape)
    if isinstance(recipe.model, RecurrentSettings) and recipe.model.driver == "static":
        _compile(recipe, network, *batch)
    return raised_by(lambda: _step(recipe, network, *batch))


def _step(recipe: Recipe, network: nn.Module, x: Tensor, labels: Tensor) -> None:
    optimizer = make_optimizer(recipe.optimizer, network)
    learn(network, optimizer, x, labels, recipe.training.clip_norm)


def _compile(recipe: Recipe, network: nn.Module, x: Tensor, labels: Tensor) -> None:
    """A first step, after which all that it took is given back: a compiler needs more than a step."""
    _step(recipe, network, x, labels)
    network.zero_grad()
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        CLEAR.write_text("5")  # the peak begins anew
    except (OSError, AttributeError) as error:
        raise OptionError(f"not measured here: the peak cannot be set back ({error})") from error


def _network(recipe: Recipe, shape: ImageShape) -> nn.Module:
    return build(recipe.model, shape).train()


def _batch(size: int, shape: ImageShape) -> tuple[Tensor, Tensor]:
    return torch.rand(size, shape.rows, shape.columns), torch.arange(size) % shape.classes


def _small(model: RecurrentSettings | CNNSettings) -> RecurrentSettings | CNNSettings:
    """The same kind of network, of no size to speak of, which warms torch up."""
    if isinstance(model, CNNSettings):
        return model.model_copy(update={"channels": [2] * len(model.channels), "hidden": 8})
    return model.model_copy(update={"hidden": 8, "driver": "dynamic"})
