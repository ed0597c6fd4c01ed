"""A comparison from its recipes, or its finished runs, to the table, the pictures and the page."""

import traceback
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from shutil import rmtree

import torch

from ostinato.data import load_images
from ostinato.errors import Interrupted, OstinatoError, RunError
from ostinato.files import write_atomically
from ostinato.lab.bench.turns import in_short
from ostinato.lab.compare import entrants
from ostinato.lab.compare.by_turns import train_by_turns
from ostinato.lab.compare.description import (
    Comparison,
    ComparisonFolder,
    Entrant,
    Entry,
    has_begun,
    is_finished,
)
from ostinato.lab.compare.drivers import measure_ragged
from ostinato.lab.compare.figures import Measured, figures_of
from ostinato.lab.compare.page import write_page
from ostinato.lab.compare.pictures import draw_all
from ostinato.lab.compare.table import write_table
from ostinato.lab.compare.watcher import Watcher
from ostinato.lab.memory import memory_of_step
from ostinato.models.file import load_model
from ostinato.training import Recipe, Training
from ostinato.training.interrupt import StopRequest, stop_requests
from ostinato.training.stepped import Loader

Compared = tuple[ComparisonFolder, Comparison]

TO = 0.97
"""The accuracy whose steps and seconds are counted, unless another is asked for or all end at one."""


