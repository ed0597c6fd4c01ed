"""The 41 cells of the package torchrecurrent, adapted, beside that package's own layers."""

import re
from collections.abc import Callable
from functools import partial

from torch import nn

from ostinato.cells import Adapted
from ostinato.drivers import Recurrent
from ostinato.lab.bench.harness import Entrant, Race, Side
from ostinato.lab.bench.peers.needed import needed
from ostinato.lab.bench.sides import ours, trained
from ostinato.lab.bench.work import Sizes, Work
from ostinato.wrappers import Stack

NAMES = re.findall(
    r"\w+",
    "AntisymmetricRNN ATR BR CFN coRNN DSGU FastGRNN FastRNN GatedAntisymmetricRNN IndRNN "
    "IntersectionRNN JANET LEM LiGRU LightRU MCLSTM MGU MinimalRNN MiRU1 MiRU2 MultiplicativeLSTM "
    "MUT1 MUT2 MUT3 NAS NBR OriginalLSTM PeepholeLSTM RAN ResLSTM SCRN SGRN SGU STAR tauGRU TGRU TLSTM "
    "TRNN UGRNN UnICORNN WMCLSTM",
)
"""Of its layers; a cell is called so with Cell behind."""


WILD = ("AntisymmetricRNN", "GatedAntisymmetricRNN", "BR")
"""Chaotic as they are made: two ways to round lead to two places after 28 steps, float64 to a third.
They get a tenth of their weights."""

ROOM = {**dict.fromkeys(WILD, 1e-3), "FastGRNN": 1e-2}
"""How far numbers may be apart, where 1e-4 is too little; the gradient of one of FastGRNN's weights is
a single number, which nearly half a million of both signs add up to."""


def adapted(name: str, input_size: int, hidden_size: int) -> Adapted:
    cell = getattr(needed("torchrecurrent"), f"{name}Cell")(input_size, hidden_size)
    if name in WILD:
        for weight in cell.parameters():
            weight.detach().mul_(0.1)
    return Adapted(cell)


def its_layer(name: str, work: Work) -> Side:
    """Time first, with the very cells that ours run."""
    sizes = work.sizes
    make: Callable[..., nn.Module] = getattr(needed("torchrecurrent"), name)
    # Its tauGRU reads a second state from some steps ago, which its cell alone takes to be zero; so
    # does the layer for as many steps.
    options = {"delay": sizes.time} if name == "tauGRU" else {}
    layer = make(sizes.inputs, sizes.hidden, num_layers=sizes.layers, **options)
    assert isinstance(work.layer, Stack)
    cells = [each.cell for each in work.layer.layers if isinstance(each, Recurrent)]
    layer.cells = nn.ModuleList(each.module for each in cells if isinstance(each, Adapted))
    x = work.x.transpose(0, 1).contiguous()
    weights = dict(work.layer.named_parameters())
    return trained(lambda: layer(x)[0].transpose(0, 1), weights, work.gradient)


CASES = [
    Race(
        f"torchrecurrent/{name}",
        "training step",
        # IntersectionRNN mixes its input into its output.
        Sizes(128, inputs=128 if name == "IntersectionRNN" else 28, time=28, batch=128, layers=2),
        partial(adapted, name),
        {"ours": Entrant(ours), "its layer": Entrant(partial(its_layer, name), "torchrecurrent")},
        tolerance=ROOM.get(name, 1e-4),
        patience=0.4,
    )
    for name in NAMES
]
