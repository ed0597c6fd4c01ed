"""Comparisons for real, on few digits: neither company nor Ctrl-C costs a run anything."""

import csv
import json
import os

import pytest
import torch

from ostinato import training
from ostinato.errors import Interrupted
from ostinato.lab import compare as lab
from ostinato.lab.compare.page import page_of
from ostinato.lab.report import write_report
from ostinato.training.metrics import read_metrics
from tests.conftest import unroll_with
from tests.lab.comparisons import SEEDS, Turns, runs
from tests.training.test_runs import STEPS, equal_runs


def table(folder):
    return list(csv.DictReader(folder.table.read_text().splitlines()))


def test_each_run_is_the_one_that_train_makes_alone(compared, two_recipes, tiny_folder, tmp_path):
    folder, comparison = compared
    assert [run.path.name for run in runs(*compared)] == [
        "tiny-seed3", "tiny-seed4", "wide-seed3", "wide-seed4",
    ]  # fmt: skip
    for recipe, entrant in zip(two_recipes, comparison.entrants, strict=True):
        for entry in entrant.runs:
            seeded = training.with_training(recipe, seed=entry.seed)
            out = tmp_path / entry.path.replace("/", "-")
            alone, _ = training.train(seeded, out, data=tiny_folder, threads=1)
            equal_runs(folder.run(entry), alone)


def test_turns_go_forth_and_back(two_recipes, tiny_folder, tmp_path):
    third = training.with_training(two_recipes[0].model_copy(update={"name": "short"}), steps=2)
    turns = Turns()
    short = [training.with_training(each, steps=3) for each in two_recipes]
    lab.compare([*short, third], (3,), tmp_path, memory=False, data=tiny_folder, watcher=turns)
    names = ["tiny", "wide", "short"]
    assert turns.steps == [
        *((name, 1) for name in names),
        *((name, 2) for name in reversed(names)),
        ("tiny", 3),
        ("wide", 3),
    ]


def test_figures_are_those_of_the_runs(compared):
    folder, comparison = compared
    found = [each.figures for each in comparison.entrants]
    times = []
    for entrant, figures in zip(comparison.entrants, found, strict=True):
        records = [folder.run(run).read_record() for run in entrant.runs]
        scores = [record.result["test_accuracy"] for record in records]
        assert figures.test_accuracy == pytest.approx(sum(scores) / 2)
        assert (figures.lowest, figures.highest) == (min(scores), max(scores))
        assert figures.spread == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
        assert figures.parameters == records[0].parameters
        assert figures.ran_by == records[0].ran_by
        rows = [row for run in entrant.runs for row in read_metrics(folder.run(run).metrics)]
        ms = torch.tensor([float(row["step_ms"]) for row in rows], dtype=torch.float64)
        times.append(ms.quantile(0.5).item())
        assert figures.step_ms["median"] == pytest.approx(times[-1])
        assert figures.step_ms["quartile_1"] <= times[-1] <= figures.step_ms["quartile_3"]
        assert figures.steps == STEPS
    assert found[0].ratio == 1
    assert found[1].ratio == pytest.approx(times[1] / times[0])
    low, high = found[1].ratio_quartiles
    assert low <= high


def test_its_page_is_made_again_from_the_folder(compared, tmp_path):
    folder, _ = compared
    pages = folder.report, write_report(folder.path, tmp_path / "again.html")
    first, again = (page.read_text().split("<footer")[0] for page in pages)
    assert first == again


def test_what_a_comparison_leaves(compared):
    folder, comparison = compared
    document = json.loads((folder.path / "comparison.json").read_text())
    assert (document["format"], document["kind"], document["status"]) == (1, "comparison", "finished")
    assert lab.Comparison.open(folder.path) == comparison
    rows = table(folder)
    assert [row["recipe"] for row in rows] == ["tiny", "wide"]
    for row, entrant in zip(rows, comparison.entrants, strict=True):
        assert float(row["test_accuracy"]) == entrant.figures.test_accuracy
        assert float(row["step_ms_median"]) == entrant.figures.step_ms["median"]
        assert row["failed"] == "0"
    assert folder.curves.read_bytes().startswith(b"\x89PNG")
    html = folder.report.read_text()
    for words in (
        "tiny and wide",
        "Loss of the training batches",
        "ostinato compare",
        "runs/wide-seed4",
    ):
        assert words in html
    page = page_of(folder.path)
    assert page.html().split("<main")[0].count("<title>") == 1
    assert [section.heading for section in page.sections] == [
        "Table", "Curves", "Runs", "How it was made",
    ]  # fmt: skip
    assert not [name for name in os.listdir(folder.path) if name.startswith(".")]


