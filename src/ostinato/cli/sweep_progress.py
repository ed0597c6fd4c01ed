"""How a sweep shows itself: two bars on a terminal, a line a trial in a pipe."""

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ostinato.lab.sweep import Sweep, Trial, Watcher
from ostinato.lab.sweep.page import said
from ostinato.training import Step


def watcher() -> Watcher:
    """The one that suits where standard output goes."""
    return Bars() if sys.stdout.isatty() else Lines()


class Lines(Watcher):
    """A line for each trial that begins, and one for what came of it."""

    def trial(self, trial: Trial, sweep: Sweep) -> None:
        print(f"trial {trial.number} of {sweep.count}  {said(trial.point)}", flush=True)

    def outcome(self, trial: Trial, sweep: Sweep) -> None:
        print(f"trial {trial.number} of {sweep.count}  {in_words(trial)}  ({_best(sweep)})", flush=True)


class Bars(Watcher):
    """The trials, and the steps of the one that is being trained; outcomes stand above them."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            console=Console(),
            expand=True,
        )
        self._trials = self._progress.add_task("trials", said="")
        self._steps = self._progress.add_task("steps", said="")

    def trial(self, trial: Trial, sweep: Sweep) -> None:
        self._progress.update(
            self._trials, completed=trial.number - 1, total=sweep.count, said=_best(sweep)
        )
        self._point = said(trial.point)

    def begin(self, title: str, step: int, total: int) -> None:
        self._progress.reset(self._steps, total=total, completed=step, said="")
        self._progress.start()

    def step(self, step: Step, line: bool) -> None:
        said = f"loss {step.loss:.4f}  accuracy {step.accuracy:.4f}"
        self._progress.update(self._steps, completed=step.step, said=said)

    def end(self) -> None:
        self._progress.stop()

    def outcome(self, trial: Trial, sweep: Sweep) -> None:
        console = self._progress.console
        console.print(f"trial {trial.number}  {self._point}  {in_words(trial)}", highlight=False)


def in_words(trial: Trial) -> str:
    """What came of a trial."""
    figure = "" if trial.accuracy is None else f" with {trial.accuracy:.2%}"
    why = "" if trial.why is None else f": {trial.why.splitlines()[0]}"
    return f"{trial.outcome}{figure}{why}"


def _best(sweep: Sweep) -> str:
    best = sweep.best
    return "none yet" if best is None else f"best {best.accuracy:.2%}, trial {best.number}"
