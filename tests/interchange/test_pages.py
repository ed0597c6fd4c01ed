"""The page's tables are what the library reads and writes by."""

import re

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
