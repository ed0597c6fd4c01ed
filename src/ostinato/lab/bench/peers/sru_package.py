"""The package `sru` of the paper's authors: its second form of the unit, `cells.SRU2` here.

It compiles C++ when it is imported, for which it needs a compiler and ninja. On CPUs what is compiled
runs forwards alone; its training step there is a loop in Python, of which it warns.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells import SRU2
from ostinato.interchange.names import leaves, tree
from ostinato.lab.bench.harness import NotThere, Side
from ostinato.lab.bench.peers.needed import needed
from ostinato.lab.bench.sides import inferred, trained
from ostinato.lab.bench.work import Work


def training(work: Work) -> Side:
    """A training step."""
    module, x = _module(work), _turned(work.x)
    side = trained(_quiet(module, x), dict(module.named_parameters()), _turned(work.gradient))

    def numbers() -> dict[str, Tensor]:
        found = dict(side.numbers())
        made = {"outputs": _turned(found.pop("outputs"))}
        for index in range(work.sizes.layers):
            place = f"layers.{index}." if work.sizes.layers > 1 else ""
            own = f"rnn_lst.{index}."
            its = {name.removeprefix(own): found[name] for name in found if name.startswith(own)}
            made |= {f"{place}cell.{name}": each for name, each in _as_ours(its).items()}
        return made

    return Side(side.run, numbers)


def inferring(work: Work) -> Side:
    """Forwards alone."""
    module, x = _module(work).eval(), _turned(work.x)
    side = inferred(_quiet(module, x))
    return Side(side.run, lambda: {"outputs": _turned(side.numbers()["outputs"])})


def _module(work: Work) -> nn.Module:
    cells = [each for each in leaves(tree(work.layer)) if isinstance(each, SRU2)]
    sizes = work.sizes
    module: nn.Module = _package().SRU(sizes.inputs, sizes.hidden, sizes.layers, rescale=True)
    with torch.no_grad():
        for cell, its in zip(cells, module.rnn_lst, strict=True):  # type: ignore[arg-type]
            for name, value in _as_its(cell).items():
                getattr(its, name).copy_(value)
    return module


def _package() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no CUDA
            return needed("sru", "bench-sru")
    except NotThere:
        raise
    except Exception as error:
        raise NotThere(
            f"sru is installed and cannot be imported ({type(error).__name__}): it compiles C++ then, "
            "with g++ and ninja"
        ) from error


def _quiet(module: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is slow
            outputs: Tensor = module(x)[0]
        return outputs

    return run


def _as_its(cell: SRU2) -> dict[str, Tensor]:
    """Its blocks stand unit by unit, ours block by block."""
    W = cell.W.view(cell.input_size, cell.blocks, -1).transpose(1, 2).flatten(1)
    return {
        "weight": W,
        "weight_c": torch.cat([cell.v_f, cell.v_r]),
        "bias": torch.cat([cell.b_f, cell.b_r]),
    }


def _as_ours(its: dict[str, Tensor]) -> dict[str, Tensor]:
    (v_f, v_r), (b_f, b_r) = its["weight_c"].chunk(2), its["bias"].chunk(2)
    W = its["weight"].view(-1, len(b_f), its["weight"].shape[1] // len(b_f))
    W = W.transpose(1, 2).flatten(1)
    return {"W": W, "v_f": v_f, "v_r": v_r, "b_f": b_f, "b_r": b_r}


def _turned(a: Tensor) -> Tensor:
    """From batch first to time first, or back."""
    return a.transpose(0, 1).contiguous()
