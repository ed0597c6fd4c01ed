"""What tests of the laboratory share: two small recipes, and a comparison of them."""

import pytest

from ostinato import training
from ostinato.lab import compare as lab
from tests.lab.comparisons import SEEDS


@pytest.fixture(scope="session")
def two_recipes(tiny_recipe):
    """Two that differ in width and in what they draw at random."""
    tiny = training.read_recipe(str(tiny_recipe))
    wide = {"hidden": 20, "dropout": 0.5, "output_dropout": 0.5}
    return [tiny, tiny.model_copy(update={"name": "wide", "model": tiny.model.model_copy(update=wide)})]


@pytest.fixture(scope="session")
def compared(two_recipes, tiny_folder, tmp_path_factory):
    """A comparison that nothing interrupted; not to be changed."""
    out = tmp_path_factory.mktemp("whole") / "comparison"
    return lab.compare(two_recipes, SEEDS, out, to=0.2, memory=False, data=tiny_folder, threads=1)
