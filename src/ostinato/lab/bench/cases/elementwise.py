"""SRU, whose walk has no product: a training step."""

from functools import partial

from ostinato.cells import SRU
from ostinato.lab.bench.harness import ASLEEP, Entrant, Race
from ostinato.lab.bench.peers import lax_scan, loops, torch_nn
from ostinato.lab.bench.sides import ours
from ostinato.lab.bench.work import Sizes

_LSTM = {"nn.LSTM": Entrant(torch_nn.some_lstm, "torch.nn", task="LSTM")}
_ROW = partial(Race, doing="training step", cell=SRU)

CASES = [
    _ROW(
        name="train/sru-2x128",
        sizes=Sizes(hidden=128, inputs=28, time=28, batch=128, layers=2),
        sides={"ours": Entrant(ours), "loop": Entrant(loops.by_hand, "loop"), **_LSTM},
    ),
    _ROW(
        name="train/sru-long",
        sizes=Sizes(hidden=128, inputs=1, time=784, batch=64),
        sides={
            "ours": Entrant(ours),
            "loop": Entrant(loops.by_hand, "loop"),
            "lax.scan": Entrant(lax_scan.training, "jax"),
            **_LSTM,
        },
        pause=ASLEEP,
    ),
]
