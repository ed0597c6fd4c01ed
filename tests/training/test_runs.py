"""Whole trainings on few real digits: what they leave, and that stopping them costs nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tests.conftest import unroll_with, write_idx

from ostinato import training
from ostinato.errors import DataError, Interrupted, OstinatoError, RunError
from ostinato.training import Observer, RunFolder
from ostinato.training.metrics import read_metrics

STEPS = 14


class Stopper(Observer):
    """Presses Ctrl-C after a step."""

    def __init__(self, after, number=signal.SIGINT):
        self.after, self.number = after, number

    def step(self, step, line):
        if step.step == self.after:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def recipe(tiny_recipe):
    return training.read_recipe(str(tiny_recipe))


@pytest.fixture(scope="module")
def whole(tiny_recipe, tiny_folder, tmp_path_factory):
    """A training that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    recipe = training.read_recipe(str(tiny_recipe))
    run, score = training.train(recipe, out, data=tiny_folder, threads=1)
    return run, score


def equal_runs(one: RunFolder, other: RunFolder):
    """Bit for bit: weights, optimiser, random state, every measured number but the times."""
    assert one.model.read_bytes() == other.model.read_bytes()
    a, b = load_file(one.checkpoint), load_file(other.checkpoint)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    rows = [
        [{k: v for k, v in row.items() if k not in ("seconds", "step_ms")} for row in rows]
        for rows in (read_metrics(one.metrics), read_metrics(other.metrics))
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == STEPS
    assert one.read_record().result == other.read_record().result


def test_what_a_run_leaves(whole, recipe, tiny_folder):
    run, score = whole
    assert run.read_recipe() == recipe
    record = run.read_record()
    assert record.status == "finished"
    assert record.result == {"test_accuracy": score.accuracy, "test_loss": score.loss}
    assert record.versions["torch"].startswith(torch.__version__.split("+")[0])
    assert record.data_folder == str(tiny_folder)
    assert record.threads == 1
    assert record.ran_by in (["native"], ["program"])
    assert record.step_ms["quartile_1"] <= record.step_ms["median"] <= record.step_ms["quartile_3"]
    assert record.step_ms["seconds_per_500_steps"] == pytest.approx(
        record.step_ms["median"] / 2, abs=1e-3
    )
    assert run.curves.read_bytes().startswith(b"\x89PNG")
    rows = read_metrics(run.metrics)
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    assert [int(row["epoch"]) for row in rows] == [1] * 7 + [2] * 7
    validated = [int(row["step"]) for row in rows if row["validation_accuracy"]]
    assert validated == [5, 7, 10, 14]
    assert [int(row["step"]) for row in rows if row["test_accuracy"]] == [4, 8, 12]
    assert not [name for name in os.listdir(run.path) if name.startswith(".")]
    assert training.score_run(run.path) == score


def test_the_tested_model_is_the_one_on_the_disk(recipe, tiny_folder, tmp_path, monkeypatch):
    """Whatever is in memory: the score is that of the file."""
    from ostinato.training import stepped

    real = stepped.save_model

    def save_zeros(path, network, *rest):
        with torch.no_grad():
            kept = [w.clone() for w in network.parameters()]
            for weight in network.parameters():
                weight.zero_()
            real(path, network, *rest)
            for weight, value in zip(network.parameters(), kept, strict=True):
                weight.copy_(value)

    monkeypatch.setattr(stepped, "save_model", save_zeros)
    _, score = training.train(recipe, tmp_path / "run", data=tiny_folder)
    assert score.loss == pytest.approx(torch.tensor(10.0).log().item(), abs=1e-6)


def test_the_same_seed_gives_the_same_run(whole, recipe, tiny_folder, tmp_path):
    again, _ = training.train(recipe, tmp_path / "run", data=tiny_folder, threads=1)
    equal_runs(again, whole[0])
    other = training.with_training(recipe, seed=4)
    different, _ = training.train(other, tmp_path / "other", data=tiny_folder, threads=1)
    assert different.model.read_bytes() != whole[0].model.read_bytes()


def test_the_callers_settings_come_back(recipe, tiny_folder, tmp_path):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    training.train(
        training.with_training(recipe, steps=1), tmp_path / "run", data=tiny_folder, threads=2
    )
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("after", [1, 3, 7, 13])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_equals_uninterrupted(
    whole, recipe, tiny_folder, tmp_path, after, number
):
    path = tmp_path / "run"
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=rf"after step {after} of 14; everything is saved.*resume"):
        training.train(recipe, path, data=tiny_folder, threads=1, observer=Stopper(after, number))
    assert signal.getsignal(number) is before
    run, score = training.resume(path)
    equal_runs(run, whole[0])
    assert score == whole[1]


