"""The documentation is true: its code runs, its commands and files exist, both languages agree."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ostinato.training import recipe_names

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@every_page
def test_python_runs(page):
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), {})


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


def test_the_readme_shows_every_room():
    tree = (ROOT / "README.md").read_text()
    rooms = [path.name for path in (ROOT / "src/ostinato").iterdir() if (path / "__init__.py").exists()]
    assert len(rooms) > 6
    for room in rooms:
        assert re.search(rf"^ *{room}/ ", tree, re.MULTILINE), room


def test_figures_in_the_readme_are_those_of_the_record():
    """Each recipe's row holds the mean that the newest record has."""
    import json

    record = max((ROOT / "benchmarks/records").glob("*-accuracy.json"))
    readme = (ROOT / "README.md").read_text()
    assert record.name in readme
    for name, recipe in json.loads(record.read_text())["recipes"].items():
        row = re.search(rf"^\| `{name}` .*", readme, re.MULTILINE)
        assert row, name
        assert f"{recipe['mean']:.2%}".replace("%", " %") in row.group(), name


def test_make_has_the_verbs():
    done = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True)
    for verb in ("install", "check", "test", "bench", "demo"):
        assert re.search(rf"^{verb} ", done.stdout, re.MULTILINE), verb


def test_importing_costs_no_extras():
    """The parts that take long to import wait until they are used."""
    code = (
        "import sys, ostinato.cli, ostinato.cells, ostinato.wrappers;"
        "assert not {'matplotlib', 'tensorboard'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
