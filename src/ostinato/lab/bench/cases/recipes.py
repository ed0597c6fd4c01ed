"""A training step of each recurrent recipe's encoder: by the row that runs it, and on plain torch's.

The step times of a recipe before and after there was a faster row.
"""

from functools import partial

from ostinato.cells import CELLS
from ostinato.lab.bench.harness import Entrant, Race
from ostinato.lab.bench.sides import ours, ours_on
from ostinato.lab.bench.work import Maker, Sizes
from ostinato.models.settings import RecurrentSettings
from ostinato.training import read_recipe, recipe_names

RECURRENT = [name for name in recipe_names() if read_recipe(name).model.kind == "recurrent"]


def encoder_of(recipe: str) -> tuple[Sizes, Maker]:
    """Of what its network is made, on images of 28×28; without dropout, and walked step by step."""
    read = read_recipe(recipe)
    model = read.model
    assert isinstance(model, RecurrentSettings)
    sizes = Sizes(
        model.hidden,
        inputs=28,
        time=28,
        batch=read.training.batch,
        layers=model.layers,
        both_ways=model.bidirectional,
    )
    return sizes, partial(CELLS[model.cell.name], **model.cell.model_dump(exclude={"name"}))


def step(recipe: str) -> Race:
    sizes, cell = encoder_of(recipe)
    return Race(
        f"step/{recipe}",
        "training step",
        sizes,
        cell,
        {"ours": Entrant(ours), "row program": Entrant(partial(ours_on, "program"))},
        patience=0.4,
    )


CASES = [step(recipe) for recipe in RECURRENT]
