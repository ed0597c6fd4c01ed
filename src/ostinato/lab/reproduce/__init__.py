"""Reproductions: what the tutorials taught, trained and timed again, beside what they published."""

from ostinato.lab.reproduce.description import Reproduction, Trained
from ostinato.lab.reproduce.reproducing import reproduce, resume
from ostinato.lab.reproduce.tutorials import Effort, chosen, tutorials

__all__ = ["Effort", "Reproduction", "Trained", "chosen", "reproduce", "resume", "tutorials"]
