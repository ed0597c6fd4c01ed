"""What wraps a layer: direction, depth."""

from ostinato.wrappers.bidirectional import Bidirectional, BothStates
from ostinato.wrappers.stack import Stack

__all__ = ["Bidirectional", "BothStates", "Stack"]
