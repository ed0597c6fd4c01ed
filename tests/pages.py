"""The pages of the documentation: their code, what it prints, and the files that they name.

`python -m tests.pages` puts what the code prints now into the pages, and what is walked of each cell.
Read the difference, and the words around it, before it is committed.
"""

import contextlib
import io
import re
from pathlib import Path
from typing import NamedTuple

import torch

from ostinato.cells import CELLS
from ostinato.explanation import explanations

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

PYTHON = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
NAMED = re.compile(r"# ([\w/]+\.py)\n")
OMITTED = "…\n"
"""Ends what a page shows of an output of which it shows the beginning."""


class Edit(NamedTuple):
    """A block that a page puts into a file: all of it, or what comes after a line."""

    path: str
    after: str | None
    text: str


class Commands(NamedTuple):
    """Lines for a shell."""

    lines: list[str]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def examples(page):
    """Each block of Python, and what it prints if the page says so (None if not)."""
    return [(m[1], m[2]) for m in PYTHON.finditer(page.read_text())]


def printed(code, page):
    """What a block prints. Its first line may name the file that it is: `# sru.py`."""
    named = NAMED.match(code)
    out = io.StringIO()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(code, named[1] if named else str(page), "exec"), {})
    finally:
        torch.set_num_threads(threads)
    return out.getvalue()


def without_lines_of_others(text, code):
    """A text without the line numbers of files other than the one that the code says it is."""
    named = NAMED.match(code)
    own = re.escape(named[1]) if named else "$"
    return re.sub(rf"\b(?!{own})(\w+\.py):\d+", r"\1", text)


def shown(output, said):
    """The part of an output that a page shows."""
    if not said.endswith(OMITTED):
        return output
    lines = said.removesuffix(OMITTED).rstrip("\n").count("\n") + 1
    return "".join(output.splitlines(keepends=True)[:lines]) + OMITTED


def steps(page):
    """What a page tells its reader to write and to run, in order."""
    pattern = re.compile(
        r"^`(?P<path>[^`\n]+)`(?:, after `(?P<after>[^`\n]+)`)?:\n\n```\w+\n(?P<text>.*?)^```$"
        r"|^```sh\n(?P<commands>.*?)^```$",
        re.DOTALL | re.MULTILINE,
    )
    for found in pattern.finditer(page.read_text()):
        if found["commands"]:
            yield Commands(found["commands"].splitlines())
        else:
            yield Edit(found["path"], found["after"], found["text"])


def walked(name):
    """What `explain` finds left to walk of a cell of the library."""
    kind = CELLS[name]
    cell = kind(3, 4, 5, 5) if name == "conv_lstm" else kind(28, 128)
    (explained,) = explanations(cell, torch.zeros(1, 1, *cell.input_shape))
    return re.search(r"^walk.*?: (.*)", explained.forward, re.MULTILINE)[1]


def _renewed(page):
    def renew(found):
        code, said = found.groups()
        if said is None:
            return found[0]
        return f"```python\n{code}```\n\n```text\n{shown(printed(code, page), said)}```"

    def renew_walked(found):
        return f"{found[1]} {walked(found[2])} |" if found[2] in CELLS else found[0]

    text = PYTHON.sub(renew, page.read_text())
    if page.name == "cells.md":
        text = re.sub(r"^(\| `(\w+)` \|.*\|) [^|\n]+ \|$", renew_walked, text, flags=re.MULTILINE)
    return text


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(_renewed(each))
