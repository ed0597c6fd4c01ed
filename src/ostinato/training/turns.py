"""What a training has to itself while it is its turn, so that several can take turns in one process."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Turns:
    """A random state, a number of threads and a clock of its own; the caller's come back after a turn.

    `seconds` runs in its turns alone, so that nobody's time counts as another's.
    """

    def __init__(self, device: torch.device, threads: int, seed: int):
        self._threads = threads
        self._devices = [device] if device.type == "cuda" else []
        self._before = 0.0
        self._began: float | None = None
        with torch.random.fork_rng(self._devices):
            torch.manual_seed(seed)
            self._random = self._generators()

    @property
    def seconds(self) -> float:
        now = 0.0 if self._began is None else time.perf_counter() - self._began
        return self._before + now

    @seconds.setter
    def seconds(self, value: float) -> None:
        """Goes on from there."""
        self._before = value
        self._began = None if self._began is None else time.perf_counter()

    @contextmanager
    def turn(self) -> Iterator[None]:
        callers = torch.get_num_threads()
        with torch.random.fork_rng(self._devices):
            self._put(self._random)
            torch.set_num_threads(self._threads)
            self._began = time.perf_counter()
            try:
                yield
            finally:
                self._before, self._began = self.seconds, None
                self._random = self._generators()
                torch.set_num_threads(callers)

    def _generators(self) -> list[Tensor]:
        return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._devices)]

    def _put(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for device, state in zip(self._devices, states[1:], strict=True):
            torch.cuda.set_rng_state(state, device)
