"""A reproduction is a folder: what was measured of each tutorial.

reproduction.json     what was asked for, and every figure
runs/<recipe>…/       a training of one recipe, an ordinary run
comparisons/<name>/   a training of several side by side, an ordinary comparison
report.html           published beside ours
"""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, Field

from ostinato.lab.description import Description
from ostinato.lab.reproduce.timing import Measured
from ostinato.lab.reproduce.tutorials import Effort, Tutorial, chosen
from ostinato.training import RunFolder
from ostinato.training.metrics import read_metrics

EVERY = 100
"""Steps between two lines of a tutorial's log."""


class Trained(BaseModel):
    """What a run came to; `run` is its folder, from that of the reproduction."""

    run: str
    seed: int
    test_accuracy: float
    steps: int
    seconds: float
    ms: float
    quartiles: tuple[float, float]
    compile_seconds: float | None
    more: dict[str, float]
    """test accuracies in between, and which batch first passed what the tutorial says"""
    log: list[tuple[int, float, float | None]] = Field(default_factory=list)
    """every hundredth step, as such a tutorial prints it: accuracy of its batch, and of the test"""

    @classmethod
    def of(cls, run: RunFolder, folder: Path, passes: float | None) -> Self:
        record, rows = run.read_record(), read_metrics(run.metrics)
        result, times = record.result or {}, record.step_ms or {}
        more = {
            f"test_accuracy at step {row['step']}": float(row["test_accuracy"])
            for row in rows
            if row["test_accuracy"]
        }
        log = []
        if passes is not None:
            log = [
                (step, float(row["accuracy"]), more.get(f"test_accuracy at step {step}"))
                for step, row in ((int(row["step"]), row) for row in rows)
                if step % EVERY == 0
            ]
            passing = [int(row["step"]) for row in rows if float(row["accuracy"]) >= passes]
            hundredth = [step for step in passing if step % EVERY == 0]
            firsts = {"first of all": passing[:1], "first of every 100th": hundredth[:1]}
            more |= {name: step for name, found in firsts.items() for step in found}
        return cls(
            run=str(run.path.relative_to(folder)),
            seed=run.read_recipe().training.seed,
            test_accuracy=result["test_accuracy"],
            steps=int(rows[-1]["step"]),
            seconds=record.seconds or 0.0,
            ms=times["median"],
            quartiles=(times["quartile_1"], times["quartile_3"]),
            compile_seconds=record.compile_seconds,
            more=more,
            log=log,
        )

    @property
    def figures(self) -> dict[str, float]:
        named = ("test_accuracy", "steps", "seconds", "ms", "compile_seconds")
        values = {name: getattr(self, name) for name in named}
        return self.more | {name: value for name, value in values.items() if value is not None}


class Reproduction(Description):
    """What `reproduction.json` holds."""

    KIND: ClassVar[str] = "reproduction"
    MAKES: ClassVar[str] = "reproduce"

    tutorials: list[str]
    """their numbers"""
    effort: Effort
    seeds: list[int]
    data_folder: str | None
    data_fingerprint: str
    threads: int
    timed: dict[str, Measured] = Field(default_factory=dict)
    """of each timing that is done"""
    trained: dict[str, list[Trained]] = Field(default_factory=dict)
    """of each recipe whose training is done, its runs: one a seed"""
    memory: dict[str, float] = Field(default_factory=dict)
    """megabytes of a training step, of each recipe where that was measured"""
    ragged: dict[str, float] = Field(default_factory=dict)
    """how many times as long a padded batch takes as one that is told its lengths, by case"""
    failed: dict[str, str] = Field(default_factory=dict)
    """of each recipe that did not come to its end: why"""
    figures: dict[str, float] = Field(default_factory=dict)
    """all of them by name, means over seeds"""

    @property
    def quick(self) -> bool:
        """Whether it is a look, and no measure of anything."""
        return self.effort.steps is not None

    @property
    def question(self) -> tuple[object, ...]:
        return self.tutorials, self.effort, self.seeds, self.data_fingerprint

    def __str__(self) -> str:
        length = "a quick one" if self.quick else "one at full length"
        seeds = ", ".join(map(str, self.seeds))
        return f"{length} of tutorials {', '.join(self.tutorials)}, seeds {seeds}"

    def chosen(self) -> list[Tutorial]:
        return chosen(self.tutorials)

    def gather(self) -> None:
        """Names every figure that there is by now."""
        found = {f"{recipe}/memory": megabytes for recipe, megabytes in self.memory.items()}
        found |= {f"ragged/{case}": ratio for case, ratio in self.ragged.items()}
        for recipe, runs in self.trained.items():
            for name in {name for run in runs for name in run.figures}:
                values = [run.figures[name] for run in runs if name in run.figures]
                found[f"{recipe}/{name}"] = sum(values) / len(values)
        for timing, measured in self.timed.items():
            for side, timed in measured.sides.items():
                found[f"{timing}/{side}/ms"] = timed.ms
                found[f"{timing}/{side}/seconds_per_500_steps"] = timed.seconds_per_500_steps
                found |= {f"{timing}/{side}/{part}": ms for part, ms in timed.parts.items()}
            found |= {f"{timing}/{name}": ratio for name, (ratio, _, _) in measured.ratios.items()}
        self.figures = dict(sorted(found.items()))

    def spread(self, figure: str) -> tuple[float, float] | None:
        """Lowest and highest over the seeds, where there are several; of a ratio the middle half."""
        first, _, name = figure.partition("/")
        if first in self.timed:
            ratio = self.timed[first].ratios.get(name)
            return None if ratio is None else ratio[1:]
        values = [run.figures[name] for run in self.trained.get(first, []) if name in run.figures]
        return (min(values), max(values)) if len(values) > 1 else None
