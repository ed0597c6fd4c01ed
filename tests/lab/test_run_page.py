"""The page of a run: what it says is what the run did, and what it cannot say it leaves out."""

import html
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ostinato import training
from ostinato.data import load_test_images
from ostinato.errors import ModelFileError, RunError
from ostinato.lab.report import write_report
from ostinato.lab.report.answers import Confusion, ask, by_class
from ostinato.lab.report.run_page import run_page
from ostinato.models.file import load_model


@pytest.fixture(scope="module")
def finished(tiny_recipe, tiny_folder, tmp_path_factory):
    """A finished run, which nobody may change."""
    out = tmp_path_factory.mktemp("finished") / "run"
    training.train(training.read_recipe(str(tiny_recipe)), out, data=tiny_folder, threads=1)
    return out


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it, for one test to spoil."""
    return shutil.copytree(finished, tmp_path / "run")


def page_of(path):
    return html.unescape(run_page(path).html())


def headings(page):
    return re.findall(r"<h2[^>]*>([^<]*)</h2>", page)


def test_it_says_what_the_run_came_to(finished):
    page = page_of(finished)
    record = training.RunFolder.open(finished).read_record()
    assert f"{record.result['test_accuracy']:.2%} of the test images are classified right" in page
    assert f"after {record.steps} steps" in page
    assert f"{record.parameters:,}" in page
    for version in record.versions.values():
        assert version in page
    assert headings(page) == [
        "Result",
        "Over the steps",
        "Where it errs",
        "A digit, read row by row",
        "Settings",
        "Machine and versions",
        "Make it again",
    ]


def test_the_recipe_on_it_is_the_one_that_was_run(finished):
    toml = re.search(r'<details.*?<pre tabindex="0"><code>(.*?)</code>', page_of(finished), re.DOTALL)
    recipe = training.parse_recipe(toml[1], "the page")
    assert recipe == training.RunFolder.open(finished).read_recipe()


def test_its_command_makes_the_run_again(finished, tmp_path):
    command = re.findall(r"<code>(ostinato train .*?)</code>", page_of(finished))[0]
    _, _, recipe, *options = shlex.split(command)
    assert options[0] == "--data"
    again, _ = training.train(
        training.read_recipe(recipe), tmp_path / "again", data=Path(options[1]), threads=int(options[3])
    )
    record = training.RunFolder.open(finished).read_record()
    assert again.read_record().result == record.result


def test_what_is_counted_adds_up(finished, tiny_folder):
    model = load_model(finished / "model.safetensors").network
    answers = ask(model, load_test_images(tiny_folder))
    score = training.score_run(finished)
    counts = answers.counts
    assert counts.sum() == score.images
    assert np.trace(counts) == round(score.accuracy * score.images)
    for true, said in zip(answers.true, answers.said, strict=True):
        counts[true, said] -= 1
    assert not counts.any()


def test_the_surest_mistakes_come_first(finished, tiny_folder):
    answers = ask(load_model(finished / "model.safetensors").network, load_test_images(tiny_folder))
    which = answers.surest_mistakes(10)
    assert len(which)
    assert (answers.said[which] != answers.true[which]).all()
    sure = answers.probabilities.max(-1)
    assert list(sure[which]) == sorted(sure[which], reverse=True)
    others = np.setdiff1d(np.flatnonzero(answers.said != answers.true), which)
    assert sure[others].max(initial=0) <= sure[which].min()


def test_a_class_says_what_it_is_taken_for():
    counts = np.array([[5, 2, 0], [0, 7, 0], [0, 0, 0]])
    tints = [[tint for _, tint in row] for row in Confusion(counts, "").rows]
    assert tints == [
        ["right", "tint-9", "tint-0"],
        ["tint-0", "right", "tint-0"],
        ["tint-0"] * 2 + ["right"],
    ]

    class Counted:
        pass

    Counted.counts = counts
    assert by_class(Counted).rows == [
        ("0", 7, 5, "71.43%", "1 (2×)"),
        ("1", 7, 7, "100.00%", None),
        ("2", 0, 0, None, None),
    ]


@pytest.mark.parametrize(
    ("changes", "layers"),
    [
        (
            {"model.bidirectional": "true"},
            ["Layer 1, SRU", "Layer 1, from the end, SRU", "Layer 2, SRU"],
        ),
        ({"model.readout": "mean"}, ["Layer 1, SRU", "Layer 2, SRU"]),
    ],
)
def test_other_readers_are_shown_too(tiny_recipe, tiny_folder, tmp_path, changes, layers):
    recipe = training.with_training(training.read_recipe(str(tiny_recipe), changes), steps=2)
    run, _ = training.train(recipe, tmp_path / "run", data=tiny_folder)
    page = page_of(run.path)
    shown = re.findall(r"<h3>([^<]*)</h3>", page)
    assert shown[: len(layers)] == layers
    assert ("A layer that reads from the end" in page) == ("model.bidirectional" in changes)
    # What it says after the last row is what it says.
    after = json.loads(re.search(r'data-after="(\[\[.*?\]\])"', page)[1])
    assert len(after) == 28
    true = int(re.search(r"<figcaption>A (\d)", page)[1])
    answers = ask(load_model(run.model).network, load_test_images(tiny_folder))
    assert np.abs(answers.probabilities[answers.true == true] - after[-1]).max(-1).min() < 1e-3


def test_a_network_without_steps_has_no_steps_to_show(tiny_folder, tmp_path):
    changes = {
        "data.train": "320",
        "data.validation": "80",
        "model.channels": "[2]",
        "model.hidden": "8",
    }
    recipe = training.with_training(training.read_recipe("cnn", changes), steps=2)
    run, _ = training.train(recipe, tmp_path / "run", data=tiny_folder)
    page = page_of(run.path)
    assert "Where it errs" in headings(page)
    assert "A digit, read row by row" not in headings(page)
    assert "gate" not in re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.DOTALL)


def test_data_that_are_gone_leave_the_rest(run, tmp_path):
    record = training.RunFolder.open(run).read_record()
    record.data_folder = str(tmp_path / "moved")
    training.RunFolder(run).write_record(record)
    page = page_of(run)
    assert "What it got wrong cannot be shown: the run's data can no longer be read." in page
    assert "moved: expected a folder with the four IDX files" in page
    assert "A digit, read row by row" not in headings(page)
    assert "Over the steps" in headings(page)


def test_data_that_are_others_now_are_not_taken_for_the_runs(run):
    record = training.RunFolder.open(run).read_record()
    record.data_fingerprint = "0" * 32
    training.RunFolder(run).write_record(record)
    assert "are no longer those that the run was tested on" in page_of(run)


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda run: (run / "model.safetensors").unlink(), RunError, "there is no model yet"),
        (lambda run: (run / "model.safetensors").write_bytes(b"x"), ModelFileError, "only a part"),
        (lambda run: (run / "run.json").write_text("{"), RunError, "not the record of a run"),
        (lambda run: (run / "recipe.toml").unlink(), RunError, "recipe.toml is missing"),
        (lambda run: (run / "run.json").unlink(), RunError, "expected one of run.json"),
        (lambda run: (run / "metrics.csv").unlink(), RunError, "a row of numbers for each step"),
        (lambda run: (run / "metrics.csv").write_bytes(b"\xff\n\xff\n"), RunError, "something else"),
        (lambda run: shutil.rmtree(run), RunError, "found nothing"),
    ],
)  # fmt: skip
def test_what_is_half_done_or_damaged_is_told(run, spoil, error, words):
    spoil(run)
    with pytest.raises(error, match=words):
        write_report(run)
    assert not (run / "report.html").exists()


def test_a_run_whose_test_has_not_ended(run):
    record = training.RunFolder.open(run).read_record()
    record.status, record.result = "training", None
    training.RunFolder(run).write_record(record)
    with pytest.raises(RunError, match=f"its test has not ended. Go on with: ostinato resume {run}"):
        write_report(run)


def test_where_a_page_cannot_be_written(run, tmp_path):
    with pytest.raises(
        RunError, match="cannot be written there: No such file or directory. Name another"
    ):
        write_report(run, tmp_path / "nowhere" / "page.html")
    assert write_report(run, tmp_path / "page.html") == tmp_path / "page.html"


def test_making_a_page_changes_nothing_of_the_callers(finished):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    run_page(finished)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
