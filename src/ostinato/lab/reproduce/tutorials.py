"""What the tutorials are and what they published: `tutorials.toml`, read and checked."""

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import Field

from ostinato.errors import OptionError, nearest
from ostinato.models.settings import Settings
from ostinato.training import Recipe, read_recipe

Figure = str
"""The name of something that is measured here: `sru/test_accuracy`, `table/GRU, one layer/ms`, …"""


class Published(Settings):
    """A figure of a tutorial, and the one of ours that stands beside it."""

    what: str
    unit: Literal["%", "s", "ms", "×", "steps"]
    value: float | None = None
    """none: not published, or not found again; `note` says which"""
    ours: Figure
    note: str = ""


class Side(Settings):
    """A network whose training steps are timed."""

    name: str
    recipe: str
    set_: Annotated[dict[str, str], Field(alias="set", default_factory=dict)]
    """keys of the recipe that are changed, as with --set"""
    run_by: Literal["ours", "program", "reference", "torch.nn"] = "ours"

    def settings(self) -> Recipe:
        return read_recipe(self.recipe, self.set_)


class Ratio(Settings):
    """How many times as long as `below` the side `above` takes."""

    above: str
    below: str


class Timing(Settings):
    """Sides whose training steps take turns on the clock."""

    name: Annotated[str, Field(pattern=r"^[\w-]+$")]
    title: str
    sides: Annotated[list[Side], Field(min_length=1)]
    ratios: list[Ratio] = Field(default_factory=list)


class Tutorial(Settings):
    """One of the five."""

    number: int
    name: str
    title: str
    source: str
    about: str
    train: list[str]
    """recipes, as published"""
    drivers: bool = False
    """whether it is about the drivers: memory and ragged rows are measured too"""
    passes: float | None = None
    """the accuracy of a batch whose first step is looked for"""
    timing: list[Timing] = Field(default_factory=list)
    published: list[Published]
    answers: list[str] = Field(default_factory=list)
    """paragraphs; {figure} stands for what was measured"""
    conjectures: list[str] = Field(default_factory=list)
    """what may be so, and is not measured here"""


class Effort(Settings):
    """How much is done for a figure."""

    seconds: float
    """on the clock, of each side that is timed"""
    steps: int | None = None
    """of a training at most; none: as many as its recipe has"""
    train: int = 55_000
    validation: int = 5_000
    """images, split as the tutorials split MNIST"""


class Tutorials(Settings):
    full: Effort
    quick: Effort
    tutorial: list[Tutorial]


@cache
def tutorials() -> Tutorials:
    text = (resources.files("ostinato.lab.reproduce") / "tutorials.toml").read_text(encoding="utf-8")
    return Tutorials.model_validate(tomllib.loads(text))


def chosen(names: Sequence[str]) -> list[Tutorial]:
    """Those of the numbers or names, in the order of the tutorials; all of them for none.

    Raises OptionError for one that there is not.
    """
    known = {key: each for each in tutorials().tutorial for key in (str(each.number), each.name)}
    for name in names:
        if name not in known:
            raise OptionError(f'There is no tutorial "{name}"; {nearest(name, known)}')
    wanted = {known[name].number for name in names} or {each.number for each in known.values()}
    return [each for each in tutorials().tutorial if each.number in wanted]
