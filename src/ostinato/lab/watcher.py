"""What a piece of work of many stages tells whoever watches it."""

from ostinato.training import Observer


class Watcher(Observer):
    """Watches in silence; hears of each stage, and as an `Observer` of each step of its training."""

    def stage(self, number: int, count: int, title: str) -> None:
        """One of `count` stages begins, or goes on; they count from 1."""

    def outcome(self, number: int, count: int, words: str) -> None:
        """A stage has ended: what came of it."""
