"""Comparisons in which something fails: it is told, and the rest goes on."""

import csv

import pytest

from ostinato import training
from ostinato.errors import OstinatoError
from ostinato.lab import compare as lab
from tests.lab.comparisons import Turns, runs
from tests.training.test_runs import equal_runs


def table(folder):
    return list(csv.DictReader(folder.table.read_text().splitlines()))


def broken(two_recipes):
    """The second one's loss is no number after some steps."""
    diverges = training.parse_recipe(
        two_recipes[1].to_toml(),
        "diverges",
        {"name": "diverges", "optimizer": '{name="sgd", lr=1e38, momentum=0.0}',
         "training.clip_norm": "0"},
    )  # fmt: skip
    return [two_recipes[0], diverges]


def test_one_that_fails_is_told_and_the_others_go_on(compared, two_recipes, tiny_folder, tmp_path):
    turns = Turns()
    folder, comparison = lab.compare(
        broken(two_recipes), (3,), tmp_path, memory=True, data=tiny_folder, threads=1, watcher=turns
    )
    good, bad = comparison.entrants
    equal_runs(folder.run(good.runs[0]), runs(*compared)[0])
    assert bad.figures is None
    assert "the loss is" in bad.runs[0].failed
    assert "--set optimizer.lr" in bad.runs[0].failed
    assert any(note.startswith("diverges failed, the others go on") for note in turns.notes)
    assert "Traceback" in (tmp_path / "runs/diverges-seed3/failure.txt").read_text()
    html = folder.report.read_text()
    assert "diverges, seed 3, failed" in html
    assert [row["failed"] for row in table(folder)] == ["0", "1"]
    # Memory is that of a process of its own: real, if small.
    assert 50_000 < good.memory < 100_000_000
    assert bad.memory is None


def test_a_crash_is_a_failure_of_its_own(two_recipes, tiny_folder, tmp_path, monkeypatch):
    from ostinato.training import stepped

    real = stepped.learn

    def crash(network, *rest):
        if network.encoder.output_size == 20:
            raise ZeroDivisionError("out of luck")
        return real(network, *rest)

    monkeypatch.setattr(stepped, "learn", crash)
    _, comparison = lab.compare(two_recipes, (3,), tmp_path, memory=False, data=tiny_folder)
    assert comparison.entrants[0].figures is not None
    assert comparison.entrants[1].runs[0].failed == "ZeroDivisionError: out of luck"
    assert "crash" in (tmp_path / "runs/wide-seed3/failure.txt").read_text()


def test_none_that_comes_to_its_end(two_recipes, tiny_folder, tmp_path):
    bad = broken(two_recipes)[1]
    with pytest.raises(OstinatoError, match="no recipe came to its end: .*the loss is"):
        lab.compare([bad, bad], (3,), tmp_path, memory=False, data=tiny_folder)
    html = (tmp_path / "report.html").read_text()
    assert "diverges-2, seed 3, failed" in html
    assert "No recipe came to its end" in html


def test_a_full_disk_concerns_all(two_recipes, tiny_folder, tmp_path, monkeypatch):
    from ostinato.training import stepped

    count = 0
    real = stepped.write_checkpoint

    def full(*given):
        nonlocal count
        count += 1
        if count == 5:
            raise OSError(28, "No space left on device")
        real(*given)

    monkeypatch.setattr(stepped, "write_checkpoint", full)
    with pytest.raises(OSError, match="No space left"):
        lab.compare(two_recipes, (3,), tmp_path, memory=False, data=tiny_folder)
    _, comparison = lab.resume(tmp_path)
    assert [run.failed for each in comparison.entrants for run in each.runs] == [None, None]
    assert comparison.status == "finished"


def test_memory_that_cannot_be_measured_says_so(two_recipes, tiny_folder, tmp_path, monkeypatch):
    from ostinato.lab import memory

    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    short = [training.with_training(each, steps=1) for each in two_recipes]
    folder, comparison = lab.compare(short, (3,), tmp_path / "out", data=tiny_folder)
    assert [each.memory for each in comparison.entrants] == [None, None]
    assert "not measured here: this system has no /proc" in folder.report.read_text()
