"""What a sweep searches: keys of a recipe, each with a list of values or a range.

optimizer.lr=1e-4..1e-1:log    a range: numbers between two ends, whole ones if both ends are
model.hidden=64,128            a list: any values that TOML or a recipe knows
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from ostinato.errors import OptionError
from ostinato.training import Recipe, parse_recipe

Point = dict[str, str]
"""A value in TOML for each key."""

VALUE = r'(?:[^,"\[{]|"[^"]*"|\{[^}]*\}|\[[^\]]*\])+'
"""Up to the next comma that stands in no string, table or array."""

FORMS = "expected KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=VALUE,VALUE"


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    key: str
    values: tuple[str, ...]

    @property
    def samples(self) -> tuple[str, ...]:
        """What has to be right for all to be."""
        return self.values


@dataclass(frozen=True)
class Range:
    """A number between two, both included; `log`: each decade as likely as another."""

    key: str
    low: float
    high: float
    log: bool

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def samples(self) -> tuple[str, ...]:
        return repr(self.low), repr(self.high)


Dimension = Choice | Range


def parse_space(texts: Sequence[str], recipe: Recipe) -> list[Dimension]:
    """Reads what was asked for, and holds each value against the recipe.

    Raises OptionError for what is no list and no range, RecipeError for a key that the recipe does not
    have or a value that it cannot take.
    """
    if not texts:
        raise OptionError(
            f"A sweep needs something to search: {FORMS}, such as optimizer.lr=1e-4..1e-1:log."
        )
    space = [_parse(text) for text in texts]
    keys = [each.key for each in space]
    for key in keys:
        if keys.count(key) > 1:
            raise OptionError(f"{key}: expected each key once, got it {keys.count(key)} times.")
    for dimension in space:
        for value in dimension.samples:
            if not at_point(recipe, {dimension.key: value}).data.validation:
                raise OptionError(
                    "A sweep judges by the validation images, and here are none: data.validation is 0."
                )
    return space


def at_point(recipe: Recipe, point: Point) -> Recipe:
    """The recipe with a point's values."""
    said = ", ".join(f"{key}={value}" for key, value in point.items())
    return parse_recipe(recipe.to_toml(), f"{recipe.name} with {said}", point)


def grid(space: Sequence[Dimension]) -> Iterator[Point] | None:
    """Every point, where there are only so many; None where a range has no end of them."""
    lists = [each.values for each in space if isinstance(each, Choice)]
    if len(lists) < len(space):
        return None
    keys = [each.key for each in space]
    return (dict(zip(keys, values, strict=True)) for values in itertools.product(*lists))


def _parse(text: str) -> Dimension:
    key, equals, values = (part.strip() for part in text.partition("="))
    if not (key and equals and values):
        raise OptionError(f"{text!r}: {FORMS}.")
    if ".." in values and not values.startswith(('"', "[", "{")):
        return _parse_range(key, values)
    found = tuple(value.strip() for value in re.findall(VALUE, values))
    if not re.fullmatch(f"{VALUE}(?:,{VALUE})*", values) or not all(found):
        raise OptionError(f"{text!r}: a value is missing between two commas; {FORMS}.")
    if len(found) == 1:
        raise OptionError(
            f"{text!r}: expected two values or more, got one, and so nothing to search. For a fixed "
            f"value: --set {text}"
        )
    for value in found:
        if found.count(value) > 1:
            raise OptionError(
                f"{text!r}: expected each value once, got {value} {found.count(value)} times."
            )
    return Choice(key, found)


def _parse_range(key: str, text: str) -> Range:
    ends, colon, scale = text.partition(":")
    low, high = (_number(key, text, end.strip()) for end in ends.split("..", 1))
    if colon and scale.strip() != "log":
        raise OptionError(f'{key}={text}: expected ":log" or nothing after the range, got ":{scale}".')
    if not low < high:
        raise OptionError(f"{key}={text}: the range is empty; expected LOW..HIGH, the lower end first.")
    if colon and low <= 0:
        raise OptionError(f"{key}={text}: a logarithmic range lies above 0, and this begins at {low}.")
    return Range(key, low, high, bool(colon))


def _number(key: str, text: str, end: str) -> float:
    try:
        return int(end)
    except ValueError:
        pass
    try:
        if isfinite(number := float(end)):
            return number
    except ValueError:
        pass
    raise OptionError(f"{key}={text}: expected a number at both ends of the range, got {end!r}.")
