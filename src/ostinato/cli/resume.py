"""`ostinato resume`: an interrupted training goes on."""

from ostinato.cli.options import Run

EXAMPLE = "Example: ostinato resume runs/sru-seed0"


def resume(run: Run) -> None:
    """Go on from a run's last checkpoint, as if it had never stopped.

    The result equals that of an uninterrupted training, bit for bit on the same machine.
    """
    from ostinato import training
    from ostinato.cli.outcome import say_outcome
    from ostinato.cli.progress import observer

    folder, score = training.resume(run, observer=observer())
    say_outcome(folder, score)