def test_resumed_twice(whole, recipe, tiny_folder, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(Interrupted):
        training.train(recipe, path, data=tiny_folder, threads=1, observer=Stopper(4))
    with pytest.raises(Interrupted):
        training.resume(path, observer=Stopper(9))
    run, _ = training.resume(path)
    equal_runs(run, whole[0])


def test_two_threads_and_a_network_of_full_size(tiny_folder, tmp_path):
    """Work that is split over threads is split, and summed, the same way again."""
    recipe = training.read_recipe("bigru", {"data.train": "320", "data.validation": "80"})
    recipe = training.with_training(recipe, steps=4)
    straight, _ = training.train(recipe, tmp_path / "a", data=tiny_folder, threads=2)
    with pytest.raises(Interrupted):
        training.train(recipe, tmp_path / "b", data=tiny_folder, threads=2, observer=Stopper(2))
    resumed, _ = training.resume(tmp_path / "b")
    assert resumed.read_record().threads == 2
    assert resumed.model.read_bytes() == straight.model.read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
from ostinato import files, training

wait = int(sys.argv[4])
def die_at_the_nth(real):
    def fsync(handle):
        global wait
        wait -= 1
        if wait == 0:
            if os.readlink(f"/proc/self/fd/{handle}").endswith(".part"):
                os.ftruncate(handle, os.fstat(handle).st_size // 2)  # as if it had been half way
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)
    return fsync
os.fsync = die_at_the_nth(os.fsync)
recipe = training.read_recipe(sys.argv[1])
training.train(recipe, Path(sys.argv[2]), data=Path(sys.argv[3]), threads=1)
print("finished")
"""


def killed(tiny_recipe, tiny_folder, path, at):
    """A training killed in the middle of its nth write to the disk; whether it was."""
    arguments = [str(tiny_recipe), str(path), str(tiny_folder), str(at)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "finished" not in done.stdout


WRITES = {
    "metrics begun": 7,
    "metrics": 9,
    "first checkpoint": 10,
    "its folder": 11,
    "third checkpoint": 16,
    "model": 24,
    "curves": 26,
    "record": 28,
}
"""Which write of the training is which: an atomic one is two, the file and its folder."""


@pytest.mark.parametrize("at", WRITES.values(), ids=WRITES.keys())
def test_killed_in_the_middle_of_a_write(whole, tiny_recipe, tiny_folder, tmp_path, at):
    path = tmp_path / "run"
    killed(tiny_recipe, tiny_folder, path, at)
    run, score = training.resume(path)
    equal_runs(run, whole[0])
    assert score == whole[1]
    assert not [name for name in os.listdir(path) if name.endswith(".part")]


def test_killed_before_it_began(tiny_recipe, tiny_folder, tmp_path):
    path = tmp_path / "run"
    killed(tiny_recipe, tiny_folder, path, 3)
    with pytest.raises(
        RunError, match="run.json is missing, so this is no run, or one that ended before"
    ):
        training.resume(path)


def test_a_checkpoint_killed_within_is_the_one_before(tiny_recipe, tiny_folder, tmp_path):
    """The kill is in a checkpoint of the loop, and the one before it is whole."""
    path = tmp_path / "run"
    killed(tiny_recipe, tiny_folder, path, WRITES["third checkpoint"])
    left = [name for name in os.listdir(path) if name.endswith(".part")]
    assert [name.split(".")[1] for name in left] == ["checkpoint"]
    with safe_open(path / "checkpoint.safetensors", "pt") as file:
        assert json.loads(file.metadata()["ostinato"])["step"] == 6


def test_finished_before_the_test(whole, recipe, tiny_folder, tmp_path, monkeypatch):
    """All steps taken, then killed: only the saving and testing are left to do."""
    from ostinato.training import stepped

    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(stepped, "save_model", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            training.train(recipe, path, data=tiny_folder, threads=1)
    run, _ = training.resume(path)
    equal_runs(run, whole[0])


def test_what_cannot_be_resumed(whole, recipe, tiny_folder, tmp_path):
    with pytest.raises(
        RunError, match="finished; nothing is left to resume. Test it: ostinato evaluate"
    ):
        training.resume(whole[0].path)
    with pytest.raises(RunError, match="expected the folder of a run, found nothing"):
        training.resume(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="expected the folder of a run, found a file"):
        training.resume(tmp_path / "file")
    with pytest.raises(RunError, match=r"recipe.toml is missing"):
        training.resume(tmp_path)


@pytest.fixture
def stopped(recipe, tiny_folder, tmp_path):
    """A run that was interrupted after step 4."""
    path = tmp_path / "run"
    with pytest.raises(Interrupted):
        training.train(recipe, path, data=tiny_folder, threads=1, observer=Stopper(4))
    return path


def change_record(path: Path, **changes):
    file = path / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_damaged_run_is_refused(stopped, tiny_folder):
    checkpoint = stopped / "checkpoint.safetensors"
    kept = checkpoint.read_bytes()
    checkpoint.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(RunError, match="only a part of one"):
        training.resume(stopped)
    checkpoint.unlink()
    with pytest.raises(RunError, match="expected a checkpoint to resume from, found nothing"):
        training.resume(stopped)
    checkpoint.write_bytes(kept)

    recipe_file = stopped / "recipe.toml"
    text = recipe_file.read_text()
    recipe_file.write_text(text.replace("hidden = 12", "hidden = 13"))
    with pytest.raises(RunError, match="does not fit this run's recipe"):
        training.resume(stopped)
    recipe_file.write_text(text)

    change_record(stopped, format=2)
    with pytest.raises(RunError, match=r"its format is 2, this version of Ostinato reads 1.*upgrade"):
        training.resume(stopped)
    (stopped / "run.json").write_text("{")
    with pytest.raises(RunError, match="not the record of a run"):
        training.resume(stopped)


def test_a_run_whose_data_changed_is_refused(stopped, tmp_path):
    change_record(stopped, data_folder=None)  # the bundled digits are others
    with pytest.raises(RunError, match="are not those that the run began with"):
        training.resume(stopped)
    change_record(stopped, data_folder=str(tmp_path / "gone"))
    with pytest.raises(DataError, match="found nothing"):
        training.resume(stopped)


def test_no_model_before_the_end(stopped):
    for use in (lambda: training.score_run(stopped), lambda: training.classify(stopped, [])):
        with pytest.raises(RunError, match="has not ended, so there is no model yet. Go on with"):
            use()


def test_data_that_do_not_fit_the_model(whole):
    folder = whole[0].path.parent / "small"
    folder.mkdir()
    write_idx(folder / "t10k-images-idx3-ubyte", torch.zeros(50, 8, 8).numpy())
    write_idx(folder / "t10k-labels-idx1-ubyte", (torch.arange(50) % 10).numpy())
    with pytest.raises(
        DataError, match="8×8 images of 10 classes do not fit the model, which reads 28×28"
    ):
        training.score_run(whole[0].path, data=folder)


def test_a_loss_beyond_repair_is_told(tiny_folder, tmp_path, tiny_recipe):
    recipe = training.read_recipe(
        str(tiny_recipe),
        {"optimizer": '{name="sgd", lr=1e38, momentum=0.0}', "training.clip_norm": "0"},
    )
    with pytest.raises(
        OstinatoError, match=r"the loss is (nan|inf) at step \d+.*lower --set optimizer.lr"
    ):
        training.train(recipe, tmp_path / "run", data=tiny_folder)


def test_an_unknown_device_is_told(recipe, tiny_folder, tmp_path):
    with pytest.raises(OstinatoError, match='Device "gpu" cannot be used here'):
        training.train(recipe, tmp_path / "run", data=tiny_folder, device="gpu")
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_folder_in_use_is_not_touched(recipe, tiny_folder, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(
        RunError, match="expected a new or empty folder for the run, found one that is not"
    ):
        training.train(recipe, tmp_path, data=tiny_folder)
    with pytest.raises(RunError, match="found a file"):
        training.train(recipe, tmp_path / "mine.txt", data=tiny_folder)
    with pytest.raises(RunError, match="a run cannot be written there"):
        training.train(recipe, tmp_path / "mine.txt" / "run", data=tiny_folder)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_runs_get_a_free_name(recipe, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = training.with_training(recipe, steps=1)
    names = [training.train(short, data=tiny_folder)[0].path.name for _ in range(3)]
    assert names == ["tiny-seed3", "tiny-seed3-2", "tiny-seed3-3"]


@pytest.mark.parametrize("name", training.recipe_names())
def test_every_shipped_recipe_trains(name, tiny_folder, tmp_path, monkeypatch):
    unroll_with(monkeypatch, "aot_eager")
    recipe = training.read_recipe(name, {"data.train": "300", "data.validation": "50"})
    recipe = training.with_training(recipe, steps=2)
    run, score = training.train(recipe, tmp_path / "run", data=tiny_folder)
    assert score.images == 100
    rows = read_metrics(run.metrics)
    assert float(rows[1]["loss"]) != float(rows[0]["loss"])


def test_the_clip_holds(tiny_folder, tmp_path, tiny_recipe, monkeypatch):
    """Gradients are clipped at the recipe's norm, over all weights, before the step."""
    from ostinato.training import stepped

    norms = []
    real = stepped.make_optimizer

    def spy(settings, network):
        optimizer = real(settings, network)
        weights = list(network.parameters())
        optimizer.register_step_pre_hook(
            lambda *_: norms.append(torch.cat([w.grad.flatten() for w in weights]).norm().item())
        )
        return optimizer

    monkeypatch.setattr(stepped, "make_optimizer", spy)
    recipe = training.read_recipe(str(tiny_recipe), {"training.clip_norm": "0.01"})
    training.train(recipe, tmp_path / "run", data=tiny_folder)
    assert len(norms) == STEPS
    assert max(norms) <= 0.01 * 1.001
