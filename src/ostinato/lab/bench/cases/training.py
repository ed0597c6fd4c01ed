"""A training step of the layers that torch.nn has, beside torch.nn's: forwards and backwards, padded.

The input is data and has no gradient, as under training; there is no optimiser.
"""

from dataclasses import replace
from functools import partial

import torch

from ostinato.cells import GRU, LSTM, Elman
from ostinato.lab.bench.harness import Entrant, Race
from ostinato.lab.bench.peers import torch_nn
from ostinato.lab.bench.sides import ours, with_other
from ostinato.lab.bench.work import Maker, Sizes, Work

TORCHS_LSTM: Maker = partial(LSTM, forget_bias=0.0)
TORCHS_GRU: Maker = partial(GRU, reset_after=True)


def beside_torch(name: str, cell: Maker, sizes: Sizes) -> Race:
    return Race(
        f"train/{name}",
        "training step",
        sizes,
        cell,
        {"ours": Entrant(ours), "torch.nn": Entrant(torch_nn.layer, "torch.nn")},
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
        "torch.nn": Entrant(torch_nn.layer, "torch.nn", timed=False),
        "ours both ways": Entrant(with_other(both_ways, ours), task="both ways"),
        "torch.nn both ways": Entrant(
            with_other(both_ways, torch_nn.layer), "torch.nn", task="both ways", timed=False
        ),
    },
)

_LSTM = partial(beside_torch, cell=TORCHS_LSTM)
_GRU = partial(beside_torch, cell=TORCHS_GRU)
_ELMAN = partial(beside_torch, cell=Elman)
_28 = partial(Sizes, inputs=28, time=28)

CASES = [
    _LSTM("lstm-2x128", sizes=_28(hidden=128, batch=128, layers=2)),
    _LSTM("lstm-3x256", sizes=_28(hidden=256, batch=100, layers=3)),
    _LSTM("lstm-512", sizes=Sizes(hidden=512, inputs=128, time=100, batch=64)),
    _LSTM("lstm-long", sizes=Sizes(hidden=128, inputs=1, time=784, batch=64)),
    _GRU("gru-256", sizes=_28(hidden=256, batch=100)),
    _GRU("bigru-2x256", sizes=_28(hidden=256, batch=100, layers=2, both_ways=True)),
    _ELMAN("elman-2x128", sizes=_28(hidden=128, batch=128, layers=2)),
    BOTH_OVER_ONE,
]
