"""How many multiplications and additions this machine does in a second, at its best."""

import time as clock

import torch

_best: dict[int, float] = {}
"""What was reached so far, by the number of threads: others may be busy on the machine now and then."""


def machine_rate(threads: int) -> tuple[float, str]:
    """Operations a second with so many threads, and what was measured.

    The core's own loop of multiply-adds in registers where the core was built; else what torch's matrix
    product reaches, which is less than the machine can.
    """
    try:
        from ostinato import _core

        rate, what = (
            threads * _core.peak_flops(),
            "multiply-adds in registers, of one thread times threads",
        )
    except (ImportError, AttributeError):
        rate, what = _products(), "torch.mm of 1024×1024, the best of many"
    _best[threads] = max(rate, _best.get(threads, 0.0))
    return _best[threads], what


def _products(size: int = 1024, seconds: float = 0.5) -> float:
    a, b, out = (torch.randn(size, size) for _ in range(3))
    best = float("inf")
    end = clock.perf_counter() + seconds
    while clock.perf_counter() < end:
        start = clock.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, clock.perf_counter() - start)
    return 2 * size**3 / best
