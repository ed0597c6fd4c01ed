"""Ostinato: recurrent networks for PyTorch, from a cell's step to a trained model."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ostinato.deploy import Session
    from ostinato.explanation import explain

__version__ = "0.1.0"

__all__ = ["Session", "__version__", "explain"]


def __getattr__(name: str) -> Any:
    # Torch takes a second to import: not before it is needed.
    if name == "explain":
        from ostinato.explanation import explain

        return explain
    if name == "Session":
        from ostinato.deploy import Session

        return Session
    raise AttributeError(f"module 'ostinato' has no attribute {name!r}")
