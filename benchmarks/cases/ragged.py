"""Sequences of many lengths, and sequences that start anew on their way: a training step."""

from functools import partial

from cases.training import OF_GRU, OF_LSTM, TORCHS_GRU, TORCHS_LSTM
from harness import Claim, Entrant, Race
from peers import torch_nn
from sides import ours
from work import Gates, Maker, Sizes


def beside_packed(
    name: str, cell: Maker, gates: Gates, least: float, aim: float, both_ways: bool = False
) -> Race:
    """Ours is given the padded batch and lengths; torch.nn a PackedSequence made beforehand."""
    sizes = Sizes(256, inputs=32, time=200, batch=64, both_ways=both_ways, lengths=(50, 200))
    return Race(
        f"packed/{name}",
        "training step",
        sizes,
        cell,
        {"ours": Entrant(ours), "torch.nn packed": Entrant(torch_nn.packed)},
        (Claim("torch.nn packed", "≥", least, aim),),
        gates,
    )


_LSTM = partial(beside_packed, cell=TORCHS_LSTM, gates=OF_LSTM)
_GRU = partial(beside_packed, cell=TORCHS_GRU, gates=OF_GRU)

RESETS = Race(
    "resets/lstm-256",
    "training step",
    Sizes(256, inputs=32, time=128, batch=16, resets=0.05),
    TORCHS_LSTM,
    {
        "ours": Entrant(ours),
        "steps of nn.LSTM": Entrant(torch_nn.by_steps),
        "segments of nn.LSTM": Entrant(torch_nn.by_segments),
    },
    (Claim("steps of nn.LSTM", "≥", 4.0, 7.0),),
    OF_LSTM,
)

PACKED = [
    _LSTM("lstm-256", least=6.0, aim=9.0),
    _GRU("gru-256", least=4.0, aim=6.0),
    _LSTM("bilstm-256", least=6.0, aim=9.0, both_ways=True),
    _GRU("bigru-256", least=5.0, aim=8.0, both_ways=True),
]

CASES = [*PACKED, RESETS]
