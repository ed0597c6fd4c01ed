"""How many multiplications and additions this machine does in a second, at its best."""

from ostinato.lab.bench.rate import matrix_products

_best: dict[int, float] = {}
"""What was reached so far, by the number of threads: others may be busy on the machine now and then."""


def machine_rate(threads: int) -> tuple[float, str]:
    """Operations a second with so many threads, and what was measured.

    The core's own loop of multiply-adds in registers where the core was built; else what torch's matrix
    product reaches, which is less than the machine can.
    """
    try:
        from ostinato import _core
    except ImportError:
        return matrix_products(threads), "torch.mm of 1024×1024, the best of many"
    _best[threads] = max(threads * _core.peak_flops(), _best.get(threads, 0.0))
    return _best[threads], "multiply-adds in registers, of one thread times threads"
