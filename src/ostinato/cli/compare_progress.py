"""How a comparison shows itself: a bar for each recipe on a terminal, plain lines in a pipe."""

import sys

from rich.progress import TextColumn

from ostinato.cli import progress
from ostinato.lab.compare import Watcher
from ostinato.training import Observer


def watcher() -> Watcher:
    """The one that suits where standard output goes."""
    return Bars() if sys.stdout.isatty() else Lines()


class Lines(Watcher):
    """Each recipe's lines, under its name."""

    def training(self, name: str) -> Observer:
        return progress.Lines(name)

    def note(self, text: str) -> None:
        print(text, flush=True)


class Bars(Watcher):
    """One for each recipe, which begins anew with each seed; what else happens stands above them."""

    def __init__(self) -> None:
        self._progress = progress.bars(TextColumn("{task.description}"))
        self._bars: dict[str, Observer] = {}

    def training(self, name: str) -> Observer:
        if name not in self._bars:
            self._bars[name] = progress.Bar(self._progress, name)
        self._progress.start()
        return self._bars[name]

    def note(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)

    def end(self) -> None:
        self._progress.stop()
