"""Measures Ostinato beside what it is claimed to be no slower than, and records both.

    python benchmarks/speed.py                           # every case
    python benchmarks/speed.py recipe/sru ragged/gru     # some
    python benchmarks/speed.py --filter 'memory/*'

A case runs in one process, its sides by turns, after all of them were seen to give the same numbers,
gradients included. A ratio is that of the medians; its range, in brackets, is the middle half of the
ratios of single turns. The table goes to standard output, a day's results into one record in
`benchmarks/records/`.

What is measured, by the first word of a case:

- recipe: a training step of the encoder of a shipped recipe, without dropout, against loops written by
  hand (`loops.py`): images of 28×28, forwards, and backwards from a gradient of every output;
- long: the same of one layer over 784 steps of one number;
- linear: how a time step's share of a training step grows with the length, beside a loop that slices;
- ragged: lengths of 50 to 200, against the same rows all at full length;
- memory: what a long sequence needs when it is walked once more, against keeping everything;
- trace: how long it takes to make a cell's program and its backward program, and once more for other
  widths.
"""

import subprocess
import sys
import time as clock
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any, Literal, Protocol

import torch
import typer
from torch import Tensor, nn

import loops
from ostinato.cells import CELLS
from ostinato.drivers import Recurrent
from ostinato.models import build
from ostinato.models.settings import ImageShape, RecurrentSettings
from ostinato.programs.compiled import step_program
from ostinato.training import read_recipe, recipe_names
from ostinato.training.run import machine, versions
from record import commit, todays, write

Times = dict[str, list[float]]
Results = dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """What a figure of the results has to be."""

    figure: str
    sign: Literal["<", "≤", "≥"]
    limit: float

    def met(self, results: Results) -> bool:
        value = results[self.figure]
        return bool(
            {"<": value < self.limit, "≤": value <= self.limit}.get(self.sign, value >= self.limit)
        )


class Case(Protocol):
    name: str
    claim: Claim

    def measure(self, seconds: float) -> Results:
        """Every side for so many seconds, and three times at least."""
        ...


@dataclass(frozen=True)
class Recipe:
    """A training step of a recipe's encoder against loops by hand."""

    recipe: str
    claim: Claim = Claim("ratio", "≥", 1.0)

    @property
    def name(self) -> str:
        return f"recipe/{self.recipe}"

    def measure(self, seconds: float) -> Results:
        recipe = read_recipe(self.recipe)
        model = recipe.model
        assert isinstance(model, RecurrentSettings)
        # Both drivers of a recipe have the same network; the one that compiles is no matter here.
        settings = model.model_copy(update={"driver": "dynamic", "dropout": 0.0})
        encoder = build(settings, ImageShape(rows=28, columns=28, classes=10)).encoder
        assert isinstance(encoder, nn.Module)
        batch = recipe.training.batch
        said = f"{model.layers}×{model.hidden}{' both ways' if model.bidirectional else ''}, B={batch}"
        return {"case": f"{said}, T=28, I=28", **beside_a_loop(encoder, batch, 28, 28, seconds)}


@dataclass(frozen=True)
class Long:
    """A layer that a scan can run, over many steps, against a loop by hand."""

    cell: str
    time: int = 784
    batch: int = 64
    hidden: int = 128
    claim: Claim = Claim("ratio", "≥", 2.0)

    @property
    def name(self) -> str:
        return f"long/{self.cell}"

    def measure(self, seconds: float) -> Results:
        layer = Recurrent(CELLS[self.cell](1, self.hidden))
        case = f"{self.hidden}, B={self.batch}, T={self.time}, I=1"
        return {"case": case, **beside_a_loop(layer, self.batch, self.time, 1, seconds)}


