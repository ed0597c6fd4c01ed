"""A comparison is a folder: who was compared, what each came to, and the runs themselves.

comparison.json              what was asked for, and every figure of the table
runs/<recipe>-seed<n>/       an ordinary run each
table.csv                    the table, a row a recipe
curves.png                   time and batches, accuracy over both, loss
report.html                  all of it on one page
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel

from ostinato.lab.description import Description
from ostinato.training import Recipe, RunFolder, parse_recipe


class Entry(BaseModel):
    """One training of an entrant; `path` is its run's, whole or from the comparison's folder on."""

    seed: int
    path: str
    failed: str | None = None
    """why it did not come to its end, if it did not"""


class Figures(BaseModel):
    """What the finished runs of one entrant came to; means are over seeds."""

    test_accuracy: float
    spread: float | None
    """the standard deviation over seeds, where there are several"""
    lowest: float
    highest: float
    step_ms: dict[str, float]
    """quartiles of all steps of all seeds"""
    ratio: float | None
    """of the medians, this one's over the first entrant's"""
    ratio_quartiles: tuple[float, float] | None
    """of single turns, where they took turns"""
    parameters: int
    steps: float
    seconds: float
    compile_seconds: float | None
    reached: int
    """how many seeds came to the accuracy that was asked for"""
    steps_to: float | None
    seconds_to: float | None
    ran_by: list[str]


class Entrant(BaseModel):
    """A recipe, its trainings, and what came of them."""

    name: str
    recipe: str
    """as TOML; the seed in it is not the one of its runs"""
    runs: list[Entry]
    memory: int | None = None
    """bytes that a training step needs"""
    no_memory: str | None = None
    """why that was not measured"""
    figures: Figures | None = None

    def read_recipe(self, seed: int) -> Recipe:
        return parse_recipe(self.recipe, self.name, {"training.seed": str(seed)})


class Ragged(BaseModel):
    """A training step of the dynamic driver on rows of many lengths, and on the same rows padded."""

    case: str
    valid: float
    """the share of the steps that are no padding"""
    us_per_step: dict[str, float]
    """microseconds for each of those: told the lengths, and padded"""
    ratio: float
    """how many times as long the padded batch takes"""
    ratio_quartiles: tuple[float, float]
    ran_by: list[str]


class Comparison(Description):
    """What `comparison.json` holds."""

    KIND: ClassVar[str] = "comparison"
    MAKES: ClassVar[str] = "compare"

    entrants: list[Entrant]
    seeds: list[int]
    to: float | None
    """the accuracy whose steps and seconds are counted; None: the one at which all recipes end"""
    by_turns: bool
    """whether they were trained together, a step each in turn; else each on its own, before"""
    measures_memory: bool
    about_drivers: bool = False
    """whether it is the tutorial's, of the static and the dynamic driver"""
    ragged: list[Ragged] | None = None
    data: str
    data_folder: str | None
    data_fingerprint: str
    threads: int
    device: str

    @property
    def question(self) -> tuple[object, ...]:
        entrants = [(each.name, each.recipe) for each in self.entrants]
        # Runs that were there before are where they are; those of its own follow from name and seed.
        paths = None if self.by_turns else [run.path for each in self.entrants for run in each.runs]
        return entrants, paths, self.seeds, self.data_fingerprint, self.device, self.about_drivers

    def __str__(self) -> str:
        return f"one of {self.title} from {_counted('seed', self.seeds)}"

    @property
    def title(self) -> str:
        *names, last = (each.name for each in self.entrants)
        return f"{', '.join(names)} and {last}" if names else last

    def taken_up(self, asked: Self) -> Self:
        """Another accuracy is only counted; memory may still be measured."""
        self.to = asked.to
        if asked.measures_memory and not self.measures_memory:
            self.measures_memory, self.status = True, "working"
        return self


@dataclass(frozen=True)
class ComparisonFolder:
    """The paths of a comparison."""

    path: Path

    @property
    def table(self) -> Path:
        return self.path / "table.csv"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def run(self, entry: Entry) -> RunFolder:
        return RunFolder(self.path / entry.path)

    def finished(self, entrant: Entrant) -> list[RunFolder]:
        """The runs that came to their end."""
        return [run for run in map(self.run, entrant.runs) if is_finished(run)]


def has_begun(run: RunFolder) -> bool:
    """Whether there is anything to go on with; one killed before its first checkpoint has nothing."""
    return (run.path / "run.json").exists()


def is_finished(run: RunFolder) -> bool:
    return has_begun(run) and run.read_record().status == "finished"


def _counted(what: str, numbers: list[int]) -> str:
    return f"{what}{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
