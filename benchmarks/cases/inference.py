"""Forwards alone, over whole batches: beside torch.nn and ONNX Runtime."""

from functools import partial

from cases.training import OF_GRU, OF_LSTM, TORCHS_GRU, TORCHS_LSTM
from harness import Claim, Entrant, Race
from peers import onnx_runtime, torch_nn
from sides import ours_inferring
from work import Gates, Maker, Sizes


def beside_both(name: str, cell: Maker, gates: Gates, sizes: Sizes, least: float, aim: float) -> Race:
    sides = {
        "ours": Entrant(ours_inferring),
        "torch.nn": Entrant(torch_nn.inferring),
        "ONNX Runtime": Entrant(partial(onnx_runtime.inferring, 2)),
    }
    return Race(
        f"infer/{name}",
        "forwards without gradients",
        sizes,
        cell,
        sides,
        (Claim("torch.nn or ONNX Runtime", "≥", least, aim),),
        gates,
        training=False,
        pause=0.005,
    )


_28 = partial(Sizes, inputs=28, time=28)

CASES = [
    beside_both("gru-256", TORCHS_GRU, OF_GRU, _28(hidden=256, batch=100), 1.7, 2.2),
    beside_both("lstm-2x128", TORCHS_LSTM, OF_LSTM, _28(hidden=128, batch=128, layers=2), 1.15, 1.3),
]
