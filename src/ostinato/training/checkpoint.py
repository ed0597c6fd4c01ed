"""A checkpoint: everything a training needs to go on as if it had never stopped, in one file.

    model.<name>                  weights
    optimizer.<index>.<name>      what the optimiser remembers of each weight
    random.cpu, random.cuda       the state of torch's generators
    header "ostinato"             format, step, seconds, compile_seconds, ended

The format is safetensors: tensors and text, nothing that could run. The order of the images needs no
place here, since it follows from the seed and the epoch.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ostinato.errors import RunError
from ostinato.files import read_tensors, write_tensors

FORMAT = 1


@dataclass(frozen=True)
class Position:
    """How far a training has come: steps done, seconds spent on them, and of those on compiling.

    `ended` says why no more steps are to be taken, if it is before the last one.
    """

    step: int
    seconds: float
    compile_seconds: float = 0.0
    ended: str | None = None


def write_checkpoint(path: Path, model: nn.Module, optimizer: Optimizer, position: Position) -> None:
    """Replaces the checkpoint at `path` in one move."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if value is not None:
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    tensors["random.cpu"] = torch.get_rng_state()
    if _device(model).type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(_device(model))
    write_tensors(path, tensors, {"format": FORMAT, **asdict(position)})


def read_checkpoint(path: Path, model: nn.Module, optimizer: Optimizer) -> Position:
    """Puts model, optimiser and torch's generators back to where the checkpoint was written.

    Raises RunError when the file is missing, damaged, newer than this library, or of another model.
    """
    header, tensors = read_tensors(path, FORMAT, RunError, "a checkpoint to resume from")
    try:
        model.load_state_dict(_under("model.", tensors))
        _load_optimizer(optimizer, _under("optimizer.", tensors))
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and _device(model).type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], _device(model))
    except (RuntimeError, ValueError, KeyError) as error:
        raise RunError(f"{path}: it does not fit this run's recipe: {error}") from error
    # What older checkpoints lack did not exist when they were written.
    return Position(
        header["step"], header["seconds"], header.get("compile_seconds", 0.0), header.get("ended")
    )


def _load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    # The settings (learning rate, …) come from the recipe, through the optimiser as it was made.
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)
    }


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
