"""The parts of a page: what they show, and that a page asks for nothing but itself."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from ostinato.lab.colours import COLOURS, colours, in_the_dark
from ostinato.lab.report import Chart, Code, Facts, Link, Page, Section, Table, Text


def lines(title: str = "", width: float = 5.0) -> Figure:
    figure = Figure(figsize=(width, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot([1, 2, 3], [3, 1, 2], "o-", color=COLOURS[0], label="a <b> & c")
    axes.set_title(title)
    axes.legend()
    return figure


def page(*parts: object) -> str:
    return Page("A title", "A lead.", [Section("The result", parts)]).html()  # type: ignore[arg-type]


def test_what_anyone_wrote_is_text_and_not_markup() -> None:
    evil = "<script>alert(1)</script>"
    html = Page(
        evil,
        evil,
        [
            Section(
                evil,
                [
                    Text(evil),
                    Table([evil], [[evil], [Link(evil, evil)]], evil),
                    Facts({evil: evil}, evil),
                    Code(evil, evil),
                    Chart(lines(evil), evil),
                ],
            )
        ],
    ).html()
    assert "alert(1)" in html
    assert evil not in html


def test_a_page_may_load_nothing_and_runs_its_own_script_alone() -> None:
    html = page(Chart(lines(), "Loss"))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r'(src|href)="(?!#|data:)', html)
    assert not re.search(r'\s(style|on\w+)="', html), "what the policy forbids is not there"


def test_a_chart_is_text_in_the_colours_of_the_page() -> None:
    svg = ElementTree.fromstring(Chart(lines("Loss"), "It falls").svg("x-"))
    texts = ["".join(each.itertext()) for each in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert "a <b> & c" in texts
    assert "Loss" in texts
    strokes = {each.get("stroke") for each in svg.iter()}
    assert f"light-dark({COLOURS[0]}, {in_the_dark(COLOURS[0])})" in strokes
    assert "var(--ink)" in strokes
    assert svg.get("aria-label") == "It falls"


def test_ids_are_unique_on_a_page_and_lead_somewhere() -> None:
    html = page(Chart(lines(), "One"), Chart(lines(), "The same again"))
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    wanted = re.findall(r'href="#([^"]+)"', html) + re.findall(r"url\(#([^)]+)\)", html)
    assert len(wanted) > 4
    assert set(wanted) <= set(ids)


def test_headings_that_read_alike_have_anchors_of_their_own() -> None:
    html = Page("A", "B", [Section("C d", []), Section("C: d", []), Section("c-d", [])]).html()
    anchors = re.findall(r'<section id="([^"]+)"', html)
    assert len(set(anchors)) == 3


def test_numbers_stand_right_and_are_short() -> None:
    html = page(
        Table(["recipe", "ms", "accuracy"], [["sru", 1234.5678, "98.1 % ± 0.2"], ["4", None, "–"]])
    )
    assert re.search(r'<td class="number">\s*1,235\s*</td>', html)
    assert re.search(r'<td class="number">\s*98.1 % ± 0.2\s*</td>', html)
    assert re.search(r'<td class="number">\s*–\s*</td>', html)
    assert re.search(r'<th scope="row" class="text">\s*4\s*</th>', html), "one word makes a column text"


def test_what_needs_the_whole_width_takes_it() -> None:
    assert not Chart(lines(width=5), "").wide
    assert Chart(lines(width=9), "").wide
    assert not Table(["a", "b"], []).wide
    assert Table(list("abcdefgh"), []).wide


def test_colours_follow_the_names_and_change_places_in_the_dark() -> None:
    assert colours(["a", "b", "a"]) == {"a": COLOURS[0], "b": COLOURS[1]}
    many = colours([str(number) for number in range(20)])
    assert many["0"] == many[str(len(COLOURS))]
    for colour in COLOURS:
        assert contrast(colour, "#fcfbf8") > 3
        assert contrast(in_the_dark(colour), "#14171a") > 3


def contrast(one: str, other: str) -> float:
    """Of two colours, as the Web Content Accessibility Guidelines define it."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    class Broken:
        template = "nowhere.html"
        wide = False

    file = tmp_path / "report.html"
    Page("First", "", []).write(file)
    with pytest.raises(Exception, match="nowhere.html"):
        Page("Second", "", [Section("S", [Broken()])]).write(file)
    assert "First" in file.read_text(encoding="utf-8")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
