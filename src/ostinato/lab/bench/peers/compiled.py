"""The loops by hand under torch.compile, which unrolls them: it compiles for half a second a step."""

import torch

from ostinato.lab.bench.harness import NotThere, Side
from ostinato.lab.bench.peers.loops import encoder
from ostinato.lab.bench.sides import inferred, trained
from ostinato.lab.bench.work import Work


def training(work: Work) -> Side:
    """A training step."""
    _need_a_compiler()
    run = torch.compile(encoder)
    weights = dict(work.layer.named_parameters())
    return trained(lambda: run(work.layer, work.x), weights, work.gradient)


def inferring(work: Work) -> Side:
    """Forwards alone."""
    _need_a_compiler()
    run = torch.compile(encoder)
    return inferred(lambda: run(work.layer, work.x))


def _need_a_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError) as error:
        raise NotThere("torch.compile needs a C++ compiler, and finds none: install g++") from error
