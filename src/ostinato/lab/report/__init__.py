"""One HTML page that needs nothing but itself: what a run, a comparison, a reproduction came to."""

from ostinato.lab.report.chart import Chart
from ostinato.lab.report.kinds import KINDS, write_report
from ostinato.lab.report.page import Page, Section
from ostinato.lab.report.parts import Code, Facts, Link, Table, Text

__all__ = [
    "KINDS",
    "Chart",
    "Code",
    "Facts",
    "Link",
    "Page",
    "Section",
    "Table",
    "Text",
    "write_report",
]
