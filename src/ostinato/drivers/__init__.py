"""The walk over time, written once for every cell."""

from ostinato.drivers.recurrent import Recurrent

__all__ = ["Recurrent"]
