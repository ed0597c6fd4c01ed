"""By how many bytes a piece of work raises the memory of a fresh process.

The peak is VmHWM of /proc/self/status: what the system holds for this process at most, so pieces that
the allocator keeps, Python objects and the buffers of matrix products count, as they do for a user.
`ru_maxrss` will not do: a child inherits its parent's. The start is what is held once a short piece of
the same work has warmed torch up, with input and gradient of the outputs made.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from signal import SIG_DFL, SIGINT, signal
from statistics import median
from typing import Any

import torch

STATUS = Path("/proc/self/status")
"""Of Linux: where this is not there, nothing can be measured."""


def in_fresh_processes(count: int, task: Callable[..., int], *given: Any, threads: int = 1) -> int:
    """The median of what `task(*given)` returns in so many processes, one after another."""
    found = []
    for _ in range(count):
        # Ctrl-C comes to every process of a terminal: this one ends of it without a word, even while
        # it imports what it needs.
        with ProcessPoolExecutor(
            1, get_context("spawn"), initializer=signal, initargs=(SIGINT, SIG_DFL)
        ) as pool:
            found.append(pool.submit(_with_threads, threads, task, given).result())
    return int(median(found))


def _with_threads(threads: int, task: Callable[..., int], given: tuple[Any, ...]) -> int:
    torch.set_num_threads(threads)
    return task(*given)


def raised_by(work: Callable[[], object]) -> int:
    """Bytes."""
    before = held("VmRSS")
    work()
    return held("VmHWM") - before


def held(name: str) -> int:
    """Bytes."""
    lines = STATUS.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
