"""What plain torch's row, `program`, is claimed to be no slower than; one thread.

By the first word of a case:

- recipe: a training step of the encoder of a shipped recipe, without dropout, against loops written by
  hand (`lab/bench/peers/loops.py`): images of 28×28, forwards, and backwards from a gradient of every
  output;
- long: the same of one layer over 784 steps of one number;
- linear: how a time step's share of a training step grows with the length, beside a loop that slices;
- ragged: lengths of 50 to 200, against the same rows all at full length;
- memory: what a long sequence needs when it is walked once more, against keeping everything;
- trace: how long it takes to make a cell's program and its backward program, and once more for other
  widths.
"""

import time as clock
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from claims import Claim
from ostinato.cells import CELLS
from ostinato.drivers import Recurrent
from ostinato.lab.bench.cases.recipes import RECURRENT, encoder_of
from ostinato.lab.bench.peers import loops
from ostinato.lab.bench.turns import by_turns
from ostinato.lab.bench.work import layers, on_row
from ostinato.lab.peak import in_fresh_processes, raised_by
from ostinato.programs.compiled import step_program
from record import Results, of_two


class Plain:
    """One claim about one figure of the results."""

    claim: ClassVar[Claim]
    threads = 1
    table = "speed"

    @property
    def claimed(self) -> str:
        return str(self.claim)

    def met(self, results: Results) -> bool:
        return self.claim.met(results[self.claim.figure])

    def check(self) -> None:
        self.tiny().measure(seconds=0)

    def tiny(self) -> Self:
        """The same at small sizes."""
        raise NotImplementedError

    def measure(self, seconds: float) -> Results:
        raise NotImplementedError


@dataclass(frozen=True)
class Recipe(Plain):
    """A training step of a recipe's encoder against loops by hand."""

    recipe: str
    small: bool = False
    claim: ClassVar[Claim] = Claim("ratio", "≥", 1.0)

    @property
    def name(self) -> str:
        return f"recipe/{self.recipe}"

    def tiny(self) -> "Recipe":
        return replace(self, small=True)

    def measure(self, seconds: float) -> Results:
        sizes, cell = encoder_of(self.recipe)
        sizes = sizes.tiny() if self.small else sizes
        found = beside_a_loop(layers(cell, sizes), sizes.batch, sizes.time, sizes.inputs, seconds)
        both = " both ways" if sizes.both_ways else ""
        said = f"{sizes.layers}×{sizes.hidden}{both}, B={sizes.batch}, T={sizes.time}, I={sizes.inputs}"
        return {"case": said, **found}


@dataclass(frozen=True)
class Long(Plain):
    """A layer that a scan can run, over many steps, against a loop by hand."""

    cell: str
    time: int = 784
    batch: int = 64
    hidden: int = 128
    claim: ClassVar[Claim] = Claim("ratio", "≥", 2.0)

    @property
    def name(self) -> str:
        return f"long/{self.cell}"

    def tiny(self) -> "Long":
        return replace(self, time=40, batch=2, hidden=4)

    def measure(self, seconds: float) -> Results:
        layer = Recurrent(CELLS[self.cell](1, self.hidden))
        case = f"{self.hidden}, B={self.batch}, T={self.time}, I=1"
        return {"case": case, **beside_a_loop(layer, self.batch, self.time, 1, seconds)}


@dataclass(frozen=True)
class Linear(Plain):
    """Time of a step, forwards and backwards, for one length after another."""

    cell: str
    times: tuple[int, ...] = (100, 400, 1600)
    batch: int = 16
    size: int = 64
    claim: ClassVar[Claim] = Claim("ratio", "≤", 1.5)

    @property
    def name(self) -> str:
        return f"linear/{self.cell}"

    def tiny(self) -> "Linear":
        return replace(self, times=(4, 8), batch=2, size=3)

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
class Ragged(Plain):
    """Lengths against the same batch without any."""

    cell: str
    lengths: tuple[int, int] = (50, 200)
    batch: int = 64
    inputs: int = 32
    hidden: int = 128
    claim: ClassVar[Claim] = Claim("ratio", "≤", 1.5)

    @property
    def name(self) -> str:
        return f"ragged/{self.cell}"

    def tiny(self) -> "Ragged":
        return replace(self, lengths=(2, 6), batch=3, hidden=4)

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
            **of_two(taken, "ragged", "padded"),
        }


