"""The study: what Optuna keeps of a sweep in SQLite, and what it proposes and gives up."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import optuna
from optuna.trial import FrozenTrial, TrialState

from ostinato.lab.sweep.description import Outcome, SweepFolder, Trial
from ostinato.lab.sweep.space import Choice, Dimension, Point, grid
from ostinato.lab.watcher import Watcher
from ostinato.training import Observer, Step

OUTCOMES: dict[TrialState, Outcome] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@contextmanager
def open_study(folder: SweepFolder, space: Sequence[Dimension], whole: bool) -> Iterator[optuna.Study]:
    """Optuna's study in the folder, with every point of a grid in its queue."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder.study.resolve()}")
    try:
        study = optuna.create_study(
            storage=storage,
            study_name="sweep",
            direction="maximize",
            load_if_exists=True,
            # A grid is tried to see all of it.
            pruner=optuna.pruners.NopPruner() if whole else optuna.pruners.MedianPruner(),
        )
        for each in (grid(space) or ()) if whole else ():
            study.enqueue_trial(each, skip_if_exists=True)
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def begun(study: optuna.Study) -> list[FrozenTrial]:
    return [each for each in study.get_trials() if each.state != TrialState.WAITING]


def next_trial(study: optuna.Study, seed: int) -> optuna.Trial:
    """The trial that was interrupted, or another."""
    for interrupted in study.get_trials(states=[TrialState.RUNNING]):
        return optuna.Trial(study, interrupted._trial_id)
    # A sampler a trial: what is proposed follows from those before, not from when it was interrupted.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(begun(study)))
    return study.ask()


def point(trial: optuna.Trial, space: Sequence[Dimension]) -> Point:
    """The trial's values; those that it has, if it was asked before."""
    return {each.key: _value(trial, each) for each in space}


def _value(trial: optuna.Trial, dimension: Dimension) -> str:
    key = dimension.key
    if isinstance(dimension, Choice):
        return str(trial.suggest_categorical(key, dimension.values))
    if dimension.whole:
        return repr(trial.suggest_int(key, int(dimension.low), int(dimension.high), log=dimension.log))
    return repr(trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log))


def repeats(study: optuna.Study, trial: optuna.Trial) -> bool:
    """Whether the point was tried before; then what came of it is taken as it is."""
    for before in study.get_trials():
        if before.state.is_finished() and before.params == trial.params:
            trial.set_user_attr("why", f"as trial {before.number + 1}")
            trial.set_user_attr("repeats", before.number + 1)
            finished = before.state == TrialState.COMPLETE
            study.tell(trial, before.value if finished else None, before.state)
            return True
    return False


def table(study: optuna.Study) -> list[Trial]:
    """The trials that have begun, as the study has them."""
    return [
        Trial(
            number=each.number + 1,  # Optuna counts from 0, people from 1
            point={key: str(value) for key, value in each.params.items()},
            outcome="repeated" if "repeats" in each.user_attrs else OUTCOMES[each.state],
            accuracy=each.value if each.state == TrialState.COMPLETE else None,
            steps=each.user_attrs.get("steps"),
            seconds=each.user_attrs.get("seconds"),
            why=each.user_attrs.get("why"),
        )
        for each in begun(study)
    ]


class Judge(Observer):
    """Tells the study each score in between, and gives up a trial that is behind; passes all on."""

    def __init__(self, trial: optuna.Trial, watcher: Watcher):
        self._trial, self._watcher = trial, watcher
        self._told = set(trial.study.get_trials()[trial.number].intermediate_values)

    def begin(self, title: str, step: int, total: int) -> None:
        self._total = total
        self._watcher.begin(title, step, total)

    def step(self, step: Step, line: bool) -> None:
        self._watcher.step(step, line)

    def scored(self, step: Step, name: str, loss: float, accuracy: float) -> None:
        self._watcher.scored(step, name, loss, accuracy)
        if name != "validation" or step.step == self._total:
            return
        if step.step not in self._told:
            self._trial.report(accuracy, step.step)
        if self._trial.should_prune():
            raise optuna.TrialPruned(f"below the median at step {step.step}, with {accuracy:.2%}")

    def note(self, text: str) -> None:
        self._watcher.note(text)

    def end(self) -> None:
        self._watcher.end()
