"""A page: a title, a lead, sections; written as one file that asks nothing of any network."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ostinato import __version__
from ostinato.files import write_atomically
from ostinato.lab.report.parts import Part, words


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it; parts that are not wide stand beside one another."""

    heading: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """`lead` says in a sentence or two what came out."""

    title: str
    lead: str
    sections: Sequence[Section]

    @property
    def anchored(self) -> list[tuple[str, Section]]:
        """The sections with the names that links lead to: their headings, told apart by numbers."""
        found: dict[str, Section] = {}
        for number, section in enumerate(self.sections, start=1):
            name = re.sub(r"\W+", "-", section.heading.lower()).strip("-") or "section"
            found[f"{name}-{number}" if name in found else name] = section
        return list(found.items())

    def html(self) -> str:
        """The whole page; it may run no script and use no style but its own."""
        style, script = _own("style.css"), _own("script.js")
        return (
            _environment()
            .get_template("page.html")
            .render(
                page=self,
                style=Markup(style),  # noqa: S704  our own files
                script=Markup(script),  # noqa: S704
                policy="default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
                f"style-src '{_digest(style)}'; script-src '{_digest(script)}'",
                version=__version__,
                made=datetime.now(UTC),
            )
        )

    def write(self, path: Path) -> None:
        """Puts the page at `path` in one move."""
        write_atomically(path, self.html())


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ostinato.lab.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"] = words
    return environment


@cache
def _own(name: str) -> str:
    return (resources.files("ostinato.lab.report") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
