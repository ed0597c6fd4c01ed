"""LSTM and GRU of torch's form from narrow to wide, beside torch.nn's and the loop by hand."""

from ostinato.lab.bench.cases.everyone import INFERENCE, TRAINING
from ostinato.lab.bench.cases.training import TORCHS_GRU, TORCHS_LSTM
from ostinato.lab.bench.harness import Race
from ostinato.lab.bench.work import Sizes

WIDTHS = (32, 64, 128, 256, 512, 1024)

CELLS = {"lstm": TORCHS_LSTM, "gru": TORCHS_GRU}

BESIDE = ("ours", "torch.nn", "loop")


def at(hidden: int, name: str, training: bool) -> Race:
    sides = TRAINING if training else INFERENCE
    return Race(
        f"width-{'train' if training else 'infer'}-{name}/{hidden}",
        "training step" if training else "forwards without gradients",
        Sizes(hidden, inputs=28, time=28, batch=100),
        CELLS[name],
        {side: sides[side] for side in BESIDE},
        training,
        patience=0.5,
    )


CASES = [at(hidden, name, kind) for kind in (True, False) for name in CELLS for hidden in WIDTHS]
