"""SRU, whose walk has no product: a training step."""

from functools import partial

from harness import Claim, Entrant, Race
from ostinato.cells import SRU
from peers import lax_scan, loops, torch_nn
from sides import ours
from work import Gates, Sizes

_LSTM = {"nn.LSTM": Entrant(torch_nn.some_lstm, task="LSTM")}
_ROW = partial(Race, what="training step", cell=SRU, gates=Gates(3, 0))

CASES = [
    _ROW(
        name="train/sru-2x128",
        sizes=Sizes(hidden=128, inputs=28, time=28, batch=128, layers=2),
        sides={"ours": Entrant(ours), "loop": Entrant(loops.by_hand), **_LSTM},
        claims=(Claim("loop", "≥", 2.2, 3.0), Claim("nn.LSTM", "≥", 2.5, 4.0)),
    ),
    _ROW(
        name="train/sru-long",
        sizes=Sizes(hidden=128, inputs=1, time=784, batch=64),
        sides={
            "ours": Entrant(ours),
            "loop": Entrant(loops.by_hand),
            "lax.scan": Entrant(lax_scan.sru),
            **_LSTM,
        },
        claims=(
            Claim("loop", "≥", 4.0, 7.0),
            Claim("lax.scan", "≥", 4.0, 6.0),
            Claim("nn.LSTM", "≥", 8.0, 12.0),
        ),
        pause=0.005,
    ),
]
