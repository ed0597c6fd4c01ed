"""Who is compared: recipes with all their seeds, or runs that were trained before."""

from collections.abc import Sequence
from pathlib import Path

from ostinato.errors import OptionError, RunError
from ostinato.lab.compare.description import Entrant, Entry
from ostinato.training import Recipe, Record, RunFolder
from ostinato.training.stepped import Loader


def of_recipes(recipes: Sequence[Recipe], seeds: Sequence[int]) -> list[Entrant]:
    """A row a recipe, with a run for each seed. Raises OptionError for less than two recipes."""
    if len(recipes) < 2:
        raise OptionError(
            f"A comparison needs two recipes or more, got {len(recipes)}. For one alone: ostinato train"
        )
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise OptionError(f"expected different seeds of 0 or more, got {list(seeds)}.")
    entrants = []
    for name, recipe in zip(_told_apart([each.name for each in recipes]), recipes, strict=True):
        runs = [Entry(seed=seed, path=f"runs/{name}-seed{seed}") for seed in seeds]
        entrants.append(Entrant(name=name, recipe=recipe.to_toml(), runs=runs))
    return entrants


def common_fingerprint(recipes: Sequence[Recipe], data: Path | None, load: Loader) -> tuple[str, str]:
    """What all of them train on: its name and fingerprint. Raises OptionError where that differs."""
    first = recipes[0]
    for each in recipes[1:]:
        if each.data != first.data:
            raise OptionError(
                f"{first.name} trains on {first.data.train:,} images and validates on "
                f"{first.data.validation:,}, {each.name} on {each.data.train:,} and "
                f"{each.data.validation:,}: figures of different data cannot be compared. Give all the "
                f"same, such as --set data.train={first.data.train} --set "
                f"data.validation={first.data.validation}."
            )
    images = load(data, first.data.train, first.data.validation)
    return images.source, images.fingerprint


def of_runs(paths: Sequence[Path]) -> tuple[list[Entrant], list[Record]]:
    """A row for each recipe among finished runs; runs that differ in the seed alone share one.

    Raises RunError for a run that is none, not finished, given twice, or of other data than the first.
    """
    if len(paths) < 2:
        raise OptionError(
            f"A comparison needs two runs or more, got {len(paths)}. For one alone: ostinato evaluate"
        )
    records: list[Record] = []
    groups: dict[str, tuple[str, list[Entry]]] = {}
    for path in paths:
        run = RunFolder.open(path)
        record, recipe = run.read_record(), run.read_recipe()
        if record.status != "finished":
            raise RunError(
                f"{path}: this training has not ended, so there is nothing to compare yet. Go on with: "
                f"ostinato resume {path}"
            )
        if records and record.data_fingerprint != records[0].data_fingerprint:
            raise RunError(
                f"{path}: it was trained on other data ({record.data}) than {paths[0]} "
                f"({records[0].data}), or on another part of them; figures of different data cannot be "
                "compared. Train both on the same."
            )
        records.append(record)
        settings = recipe.training.model_copy(update={"seed": 0})
        same = recipe.model_copy(update={"training": settings}).to_toml()
        _, entries = groups.setdefault(same, (recipe.name, []))
        entry = Entry(seed=recipe.training.seed, path=str(path.resolve()))
        if entry in entries:
            raise RunError(f"{path}: expected each run once, got it twice.")
        entries.append(entry)
    names = _told_apart([name for name, _ in groups.values()])
    entrants = [
        Entrant(name=name, recipe=recipe, runs=entries)
        for name, (recipe, (_, entries)) in zip(names, groups.items(), strict=True)
    ]
    return entrants, records


def _told_apart(names: Sequence[str]) -> list[str]:
    """The names; a second one of the same name gets a number.

    >>> _told_apart(["sru", "lstm", "sru"])
    ['sru', 'lstm', 'sru-2']
    """
    apart: list[str] = []
    for name in names:
        number, candidate = 2, name
        while candidate in apart:
            candidate, number = f"{name}-{number}", number + 1
        apart.append(candidate)
    return apart
