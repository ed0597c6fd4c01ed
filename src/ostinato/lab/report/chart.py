"""A matplotlib figure as part of a page: SVG whose text is text, in the page's own colours."""

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from xml.etree import ElementTree

from markupsafe import Markup

from ostinato.lab.colours import in_the_dark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"

REFERENCE = re.compile(r"(?:^#|url\(#)([^)]+)")

BLACK, WHITE = "var(--ink)", "var(--paper)"

DROPPED = {"font-family", "text-align"}
"""The page has a type of its own."""

WIDE = 7.0
"""Inches from which a figure takes the whole width of the page; on a phone it scrolls in its box."""


@dataclass(frozen=True)
class Chart:
    """A figure with what it shows in words; `alt` for who cannot see it, the caption if not given.

    Black and white become the page's ink and paper, every other colour has its counterpart in the dark.
    """

    figure: "Figure"
    caption: str
    alt: str = ""
    template: ClassVar[str] = "chart.html"

    @property
    def wide(self) -> bool:
        return bool(self.figure.get_figwidth() >= WIDE)

    def svg(self, prefix: str) -> Markup:
        """The picture; `prefix` keeps its ids apart from those of the page's other pictures."""
        root = _drawn(self.figure)
        for each in root.iter():
            _restyle(each)
        _rename(root, prefix)
        width, height = (
            float(root.attrib.pop(side).removesuffix("pt")) for side in ("width", "height")
        )
        # In pixels of the page: as large as it was drawn, shrunk by the style sheet where that is wide.
        root.attrib |= {"width": f"{width:.0f}", "height": f"{height:.0f}"}
        root.attrib |= {"role": "img", "aria-label": self.alt or self.caption}
        ElementTree.register_namespace("", SVG.strip("{}"))
        return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704  made from a tree


def _drawn(figure: "Figure") -> ElementTree.Element:
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ostinato"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(text.getvalue())  # noqa: S314  our own
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{SVG}metadata" or child.tag == f"{SVG}style":
                parent.remove(child)
    return root


def _restyle(element: ElementTree.Element) -> None:
    """Style as attributes: a page that allows no inline styles shows them all the same."""
    for part in filter(None, element.attrib.pop("style", "").split(";")):
        name, value = (word.strip() for word in part.split(":", 1))
        if name not in DROPPED:
            element.set(name, value)
    for name in ("fill", "stroke"):
        if (value := element.get(name, "")).startswith("#"):
            element.set(name, _themed(value))
    if (target := element.attrib.pop(LINK, None)) is not None:
        element.set("href", "".join(target.split()))


def _themed(colour: str) -> str:
    if colour == "#000000":
        return BLACK
    if colour == "#ffffff":
        return WHITE
    return f"light-dark({colour}, {in_the_dark(colour)})"


def _rename(root: ElementTree.Element, prefix: str) -> None:
    """Keeps the ids that something refers to, under the prefix, and drops the others."""
    ids, used = {each.get("id") for each in root.iter()}, set()
    for each in root.iter():
        for name, value in each.attrib.items():
            if (found := REFERENCE.search(value)) and found[1] in ids:
                used.add(found[1])
                each.set(name, value.replace(f"#{found[1]}", f"#{prefix}{found[1]}"))
    for each in root.iter():
        own = each.attrib.pop("id", "")
        if own in used:
            each.set("id", prefix + own)
