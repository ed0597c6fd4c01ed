"""What cannot be compared, and in which words that is said."""

import json

import pytest

from ostinato import training
from ostinato.errors import Interrupted, OptionError, RunError
from ostinato.lab import compare as lab
from tests.lab.comparisons import Turns, runs


def test_less_than_two(two_recipes, compared):
    with pytest.raises(OptionError, match="needs two recipes or more, got 1.*ostinato train"):
        lab.compare(two_recipes[:1])
    with pytest.raises(OptionError, match="needs two runs or more, got 1.*ostinato evaluate"):
        lab.compare_runs([runs(*compared)[0].path])


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,)])
def test_seeds_that_are_none(two_recipes, seeds):
    with pytest.raises(OptionError, match="expected different seeds of 0 or more, got"):
        lab.compare(two_recipes, seeds)


def test_other_data(two_recipes, compared, tiny_folder, tmp_path):
    fewer = two_recipes[1].model_copy(
        update={"data": two_recipes[1].data.model_copy(update={"validation": 40})}
    )
    with pytest.raises(OptionError, match="tiny trains on 320 images and validates on 80, wide"):
        lab.compare([two_recipes[0], fewer], data=tiny_folder)
    short = training.with_training(fewer, steps=1)
    run, _ = training.train(short, tmp_path / "run", data=tiny_folder)
    with pytest.raises(RunError, match=r"run: it was trained on other data .* or on another part"):
        lab.compare_runs([runs(*compared)[0].path, run.path])


def test_runs_half_done_or_given_twice(two_recipes, compared, tiny_folder, tmp_path):
    with training.Training.new(two_recipes[0], tmp_path / "run", data=tiny_folder) as half:
        half.advance()
    done = runs(*compared)[0].path
    with pytest.raises(RunError, match="has not ended, so there is nothing.*ostinato resume .*run"):
        lab.compare_runs([done, tmp_path / "run"])
    with pytest.raises(RunError, match="expected each run once, got it twice"):
        lab.compare_runs([done, done])
    with pytest.raises(RunError, match="expected the folder of a run, found nothing"):
        lab.compare_runs([done, tmp_path / "none"])


def test_a_folder_that_holds_something_else(two_recipes, compared, tiny_folder, tmp_path):
    (tmp_path / "letter").write_text("Dear Sir")
    with pytest.raises(RunError, match="new or empty folder for the comparison, found something else"):
        lab.compare(two_recipes, out=tmp_path, data=tiny_folder)
    with pytest.raises(RunError, match="found a file"):
        lab.compare(two_recipes, out=tmp_path / "letter", data=tiny_folder)
    with pytest.raises(
        RunError, match="this very comparison, found one of tiny and wide from seeds 3, 4"
    ):
        lab.compare(two_recipes, (3,), compared[0].path, data=tiny_folder)
    with pytest.raises(RunError, match="cannot be written there"):
        lab.compare(two_recipes, out=tmp_path / "letter" / "deeper", data=tiny_folder)


def test_no_comparison_to_resume(tmp_path):
    with pytest.raises(RunError, match="expected the folder of a comparison, found nothing"):
        lab.resume(tmp_path / "none")
    with pytest.raises(RunError, match="found none in it"):
        lab.resume(tmp_path)


def test_a_damaged_or_newer_one(tmp_path):
    file = tmp_path / "comparison.json"
    for text in ("{", "[]", '{"format": 1}'):
        file.write_text(text)
        with pytest.raises(RunError, match="not the description of a comparison"):
            lab.resume(tmp_path)
    file.write_text('{"format": 2}')
    with pytest.raises(RunError, match="its format is 2, this version of Ostinato reads 1.*upgrade"):
        lab.resume(tmp_path)


def test_data_that_changed_since(two_recipes, tiny_folder, tmp_path):
    with pytest.raises(Interrupted):
        lab.compare(two_recipes, (3,), tmp_path, memory=False, data=tiny_folder, watcher=Turns(3))
    file = tmp_path / "comparison.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"data_folder": None}))
    with pytest.raises(RunError, match="are not those that the comparison began with"):
        lab.resume(tmp_path)
