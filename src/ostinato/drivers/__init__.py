"""The walk over time, written once for every cell."""

from ostinato.drivers.generate import generate
from ostinato.drivers.recurrent import Recurrent
from ostinato.drivers.static import Static
from ostinato.drivers.truncated import truncated

__all__ = ["Recurrent", "Static", "generate", "truncated"]
