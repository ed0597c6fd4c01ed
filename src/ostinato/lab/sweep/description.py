"""A sweep is a folder: what was searched, its trials, and the best of them.

sweep.json     what was asked for, each trial, the best
recipe.toml    the recipe that each trial changes
study.db       the search itself, as Optuna keeps it in SQLite
trials/<n>/    an ordinary run each
best.toml      the best trial's recipe
sweep.png      accuracy over each parameter, and over the trials
report.html    all of it on one page
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, Field

from ostinato.lab.description import Description
from ostinato.lab.sweep.space import Point
from ostinato.training import Recipe, RunFolder, parse_recipe

Outcome = Literal["running", "finished", "repeated", "pruned", "failed"]


class Trial(BaseModel):
    """One point that was tried, and what came of it; `accuracy` is that on the validation images."""

    number: int
    point: Point
    outcome: Outcome = "running"
    accuracy: float | None = None
    steps: int | None = None
    seconds: float | None = None
    why: str | None = None
    """why it failed or was pruned, or what it repeats"""


class Best(BaseModel):
    """The trial with the highest validation accuracy; its model was tested when it was trained."""

    number: int
    point: Point
    accuracy: float
    test_accuracy: float
    test_loss: float


class Sweep(Description):
    """What `sweep.json` holds."""

    KIND: ClassVar[str] = "sweep"
    MAKES: ClassVar[str] = "sweep"

    recipe: str
    over: list[str]
    grid: bool
    """whether every point is tried"""
    count: int
    """of trials, all in all"""
    data_folder: str | None
    data_fingerprint: str
    threads: int
    device: str
    trials: list[Trial] = Field(default_factory=list)
    best: Best | None = None

    @property
    def question(self) -> tuple[object, ...]:
        return self.recipe, self.over, self.grid, self.data_fingerprint, self.device

    def __str__(self) -> str:
        return f"one of {self.settings().name} over {' and '.join(self.over)}"

    def taken_up(self, asked: Self) -> Self:
        """It may be asked for more trials than before."""
        self.count = max(self.count, asked.count)
        return self

    def settings(self) -> Recipe:
        """The recipe that each trial changes."""
        return parse_recipe(self.recipe, "the recipe of the sweep")


@dataclass(frozen=True)
class SweepFolder:
    """The paths of a sweep."""

    path: Path

    @property
    def study(self) -> Path:
        return self.path / "study.db"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def best(self) -> Path:
        return self.path / "best.toml"

    @property
    def picture(self) -> Path:
        return self.path / "sweep.png"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def run(self, number: int) -> RunFolder:
        """The run of a trial."""
        return RunFolder(self.path / "trials" / str(number))
