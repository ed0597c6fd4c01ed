"""Layers at work where there is no training: one step at a time, with a state that stays."""

from ostinato.deploy.session import Session

__all__ = ["Session"]
