"""`ostinato recipes`: which experiments there are, and what one consists of."""

from typing import Annotated

import typer

EXAMPLE = "Example: ostinato recipes sru"


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="Show this one whole, as TOML.")
    ] = None,
) -> None:
    """List the recipes, or show one.

    What it prints is a recipe file: save it, change it, and train it by its path.
    """
    from rich.console import Console
    from rich.table import Table

    from ostinato.training import read_recipe, recipe_names

    if name is not None:
        print(read_recipe(name).to_toml(), end="")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("recipe", "what it trains", "from"):
        table.add_column(heading, overflow="fold")
    for each in recipe_names():
        recipe = read_recipe(each)
        table.add_row(recipe.name, recipe.title, recipe.source)
    Console().print(table)
