"""Several trainings in one process, advanced by turns: each is the run that it would be alone."""

import time
from functools import cache

import pytest
import torch
from tests.training.test_runs import STEPS, equal_runs

from ostinato import training
from ostinato.data import load_images
from ostinato.training import Training


@pytest.fixture
def recipe(tiny_recipe):
    return training.read_recipe(str(tiny_recipe))


@pytest.fixture(scope="module")
def alone(tiny_recipe, tiny_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "run"
    run, _ = training.train(training.read_recipe(str(tiny_recipe)), out, data=tiny_folder, threads=1)
    return run


def others(recipe):
    """Neighbours that draw other masks, of other sizes, and end at another step."""
    wide = {"hidden": 20, "dropout": 0.5, "output_dropout": 0.5}
    neighbour = recipe.model_copy(update={"model": recipe.model.model_copy(update=wide)})
    return [neighbour, training.with_training(recipe, seed=9, steps=5)]


def test_a_training_by_turns_is_the_one_alone(alone, recipe, tiny_folder, tmp_path):
    trainings = [
        Training.new(each, tmp_path / str(number), data=tiny_folder, threads=1)
        for number, each in enumerate([recipe, *others(recipe)])
    ]
    for each in trainings:
        each.__enter__()
    while not all(each.ended for each in trainings):
        for each in trainings:
            if not each.ended:
                each.advance()
    for each in trainings:
        each.__exit__()
        each.finish()
    equal_runs(trainings[0].run, alone)
    assert [each.done for each in trainings] == [STEPS, STEPS, 5]
    losses = [each.run.read_record().result["test_loss"] for each in trainings]
    assert len(set(losses)) == 3


def test_reopened_between_turns_of_another(alone, recipe, tiny_folder, tmp_path):
    """Its random state comes from the checkpoint, whatever its neighbour drew since."""
    with Training.new(recipe, tmp_path / "run", data=tiny_folder, threads=1) as first:
        for _ in range(4):
            first.advance()
        first.save()
    with Training.new(others(recipe)[0], tmp_path / "other", data=tiny_folder, threads=1) as other:
        other.advance()
        again = Training.reopen(tmp_path / "run")
        other.advance()
        assert again.done == 4
        with again:
            while not again.ended:
                other.advance()
                again.advance()
        again.finish()
    equal_runs(again.run, alone)


def test_the_callers_settings_stay_between_turns(recipe, tiny_folder, tmp_path):
    torch.manual_seed(11)
    expected = torch.rand(4)
    torch.manual_seed(11)
    found = [torch.rand(1)]
    each = Training.new(recipe, tmp_path / "run", data=tiny_folder, threads=2)
    found.append(torch.rand(1))
    with each:
        each.advance()
        found.append(torch.rand(1))
        each.save()
    found.append(torch.rand(1))
    assert torch.equal(torch.cat(found), expected)
    assert torch.get_num_threads() == 1
    assert each.record.threads == 2


def test_time_that_is_not_its_own_does_not_count(recipe, tiny_folder, tmp_path):
    short = training.with_training(recipe, steps=3)
    with Training.new(short, tmp_path / "run", data=tiny_folder) as each:
        while not each.ended:
            time.sleep(0.5)
            each.advance()
    each.finish()
    assert each.run.read_record().seconds < 1.0


def test_data_are_read_once(recipe, tiny_folder, tmp_path):
    load = cache(load_images)
    for name in ("a", "b"):
        Training.new(recipe, tmp_path / name, data=tiny_folder, load=load)
    Training.reopen(tmp_path / "a", load=load)
    assert load.cache_info().misses == 1
    assert load.cache_info().hits == 2


def test_what_was_saved_is_not_saved_again(recipe, tiny_folder, tmp_path):
    with Training.new(recipe, tmp_path / "run", data=tiny_folder) as each:
        for _ in range(2):
            each.advance()
        each.save()
        written = each.run.checkpoint.stat().st_mtime_ns
        each.save()
        assert each.run.checkpoint.stat().st_mtime_ns == written
        each.advance()  # the third, which the recipe saves
        assert each.run.checkpoint.stat().st_mtime_ns > written
