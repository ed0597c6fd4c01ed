"""A training step of the layers that torch.nn has, beside torch.nn's: forwards and backwards, padded.

The input is data and has no gradient, as under training; there is no optimiser.
"""

from dataclasses import replace
from functools import partial

import torch

from harness import Claim, Entrant, Race
from ostinato.cells import GRU, LSTM, Elman
from peers import torch_nn
from sides import ours, with_other
from work import Gates, Maker, Sizes, Work

TORCHS_LSTM: Maker = partial(LSTM, forget_bias=0.0)
TORCHS_GRU: Maker = partial(GRU, reset_after=True)
OF_LSTM, OF_GRU, OF_ELMAN = Gates(4, 4), Gates(3, 3), Gates(1, 1)


def beside_torch(name: str, cell: Maker, gates: Gates, sizes: Sizes, least: float, aim: float) -> Race:
    return Race(
        f"train/{name}",
        "training step",
        sizes,
        cell,
        {"ours": Entrant(ours), "torch.nn": Entrant(torch_nn.layer)},
        (Claim("torch.nn", "≥", least, aim),),
        gates,
    )


def both_ways(work: Work) -> Work:
    """The same batch in both directions; each time with the same weights."""
    torch.manual_seed(1)
    return replace(Work.of(TORCHS_GRU, replace(work.sizes, both_ways=True)), x=work.x)


BOTH_OVER_ONE = Race(
    "both-ways/gru-256",
    "training step of one direction, beside both",
    Sizes(hidden=256, inputs=28, time=28, batch=100),
    TORCHS_GRU,
    {
        "ours": Entrant(ours),
        "torch.nn": Entrant(torch_nn.layer, timed=False),
        "ours both ways": Entrant(with_other(both_ways, ours), task="both ways"),
        "torch.nn both ways": Entrant(
            with_other(both_ways, torch_nn.layer), task="both ways", timed=False
        ),
    },
    (Claim("ours both ways", "≤", 2.1, 2.0),),
    OF_GRU,
)

_LSTM = partial(beside_torch, cell=TORCHS_LSTM, gates=OF_LSTM)
_GRU = partial(beside_torch, cell=TORCHS_GRU, gates=OF_GRU)
_ELMAN = partial(beside_torch, cell=Elman, gates=OF_ELMAN)
_28 = partial(Sizes, inputs=28, time=28)

CASES = [
    _LSTM("lstm-2x128", sizes=_28(hidden=128, batch=128, layers=2), least=1.4, aim=1.7),
    _LSTM("lstm-3x256", sizes=_28(hidden=256, batch=100, layers=3), least=1.3, aim=1.5),
    _LSTM("lstm-512", sizes=Sizes(hidden=512, inputs=128, time=100, batch=64), least=1.35, aim=1.5),
    _LSTM("lstm-long", sizes=Sizes(hidden=128, inputs=1, time=784, batch=64), least=2.2, aim=3.0),
    _GRU("gru-256", sizes=_28(hidden=256, batch=100), least=1.8, aim=2.4),
    _GRU(
        "bigru-2x256",
        sizes=_28(hidden=256, batch=100, layers=2, both_ways=True),
        least=1.6,
        aim=2.0,
    ),
    _ELMAN("elman-2x128", sizes=_28(hidden=128, batch=128, layers=2), least=1.4, aim=2.0),
    BOTH_OVER_ONE,
]
