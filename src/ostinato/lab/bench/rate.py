"""How fast this machine multiplies matrices, at its best."""

import time as clock

import torch

_best: dict[int, float] = {}
"""What was reached so far, by the number of threads: others may be busy on the machine now and then."""


def matrix_products(threads: int, seconds: float = 0.25, size: int = 1024) -> float:
    """Multiplications and additions a second, in torch's product of 1024×1024; the best by now."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    a, b, out = (torch.randn(size, size) for _ in range(3))
    best = float("inf")
    end = clock.perf_counter() + seconds
    try:
        while clock.perf_counter() < end:
            start = clock.perf_counter()
            torch.mm(a, b, out=out)
            best = min(best, clock.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    _best[threads] = max(2 * size**3 / best, _best.get(threads, 0.0))
    return _best[threads]
