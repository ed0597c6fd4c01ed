"""The search: Optuna proposes points, each is trained as a run of its own, validation images judge."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import optuna
import torch
from optuna.trial import TrialState

from ostinato import training
from ostinato.data import load_images
from ostinato.errors import Interrupted, OstinatoError, RunError
from ostinato.files import write_atomically
from ostinato.lab.report import write_report
from ostinato.lab.sweep.description import Best, Sweep, SweepFolder, Trial
from ostinato.lab.sweep.page import page, said
from ostinato.lab.sweep.pictures import draw_all
from ostinato.lab.sweep.space import Point, at_point, grid, parse_space
from ostinato.lab.sweep.study import Judge, begun, next_trial, open_study, point, repeats, table
from ostinato.lab.watcher import Watcher
from ostinato.training import Observer, Recipe, RunFolder
from ostinato.training.metrics import read_metrics

TRIALS = 20
"""Unless a number is given, or every point can be tried."""


def sweep(
    recipe: Recipe,
    over: Sequence[str],
    out: Path | None = None,
    *,
    trials: int | None = None,
    data: Path | None = None,
    device: str = "cpu",
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> tuple[SweepFolder, Sweep]:
    """Trains a recipe at many points of `over`, texts such as "optimizer.lr=1e-4..1e-1:log".

    Lists alone and no number of `trials`: every point of the grid. Else as many trials, proposed by a
    tree of Parzen estimators, and given up where validated below the median of those before.
    A folder that holds the same sweep already is gone on with: `out`, or one under `runs/`.
    Raises OptionError and RecipeError before the first trial for what cannot be searched; Interrupted
    after Ctrl-C, with all saved. A trial that fails is told in the result, and the rest goes on.
    """
    space = parse_space(over, recipe)
    every = None if trials else grid(space)
    asked = Sweep(
        recipe=recipe.to_toml(),
        over=list(over),
        grid=every is not None,
        count=trials or TRIALS if every is None else len(list(every)),
        data_folder=None if data is None else str(data.resolve()),
        data_fingerprint=load_images(data, recipe.data.train, recipe.data.validation).fingerprint,
        threads=threads or torch.get_num_threads(),
        device=device,
    )
    path, found = asked.place(out, Path("runs") / f"{recipe.name}-sweep")
    return _search(SweepFolder(path), found, watcher or Watcher())


def resume(path: Path, watcher: Watcher | None = None) -> tuple[SweepFolder, Sweep]:
    """Goes on with an interrupted sweep; a finished trial is never trained again.

    Raises RunError when there is none, or its data are no longer the same.
    """
    found = Sweep.open(path)
    recipe = found.settings()
    data = None if found.data_folder is None else Path(found.data_folder)
    images = load_images(data, recipe.data.train, recipe.data.validation)
    if images.fingerprint != found.data_fingerprint:
        raise RunError(
            f"{path}: the data in {images.source} are not those that the sweep began with. Put them "
            "back, or begin another."
        )
    return _search(SweepFolder(path), found, watcher or Watcher())


def _search(folder: SweepFolder, sweep: Sweep, watcher: Watcher) -> tuple[SweepFolder, Sweep]:
    """Trials until there are as many as asked for; then the best, the pictures and the page."""
    recipe = sweep.settings()
    space = parse_space(sweep.over, recipe)
    with open_study(folder, space, sweep.grid) as study:
        while len(begun(study)) < sweep.count or study.get_trials(states=[TrialState.RUNNING]):
            trial = next_trial(study, recipe.training.seed)
            values = point(trial, space)
            sweep.status, sweep.trials = "working", table(study)
            sweep.write(folder.path)
            begins = sweep.trials[trial.number]
            watcher.stage(begins.number, sweep.count, said(begins.point))
            if not repeats(study, trial):
                run = folder.run(begins.number)
                _try(study, trial, run, recipe, values, sweep, watcher)
            sweep.trials = table(study)
            sweep.best = _best(folder, sweep.trials)
            watcher.outcome(begins.number, sweep.count, _in_words(sweep, begins.number))
    sweep.end()
    write_atomically(folder.recipe, sweep.recipe)
    if sweep.best is not None:
        write_atomically(folder.best, at_point(recipe, sweep.best.point).to_toml())
        draw_all(sweep, folder.picture)
        write_report(folder.run(sweep.best.number).path)
    page(folder, sweep).write(folder.report)
    sweep.write(folder.path)
    return folder, sweep


def _try(
    study: optuna.Study,
    trial: optuna.Trial,
    run: RunFolder,
    recipe: Recipe,
    values: Point,
    sweep: Sweep,
    watcher: Watcher,
) -> None:
    """Trains a point, or goes on with its training, and tells the study what came of it."""
    try:
        _train(run, at_point(recipe, values), sweep, Judge(trial, watcher))
    except Interrupted as stopped:
        raise Interrupted(
            f"Stopped in trial {run.path.name} of {sweep.count}; everything is saved. Go on with: "
            f"ostinato resume {run.path.parent.parent}"
        ) from stopped
    except optuna.TrialPruned as pruned:
        trial.set_user_attr("why", str(pruned))
        study.tell(trial, state=TrialState.PRUNED)
    except (OstinatoError, RuntimeError, MemoryError) as error:
        trial.set_user_attr("why", str(error))
        study.tell(trial, state=TrialState.FAIL)
    else:
        record, last = run.read_record(), read_metrics(run.metrics)[-1]
        trial.set_user_attr("steps", int(last["step"]))
        trial.set_user_attr("seconds", record.seconds)
        study.tell(trial, float(last["validation_accuracy"]))


def _train(run: RunFolder, recipe: Recipe, sweep: Sweep, observer: Observer) -> None:
    if not (run.path / "run.json").exists():
        shutil.rmtree(run.path, ignore_errors=True)  # one that was killed before it had begun
        training.train(
            recipe,
            run.path,
            data=None if sweep.data_folder is None else Path(sweep.data_folder),
            device=sweep.device,
            threads=sweep.threads,
            observer=observer,
        )
    elif run.read_record().status != "finished":
        training.resume(run.path, observer=observer)


def _best(folder: SweepFolder, trials: Sequence[Trial]) -> Best | None:
    """The first of the highest; its test is that of its run, made on the model read back from disk."""
    finished = [each for each in trials if each.outcome == "finished" and each.accuracy is not None]
    if not finished:
        return None
    best = max(finished, key=lambda each: each.accuracy or 0.0)
    result = folder.run(best.number).read_record().result or {}
    return Best(number=best.number, point=best.point, accuracy=best.accuracy or 0.0, **result)


def _in_words(sweep: Sweep, number: int) -> str:
    """What came of a trial, and the best so far."""
    trial, best = sweep.trials[number - 1], sweep.best
    figure = "" if trial.accuracy is None else f" with {trial.accuracy:.2%}"
    why = "" if trial.why is None else f": {trial.why.splitlines()[0]}"
    far = "none yet" if best is None else f"best {best.accuracy:.2%}, trial {best.number}"
    return f"{trial.outcome}{figure}{why}  ({far})"
