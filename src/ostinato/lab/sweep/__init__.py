"""Sweeps: a recipe trained at many points, and the best of them."""

from ostinato.errors import OstinatoError

try:
    import optuna  # noqa: F401
except ImportError as missing:
    raise OstinatoError(
        'A sweep needs Optuna, which proposes what to try: pip install "ostinato[sweep]".'
    ) from missing

from ostinato.lab.sweep.description import Best, Sweep, SweepFolder, Trial
from ostinato.lab.sweep.search import resume, sweep

__all__ = ["Best", "Sweep", "SweepFolder", "Trial", "resume", "sweep"]
