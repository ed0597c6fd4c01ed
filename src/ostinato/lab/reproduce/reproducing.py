"""The tutorials again, a stage for each timing and each training; none is done twice."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from ostinato import training
from ostinato.data import load_images
from ostinato.errors import DataError, Interrupted, OptionError, OstinatoError, RunError
from ostinato.lab import compare
from ostinato.lab.reproduce.description import Reproduction, Trained
from ostinato.lab.reproduce.page import page
from ostinato.lab.reproduce.timing import measure
from ostinato.lab.reproduce.tutorials import Effort, Timing, Tutorial, chosen, tutorials
from ostinato.lab.watcher import Watcher
from ostinato.training import Observer, Recipe, RunFolder, read_recipe, with_training


class Stage(NamedTuple):
    """A training or a timing: what it is in words, whether it is done, and what does it."""

    title: str
    done: bool
    work: Callable[[Watcher], str]
    """returns what came of it, in words"""


def reproduce(
    names: Sequence[str] = (),
    out: Path | None = None,
    *,
    effort: Effort | None = None,
    seeds: int = 1,
    data: Path | None = None,
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> tuple[Path, Reproduction]:
    """Trains and times what the tutorials did, all of them or those named, and puts it beside theirs.

    `effort` is full length unless given (`tutorials().quick` is a look). A folder that holds the same
    reproduction is gone on with: `out`, or one under `runs/`.
    Raises OptionError for a tutorial that there is not; Interrupted after Ctrl-C, with all saved.
    """
    if seeds < 1:
        raise OptionError(f"A reproduction needs one seed at least, got {seeds}.")
    effort = effort or tutorials().full
    asked = Reproduction(
        tutorials=[str(each.number) for each in chosen(names)],
        effort=effort,
        seeds=list(range(seeds)),
        data_folder=None if data is None else str(data.resolve()),
        data_fingerprint=load_images(data, effort.train, effort.validation).fingerprint,
        threads=threads or torch.get_num_threads(),
    )
    usual = "reproduction-quick" if asked.quick else "reproduction"
    path, found = asked.place(out, Path("runs") / usual)
    return path, _go_on(path, found, watcher or Watcher())


def resume(path: Path, watcher: Watcher | None = None) -> tuple[Path, Reproduction]:
    """Goes on with an interrupted reproduction.

    Raises RunError when there is none, or its data are no longer the same.
    """
    found = Reproduction.open(path)
    images = load_images(_data(found), found.effort.train, found.effort.validation)
    if images.fingerprint != found.data_fingerprint:
        raise RunError(
            f"{path}: the data in {images.source} are not those that the reproduction began with. Put "
            "them back, or begin another."
        )
    return path, _go_on(path, found, watcher or Watcher())


def _go_on(folder: Path, found: Reproduction, watcher: Watcher) -> Reproduction:
    stages = [stage for each in found.chosen() for stage in _stages(folder, found, each)]
    callers = torch.get_num_threads()
    torch.set_num_threads(found.threads)
    try:
        for number, stage in enumerate(stages, 1):
            if stage.done:
                continue
            watcher.stage(number, len(stages), stage.title)
            try:
                words = stage.work(watcher)
            except Interrupted as stopped:
                raise Interrupted(
                    f"Stopped in stage {number} of {len(stages)}; everything is saved. Go on with: "
                    f"ostinato resume {folder}"
                ) from stopped
            found.gather()
            found.write(folder)
            watcher.outcome(number, len(stages), words)
    finally:
        torch.set_num_threads(callers)
    found.end()
    page(folder, found).write(folder / "report.html")
    found.write(folder)
    return found


def _stages(folder: Path, found: Reproduction, tutorial: Tutorial) -> Iterator[Stage]:
    where = f"tutorial {tutorial.number}"
    for timing in tutorial.timing:
        done = timing.name in found.timed
        yield Stage(f"{where}: {timing.title}", done, partial(_time, found, timing))
    done = all(recipe in found.trained or recipe in found.failed for recipe in tutorial.train)
    train = _train_one if len(tutorial.train) == 1 else _train_several
    yield Stage(
        f"{where}: training {', '.join(tutorial.train)}",
        done,
        partial(_train, train, folder, found, tutorial),
    )


def _time(found: Reproduction, timing: Timing, watcher: Watcher) -> str:
    images = load_images(_data(found), found.effort.train, found.effort.validation)
    watcher.begin(timing.title, 0, len(timing.sides))
    try:
        measured = measure(timing, images, found.effort.seconds)
    finally:
        watcher.end()
    found.timed[timing.name] = measured
    timed = [f"{name} {side.ms:.1f} ms" for name, side in measured.sides.items()]
    return ", ".join([*timed, *(f"{name} not timed ({why})" for name, why in measured.why_not.items())])


def _train(
    train: "Callable[..., dict[str, list[RunFolder]]]",
    folder: Path,
    found: Reproduction,
    tutorial: Tutorial,
    watcher: Watcher,
) -> str:
    came = []
    try:
        runs_of = train(folder, found, tutorial, watcher)
    except (Interrupted, RunError, DataError):
        raise
    except OstinatoError as error:  # a loss that is no number: told, and the rest goes on
        found.failed |= dict.fromkeys(set(tutorial.train) - set(found.failed), str(error))
        runs_of = {}
    for recipe, runs in runs_of.items():
        if not runs:
            continue
        found.trained[recipe] = [Trained.of(run, folder, tutorial.passes) for run in runs]
        accuracies = [each.test_accuracy for each in found.trained[recipe]]
        came.append(f"{recipe} {sum(accuracies) / len(accuracies):.2%}")
    return ", ".join(
        [*came, *(f"{recipe} failed" for recipe in tutorial.train if recipe in found.failed)]
    )


def _train_one(
    folder: Path, found: Reproduction, tutorial: Tutorial, watcher: Watcher
) -> dict[str, list[RunFolder]]:
    """A run for each seed."""
    (recipe,) = tutorial.train
    runs = [RunFolder(folder / "runs" / f"{recipe}-seed{seed}") for seed in found.seeds]
    for seed, run in zip(found.seeds, runs, strict=True):
        if not (run.path / "run.json").exists():
            shutil.rmtree(run.path, ignore_errors=True)  # one that was killed before it had begun
            settings = with_training(_settings(found, recipe), seed=seed)
            training.train(
                settings, run.path, data=_data(found), threads=found.threads, observer=watcher
            )
        elif run.read_record().status != "finished":
            training.resume(run.path, observer=watcher)
    return {recipe: runs}


def _train_several(
    folder: Path, found: Reproduction, tutorial: Tutorial, watcher: Watcher
) -> dict[str, list[RunFolder]]:
    """Side by side, as `ostinato compare` does."""
    recipes = [_settings(found, name) for name in tutorial.train]
    longest = max(recipes, key=lambda each: each.training.total_steps(each.data.train))
    at, comparison = compare.compare(
        recipes,
        found.seeds,
        folder / "comparisons" / tutorial.name,
        memory=tutorial.drivers and not found.quick,
        about_drivers=tutorial.drivers,
        data=_data(found),
        threads=found.threads,
        watcher=_OneOfThem(watcher, longest.name),
    )
    found.ragged = {each.case: each.ratio for each in comparison.ragged or ()} or found.ragged
    for each in comparison.entrants:
        if each.memory is not None:
            found.memory[each.name] = each.memory / 1e6
        for run in each.runs:
            if run.failed is not None:
                found.failed[each.name] = run.failed
    return {each.name: at.finished(each) for each in comparison.entrants}


class _OneOfThem(compare.Watcher):
    """Trainings that take turns are about as far as one another: the longest speaks for all."""

    def __init__(self, watcher: Watcher, name: str):
        self._watcher, self._name = watcher, name

    def training(self, name: str) -> Observer:
        return self._watcher if name == self._name else Observer()

    def note(self, text: str) -> None:
        self._watcher.note(text)


def _settings(found: Reproduction, name: str) -> Recipe:
    """As published; shortened where a look is enough."""
    effort = found.effort
    images = {"data.train": str(effort.train), "data.validation": str(effort.validation)}
    recipe = read_recipe(name, images)
    if effort.steps is None or recipe.training.total_steps(recipe.data.train) <= effort.steps:
        return recipe
    return with_training(recipe, steps=effort.steps)


def _data(found: Reproduction) -> Path | None:
    return None if found.data_folder is None else Path(found.data_folder)