@pytest.mark.parametrize("after", [1, 15, 28, 41])
def test_interrupted_and_resumed_equals_uninterrupted(
    compared, two_recipes, tiny_folder, tmp_path, after
):
    """In the first step, in the middle, between two seeds, in the last rounds."""
    out = tmp_path / "comparison"
    settings = {"to": 0.2, "memory": False, "data": tiny_folder, "threads": 1}
    with pytest.raises(
        Interrupted, match="^Stopped; everything is saved. Go on with: ostinato resume .*comparison$"
    ):
        lab.compare(two_recipes, SEEDS, out, watcher=Turns(after), **settings)
    again = lab.compare(two_recipes, SEEDS, out, **settings) if after == 15 else lab.resume(out)
    for one, other in zip(runs(*again), runs(*compared), strict=True):
        equal_runs(one, other)
    for ours, theirs in zip(again[1].entrants, compared[1].entrants, strict=True):
        timeless = {"step_ms", "ratio", "ratio_quartiles", "seconds", "seconds_to"}
        assert ours.figures.model_dump(exclude=timeless) == theirs.figures.model_dump(exclude=timeless)


def test_a_finished_comparison_trains_no_more(compared, two_recipes, tiny_folder):
    folder, comparison = compared
    written = [run.model.stat().st_mtime_ns for run in runs(*compared)]
    turns = Turns()
    again = lab.compare(
        two_recipes, SEEDS, folder.path, to=0.2, memory=False, data=tiny_folder, watcher=turns
    )
    assert turns.steps == []
    assert [run.model.stat().st_mtime_ns for run in runs(*compared)] == written
    assert again[1] == comparison
    other = lab.compare(two_recipes, SEEDS, folder.path, to=0.9, memory=False, data=tiny_folder)
    assert other[1].to == 0.9  # only counted anew
    lab.compare(two_recipes, SEEDS, folder.path, to=0.2, memory=False, data=tiny_folder)


def test_finished_runs_are_compared_as_they_are(compared, tmp_path):
    _, comparison = compared
    paths = [run.path for run in runs(*compared)]
    before = {path: sorted(os.listdir(path)) for path in paths}
    again, compared = lab.compare_runs(paths, tmp_path / "out", to=0.2)
    assert [each.name for each in compared.entrants] == ["tiny", "wide"]
    assert [len(each.runs) for each in compared.entrants] == [2, 2]
    assert compared.seeds == list(SEEDS)
    for ours, theirs in zip(compared.entrants, comparison.entrants, strict=True):
        same = {"test_accuracy", "spread", "step_ms", "steps_to", "reached", "parameters"}
        assert ours.figures.model_dump(include=same) == theirs.figures.model_dump(include=same)
        assert ours.figures.ratio_quartiles is None
        assert ours.memory is None
    assert "trained apart" in again.report.read_text()
    assert {path: sorted(os.listdir(path)) for path in paths} == before
    assert not (again.path / "runs").exists()


def test_static_and_dynamic_in_short(tiny_folder, tmp_path, monkeypatch):
    unroll_with(monkeypatch, "aot_eager")
    changes = {"data.train": "320", "data.validation": "80", "training.batch": "64"}
    pair = [
        training.with_training(training.read_recipe(name, changes), steps=4)
        for name in lab.DRIVERS.values()
    ]
    folder, comparison = lab.compare(
        pair, (0,), tmp_path, memory=False, about_drivers=True, data=tiny_folder, threads=1
    )
    static, dynamic = (each.figures for each in comparison.entrants)
    assert static.ran_by == ["unrolled program, compiled"]
    assert dynamic.ran_by in (["native"], ["program"])
    assert static.compile_seconds > 0
    assert dynamic.compile_seconds is None
    for ragged, valid in zip(comparison.ragged, (0.62, 0.62), strict=True):
        assert ragged.valid == pytest.approx(valid, abs=0.06)
        told, padded = ragged.us_per_step["lengths"], ragged.us_per_step["padded"]
        assert ragged.ratio == pytest.approx(padded / told)
        assert ragged.ran_by == dynamic.ran_by
    html = folder.report.read_text()
    for words in (
        "dynamic takes",
        "compiling is made up for",
        "until a batch passes 90 %",
        "7–28 steps",
    ):
        assert words in html
