"""Sweeps on few real digits: what is searched, what they leave, and that nothing is trained twice."""

import json
import os
import shlex
import signal
import subprocess
import sys

import optuna
import pytest

from ostinato import training
from ostinato.errors import DataError, Interrupted, OptionError, RecipeError, RunError
from ostinato.lab import sweep as lab
from ostinato.lab.report import write_report
from ostinato.lab.sweep.page import command as command_of
from ostinato.lab.sweep.space import Choice, Range, at_point, grid, parse_space
from ostinato.lab.watcher import Watcher
from ostinato.training import parse_recipe, read_recipe
from ostinato.training.metrics import read_metrics

RATES = "optimizer.lr=1e-3..1e-1:log"
WIDTHS = "model.hidden=6,9"


@pytest.fixture(scope="module")
def recipe(tiny_recipe):
    return read_recipe(str(tiny_recipe))


class Log(Watcher):
    """Which trials began, and which steps were taken; presses Ctrl-C in a trial, after a step."""

    def __init__(self, trial=None, step=None):
        self.stop, self.trained, self.begun = (trial, step), [], []

    def stage(self, number, count, title):
        self.current = number
        self.begun.append(number)

    def step(self, step, line):
        self.trained.append((self.current, step.step))
        if (self.current, step.step) == self.stop:
            os.kill(os.getpid(), signal.SIGINT)


def results(sweep):
    """What must not depend on interruptions: everything but the times."""
    return [(each.number, each.point, each.outcome, each.accuracy, each.steps) for each in sweep.trials]


@pytest.fixture(scope="module")
def searched(recipe, tiny_folder, tmp_path_factory):
    """A sweep over a range and a list, of seven trials that nothing interrupted."""
    out = tmp_path_factory.mktemp("sweep") / "whole"
    log = Log()
    folder, found = lab.sweep(recipe, [RATES, WIDTHS], out, trials=7, data=tiny_folder, watcher=log)
    return folder, found, log


def test_what_is_searched(recipe):
    space = parse_space(
        [
            "optimizer.lr=1e-4..1e-1:log",
            "model.hidden = 8..16",
            "model.dropout=0..0.5",
            "model.readout=last, mean",
            'model.cell={name="sru", highway=true},{name="gru", reset_after=false}',
            "optimizer.betas=[0.9, 0.99],[0.8, 0.99]",
        ],
        recipe,
    )
    assert space == [
        Range("optimizer.lr", 1e-4, 1e-1, log=True),
        Range("model.hidden", 8, 16, log=False),
        Range("model.dropout", 0, 0.5, log=False),
        Choice("model.readout", ("last", "mean")),
        Choice("model.cell", ('{name="sru", highway=true}', '{name="gru", reset_after=false}')),
        Choice("optimizer.betas", ("[0.9, 0.99]", "[0.8, 0.99]")),
    ]
    assert [each.whole for each in space[:3]] == [False, True, False]
    assert grid(space) is None
    points = list(grid(space[3:5]))
    assert len(points) == 4
    tried = [at_point(recipe, point) for point in points]
    assert [each.model.readout for each in tried] == ["last", "last", "mean", "mean"]
    assert [each.model.cell.name for each in tried] == ["sru", "gru", "sru", "gru"]


