"""Pages in a real browser: opened from the disk, offline, clicked through, on a screen and a phone."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect, sync_playwright

from ostinato import training
from ostinato.lab import sweep
from ostinato.lab.colours import colours
from ostinato.lab.report import Chart, Code, Facts, Link, Page, Section, Table, Text, write_report
from tests.lab import browser as browsers

LOOKS = Path(__file__).with_name("looks.js").read_text(encoding="utf-8")

ROOT = Path(__file__).parents[2]

SCREENS = {"screen": (1440, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def chromium():
    path = browsers.find()
    if path is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(browsers.WHAT_TO_DO)
    # Chromium's sandbox refuses root, who runs the tests in containers.
    options = [] if os.geteuid() else ["--no-sandbox"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=options)
        yield started
        started.close()


@pytest.fixture(scope="module")
def run_page(tiny_recipe, tiny_folder, tmp_path_factory):
    """Of a real run: two layers in both directions, so that there is much to show."""
    text = tiny_recipe.read_text().replace('"sru"\nhighway = false', '"lstm"\nforget_bias = 1.0')
    recipe = training.parse_recipe(text, "these tests", {"model.bidirectional": "true"})
    run, _ = training.train(recipe, tmp_path_factory.mktemp("run") / "run", data=tiny_folder, threads=1)
    return write_report(run.path)


@pytest.fixture(scope="module")
def parts_page(tmp_path_factory):
    """Every part there is, with more in it than fits a phone."""
    of = colours(["one", "another"])
    small, large = (Figure(figsize=(width, 3.4), layout="constrained") for width in (5.6, 11))
    for axes in (small.subplots(), *large.subplots(1, 3)):
        for name, colour in of.items():
            axes.plot(range(20), np.exp(-np.arange(20) / (3 + len(name))), color=colour, label=name)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.set_yscale("log")
        axes.legend(frameon=False)
    wide = Table(
        [f"column {number}" for number in range(12)],
        [
            ["a recipe", *np.linspace(-1, 1e5, 11).tolist()],
            [Link("another", "other/page.html"), *[None] * 11],
        ],
        "A table of many columns.",
    )
    narrow = Table(["recipe", "accuracy"], [["sru", "98.1 % ± 0.2"], ["lstm", "97 %"]], "One of few.")
    page = Page(
        "Everything that a page may have, in a title of two lines",
        "A lead.",
        [
            Section("Beside one another", [narrow, Chart(small, "A small one.")]),
            Section("By itself", [Text("Words. " * 60, "More."), wide, Chart(large, "A wide one.")]),
            Section("Facts", [Facts({"digest": "4ea408e4" * 8, "a": 1.5}), Facts({"b": True}, "Of b")]),
            Section("Code", [Code("ostinato train " + "x" * 200), Code("lr = 1", "A file", True)]),
        ],
    )
    file = tmp_path_factory.mktemp("parts") / "report.html"
    page.write(file)
    return file


@pytest.fixture(params=[(screen, scheme) for screen in SCREENS for scheme in ("light", "dark")],
                ids="-".join)  # fmt: skip
def look(request, chromium, tmp_path):
    """Opens a page in a tab that has no network; what it complains of fails the test."""
    screen, scheme = request.param
    width, height = SCREENS[screen]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
    )
    tab = context.new_page()
    complaints, asked = [], []
    tab.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))

    def opened(file):
        tab.goto(file.as_uri())
        assert_good_looks(tab, tmp_path / "before.png")
        return tab

    yield opened
    assert_good_looks(tab, tmp_path / "after.png")
    assert complaints == []
    assert [url for url in asked if not url.startswith("data:")] == [tab.url.partition("#")[0]]
    context.close()


def assert_good_looks(tab: Tab, picture: Path | None = None) -> None:
    looks = tab.evaluate(LOOKS)
    assert looks["texts"] > 20
    assert looks["overflow"] == 0
    assert looks["wide"] == []
    assert looks["overlaps"] == []
    assert looks["faint"] == []
    if picture is None:
        return
    tab.screenshot(path=picture, full_page=True)
    with Image.open(picture) as image:
        assert len(image.convert("RGB").getcolors(2**24)) > 100, "something was drawn"


def background(tab: Tab) -> str:
    return tab.evaluate("getComputedStyle(document.body).backgroundColor")


def test_every_part(look, parts_page):
    tab = look(parts_page)
    before = background(tab)
    button = tab.get_by_role("button", name=re.compile("^(Dark|Light)$"))
    said = button.inner_text()
    button.click()
    assert background(tab) != before
    assert button.inner_text() != said
    assert_good_looks(tab)
    tab.get_by_text("A file").click()
    expect(tab.get_by_text("lr = 1")).to_be_visible()
    for link in tab.get_by_role("navigation").get_by_role("link").all():
        link.click()
        assert tab.evaluate("document.querySelector(location.hash).getBoundingClientRect().top") < 844
    button.click()
    assert background(tab) == before


def test_a_run(look, run_page):
    tab = look(run_page)
    choices = tab.get_by_role("group", name="Which digit").get_by_role("button").all()
    assert len(choices) == 4
    for index, choice in enumerate(choices):
        choice.click()
        assert [each.get_attribute("aria-pressed") for each in choices].index("true") == index
        visible = [each.is_visible() for each in tab.locator(".digit").all()]
        assert visible == [each == index for each in range(len(choices))]
        assert_good_looks(tab)
    tab.get_by_text("The same as a recipe file").click()
    expect(tab.get_by_text('name = "tiny"')).to_be_visible()


@pytest.fixture(scope="module")
def pages(compared, two_recipes, tiny_folder, tmp_path_factory):
    """Of what puts several runs beside one another; the reproduction is the one that is on record."""
    folder, _ = compared
    swept = tmp_path_factory.mktemp("sweep") / "widths"
    sweep.sweep(two_recipes[0], ["model.hidden=6,9"], swept, data=tiny_folder)
    recorded = sorted((ROOT / "benchmarks/records").glob("*-reproduction.html"))
    return {
        "comparison": folder.path / "report.html",
        "sweep": swept / "report.html",
        "reproduction": recorded[-1],
    }


@pytest.mark.parametrize("kind", ["comparison", "sweep", "reproduction"])
def test_several_runs(look, pages, kind):
    tab = look(pages[kind])
    assert tab.locator("svg").count() >= 2
    assert tab.get_by_role("table").count() >= 1
    for each in tab.locator("summary").all():
        each.click()
    tab.get_by_role("button", name=re.compile("^(Dark|Light)$")).click()
    assert_good_looks(tab)


@pytest.mark.parametrize("look", [("phone", "dark")], indirect=True)
def test_the_slider_walks_the_rows(look, run_page):
    tab = look(run_page)
    digit = tab.locator(".digit").first
    after = digit.evaluate("each => JSON.parse(each.dataset.after)")
    assert len(after) == 28
    slider = tab.get_by_role("slider")
    slider.focus()
    for key, row in (("Home", 1), ("ArrowRight", 2), ("PageUp", None), ("End", 28)):
        slider.press(key)
        at = int(slider.input_value())
        assert row in (None, at)
        expect(tab.locator(".walk output")).to_have_text(str(at))
        shown = [each.inner_text() for each in digit.locator(".classes output").all()]
        assert shown == [f"{int(100 * each + 0.5)} %" for each in after[at - 1]]
        read = tab.locator(".reading").evaluate("each => Number(each.style.getPropertyValue('--read'))")
        assert read == pytest.approx(at / 28)
    tab.clock.install()
    tab.get_by_role("button", name="Play").click()
    tab.clock.run_for(460)
    expect(tab.locator(".walk output")).to_have_text("4")
    tab.get_by_role("button", name="Stop").click()
    tab.clock.run_for(5000)
    expect(tab.locator(".walk output")).to_have_text("4")
    tab.get_by_role("button", name="Play").click()
    tab.clock.run_for(5000)
    expect(tab.locator(".walk output")).to_have_text("28")
    expect(tab.get_by_role("button", name="Play")).to_be_visible()


@pytest.mark.parametrize("look", [("screen", "light")], indirect=True)
def test_by_keyboard_alone(look, run_page):
    tab = look(run_page)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "To the content"
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "theme"
    before = background(tab)
    tab.keyboard.press("Enter")
    assert background(tab) != before


def test_without_scripts_everything_is_there(chromium, run_page):
    context = chromium.new_context(java_script_enabled=False, offline=True)
    tab = context.new_page()
    tab.goto(run_page.as_uri())
    assert all(each.is_visible() for each in tab.locator(".digit").all())
    assert not tab.locator(".controls").is_visible()
    assert not tab.locator("#theme").is_visible()
    context.close()


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (".lead { color: #999 !important }", "faint"),
        ("svg { fill: #888 }", "faint"),
        (".chart figcaption { margin-top: -3rem }", "overlaps"),
        (".lead { white-space: nowrap; width: 120vw; max-width: none }", "wide"),
    ],
)
def test_bad_looks_are_seen(chromium, parts_page, rule, found):
    context = chromium.new_context(offline=True, color_scheme="light")
    tab = context.new_page()
    tab.goto(parts_page.as_uri())
    assert tab.evaluate(LOOKS)[found] == []
    own = "document.styleSheets[0]"
    tab.evaluate(f"rule => {own}.insertRule(rule, {own}.cssRules.length)", rule)
    assert tab.evaluate(LOOKS)[found] != []
    context.close()
