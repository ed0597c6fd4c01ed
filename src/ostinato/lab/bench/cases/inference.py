"""Forwards alone, over whole batches: beside torch.nn and ONNX Runtime."""

from functools import partial

from ostinato.lab.bench.cases.training import TORCHS_GRU, TORCHS_LSTM
from ostinato.lab.bench.harness import ASLEEP, Entrant, Race
from ostinato.lab.bench.peers import onnx_runtime, torch_nn
from ostinato.lab.bench.sides import ours_inferring
from ostinato.lab.bench.work import Maker, Sizes


def beside_both(name: str, cell: Maker, sizes: Sizes) -> Race:
    sides = {
        "ours": Entrant(ours_inferring),
        "torch.nn": Entrant(torch_nn.inferring, "torch.nn"),
        "ONNX Runtime": Entrant(onnx_runtime.inferring, "onnx"),
    }
    return Race(
        f"infer/{name}",
        "forwards without gradients",
        sizes,
        cell,
        sides,
        training=False,
        pause=ASLEEP,
    )


_28 = partial(Sizes, inputs=28, time=28)

CASES = [
    beside_both("gru-256", TORCHS_GRU, _28(hidden=256, batch=100)),
    beside_both("lstm-2x128", TORCHS_LSTM, _28(hidden=128, batch=128, layers=2)),
]
