"""What a sweep tells whoever watches it."""

from ostinato.lab.sweep.description import Sweep, Trial
from ostinato.training import Observer


class Watcher(Observer):
    """Watches in silence; hears of each trial, and as an `Observer` of each step of its training."""

    def trial(self, trial: Trial, sweep: Sweep) -> None:
        """A trial begins, or goes on."""

    def outcome(self, trial: Trial, sweep: Sweep) -> None:
        """A trial has ended."""
