"""`ostinato resume`: what was interrupted goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example: ostinato resume runs/sru-seed0"


def resume(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Of what was interrupted: a training, comparison, sweep, reproduction or benchmark.",
        ),
    ],
) -> None:
    """Go on from where it was interrupted, as if it had never stopped.

    The result equals that of an uninterrupted one, bit for bit on the same machine.
    """
    for description, go_on in KINDS.items():
        if (folder / description).is_file():
            return go_on(folder)
    return _run(folder)


def _run(folder: Path) -> None:
    from ostinato import training
    from ostinato.cli.outcome import say_outcome
    from ostinato.cli.progress import observer

    run, score = training.resume(folder, observer=observer())
    say_outcome(run, score)


def _comparison(folder: Path) -> None:
    from ostinato.cli.compare import say_outcome
    from ostinato.cli.compare_progress import watcher
    from ostinato.lab import compare

    say_outcome(*compare.resume(folder, watcher()))


def _sweep(folder: Path) -> None:
    from ostinato.cli.stages import watcher
    from ostinato.cli.sweep import say_outcome
    from ostinato.lab import sweep

    say_outcome(*sweep.resume(folder, watcher()))


def _reproduction(folder: Path) -> None:
    from ostinato.cli.reproduce import say_outcome
    from ostinato.cli.stages import watcher
    from ostinato.lab import reproduce

    say_outcome(*reproduce.resume(folder, watcher()))


def _bench(folder: Path) -> None:
    from ostinato.cli.bench import say_outcome
    from ostinato.cli.stages import watcher
    from ostinato.lab import bench

    say_outcome(bench.resume(folder, watcher()), None, folder)


KINDS: dict[str, Callable[[Path], None]] = {
    "run.json": _run,
    "comparison.json": _comparison,
    "sweep.json": _sweep,
    "reproduction.json": _reproduction,
    "bench.json": _bench,
}
"""What a folder is, by the file that describes it; anything else is told that it is no run."""