@dataclass(frozen=True)
class Linear:
    """Time of a step, forwards and backwards, for one length after another."""

    cell: str
    times: tuple[int, ...] = (100, 400, 1600)
    batch: int = 16
    size: int = 64
    claim: Claim = Claim("ratio", "≤", 1.5)

    @property
    def name(self) -> str:
        return f"linear/{self.cell}"

    def measure(self, seconds: float) -> Results:
        layer = on_program(Recurrent(CELLS[self.cell](self.size, self.size)))
        sides: dict[str, Callable[[], object]] = {}
        for time in self.times:
            x = torch.randn(self.batch, time, self.size, requires_grad=True)
            gradient = torch.randn(self.batch, time, self.size)
            ours, slicing = lambda x: layer(x)[0], lambda x: loops.slicing(layer, x)
            if time == min(self.times):
                check_equal(layer, x, gradient, ours=lambda n, x: n(x)[0], theirs=loops.slicing)
            sides[f"ours {time}"] = step(ours, layer, x, gradient)
            sides[f"slicing {time}"] = step(slicing, layer, x, gradient)
        taken = by_turns(sides, seconds)
        first, last = min(self.times), max(self.times)
        each = {side: median(times) / int(side.split()[1]) for side, times in taken.items()}
        return {
            "case": f"{self.size}, B={self.batch}, I={self.size}, T={'/'.join(map(str, self.times))}",
            "step_us": {side: round(1e6 * value, 1) for side, value in each.items()},
            "ratio": each[f"ours {last}"] / each[f"ours {first}"],
            "slicing_ratio": each[f"slicing {last}"] / each[f"slicing {first}"],
            "turns": len(next(iter(taken.values()))),
        }


@dataclass(frozen=True)
class Ragged:
    """Lengths against the same batch without any."""

    cell: str
    lengths: tuple[int, int] = (50, 200)
    batch: int = 64
    inputs: int = 32
    hidden: int = 128
    claim: Claim = Claim("ratio", "≤", 1.5)

    @property
    def name(self) -> str:
        return f"ragged/{self.cell}"

    def measure(self, seconds: float) -> Results:
        layer = on_program(Recurrent(CELLS[self.cell](self.inputs, self.hidden)))
        shortest, time = self.lengths
        lengths = torch.randint(shortest, time + 1, (self.batch,))
        lengths[0] = time
        x = torch.randn(self.batch, time, self.inputs, requires_grad=True)
        gradient = torch.randn(self.batch, time, self.hidden)
        check_equal(
            layer,
            x,
            gradient,
            ours=lambda n, x: n(x, lengths=lengths)[0],
            theirs=lambda n, x: on_row(n, "reference")(x, lengths=lengths)[0],
        )
        taken = by_turns(
            {
                "ragged": step(lambda x: layer(x, lengths=lengths)[0], layer, x, gradient),
                "padded": step(lambda x: layer(x)[0], layer, x, gradient),
            },
            seconds,
        )
        steps = int(lengths.sum()) / lengths.numel() / time
        return {
            "case": f"{self.hidden}, B={self.batch}, I={self.inputs}, lengths {shortest}–{time}",
            "steps_that_are_no_padding": steps,
            **compared(taken, "ragged", "padded"),
        }


@dataclass(frozen=True)
class Memory:
    """Walking once more (`recompute="sqrt"`) against keeping everything: memory, and time."""

    cell: str
    row: str
    time: int = 4000
    batch: int = 8
    inputs: int = 32
    hidden: int = 128
    processes: int = 3
    claim: Claim = Claim("ratio", "<", 0.25)

    @property
    def name(self) -> str:
        return f"memory/{self.cell}-{self.row}"

    def measure(self, seconds: float) -> Results:
        cell = CELLS[self.cell](self.inputs, self.hidden)
        kept, again = (
            Recurrent(cell, row=self.row, recompute=r)  # type: ignore[arg-type]
            for r in (None, "sqrt")
        )
        x = torch.randn(self.batch, self.time, self.inputs, requires_grad=True)
        gradient = torch.randn(self.batch, self.time, self.hidden)
        few = slice(0, min(self.time, 100))
        check_equal(
            kept,
            x[:, few].detach(),
            gradient[:, few],
            ours=lambda n, x: n(x)[0],
            theirs=lambda n, x: Recurrent(n.cell, row=n.row, recompute="sqrt")(x)[0],
        )
        taken = by_turns(
            {
                "again": step(lambda x: again(x)[0], cell, x, gradient),
                "kept": step(lambda x: kept(x)[0], cell, x, gradient),
            },
            seconds,
        )
        times = compared(taken, "again", "kept")
        peaks = {name: self.peak(name) for name in ("none", "sqrt")}
        return {
            "case": f"{self.hidden}, B={self.batch}, T={self.time}, I={self.inputs}",
            "peak_MB": {name: round(peak / 1e6, 1) for name, peak in peaks.items()},
            "ratio": peaks["sqrt"] / peaks["none"],
            "time_ratio": times.pop("ratio"),
            "time_ratio_quartiles": times.pop("ratio_quartiles"),
            **times,
        }

    def peak(self, recompute: str) -> int:
        """Bytes: the median of some fresh processes."""
        sizes = (self.time, self.batch, self.inputs, self.hidden)
        command = [sys.executable, Path(__file__).with_name("peak.py"), self.cell, self.row, recompute]
        command += map(str, sizes)
        ran = [
            subprocess.run(command, check=True, capture_output=True, text=True)
            for _ in range(self.processes)
        ]
        return int(median(int(each.stdout) for each in ran))


