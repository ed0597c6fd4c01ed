"""The tutorials again, in miniature: what is timed and trained, and what an interruption costs."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from ostinato.data import load_images
from ostinato.errors import Interrupted, OptionError, RunError
from ostinato.lab import reproduce as lab
from ostinato.lab.report import write_report
from ostinato.lab.reproduce.description import Trained
from ostinato.lab.reproduce.page import page
from ostinato.lab.reproduce.timing import PARTS, measure
from ostinato.lab.reproduce.tutorials import Ratio, Side, Timing
from ostinato.lab.watcher import Watcher
from ostinato.training import RunFolder, read_recipe, recipe_names, train, with_training
from ostinato.training.metrics import read_metrics

TINY = lab.Effort(seconds=0.0, steps=4, train=320, validation=80)


class Log(Watcher):
    """What was done; presses Ctrl-C once, in a stage after a step."""

    def __init__(self, stage=None, step=None):
        self.stop, self.stages, self.steps = (stage, step), [], []

    def stage(self, number, count, title):
        self.stages.append(title)
        self.number = number

    def step(self, step, line):
        self.steps.append((self.number, step.step))
        if (self.number, step.step) == self.stop:
            self.stop = None
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory):
    """Tutorials 1 and 5 from two seeds, which nothing interrupted."""
    out = tmp_path_factory.mktemp("reproduction") / "whole"
    log = Log()
    folder, found = lab.reproduce(
        ["deep", "1"], out, effort=TINY, seeds=2, data=tiny_folder, threads=1, watcher=log
    )
    return folder, found, log


def names_of(tutorial):
    """Every figure that a tutorial can have."""
    trained = ("test_accuracy", "steps", "seconds", "ms", "compile_seconds", "memory")
    names = {f"{recipe}/{name}" for recipe in tutorial.train for name in trained}
    for timing in tutorial.timing:
        for side in timing.sides:
            timed = ("ms", "seconds_per_500_steps", *PARTS)
            names |= {f"{timing.name}/{side.name}/{name}" for name in timed}
        names |= {f"{timing.name}/{each.above} / {each.below}" for each in timing.ratios}
    if tutorial.passes is not None:
        names |= {
            f"{recipe}/first of {of}" for recipe in tutorial.train for of in ("all", "every 100th")
        }
    return names


@pytest.mark.parametrize("tutorial", lab.tutorials().tutorial, ids=lambda each: each.name)
def test_the_data_file_asks_for_what_there_is(tutorial):
    names = names_of(tutorial)
    assert set(tutorial.train) <= set(recipe_names())
    for timing in tutorial.timing:
        sides = [side.name for side in timing.sides]
        assert len(set(sides)) == len(sides)
        for side in timing.sides:
            assert side.settings().training.batch >= 100
        for ratio in timing.ratios:
            assert {ratio.above, ratio.below} <= set(sides)
    for figure in tutorial.published:
        if not figure.ours.endswith("at step 500"):
            assert figure.ours in names
        assert figure.value is not None or figure.note, "say why there is none"
    for paragraph in tutorial.answers:
        asked = re.findall(r"\{([^:}]+):?[^}]*\}", paragraph)
        assert asked
        assert set(asked) <= names


def test_there_are_five_with_what_they_published():
    tutorials = lab.tutorials().tutorial
    assert [each.number for each in tutorials] == [1, 2, 3, 4, 5]
    published = {
        (each.number, figure.what): figure.value for each in tutorials for figure in each.published
    }
    assert published[1, "test accuracy, SRU"] == 0.9719
    assert published[1, "test accuracy, LSTM"] == 0.9804
    assert published[2, "500 steps, Bi-GRU, one layer"] == 24.0
    assert published[2, "500 steps, CNN, one layer"] is None
    assert published[3, "static faster than dynamic"] == 1.5
    assert published[5, "test accuracy at step 500"] == 0.9595


def test_what_a_reproduction_leaves(whole):
    folder, found, log = whole
    assert (found.status, found.quick, found.tutorials) == ("finished", True, ["1", "5"])
    assert lab.Reproduction.open(folder) == found
    assert [title.split(":")[0] for title in log.stages] == ["tutorial 1", "tutorial 1", "tutorial 5"]
    assert set(found.trained) == {"sru", "lstm", "lstm-deep"}
    for recipe, runs in found.trained.items():
        assert [run.seed for run in runs] == [0, 1]
        for run in runs:
            record = RunFolder(folder / run.run).read_record()
            assert run.test_accuracy == record.result["test_accuracy"]
            assert run.steps == 4
        mean = sum(run.test_accuracy for run in runs) / 2
        assert found.figures[f"{recipe}/test_accuracy"] == pytest.approx(mean)
        low, high = found.spread(f"{recipe}/test_accuracy")
        assert low <= mean <= high
    for figure in lab.chosen(["1"])[0].published:
        assert figure.ours in found.figures
    sizes = [(folder / name).stat().st_size for name in ("report.html", "reproduction.json")]
    assert sum(sizes) < 1_000_000


def test_timings_take_turns_and_add_up(whole):
    _, found, _ = whole
    promise = found.timed["promise"]
    assert not promise.why_not
    for side in promise.sides.values():
        assert side.turns >= 3
        assert side.quartiles[0] <= side.ms <= side.quartiles[1]
        assert set(side.parts) == set(PARTS)
        assert all(ms > 0 for ms in side.parts.values())
    # The product inside the loop is what the tutorial lost.
    assert promise.ratios["SRU, plain loop / SRU"][0] > 1
    ratio = promise.sides["LSTM"].ms / promise.sides["SRU"].ms
    assert promise.ratios["LSTM / SRU"][0] == pytest.approx(ratio, rel=1e-3)
    assert found.figures["promise/LSTM / SRU"] == promise.ratios["LSTM / SRU"][0]


def test_a_side_that_cannot_run_is_told_and_the_rest_goes_on(tiny_folder):
    timing = Timing(
        name="two",
        title="Two",
        sides=[
            Side(name="SRU of torch", recipe="sru", run_by="torch.nn"),
            Side(name="a CNN in a loop", recipe="cnn-1", run_by="reference"),
            Side(name="CNN", recipe="cnn-1"),
        ],
        ratios=[Ratio(above="SRU of torch", below="CNN")],
    )
    measured = measure(timing, load_images(tiny_folder, 320, 80), 0.0)
    assert set(measured.sides) == {"CNN"}
    assert set(measured.why_not) == {"SRU of torch", "a CNN in a loop"}
    assert "SRU" in measured.why_not["SRU of torch"]
    assert "has no layer that reference could run" in measured.why_not["a CNN in a loop"]
    assert measured.ratios == {}


def test_a_quick_page_says_so_and_a_full_one_answers(whole, tmp_path):
    folder, found, _ = whole
    quick = (folder / "report.html").read_text()
    assert "no measure" not in quick.split("<body")[0]
    assert "Nothing here is a measure of accuracy" in " ".join(quick.split())
    assert "ours (quick)" in quick
    for words in ("97.19%", "98.04%", "95.95%", "10.00×", "--quick"):
        assert words in quick
    answer = "The product depends on the input alone."
    assert answer not in quick

    whole_effort = lab.tutorials().full
    full = found.model_copy(update={"effort": whole_effort})
    (tmp_path / "comparisons").symlink_to(folder / "comparisons")
    (tmp_path / "runs").symlink_to(folder / "runs")
    html = page(tmp_path, full).html()
    assert answer in html
    assert "quick" not in html.split("<main")[1]
    said = re.search(r"lost a factor of (\d+\.\d)", html)
    assert float(said.group(1)) == pytest.approx(
        found.figures["promise/SRU, plain loop / SRU"], abs=0.06
    )
    assert not re.search(r"\{\w+/", html), "a figure was not put in"


@pytest.mark.parametrize(("stage", "step"), [(2, 3), (3, 2)])
def test_interrupted_and_resumed(whole, tiny_folder, tmp_path, stage, step):
    """Nothing that is done is done again: no timing, no step."""
    out = tmp_path / "reproduction"
    log = Log(stage, step)
    arguments = (["1", "5"], out)
    options = {"effort": TINY, "seeds": 2, "data": tiny_folder, "threads": 1}
    with pytest.raises(Interrupted, match=rf"Stopped in stage {stage} of 3; .*resume {out}$"):
        lab.reproduce(*arguments, **options, watcher=log)
    done = lab.Reproduction.open(out)
    assert done.status == "working"
    assert "97.19%" in write_report(out).read_text(), "a page of what there is so far"
    if stage == 2:
        _, found = lab.resume(out, log)
    else:
        _, found = lab.reproduce(*arguments, **options, watcher=log)
    assert log.steps == whole[2].steps
    assert found.timed["promise"] == done.timed["promise"]
    assert {recipe: [run.test_accuracy for run in runs] for recipe, runs in found.trained.items()} == {
        recipe: [run.test_accuracy for run in runs] for recipe, runs in whole[1].trained.items()
    }
    again = Log()
    lab.reproduce(*arguments, **options, watcher=again)
    assert again.stages == []


def test_a_log_as_the_tutorial_prints_it(tiny_recipe, tiny_folder, tmp_path):
    """Every hundredth step, the test where there was one, and which batch was the first to pass."""
    changes = {"log.test": "100", "log.validate": "0", "log.checkpoint": "500"}
    recipe = with_training(read_recipe(str(tiny_recipe), changes), steps=210)
    run, _ = train(recipe, tmp_path / "run", data=tiny_folder)
    rows = {int(row["step"]): row for row in read_metrics(run.metrics)}
    trained = Trained.of(run, tmp_path, passes=0.5)
    assert [(step, accuracy) for step, accuracy, _ in trained.log] == [
        (step, float(rows[step]["accuracy"])) for step in (100, 200)
    ]
    assert [test for *_, test in trained.log] == [
        float(rows[step]["test_accuracy"]) for step in (100, 200)
    ]
    passing = [step for step, row in rows.items() if float(row["accuracy"]) >= 0.5]
    assert trained.more["first of all"] == passing[0]
    assert trained.more["first of every 100th"] == next(s for s in passing if s % 100 == 0)
    assert trained.more["test_accuracy at step 100"] == trained.log[0][2]
    assert Trained.of(run, tmp_path, passes=1.5).more.keys() == {
        "test_accuracy at step 100", "test_accuracy at step 200",
    }  # fmt: skip
    assert Trained.of(run, tmp_path, passes=None).log == []


def test_a_recipe_that_fails_is_told_and_the_rest_goes_on(tiny_folder, tmp_path, monkeypatch):
    """A loss that is no number any more, at the first step."""
    from ostinato.lab.reproduce import reproducing
    from ostinato.training import parse_recipe

    real = reproducing._settings
    changes = {
        "optimizer": '{name="sgd", lr=1e38, momentum=0.0}',
        "training.clip_norm": "0",
    }
    monkeypatch.setattr(
        reproducing, "_settings", lambda *of: parse_recipe(real(*of).to_toml(), "it", changes)
    )
    options = {"effort": TINY, "data": tiny_folder, "threads": 1}
    folder, found = lab.reproduce(["deep"], tmp_path / "out", **options)
    assert found.status == "finished"
    assert "the loss is" in found.failed["lstm-deep"]
    assert found.trained == {}
    assert "lstm-deep failed: " in (folder / "report.html").read_text()


def test_mistakes(whole, tiny_folder, tmp_path):
    folder, _, _ = whole
    options = {"effort": TINY, "data": tiny_folder}
    with pytest.raises(OptionError, match=r'no tutorial "srru"; did you mean "sru"\?'):
        lab.reproduce(["srru"], tmp_path / "out", **options)
    with pytest.raises(OptionError, match="needs one seed at least, got 0"):
        lab.reproduce(["1"], tmp_path / "out", seeds=0, **options)
    with pytest.raises(RunError, match="this very reproduction, found a quick one of tutorials 1, 5"):
        lab.reproduce(["1"], folder, **options)
    with pytest.raises(RunError, match="expected the folder of a reproduction, found nothing"):
        lab.resume(tmp_path / "none")
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RunError, match="new or empty folder for the reproduction, found something"):
        lab.reproduce(["1"], tmp_path, **options)
    with pytest.raises(RunError, match="a reproduction cannot be written there"):
        lab.reproduce(["1"], Path("/proc/ostinato/out"), **options)
    assert not (tmp_path / "out").exists()


def test_damage_is_told(whole, tmp_path):
    folder, _, _ = whole
    content = json.loads((folder / "reproduction.json").read_text())
    description = tmp_path / "reproduction.json"
    description.write_text(json.dumps(content | {"data_fingerprint": "other"}))
    with pytest.raises(RunError, match="are not those that the reproduction began with"):
        lab.resume(tmp_path)
    description.write_text(json.dumps(content | {"format": 2}))
    with pytest.raises(RunError, match=r"its format is 2, this version of Ostinato reads 1.*upgrade"):
        lab.resume(tmp_path)
    description.write_text("{")
    with pytest.raises(RunError, match="not the description of a reproduction"):
        lab.resume(tmp_path)