WRONG = {
    "no key": (
        "optimizer.lrr=1,2",
        RecipeError,
        r'no key optimizer.lrr; did you mean "optimizer.lr"\?',
    ),
    "no value": ("optimizer.lr=", OptionError, "expected KEY=LOW..HIGH"),
    "no equals sign": ("optimizer.lr", OptionError, "expected KEY=LOW..HIGH"),
    "one value": (
        "model.hidden=64",
        OptionError,
        "got one, .*For a fixed value: --set model.hidden=64",
    ),
    "twice the same": ("model.hidden=6,9,6", OptionError, "expected each value once, got 6 2 times"),
    "a hole": ("model.hidden=6,,9", OptionError, "a value is missing between two commas"),
    "empty range": ("optimizer.lr=0.1..0.1", OptionError, "the range is empty"),
    "turned round": ("optimizer.lr=1e-1..1e-4:log", OptionError, "the range is empty.*lower end first"),
    "log of zero": ("model.dropout=0..0.5:log", OptionError, "lies above 0, and this begins at 0"),
    "no scale": ("optimizer.lr=1e-4..1e-1:lin", OptionError, 'expected ":log" or nothing .*":lin"'),
    "no number": ("optimizer.lr=low..1", OptionError, "expected a number at both ends.*'low'"),
    "no end": ("optimizer.lr=1e-4..", OptionError, "expected a number at both ends.*''"),
    "infinite": ("optimizer.lr=1e-4..inf", OptionError, "expected a number at both ends.*'inf'"),
    "wrong type": ("model.hidden=64.5,128", RecipeError, r"model.hidden = 64.5: .*valid integer"),
    "wrong in a range": ("model.hidden=0.5..9.5", RecipeError, r"model.hidden = 0.5: .*valid integer"),
    "out of bounds": ("model.dropout=0.5..1.0", RecipeError, r"model.dropout = 1.0: .*less than 1"),
    "wrong name": ("model.readout=last,maen", RecipeError, r'did you mean "mean"'),
    "no judge": (
        "data.validation=0,80",
        OptionError,
        "judges by the validation images.*data.validation",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_searched_is_told_before_the_first_trial(recipe, name, tiny_folder, tmp_path):
    text, error, words = WRONG[name]
    with pytest.raises(error, match=f"(?s){words}"):
        lab.sweep(recipe, [text], tmp_path / "out", data=tiny_folder)
    assert not (tmp_path / "out").exists()


def test_other_mistakes(recipe, tiny_folder, tmp_path):
    with pytest.raises(OptionError, match="needs something to search"):
        lab.sweep(recipe, [], tmp_path / "out", data=tiny_folder)
    with pytest.raises(OptionError, match="optimizer.lr: expected each key once, got it 2 times"):
        lab.sweep(recipe, [RATES, "optimizer.lr=1,2"], tmp_path / "out", data=tiny_folder)
    with pytest.raises(DataError, match="found nothing"):
        lab.sweep(recipe, [WIDTHS], tmp_path / "out", data=tmp_path / "gone")
    with pytest.raises(RunError, match="a sweep cannot be written there"):
        lab.sweep(recipe, [WIDTHS], "/proc/ostinato" / tmp_path.relative_to("/"), data=tiny_folder)
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RunError, match="new or empty folder for the sweep, found something else"):
        lab.sweep(recipe, [WIDTHS], tmp_path, data=tiny_folder)
    with pytest.raises(RunError, match="expected the folder of a sweep, found none in it"):
        lab.resume(tmp_path)
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_what_a_sweep_leaves(searched, recipe):
    folder, found, log = searched
    assert found.status == "finished"
    assert lab.Sweep.open(folder.path) == found
    assert [each.number for each in found.trials] == [1, 2, 3, 4, 5, 6, 7]
    assert log.begun == [1, 2, 3, 4, 5, 6, 7]
    for trial in found.trials:
        run = folder.run(trial.number)
        assert run.read_recipe() == at_point(recipe, trial.point)
        assert 1e-3 <= run.read_recipe().optimizer.lr <= 1e-1
        rows = read_metrics(run.metrics)
        if trial.outcome == "finished":
            assert trial.accuracy == float(rows[-1]["validation_accuracy"])
            assert trial.steps == int(rows[-1]["step"]) == 14
        else:
            assert trial.outcome == "pruned"
            assert run.read_record().status == "training"
    for name in ("report.html", "study.db", "sweep.png", "best.toml", "recipe.toml"):
        assert (folder.path / name).stat().st_size > 0
    assert not [name for name in os.listdir(folder.path) if name.startswith(".")]


def test_the_command_on_the_page_makes_it_again(searched, recipe):
    folder, found, _ = searched
    command = shlex.split(command_of(found, folder))
    assert read_recipe(command[2]) == recipe
    assert command[3:] == [
        "--over", RATES, "--over", WIDTHS, "--trials", "7",
        "--data", found.data_folder, "--threads", "1",
    ]  # fmt: skip
    assert " ".join(command[:3]) in folder.report.read_text()


def test_its_page_is_made_again_from_the_folder(searched, tmp_path):
    folder, _, _ = searched
    pages = folder.report, write_report(folder.path, tmp_path / "again.html")
    first, again = (page.read_text().split("<footer")[0] for page in pages)
    assert first == again


def test_the_best_is_tested_once_and_can_be_trained(searched, tiny_folder, tmp_path):
    folder, found, _ = searched
    best = found.best
    finished = [each for each in found.trials if each.outcome == "finished"]
    assert best.accuracy == max(each.accuracy for each in finished)
    run = folder.run(best.number)
    assert run.read_record().result == {
        "test_accuracy": best.test_accuracy, "test_loss": best.test_loss,
    }  # fmt: skip
    recipe = read_recipe(str(folder.best))
    assert recipe == run.read_recipe()
    link = f'href="trials/{best.number}/report.html"'
    assert link in folder.report.read_text()
    assert (run.path / "report.html").exists()
    again, score = training.train(recipe, tmp_path / "again", data=tiny_folder)
    assert again.model.read_bytes() == run.model.read_bytes()
    assert score.accuracy == best.test_accuracy


def test_the_test_images_have_no_say(searched):
    """What was tested of the others, as of any run, stands with them alone."""
    folder, found, _ = searched
    judged = [each for each in found.trials if each.outcome == "finished"]
    assert found.best.number == max(judged, key=lambda each: each.accuracy).number
    assert (folder.path / "sweep.json").read_text().count("test_accuracy") == 1


@pytest.mark.parametrize("stop", [(3, 9), (7, 4)])
def test_interrupted_and_resumed_equals_uninterrupted(searched, recipe, tiny_folder, tmp_path, stop):
    out = tmp_path / "sweep"
    log = Log(*stop)
    arguments = (recipe, [RATES, WIDTHS], out)
    with pytest.raises(
        Interrupted, match=rf"Stopped in trial {stop[0]} of 7; everything is saved.*resume {out}$"
    ):
        lab.sweep(*arguments, trials=7, data=tiny_folder, watcher=log)
    assert lab.Sweep.open(out).status == "working"
    assert "Trials" in write_report(out).read_text(), "a page of what there is so far"
    if stop[0] == 3:
        _, found = lab.resume(out, log)
    else:
        _, found = lab.sweep(*arguments, trials=7, data=tiny_folder, watcher=log)
    assert results(found) == results(searched[1])
    assert log.trained == searched[2].trained, "a step was taken twice, or not at all"


def test_a_finished_sweep_is_shown_again_or_goes_further(searched, recipe, tiny_folder):
    folder, found, _ = searched
    log = Log()
    arguments = (recipe, [RATES, WIDTHS], folder.path)
    _, again = lab.sweep(*arguments, trials=7, data=tiny_folder, watcher=log)
    assert (results(again), log.begun) == (results(found), [])
    _, more = lab.sweep(*arguments, trials=8, data=tiny_folder, watcher=log)
    assert log.begun == [8]
    assert results(more)[:7] == results(found)
    with pytest.raises(
        RunError, match=r"this very sweep, found one of tiny over optimizer.lr=.* and mod"
    ):
        lab.sweep(recipe, [WIDTHS], folder.path, data=tiny_folder)


def test_lists_alone_are_a_grid(recipe, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = training.with_training(recipe, steps=3)
    over = [WIDTHS, "model.readout=last,mean"]
    log = Log(2, 2)
    with pytest.raises(Interrupted):
        lab.sweep(short, over, data=tiny_folder, watcher=log)
    folder, found = lab.sweep(short, over, data=tiny_folder, watcher=log)
    assert folder.path.name == "tiny-sweep"
    assert [tuple(each.point.values()) for each in found.trials] == [
        ("6", "last"), ("6", "mean"), ("9", "last"), ("9", "mean"),
    ]  # fmt: skip
    assert len(log.trained) == 12
    other, _ = lab.sweep(short, [WIDTHS], data=tiny_folder)
    assert other.path.name == "tiny-sweep-2"


def test_a_point_is_never_trained_twice(recipe, tiny_folder, tmp_path):
    short = training.with_training(recipe, steps=2)
    log = Log()
    _, found = lab.sweep(short, [WIDTHS], tmp_path / "out", trials=5, data=tiny_folder, watcher=log)
    assert len(found.trials) == 5
    assert len(log.trained) == 2 * 2
    first = {each.point["model.hidden"]: each for each in reversed(found.trials)}
    for trial in found.trials:
        assert trial.accuracy == first[trial.point["model.hidden"]].accuracy
    repeated = [each for each in found.trials if each.outcome == "repeated"]
    assert [each.why for each in repeated] == [
        f"as trial {first[each.point['model.hidden']].number}" for each in repeated
    ]
    assert len(repeated) == 3


def test_a_trial_that_diverges_is_told_and_the_rest_goes_on(recipe, tiny_folder, tmp_path):
    diverging = parse_recipe(
        recipe.to_toml(),
        "diverging",
        {"optimizer": '{name="sgd", lr=0.1, momentum=0.0}', "training.clip_norm": "0"},
    )
    _, found = lab.sweep(diverging, ["optimizer.lr=1e38,0.1"], tmp_path / "out", data=tiny_folder)
    assert [each.outcome for each in found.trials] == ["failed", "finished"]
    assert "the loss is" in found.trials[0].why
    assert found.best.number == 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 of 2 trials failed" in page

    _, found = lab.sweep(diverging, ["optimizer.lr=1e38,2e38"], tmp_path / "none", data=tiny_folder)
    assert (found.status, found.best) == ("finished", None)
    assert "No trial came to its end" in (tmp_path / "none" / "report.html").read_text()


def test_values_that_do_not_fit_together_fail_their_trial_alone(recipe, tiny_folder, tmp_path):
    """Each is right by itself: the second network is of a cell that has no highway."""
    over = [
        'model.cell={name="sru", highway=true},{name="gru", reset_after=false}',
        "model.cell.highway=true,false",
    ]
    short = training.with_training(recipe, steps=1)
    _, found = lab.sweep(short, over, tmp_path / "out", data=tiny_folder)
    assert [each.outcome for each in found.trials] == ["finished", "finished", "failed", "failed"]
    assert "no key model.cell.highway" in found.trials[2].why


KILLED = """
import os, signal, sys
from pathlib import Path
from ostinato.lab import sweep
from ostinato.lab.watcher import Watcher
from ostinato.training import read_recipe

class Killed(Watcher):
    def stage(self, number, count, title):
        self.number = number
    def step(self, step, line):
        if (self.number, step.step) == (2, 5):
            os.kill(os.getpid(), signal.SIGKILL)

sweep.sweep(read_recipe(sys.argv[1]), sys.argv[4:], Path(sys.argv[2]), trials=7, threads=1,
            data=Path(sys.argv[3]), watcher=Killed())
"""


def test_killed_and_resumed(searched, tiny_recipe, tiny_folder, tmp_path):
    """From its last checkpoint, at step 3 of the second trial."""
    out = tmp_path / "sweep"
    arguments = map(str, (tiny_recipe, out, tiny_folder, RATES, WIDTHS))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    log = Log()
    _, found = lab.resume(out, log)
    assert log.trained[0] == (2, 4)
    assert results(found) == results(searched[1])


def test_killed_before_the_run_had_begun(recipe, tiny_folder, tmp_path):
    out = tmp_path / "sweep"
    with pytest.raises(Interrupted):
        lab.sweep(recipe, [WIDTHS], out, data=tiny_folder, watcher=Log(1, 1))
    (out / "trials" / "1" / "run.json").unlink()
    log = Log()
    _, found = lab.resume(out, log)
    assert log.trained[0] == (1, 1)
    assert len(log.trained) == 28
    assert found.status == "finished"


def test_damage_is_told(recipe, tiny_folder, tmp_path):
    out = tmp_path / "sweep"
    with pytest.raises(Interrupted):
        lab.sweep(recipe, [WIDTHS], out, data=tiny_folder, watcher=Log(1, 1))
    description = out / "sweep.json"
    content = json.loads(description.read_text())
    description.write_text(json.dumps(content | {"data_folder": None}))
    with pytest.raises(RunError, match="are not those that the sweep began with"):
        lab.resume(out)
    description.write_text(json.dumps(content | {"format": 2}))
    with pytest.raises(RunError, match=r"its format is 2, this version of Ostinato reads 1.*upgrade"):
        lab.resume(out)
    description.write_text("{")
    with pytest.raises(RunError, match="not the description of a sweep"):
        lab.resume(out)


def test_optuna_keeps_its_own_record(searched):
    """Whoever knows Optuna finds the study in the folder."""
    folder, found, _ = searched
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder.study}")
    study = optuna.load_study(study_name="sweep", storage=storage)
    values = [each.value for each in study.trials if each.state.name == "COMPLETE"]
    storage.remove_session()
    storage.engine.dispose()
    finished = [each.accuracy for each in found.trials if each.outcome == "finished"]
    assert values[: len(finished)] == finished  # another test has made it longer


def test_without_optuna_the_command_that_brings_it_is_named():
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "from ostinato.errors import OstinatoError\n"
        "try:\n    import ostinato.lab.sweep\n"
        "except OstinatoError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "ostinato[sweep]"' in done.stdout


def test_more_images_than_there_are_fail_their_trial(recipe, tiny_folder, tmp_path):
    short = training.with_training(recipe, steps=1)
    _, found = lab.sweep(short, ["data.train=100,100000"], tmp_path / "out", data=tiny_folder)
    assert [each.outcome for each in found.trials] == ["finished", "failed"]
    assert "the set has 400" in found.trials[1].why
