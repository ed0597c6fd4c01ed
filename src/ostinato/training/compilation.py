"""What a network's static parts spend on compiling, told to whoever watches the training."""

from torch import nn

from ostinato.drivers import Static
from ostinato.training.observer import Observer


class Compilation:
    """Silent for a network without static parts."""

    def __init__(self, network: nn.Module, observer: Observer, before: float):
        self._parts = [part for part in network.modules() if isinstance(part, Static)]
        self._observer = observer
        self._before = before
        self._told = before

    def announce(self) -> None:
        if self._parts:
            self._observer.note("The first step compiles the unrolled loop; that may take minutes.")

    def tell(self) -> None:
        """Says how long it took, when it has grown."""
        if self.seconds > self._told:
            self._observer.note(f"Compiled in {self.seconds - self._told:.1f} s.")
            self._told = self.seconds

    @property
    def expected(self) -> bool:
        """Whether there is anything to compile."""
        return bool(self._parts)

    @property
    def seconds(self) -> float:
        """Of all processes that the training went through."""
        return self._before + sum(part.compile_seconds for part in self._parts)

    @property
    def why_not(self) -> str | None:
        """Why nothing was compiled, where it should have been."""
        return next((part.reason for part in self._parts if part.reason), None)
