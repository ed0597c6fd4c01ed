"""The pages' tables are what the library reads and writes by, and name what is there."""

import inspect
import re

import pytest

from ostinato import cells, drivers, wrappers
from ostinato.interchange import keras, tensorflow
from tests.pages import ROOT


def rows(heading):
    page = (ROOT / "docs/interchange.md").read_text()
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## )", page, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| .*\|$", section, re.MULTILINE)


def lines(heading):
    return {pair for row in rows(heading) for pair in re.findall(r"`([\w/]+)` = `([^`]+)`", row)}


def test_tensorflow():
    said = lines("TensorFlow 1")
    assert said | {("W_u", "W.zfrp")} == {
        pair for layout in (*tensorflow.ALL, tensorflow.SRU_TUTORIAL_HIGHWAY) for pair in layout.items()
    }
    scopes = {
        name for row in rows("TensorFlow 1") for name in re.findall(r"`(\w+)`", row.split("|")[2])
    }
    assert scopes == set(tensorflow.SCOPES)


def test_keras():
    layouts = (*keras.KINDS.values(), keras.RESET_AFTER)
    assert lines("Keras") == {pair for layout in layouts for pair in layout.items()}


KNOWN = {name: getattr(room, name) for room in (cells, drivers, wrappers) for name in room.__all__} | {
    "LSTMState": cells.LSTMState
}


@pytest.mark.parametrize("page", ["moving-from-keras.md", "moving-from-tensorflow.md"])
def test_what_a_page_says_is_here_is_here(page):
    """Every name with a capital, and every option that is given to one of them by name."""
    found = re.findall(r"^\| .*? \| (.*?) \|", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    said = [code for column in found for code in re.findall(r"`([^`]+)`", column)]
    assert len(said) > 20
    for code in said:
        for name in re.findall(r"(?<![\w.])[A-Z]\w+(?=\(|$)", code):
            assert name in KNOWN, code
        for name, options in re.findall(r"(?<![\w.])([A-Z]\w+)\(([^()]*)\)", code):
            taken = inspect.signature(KNOWN[name]).parameters
            assert set(re.findall(r"(\w+)=", options)) <= set(taken), code
