"""The documentation is true: its code runs, its commands and files exist, both languages agree."""

import inspect
import json
import re
import subprocess
import sys
from fnmatch import fnmatch

import pytest

import phases
import tables
from ostinato.cells import CELLS
from ostinato.kernels import ROWS
from ostinato.lab.reproduce.description import Reproduction
from ostinato.programs.understood import RULES
from ostinato.training import recipe_names
from speed import CASES
from tests.pages import (
    PAGES,
    ROOT,
    blocks,
    examples,
    printed,
    shown,
    walked,
    without_lines_of_others,
)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@every_page
def test_python_runs_and_prints_what_the_page_says(page):
    for code, said in examples(page):
        output = printed(code, page)
        if said is not None:
            expected, got = (
                without_lines_of_others(each, code) for each in (said, shown(output, said))
            )
            assert got == expected, "renew the page: python -m tests.pages"


@every_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@every_page
def test_commands_exist(page):
    for command, name in re.findall(r"ostinato (train|recipes) ([a-z][\w-]*)", page.read_text()):
        assert name in recipe_names(), command


def test_every_recipe_is_in_the_tutorial_page():
    for page in PAGES:
        if page.name.startswith("tutorials"):
            named = set(re.findall(r"`(?:ostinato train )?([a-z][\w-]*)`", page.read_text()))
            assert set(recipe_names()) <= named


def test_both_languages_have_the_same_code_and_tables():
    english, chinese = (ROOT / "docs" / f"tutorials{suffix}.md" for suffix in ("", ".zh"))
    assert blocks(english, "python") == blocks(chinese, "python")
    for pattern in (r"^\| .*?`.*?` \|", r"`ostinato train [\w-]+`", r"^#+ "):
        found = [len(re.findall(pattern, p.read_text(), re.MULTILINE)) for p in (english, chinese)]
        assert found[0] == found[1] > 0, pattern


def rooms():
    found = [path.name for path in (ROOT / "src/ostinato").iterdir() if any(path.glob("*.py"))]
    assert len(found) > 8
    return found


def test_the_readme_shows_every_room():
    tree = (ROOT / "README.md").read_text()
    for room in rooms():
        assert re.search(rf"^ *{room}/ ", tree, re.MULTILINE), room


def test_the_arrows_between_rooms_point_one_way():
    """As the one line in CONTRIBUTING says."""
    (line,) = re.findall(r"^(cli →.*)$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    groups = [re.findall(r"\w+", group) for group in line.split("→")]
    rank = {room: place for place, group in enumerate(groups) for room in group}
    assert set(rank) == {*rooms()} - {"recipes"}
    for room in rank:
        for file in (ROOT / "src/ostinato" / room).glob("*.py"):
            for other in re.findall(r"^ *from ostinato\.(\w+)", file.read_text(), re.MULTILINE):
                assert rank.get(other, len(rank)) >= rank[room], f"{file.name} imports {other}"


def test_the_index_leads_to_every_room_and_every_page():
    index = (ROOT / "docs/README.md").read_text()
    for room in rooms():
        assert re.search(rf"^\| \[.*\]\(\w+\.md\) \| .*`{room}`", index, re.MULTILINE), room
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name


def table(page, columns):
    """The rows of the tables with so many columns."""
    rows = re.findall(r"^\|(.*)\|$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    return [row for row in cells if len(row) == columns]


def test_the_table_of_cells_is_that_of_the_library():
    rows = {row[0].strip("`"): row[1:] for row in table("cells.md", 6) if row[0].startswith("`")}
    assert set(rows) == set(CELLS)
    for name, (kind, _, _, options, left) in rows.items():
        assert kind == f"`{CELLS[name].__name__}`"
        given = list(inspect.signature(CELLS[name]).parameters)
        assert re.findall(r"`(\w+)`", options) == given[4 if name == "conv_lstm" else 2 :], name
        assert left == walked(name), f"{name}: renew the page: python -m tests.pages"


def test_the_operation_set_is_that_of_the_programs():
    named = [name for row in table("programs.md", 3) for name in re.findall(r"`(\w+)`", row[1])]
    assert len(named) == len(set(named))
    assert set(named) == {packet.__name__ for packet in RULES}


def test_the_table_of_rows_is_that_of_the_kernels():
    assert [row[0].strip("`") for row in table("kernels.md", 3)[2:]] == [row.name for row in ROWS]


def test_figures_in_the_readme_are_those_of_the_record():
    """Each recipe's row holds the mean that the newest record has."""
    record = max((ROOT / "benchmarks/records").glob("*-accuracy.json"))
    readme = (ROOT / "README.md").read_text()
    assert record.name in readme
    for name, recipe in json.loads(record.read_text())["recipes"].items():
        row = re.search(rf"^\| `{name}` .*", readme, re.MULTILINE)
        assert row, name
        assert f"{recipe['mean']:.2%}".replace("%", " %") in row.group(), name


def newest(table):
    """The newest record of a table of speed; None while there is none."""
    return max((ROOT / "benchmarks/records").glob(f"*-{table}.json"), default=None)


SPEED = {"speed": "README.md", "peers": "docs/native.md", "phases": "docs/native.md"}


def measured_for(table, case):
    if table == "phases":
        return any(fnmatch(case.name, kind) for kind in phases.KINDS)
    return case.table == table


@pytest.mark.parametrize("table", [each for each in tables.BRIEF if newest(each)])
def test_a_page_says_how_fast_the_newest_record_found_it(table):
    record = newest(table)
    page = (ROOT / SPEED[table]).read_text()
    assert record.name in page
    cases = json.loads(record.read_text())["cases"]
    assert set(cases) == {case.name for case in CASES if measured_for(table, case)}
    assert tables.BRIEF[table](cases) in page


def test_the_readme_quotes_the_tutorials_as_they_were_made_again():
    record = newest("reproduction")
    assert record is not None
    found = Reproduction.model_validate_json(record.read_text())
    assert not found.quick
    assert record.with_suffix(".html").stat().st_size < 1e6
    readme = (ROOT / "README.md").read_text()
    assert record.name in readme
    assert tables.of_reproduction(found) in readme


def test_each_feature_names_the_tests_that_show_it():
    (part,) = re.findall(
        r"^## What it can do.*?(?=^## )", (ROOT / "README.md").read_text(), re.M | re.S
    )
    rows = [row.split("|")[1:-1] for row in re.findall(r"^\| .*", part, re.MULTILINE)][2:]
    assert len(rows) > 20
    for feature, ours, *_, proof in rows:
        named = re.findall(r"\[([\w, ]+)\]\(([\w/.]+)\)", proof)
        assert bool(named) == ("✓" in ours), feature
        for names, path in named:
            text = (ROOT / path).read_text()
            for name in names.split(", "):
                assert f"\ndef {name}(" in text, f"{path} has no {name}"


def test_make_has_the_verbs():
    done = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True)
    for verb in ("install", "check", "test", "bench", "accuracy", "demo"):
        assert re.search(rf"^{verb} ", done.stdout, re.MULTILINE), verb


def test_importing_costs_no_extras():
    """The parts that take long to import wait until they are used."""
    code = (
        "import sys, ostinato.cli, ostinato.cells, ostinato.wrappers;"
        "assert not {'matplotlib', 'tensorboard'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
