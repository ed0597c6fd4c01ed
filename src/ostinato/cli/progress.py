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
    """One line every so many steps, in the tutorials' manner: time, epoch, step, loss, accuracy."""

    def begin(self, title: str, step: int, total: int) -> None:
        self._width = len(str(total))
        self._total = total
        print(title + (f", from step {step} on" if step else ""), flush=True)

    def step(self, step: Step, line: bool) -> None:
        if line:
            print(f"{self._head(step)}  loss {step.loss:.4f}  accuracy {step.accuracy:.4f}", flush=True)

    def scored(self, step: Step, name: str, loss: float, accuracy: float) -> None:
        print(f"{self._head(step)}  {name} loss {loss:.4f}  accuracy {accuracy:.4f}", flush=True)

    def note(self, text: str) -> None:
        print(text, flush=True)

    def _head(self, step: Step) -> str:
        clock = timedelta(seconds=int(step.seconds))
        return f"{clock}  epoch {step.epoch}  step {step.step:>{self._width}}/{self._total}"


class Bar(Observer):
    """A bar with loss, accuracy, steps per second and the time left; scores stand above it."""

    def begin(self, title: str, step: int, total: int) -> None:
        self._progress = Progress(
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
        self._progress.console.print(title)
        self._speed = self._loss = self._accuracy = 0.0
        self._first = True
        self._task = self._progress.add_task(
            title, total=total, completed=step, epoch=1, loss=0.0, accuracy=0.0, speed=0.0
        )
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
        self._progress.console.print(
            f"epoch {step.epoch}  step {step.step}  {name} loss {loss:.4f}  accuracy {accuracy:.4f}"
        )

    def note(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)

    def end(self) -> None:
        self._progress.stop()
