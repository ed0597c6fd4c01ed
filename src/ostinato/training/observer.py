"""What a training tells whoever watches it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One step that was taken; accuracy is that of its own batch, dropout included."""

    step: int
    epoch: int
    seconds: float
    step_ms: float
    loss: float
    accuracy: float


class Observer:
    """Watches in silence; a subclass says what it wants to say."""

    def begin(self, title: str, step: int, total: int) -> None:
        """Training starts, or goes on, after `step`."""

    def step(self, step: Step, line: bool) -> None:
        """A step was taken; `line` when the recipe wants it said."""

    def scored(self, step: Step, name: str, loss: float, accuracy: float) -> None:
        """The network was scored on the validation or test images."""

    def note(self, text: str) -> None:
        """Something happened that is neither a step nor a score: a compilation, an early end."""

    def end(self) -> None:
        """Training has ended or was interrupted."""
