"""Comparisons: recipes trained side by side, or runs trained before, in one table."""

from ostinato.lab.compare.comparing import TO, compare, compare_runs, resume
from ostinato.lab.compare.description import Comparison, ComparisonFolder, Entrant, Figures
from ostinato.lab.compare.drivers import RECIPES as DRIVERS
from ostinato.lab.compare.watcher import Watcher

__all__ = [
    "DRIVERS",
    "TO",
    "Comparison",
    "ComparisonFolder",
    "Entrant",
    "Figures",
    "Watcher",
    "compare",
    "compare_runs",
    "resume",
]
