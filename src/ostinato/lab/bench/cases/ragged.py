"""Sequences of many lengths, and sequences that start anew on their way: a training step."""

from functools import partial

from ostinato.lab.bench.cases.training import TORCHS_GRU, TORCHS_LSTM
from ostinato.lab.bench.harness import Entrant, Race
from ostinato.lab.bench.peers import torch_nn
from ostinato.lab.bench.sides import ours, ours_packed
from ostinato.lab.bench.work import Maker, Sizes

OURS_PACKED = "ours packed"


def beside_packed(name: str, cell: Maker, both_ways: bool = False) -> Race:
    """Ours is given the padded batch and lengths; the others a PackedSequence made beforehand."""
    sizes = Sizes(256, inputs=32, time=200, batch=64, both_ways=both_ways, lengths=(50, 200))
    return Race(
        f"packed/{name}",
        "training step",
        sizes,
        cell,
        {
            "ours": Entrant(ours),
            OURS_PACKED: Entrant(ours_packed),
            "torch.nn packed": Entrant(torch_nn.packed, "torch.nn"),
        },
    )


_LSTM = partial(beside_packed, cell=TORCHS_LSTM)
_GRU = partial(beside_packed, cell=TORCHS_GRU)

RESETS = Race(
    "resets/lstm-256",
    "training step",
    Sizes(256, inputs=32, time=128, batch=16, resets=0.05),
    TORCHS_LSTM,
    {
        "ours": Entrant(ours),
        "steps of nn.LSTM": Entrant(torch_nn.by_steps, "torch.nn"),
        "segments of nn.LSTM": Entrant(torch_nn.by_segments, "torch.nn"),
    },
)

PACKED = [
    _LSTM("lstm-256"),
    _GRU("gru-256"),
    _LSTM("bilstm-256", both_ways=True),
    _GRU("bigru-256", both_ways=True),
]

CASES = [*PACKED, RESETS]