@dataclass(frozen=True)
class Memory(Plain):
    """Walking once more (`recompute="sqrt"`) against keeping everything: memory, and time."""

    cell: str
    row: str
    time: int = 4000
    batch: int = 8
    inputs: int = 32
    hidden: int = 128
    processes: int = 3
    claim: ClassVar[Claim] = Claim("ratio", "<", 0.25)

    @property
    def name(self) -> str:
        return f"memory/{self.cell}-{self.row}"

    def tiny(self) -> "Memory":
        return replace(self, time=20, batch=2, hidden=4, processes=1)

    def layer(self, recompute: Any) -> Recurrent:
        cell = CELLS[self.cell](self.inputs, self.hidden)
        return Recurrent(cell, row=self.row, recompute=recompute)  # type: ignore[arg-type]

    def check(self) -> None:
        time = min(self.time, 100)
        check_equal(
            self.layer(None),
            torch.randn(self.batch, time, self.inputs),
            torch.randn(self.batch, time, self.hidden),
            ours=lambda n, x: n(x)[0],
            theirs=lambda n, x: Recurrent(n.cell, row=n.row, recompute="sqrt")(x)[0],
        )

    def measure(self, seconds: float) -> Results:
        self.check()
        kept, again = self.layer(None), self.layer("sqrt")
        again.cell = cell = kept.cell
        x = torch.randn(self.batch, self.time, self.inputs, requires_grad=True)
        gradient = torch.randn(self.batch, self.time, self.hidden)
        taken = by_turns(
            {
                "again": step(lambda x: again(x)[0], cell, x, gradient),
                "kept": step(lambda x: kept(x)[0], cell, x, gradient),
            },
            seconds,
        )
        times = of_two(taken, "again", "kept")
        peaks = {"none": self.peak(None), "sqrt": self.peak("sqrt")}
        return {
            "case": f"{self.hidden}, B={self.batch}, T={self.time}, I={self.inputs}",
            "peak_MB": {name: round(peak / 1e6, 1) for name, peak in peaks.items()},
            "ratio": peaks["sqrt"] / peaks["none"],
            "time_ratio": times.pop("ratio"),
            "time_ratio_quartiles": times.pop("ratio_quartiles"),
            **times,
        }

    def peak(self, recompute: Any) -> int:
        """Bytes, by what fresh processes hold."""
        return in_fresh_processes(self.processes, self.raise_of, recompute)

    def raise_of(self, recompute: Any) -> int:
        """Bytes; of a fresh process."""
        layer = self.layer(recompute)

        def prepared(time: int) -> Callable[[], None]:
            x = torch.randn(self.batch, time, self.inputs, requires_grad=True)
            return step(lambda x: layer(x)[0], layer, x, torch.randn(self.batch, time, self.hidden))

        prepared(9)()
        return raised_by(prepared(self.time))


@dataclass(frozen=True)
class Trace(Plain):
    """From a cell to its program, backward program and Python, and once more for other widths."""

    cell: str
    options: dict[str, int] = field(default_factory=dict)
    claim: ClassVar[Claim] = Claim("first_s", "<", 0.2)

    @property
    def name(self) -> str:
        return f"trace/{self.cell}"

    def tiny(self) -> "Trace":
        return self

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

CASES: list[Plain] = [
    *(Trace(name, {"height": 4, "width": 4} if name == "conv_lstm" else {}) for name in CELLS),
    *(Recipe(name) for name in RECURRENT),
    *(Long(name) for name in ("sru", "min_gru", "qrnn")),
    *(Linear(name) for name in ("lstm", "sru")),
    *(Ragged(name) for name in ("lstm", "gru")),
    *(Memory(name, row) for name in ("lstm", "gru") for row in ("program", "reference")),
]


def step(
    run: Callable[[Tensor], Tensor], network: nn.Module, x: Tensor, gradient: Tensor
) -> Callable[[], None]:
    """A training step: forwards, and backwards from a gradient of every output, to the input too."""

    def once() -> None:
        network.zero_grad(set_to_none=True)
        x.grad = None
        run(x).backward(gradient)

    return once


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
    return of_two(taken, "loop", "ours")


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