@dataclass(frozen=True)
class Trace:
    """From a cell to its program, backward program and Python, and once more for other widths."""

    cell: str
    options: dict[str, int] = field(default_factory=dict)
    claim: Claim = Claim("first_s", "<", 0.2)

    @property
    def name(self) -> str:
        return f"trace/{self.cell}"

    def measure(self, seconds: float) -> Results:
        # Torch's own tracing is warm once another kind of cell has gone through it.
        self.trace("elman" if self.cell != "elman" else "gru", next(_widths), {})
        first = self.trace(self.cell, next(_widths), self.options)
        others = [self.trace(self.cell, next(_widths), self.options) for _ in range(3)]
        return {"case": "widths of its own", "first_s": first, "again_s": median(others)}

    @staticmethod
    def trace(name: str, size: int, options: dict[str, int]) -> float:
        cell = CELLS[name](size, size + 1, **options)
        start = clock.perf_counter()
        steps = step_program(cell)
        wanted = tuple(each.requires_grad for each in steps.weights_of(cell))
        _ = steps.inference, steps.derived(True, wanted)
        return clock.perf_counter() - start


_widths = iter(range(5, 1_000_000))
"""A program is kept for each width of a cell: each of these is new to it."""

CASES: list[Case] = [
    *(Trace(name, {"height": 4, "width": 4} if name == "conv_lstm" else {}) for name in CELLS),
    *(Recipe(name) for name in recipe_names() if read_recipe(name).model.kind == "recurrent"),
    *(Long(name) for name in ("sru", "min_gru", "qrnn")),
    *(Linear(name) for name in ("lstm", "sru")),
    *(Ragged(name) for name in ("lstm", "gru")),
    *(Memory(name, row) for name in ("lstm", "gru") for row in ("program", "reference")),
]


def main(
    cases: Annotated[list[str] | None, typer.Argument(help="All of them by default.")] = None,
    matching: Annotated[
        str, typer.Option("--filter", help="Cases whose names match, such as 'long/*'.")
    ] = "*",
    threads: Annotated[int, typer.Option(help="Of torch.")] = 1,
    seconds: Annotated[float, typer.Option(help="For which each side of a case is run.")] = 5.0,
    out: Annotated[Path | None, typer.Option(help="The record's file.")] = None,
) -> None:
    """Measure, print and record."""
    torch.set_num_threads(threads)
    chosen = [
        each for each in CASES if fnmatch(each.name, matching) and each.name in (cases or [each.name])
    ]
    unknown = set(cases or ()) - {each.name for each in CASES}
    if unknown or not chosen:
        names = ", ".join(each.name for each in CASES)
        raise typer.BadParameter(f"no case {', '.join(unknown) or matching}; there are {names}")
    results = {}
    for each in chosen:
        print(each.name, file=sys.stderr, flush=True)
        torch.manual_seed(0)
        found = each.measure(seconds)
        command = f"python benchmarks/speed.py {each.name} --threads {threads} --seconds {seconds:g}"
        claim = f"{each.claim.figure} {each.claim.sign} {each.claim.limit}"
        results[each.name] = {
            "command": command,
            "commit": commit(),
            "claim": claim,
            "met": each.claim.met(found),
            **found,
        }
    path = out or todays("speed")
    note = f"{threads} thread(s) of torch; times in ms are medians."
    together = write(path, "cases", results, machine(), versions(), note)
    print(table(together))
    print(f"\n{brief(together)}")
    print(f"\n{path}")


# A training step, and what takes turns.


def step(
    run: Callable[[Tensor], Tensor], network: nn.Module, x: Tensor, gradient: Tensor
) -> Callable[[], object]:
    """Forwards, and backwards from a gradient of every output."""

    def once() -> None:
        network.zero_grad(set_to_none=True)
        x.grad = None
        run(x).backward(gradient)

    return once


def by_turns(sides: dict[str, Callable[[], object]], seconds: float) -> Times:
    """Seconds of every side, each in turn, three turns at least after one that does not count."""
    taken: Times = {name: [] for name in sides}
    for run in sides.values():
        run()
    end = clock.perf_counter() + seconds * len(sides)
    while len(next(iter(taken.values()))) < 3 or clock.perf_counter() < end:
        for name, run in sides.items():
            start = clock.perf_counter()
            run()
            taken[name].append(clock.perf_counter() - start)
    return taken