def compare(
    recipes: Sequence[Recipe],
    seeds: Sequence[int] = (0,),
    out: Path | None = None,
    *,
    to: float | None = None,
    memory: bool = True,
    about_drivers: bool = False,
    data: Path | None = None,
    device: str = "cpu",
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> Compared:
    """Trains recipes side by side, from each seed in turn, a step each by turns, on the same images.

    Everything goes into a folder: `out`, which may hold the same comparison and is then gone on with,
    or a new one under `runs/`. `to`: the accuracy whose steps and seconds are counted; 0.97, or where
    every recipe ends at a batch's accuracy, that one. `memory`: whether that of a training step is
    measured. `about_drivers`: rows of many lengths are timed too.
    A recipe that fails is told in the result, and the others go on. Raises OptionError for what cannot
    be compared; Interrupted after Ctrl-C, with all saved; OstinatoError when no recipe came to its end.
    """
    load = cache(load_images)
    named = entrants.of_recipes(recipes, seeds)
    source, fingerprint = entrants.common_fingerprint(recipes, data, load)
    asked = Comparison(
        entrants=named,
        seeds=list(seeds),
        to=_goal(to, recipes),
        by_turns=True,
        measures_memory=memory,
        about_drivers=about_drivers,
        data=source,
        data_folder=None if data is None else str(data.resolve()),
        data_fingerprint=fingerprint,
        threads=threads or torch.get_num_threads(),
        device=device,
    )
    return _go_on(*_placed(asked, out), load, watcher or Watcher())


def compare_runs(
    paths: Sequence[Path], out: Path | None = None, *, to: float | None = None
) -> Compared:
    """Compares finished runs as they are; those of one recipe are its seeds. Nothing is trained.

    Raises RunError for a run that is not finished, or was trained on other data than the first.
    """
    named, records = entrants.of_runs(paths)
    first = records[0]
    asked = Comparison(
        entrants=named,
        seeds=sorted({run.seed for each in named for run in each.runs}),
        to=_goal(to, [each.read_recipe(seed=0) for each in named]),
        by_turns=False,
        measures_memory=False,
        data=first.data,
        data_folder=first.data_folder,
        data_fingerprint=first.data_fingerprint,
        threads=first.threads,
        device=first.device,
    )
    return _conclude(*_placed(asked, out))


def resume(path: Path, watcher: Watcher | None = None) -> Compared:
    """Goes on where a comparison was interrupted; a finished one is written anew from its runs.

    Raises RunError when there is none, or its data are no longer the same.
    """
    comparison, load = Comparison.open(path), cache(load_images)
    if comparison.status != "finished":
        recipes = [each.read_recipe(seed=0) for each in comparison.entrants]
        data = None if comparison.data_folder is None else Path(comparison.data_folder)
        source, fingerprint = entrants.common_fingerprint(recipes, data, load)
        if fingerprint != comparison.data_fingerprint:
            raise RunError(
                f"{path}: the data in {source} are not those that the comparison began with. Put them "
                "back, or compare anew."
            )
    return _go_on(ComparisonFolder(path), comparison, load, watcher or Watcher())


def _goal(to: float | None, recipes: Sequence[Recipe]) -> float | None:
    ends = all(each.training.until_batch_accuracy is not None for each in recipes)
    return to or (None if ends else TO)


def _placed(asked: Comparison, out: Path | None) -> Compared:
    usual = Path("runs") / "-vs-".join(each.name for each in asked.entrants[:3])
    path, comparison = asked.place(out, usual)
    return ComparisonFolder(path), comparison


def _go_on(
    folder: ComparisonFolder, comparison: Comparison, load: Loader, watcher: Watcher
) -> Compared:
    if comparison.by_turns and comparison.status != "finished":
        try:
            with stop_requests() as stop:
                for seed in comparison.seeds:
                    _train(folder, comparison, seed, load, watcher, stop)
                _measure(folder, comparison, watcher, stop)
        except Interrupted as stopped:
            raise Interrupted(
                f"Stopped; everything is saved. Go on with: ostinato resume {folder.path}"
            ) from stopped
        finally:
            watcher.end()
    return _conclude(folder, comparison)


def _train(
    folder: ComparisonFolder,
    comparison: Comparison,
    seed: int,
    load: Loader,
    watcher: Watcher,
    stop: StopRequest,
) -> None:
    """All entrants from one seed."""
    entries = {
        each.name: entry for each in comparison.entrants for entry in each.runs if entry.seed == seed
    }
    openers = {}
    for each in comparison.entrants:
        run = folder.run(entries[each.name])
        if is_finished(run):
            continue
        entries[each.name].failed = None
        openers[each.name] = partial(_open, folder, comparison, each, entries[each.name], load, watcher)

    def failed(name: str, error: Exception) -> None:
        entry = entries[name]
        entry.failed = str(error) if isinstance(error, OstinatoError) else in_short(error)
        write_atomically(
            folder.run(entry).path / "failure.txt", "".join(traceback.format_exception(error))
        )
        comparison.write(folder.path)
        watcher.note(f"{name} failed, the others go on: {entry.failed}")

    if openers:
        if len(comparison.seeds) > 1:
            watcher.note(f"seed {seed} ({', '.join(map(str, comparison.seeds))} all in all)")
        train_by_turns(openers, stop, failed)


def _open(
    folder: ComparisonFolder,
    comparison: Comparison,
    entrant: Entrant,
    entry: Entry,
    load: Loader,
    watcher: Watcher,
) -> Training:
    run, observer = folder.run(entry), watcher.training(entrant.name)
    if has_begun(run):
        return Training.reopen(run.path, observer=observer, load=load)
    rmtree(run.path, ignore_errors=True)  # of one that was killed before it had begun
    return Training.new(
        entrant.read_recipe(entry.seed),
        run.path,
        data=None if comparison.data_folder is None else Path(comparison.data_folder),
        device=comparison.device,
        threads=comparison.threads,
        observer=observer,
        load=load,
    )


def _measure(
    folder: ComparisonFolder, comparison: Comparison, watcher: Watcher, stop: StopRequest
) -> None:
    """Memory of a training step, in processes of their own; for the drivers, rows of many lengths."""
    for each in comparison.entrants if comparison.measures_memory else ():
        finished = folder.finished(each)
        if each.memory is None and each.no_memory is None and finished:
            watcher.note(f"memory of a training step of {each.name}, in a process of its own")
            shape = load_model(finished[0].model).shape
            recipe = each.read_recipe(comparison.seeds[0])
            try:
                each.memory = memory_of_step(recipe, shape, comparison.threads, comparison.device)
            except (Exception, KeyboardInterrupt) as error:  # Ctrl-C comes to that process too
                each.no_memory = None if stop.came else str(error)
            _rest(folder, comparison, stop)
    if comparison.about_drivers and comparison.ragged is None:
        watcher.note("rows of many lengths, told and padded")
        comparison.ragged = measure_ragged(comparison.threads)
        _rest(folder, comparison, stop)


def _rest(folder: ComparisonFolder, comparison: Comparison, stop: StopRequest) -> None:
    comparison.write(folder.path)
    if stop.came:
        raise Interrupted


def _conclude(folder: ComparisonFolder, comparison: Comparison) -> Compared:
    """Figures, table, pictures and page, from what the runs have on the disk."""
    measured = {
        each.name: [Measured.of(run) for run in folder.finished(each)] for each in comparison.entrants
    }
    first = next((runs for runs in measured.values() if runs), [])
    for each in comparison.entrants:
        runs = measured[each.name]
        each.figures = figures_of(runs, first, comparison.to, comparison.by_turns) if runs else None
    comparison.end()
    write_table(comparison, folder.table)
    if first:
        draw_all(measured, folder.curves)
    write_page(folder, comparison, measured)
    comparison.write(folder.path)
    if not first:
        raise OstinatoError(
            f"{folder.path}: no recipe came to its end: {comparison.entrants[0].runs[0].failed}"
        )
    return folder, comparison
