"""What a comparison tells whoever watches it."""

from ostinato.training import Observer


class Watcher:
    """Watches in silence; a subclass says what it wants to say."""

    def training(self, name: str) -> Observer:
        """Who hears of each step of the entrant of that name, once a seed."""
        return Observer()

    def note(self, text: str) -> None:
        """Something happened that is no step: another seed, a failure, memory is being measured."""

    def end(self) -> None:
        """The comparison has ended or was interrupted."""