def compared(taken: Times, above: str, below: str) -> Results:
    """The ratio of two sides, and what it was made from."""
    ratios = [a / b for a, b in zip(taken[above], taken[below], strict=True)]
    low, _, high = quantiles(ratios, n=4)
    return {
        "ratio": median(taken[above]) / median(taken[below]),
        "ratio_quartiles": [low, high],
        "ms": {name: round(1e3 * median(times), 2) for name, times in taken.items()},
        "turns": len(ratios),
    }


def beside_a_loop(network: nn.Module, batch: int, time: int, inputs: int, seconds: float) -> Results:
    """Our program against the loop by hand: how many times as long the loop takes."""
    on_program(network)
    x = torch.randn(batch, time, inputs)
    gradient = torch.randn(batch, time, network.output_size)  # type: ignore[arg-type]
    check_equal(network, x, gradient, ours=lambda n, x: n(x)[0], theirs=loops.encoder)
    taken = by_turns(
        {
            "ours": step(lambda x: network(x)[0], network, x, gradient),
            "loop": step(lambda x: loops.encoder(network, x), network, x, gradient),
        },
        seconds,
    )
    return compared(taken, "loop", "ours")


def on_row(network: nn.Module, row: str) -> nn.Module:
    """All its layers on one row."""
    for each in network.modules():
        if isinstance(each, Recurrent):
            each.row = row  # type: ignore[assignment]
    return network


def on_program(network: nn.Module) -> nn.Module:
    return on_row(network, "program")


def check_equal(
    network: nn.Module,
    x: Tensor,
    gradient: Tensor,
    ours: Callable[[Any, Tensor], Tensor],
    theirs: Callable[[Any, Tensor], Tensor],
) -> None:
    """Outputs and all gradients, in float64, where rounding hides no mistake. Raises AssertionError."""
    found: list[Sequence[Tensor]] = []
    for run in (ours, theirs):
        double = deepcopy(network).double()
        given = x.detach().double().requires_grad_()
        outputs = run(double, given)
        wanted = [given, *double.parameters()]
        found.append([outputs, *torch.autograd.grad(outputs, wanted, gradient.double())])
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-8)


def table(cases: dict[str, Results]) -> str:
    """For people, in Markdown."""
    lines = ["| case | what | figure | claim | |", "| --- | --- | --- | --- | --- |"]
    for name, each in cases.items():
        figure, sign, limit = each["claim"].split()
        value = f"{each[figure]:.3g} s" if figure.endswith("_s") else f"{each[figure]:.2f}"
        if quartiles := each.get("ratio_quartiles"):
            value += " [{:.2f}, {:.2f}]".format(*quartiles)
        more = [
            f"{key.replace('_', ' ')} {shown(each[key])}"
            for key in ("ms", "step_us", "slicing_ratio", "peak_MB", "time_ratio", "again_s")
            if key in each
        ]
        met = "" if each["met"] else "not met"
        lines.append(
            f"| `{name}` | {each['case']}; {'; '.join(more)} | {value} | {sign} {limit} | {met} |"
        )
    return "\n".join(lines)


KINDS = {
    "recipe": "speed of a recipe's training step; a loop by hand is 1",
    "long": "the same, 784 steps of one number",
    "linear": "time of a step at T=1600; at T=100 it is 1",
    "ragged": "time with lengths of 50 to 200; without them, at full length, it is 1",
    "memory": "memory of 4,000 steps walked once more; of all kept it is 1",
    "trace": "seconds to make a cell's program and its backward program",
}
"""What the figures of each kind of case say."""


def brief(cases: dict[str, Results]) -> str:
    """For the README: a row for each kind of case, what is not as claimed set off."""
    lines = ["| what is measured | claimed | found |", "| --- | --- | --- |"]
    for kind, said in KINDS.items():
        found, claims = [], set()
        for name, each in cases.items():
            if name.startswith(f"{kind}/"):
                figure, sign, limit = each["claim"].split()
                value = f"{each[figure]:.3f}" if figure.endswith("_s") else f"{each[figure]:.2f}"
                found.append(f"`{name.split('/')[1]}` {value if each['met'] else f'*{value}*'}")
                claims.add(f"{sign} {limit}")
        if found:
            lines.append(f"| {said} | {', '.join(sorted(claims))} | {', '.join(found)} |")
    return "\n".join(lines)


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return f"{value:.3g}"


if __name__ == "__main__":
    typer.run(main)
