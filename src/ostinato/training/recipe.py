"""A recipe: one experiment, complete, as a TOML file."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import Field, ValidationError, model_validator

from ostinato.errors import RecipeError, nearest
from ostinato.models.settings import ModelSettings, Settings, Size
from ostinato.training.complaints import explain

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class DataSettings(Settings):
    """How many of the training images train, and how many after them validate."""

    train: Size
    validation: Annotated[int, Field(ge=0)]


class AdamSettings(Settings):
    name: Literal["adam"]
    lr: Positive
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    eps: Positive


class SGDSettings(Settings):
    name: Literal["sgd"]
    lr: Positive
    momentum: Fraction


OptimizerSettings = Annotated[AdamSettings | SGDSettings, Field(discriminator="name")]


class TrainingSettings(Settings):
    """How long, in what batches, and from what seed. Either `epochs` or `steps` is given."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    batch: Size
    epochs: Size | None = None
    steps: Size | None = None
    clip_norm: Annotated[float, Field(ge=0)]
    """gradients are scaled down to this norm, taken over all weights; 0: never"""
    until_batch_accuracy: Annotated[float, Field(gt=0, lt=1)] | None = None
    """training ends early, after the first step whose batch was classified better than this"""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            given = "neither" if self.epochs is None else "both"
            raise ValueError(f"expected either epochs or steps, got {given}")
        return self

    def total_steps(self, images: int) -> int:
        """An epoch sees every image once; its last batch may be smaller."""
        return self.steps or self.epochs * -(-images // self.batch)  # type: ignore[operator]


class LogSettings(Settings):
    """What is said, tried and kept every so many steps; 0: never."""

    line: Annotated[int, Field(ge=0)]
    """a line of loss and accuracy on the training batch"""
    validate_: Annotated[int, Field(ge=0, alias="validate")]
    """loss and accuracy on the validation images, besides the end of each epoch"""
    test: Annotated[int, Field(ge=0)]
    """accuracy on the test images, for the record only: nothing depends on it"""
    checkpoint: Size
    """everything needed to go on from here"""


class Recipe(Settings):
    """A complete experiment."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    title: str
    source: str
    data: DataSettings
    model: ModelSettings
    optimizer: OptimizerSettings
    training: TrainingSettings
    log: LogSettings

    def to_toml(self) -> str:
        """The file that `parse_recipe` reads back into an equal recipe."""
        return tomli_w.dumps(self.model_dump(by_alias=True, exclude_none=True))


def recipe_names() -> list[str]:
    """The names of the recipes that come with the library."""
    return sorted(name.removesuffix(".toml") for name in _shipped())


def read_recipe(name_or_path: str, changes: Mapping[str, str] | None = None) -> Recipe:
    """Reads a shipped recipe by name, or any by the path of its TOML file, with changes.

    `changes` maps dotted keys to TOML values: `{"optimizer.lr": "0.003"}`.
    Raises RecipeError, naming the file, the key, what was expected and the nearest right name.
    """
    shipped = _shipped()
    if f"{name_or_path}.toml" in shipped:
        origin, text = f"{name_or_path}.toml", shipped[f"{name_or_path}.toml"]
    elif (path := Path(name_or_path)).is_file():
        try:
            origin, text = str(path), path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path}: cannot be read as text: {error}.") from error
    else:
        raise RecipeError(
            f'There is no recipe "{name_or_path}", and no file of that name; '
            f"{nearest(name_or_path, recipe_names())} `ostinato recipes` lists them."
        )
    return parse_recipe(text, origin, changes)


def parse_recipe(text: str, origin: str, changes: Mapping[str, str] | None = None) -> Recipe:
    """Reads a recipe from TOML; `origin` is the file that a complaint names."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{origin}: not a TOML file: {error}.") from error
    for key, value in (changes or {}).items():
        _change(document, key, value)
    try:
        # JSON mode: TOML has no tuples and pydantic's strictness then concerns types that TOML has.
        return Recipe.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise RecipeError(explain(error, Recipe, document, origin)) from error


def with_training(
    recipe: Recipe, seed: int | None = None, steps: int | None = None, epochs: int | None = None
) -> Recipe:
    """The recipe with another seed or length; steps replace epochs and the other way round."""
    changes: dict[str, Any] = {} if seed is None else {"seed": seed}
    if steps is not None or epochs is not None:
        changes |= {"steps": steps, "epochs": epochs}
    training = recipe.training.model_dump() | changes
    document = recipe.model_dump(by_alias=True) | {"training": training}
    return parse_recipe(tomli_w.dumps(_without_none(document)), f"{recipe.name}, as asked for")


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in table.items()
        if value is not None
    }


def _shipped() -> dict[str, str]:
    folder = resources.files("ostinato.recipes")
    return {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }


def _change(document: dict[str, Any], dotted: str, value: str) -> None:
    """Sets one existing key of the document; the value is TOML, or else taken as a string."""
    if dotted not in (known := list(_keys(document))):
        raise RecipeError(
            f"--set {dotted}={value}: the recipe has no key {dotted}; {nearest(dotted, known)}"
        )
    *tables, last = dotted.split(".")
    table = document
    for name in tables:
        table = table[name]
    try:
        table[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        table[last] = value


def _keys(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in table.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{name}.")
