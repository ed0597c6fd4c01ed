"""How a training shows itself: a bar on a terminal, plain lines in a pipe."""

import sys
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ostinato.training import Observer, Step


def observer() -> Observer:
    """The one that suits where standard output goes."""
    return Bar() if sys.stdout.isatty() else Lines()


class Lines(Observer):
    """One line every so many steps, in the tutorials' manner: time, epoch, step, loss, accuracy.

    One of several trainings begins each line with its `name`.
    """

    def __init__(self, name: str = ""):
        self._name = f"{name}  " if name else ""

    def begin(self, title: str, step: int, total: int) -> None:
        self._width = len(str(total))
        self._total = total
        self.note(title + (f", from step {step} on" if step else ""))

    def step(self, step: Step, line: bool) -> None:
        if line:
            self.note(f"{self._head(step)}  loss {step.loss:.4f}  accuracy {step.accuracy:.4f}")

    def scored(self, step: Step, name: str, loss: float, accuracy: float) -> None:
        self.note(f"{self._head(step)}  {name} loss {loss:.4f}  accuracy {accuracy:.4f}")

    def note(self, text: str) -> None:
        print(f"{self._name}{text}", flush=True)

    def _head(self, step: Step) -> str:
        clock = timedelta(seconds=int(step.seconds))
        return f"{clock}  epoch {step.epoch}  step {step.step:>{self._width}}/{self._total}"


def bars(*columns: TextColumn) -> Progress:
    """What bars stand in; `columns` come first."""
    return Progress(
        *columns,
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:.4f}"),
        TextColumn("{task.fields[speed]:.1f} steps/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(),
        expand=True,
    )


class Bar(Observer):
    """A bar with loss, accuracy, steps per second and the time left; scores stand above it.

    One of several stands `among` others, under its `name`; whoever made those begins and ends them.
    """

    def __init__(self, among: Progress | None = None, name: str = ""):
        self._alone = among is None
        self._progress = bars() if among is None else among
        self._name = f"{name}  " if name else ""
        self._task = self._progress.add_task(
            name, total=None, epoch=1, loss=0.0, accuracy=0.0, speed=0.0
        )

    def begin(self, title: str, step: int, total: int) -> None:
        self._speed = self._loss = self._accuracy = 0.0
        self._first = True
        self._progress.reset(self._task, total=total, completed=step)
        if self._alone:
            self.note(title)
            self._progress.start()

    def step(self, step: Step, line: bool) -> None:
        # A running mean, since single batches jump; the first step also pays for warming up.
        share = 1.0 if self._first else 0.05
        self._loss += share * (step.loss - self._loss)
        self._accuracy += share * (step.accuracy - self._accuracy)
        self._speed += share * (1000 / step.step_ms - self._speed)
        self._first = False
        self._progress.update(
            self._task,
            completed=step.step,
            epoch=step.epoch,
            loss=self._loss,
            accuracy=self._accuracy,
            speed=self._speed,
        )

    def scored(self, step: Step, name: str, loss: float, accuracy: float) -> None:
        self.note(
            f"epoch {step.epoch}  step {step.step}  {name} loss {loss:.4f}  accuracy {accuracy:.4f}"
        )

    def note(self, text: str) -> None:
        self._progress.console.print(f"{self._name}{text}", highlight=False)

    def end(self) -> None:
        if self._alone:
            self._progress.stop()
