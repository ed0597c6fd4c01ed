"""How work of many stages shows itself: two bars on a terminal, two lines a stage in a pipe."""

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ostinato.lab.watcher import Watcher
from ostinato.training import Step


def watcher() -> Watcher:
    """The one that suits where standard output goes."""
    return Bars() if sys.stdout.isatty() else Lines()


class Lines(Watcher):
    """A line for each stage that begins, and one for what came of it."""

    def stage(self, number: int, count: int, title: str) -> None:
        print(f"{number}/{count}  {title}", flush=True)

    def outcome(self, number: int, count: int, words: str) -> None:
        print(f"{number}/{count}  {words}", flush=True)


class Bars(Watcher):
    """The stages, and the steps of the one that is at work; outcomes stand above them."""

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
        self._stages = self._progress.add_task("stages", said="")
        self._steps = self._progress.add_task("steps", said="", visible=False)

    def stage(self, number: int, count: int, title: str) -> None:
        self._title = title
        self._progress.update(self._stages, completed=number - 1, total=count, said=title)
        self._progress.reset(self._steps, total=1, said="")
        self._progress.start()

    def begin(self, title: str, step: int, total: int) -> None:
        self._progress.reset(self._steps, total=total, completed=step, visible=True, said="")

    def step(self, step: Step, line: bool) -> None:
        said = f"loss {step.loss:.4f}  accuracy {step.accuracy:.4f}"
        self._progress.update(self._steps, completed=step.step, said=said)

    def end(self) -> None:
        self._progress.stop()

    def outcome(self, number: int, count: int, words: str) -> None:
        self._progress.update(self._stages, completed=number)
        self._progress.console.print(f"{number}/{count}  {self._title}  {words}", highlight=False)
        self._progress.stop()
