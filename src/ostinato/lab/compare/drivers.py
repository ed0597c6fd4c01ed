"""The tutorial of the static and the dynamic driver; and rows of many lengths, which it had not."""

from functools import partial
from statistics import median

import torch
from torch import Tensor

from ostinato.cells import LSTM
from ostinato.drivers import Recurrent
from ostinato.kernels import choose_row
from ostinato.lab.bench.turns import by_turns, compared
from ostinato.lab.compare.description import Comparison, Entrant, Ragged

RECIPES = {"static": "lstm-static", "dynamic": "lstm-dynamic"}
"""The two words, and the recipes that they stand for."""

HIDDEN, INPUTS, BATCH = 32, 28, 128
"""The tutorial's network and batch."""

LENGTHS = ((7, 28), (50, 200))
"""The shortest and the longest row: of the tutorial's images, and of what is not an image."""

SECONDS = 1.0
"""For each side of each case."""


def measure_ragged(threads: int, seconds: float = SECONDS) -> list[Ragged]:
    """Times training steps of the dynamic driver on ragged batches, and on the same ones padded."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return [_measure(shortest, longest, seconds) for shortest, longest in LENGTHS]
    finally:
        torch.set_num_threads(before)


def _measure(shortest: int, longest: int, seconds: float) -> Ragged:
    layer = Recurrent(LSTM(INPUTS, HIDDEN))
    lengths = torch.randint(shortest, longest + 1, (BATCH,))
    lengths[0] = longest
    x = torch.randn(BATCH, longest, INPUTS)
    gradient = torch.randn(BATCH, longest, HIDDEN)

    def step(lengths: Tensor | None) -> None:
        layer.zero_grad()
        layer(x, lengths=lengths)[0].backward(gradient)

    taken = by_turns({"lengths": partial(step, lengths), "padded": partial(step, None)}, seconds)
    ratio, low, high = compared(taken, "padded", "lengths")
    valid = int(lengths.sum())
    return Ragged(
        case=f"LSTM {HIDDEN}, {BATCH} rows of {shortest}–{longest} steps",
        valid=valid / (BATCH * longest),
        us_per_step={name: 1e6 * median(times) / valid for name, times in taken.items()},
        ratio=ratio,
        ratio_quartiles=(low, high),
        ran_by=[choose_row(layer.cell, x, layer.row)[0].name],
    )


def claims(comparison: Comparison) -> dict[str, str]:
    """What the tutorial claims, and what was found."""
    static, dynamic = (_of(comparison, driver) for driver in ("static", "dynamic"))
    found: dict[str, str] = {}
    if static is None or dynamic is None or static.figures is None or dynamic.figures is None:
        return found
    ours, theirs = static.figures, dynamic.figures
    static_ms, dynamic_ms = ours.step_ms["median"], theirs.step_ms["median"]
    found["a step, compiling left out"] = (
        f"dynamic takes {dynamic_ms / static_ms:.2f}× as long as static"
    )
    whole = (theirs.seconds / theirs.steps) / (ours.seconds / ours.steps)
    found["a step of the whole training"] = (
        f"dynamic takes {whole:.2g}× as long as static, which compiled for {ours.compile_seconds:.1f} s"
    )
    saved = dynamic_ms - static_ms
    found["compiling is made up for"] = (
        f"after {1e3 * (ours.compile_seconds or 0.0) / saved:,.0f} steps" if saved > 0 else "never"
    )
    found["until a batch passes 90 %"] = f"static {ours.steps:.4g} steps, dynamic {theirs.steps:.4g}"
    found["test accuracy"] = f"static {ours.test_accuracy:.2%}, dynamic {theirs.test_accuracy:.2%}"
    if static.memory and dynamic.memory:
        found["memory of a training step"] = (
            f"static {static.memory / 1e6:.1f} MB, dynamic {dynamic.memory / 1e6:.1f} MB"
        )
    return found


def _of(comparison: Comparison, driver: str) -> Entrant | None:
    named = (each for each in comparison.entrants if each.name == RECIPES[driver])
    return next(named, None)
