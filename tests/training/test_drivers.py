"""The tutorial of static and dynamic RNN: both drivers train, and end when a batch is good enough."""

import signal

import pytest
import torch
from tests.conftest import TINY_RECIPE, unroll_with
from tests.training.test_runs import Stopper

from ostinato import training
from ostinato.drivers import Static
from ostinato.errors import Interrupted
from ostinato.models import build
from ostinato.models.file import load_model
from ostinato.models.settings import ImageShape
from ostinato.training import Observer, RunFolder
from ostinato.training.metrics import read_metrics


class Listener(Observer):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def tiny(**training_keys):
    keys = "\n".join(f"{key} = {value}" for key, value in training_keys.items())
    text = TINY_RECIPE.replace("epochs = 2", f"epochs = 40\n{keys}")
    return training.parse_recipe(text, "tiny")


def accuracies(run):
    return [float(row["accuracy"]) for row in read_metrics(run.metrics)]


def test_the_dynamic_recipe_whole(tmp_path):
    """The tutorial's experiment at full size, on all of MNIST: it takes seconds."""
    listener = Listener()
    recipe = training.read_recipe("lstm-dynamic")
    run, score = training.train(recipe, tmp_path / "run", threads=1, observer=listener)
    *before, last = accuracies(run)
    assert last > 0.9 >= max(before)
    assert 20 < len(before) < 999
    assert score.accuracy > 0.75
    record = run.read_record()
    assert listener.notes == [record.ended]
    assert record.ended == (
        f"Ended after step {len(before) + 1} of 1000: its batch reached an accuracy of {last:.4f}, "
        "above 0.9."
    )
    assert record.steps == 1000
    assert (record.compile_seconds, record.uncompiled) == (None, None)
    assert read_metrics(run.metrics)[-1]["validation_accuracy"]


@pytest.fixture
def static_recipe():
    """The real one, on few digits."""
    changes = {
        "data.train": "320",
        "data.validation": "80",
        "training.batch": "64",
        "log.checkpoint": "3",
    }
    return training.read_recipe("lstm-static", changes)


def test_the_static_recipe_equals_the_dynamic_one(static_recipe, tiny_folder, tmp_path, monkeypatch):
    unroll_with(monkeypatch, "aot_eager")
    listener, runs = Listener(), {}
    dynamic = static_recipe.model_copy(
        update={"model": static_recipe.model.model_copy(update={"driver": "dynamic"})}
    )
    for name, recipe in (("static", static_recipe), ("dynamic", dynamic)):
        short = training.with_training(recipe, steps=6)
        runs[name], _ = training.train(short, tmp_path / name, data=tiny_folder, observer=listener)
    rows = [[float(row["loss"]) for row in read_metrics(run.metrics)] for run in runs.values()]
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)
    record = runs["static"].read_record()
    assert 0 < record.compile_seconds < record.seconds
    assert record.uncompiled is None
    assert listener.notes == [
        "The first step compiles the unrolled loop; that may take minutes.",
        f"Compiled in {record.compile_seconds:.1f} s.",
    ]
    assert record.ran_by == ["unrolled program, compiled"]
    assert runs["dynamic"].read_record().compile_seconds is None
    assert runs["dynamic"].read_record().ran_by in (["native"], ["program"])


def test_a_static_model_reads_any_number_of_images(static_recipe, tiny_folder, tmp_path, monkeypatch):
    """Evaluation compiles nothing: the saved model answers at once."""
    unroll_with(monkeypatch, "eager")
    run, score = training.train(
        training.with_training(static_recipe, steps=2), tmp_path, data=tiny_folder
    )
    unroll_with(monkeypatch, pytest.fail)
    assert training.score_run(tmp_path) == score
    network = load_model(run.model).network
    assert isinstance(network.encoder, Static)
    for batch in (1, 5):
        assert network(torch.rand(batch, 28, 28)).shape == (batch, 10)


def test_compiling_is_summed_over_resumed_runs(static_recipe, tiny_folder, tmp_path, monkeypatch):
    unroll_with(monkeypatch, "eager")
    recipe = training.with_training(static_recipe, steps=6)
    whole, score = training.train(recipe, tmp_path / "whole", data=tiny_folder)
    with pytest.raises(Interrupted):
        training.train(recipe, tmp_path / "run", data=tiny_folder, observer=Stopper(2))
    listener = Listener()
    run, again = training.resume(tmp_path / "run", observer=listener)
    assert run.model.read_bytes() == whole.model.read_bytes()
    assert again == score
    told = float(listener.notes[1].removeprefix("Compiled in ").removesuffix(" s."))
    assert run.read_record().compile_seconds > told


def test_a_run_says_when_nothing_was_compiled(static_recipe, tiny_folder, tmp_path, monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("no compiler here")

    unroll_with(monkeypatch, broken)
    with pytest.warns(UserWarning, match="unrolled but uncompiled"):
        run, _ = training.train(
            training.with_training(static_recipe, steps=2), tmp_path, data=tiny_folder
        )
    record = run.read_record()
    assert record.compile_seconds == 0
    assert record.uncompiled.endswith("no compiler here")
    assert record.ran_by == ["unrolled program, uncompiled"]


def test_the_two_drivers_have_the_same_weights(static_recipe):
    networks = []
    for driver in ("static", "dynamic"):
        torch.manual_seed(2)
        settings = static_recipe.model.model_copy(update={"driver": driver})
        networks.append(build(settings, ImageShape(rows=28, columns=28, classes=10)))
    for a, b in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(a, b)


@pytest.fixture(scope="module")
def early(tiny_folder, tmp_path_factory):
    """A training that ended early, never interrupted."""
    out = tmp_path_factory.mktemp("early") / "run"
    return training.train(tiny(until_batch_accuracy=0.5), out, data=tiny_folder, threads=1)


def test_the_first_batch_above_ends_it(early):
    run, _ = early
    *before, last = accuracies(run)
    assert last > 0.5 >= max(before)
    assert f"after step {len(before) + 1} of 280" in run.read_record().ended


@pytest.mark.parametrize("back", [1, 0])
def test_interrupted_and_resumed_ends_at_the_same_step(early, tiny_folder, tmp_path, back):
    whole, score = early
    steps = len(accuracies(whole))
    recipe, path = tiny(until_batch_accuracy=0.5), tmp_path / "run"
    if back:
        with pytest.raises(Interrupted):
            training.train(recipe, path, data=tiny_folder, threads=1, observer=Stopper(steps - back))
        run, again = training.resume(path)
    else:  # the signal comes with the last step, and there is nothing left to stop
        run, again = training.train(recipe, path, data=tiny_folder, threads=1, observer=Stopper(steps))
    assert accuracies(run) == accuracies(whole)
    assert run.model.read_bytes() == whole.model.read_bytes()
    assert again == score
    assert run.read_record().ended == whole.read_record().ended


def test_killed_after_the_end_and_resumed_takes_no_further_step(
    early, tiny_folder, tmp_path, monkeypatch
):
    from ostinato.training import stepped

    whole, score = early
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(stepped, "save_model", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            training.train(tiny(until_batch_accuracy=0.5), path, data=tiny_folder, threads=1)
    run, again = training.resume(path)
    assert accuracies(run) == accuracies(whole)
    assert run.model.read_bytes() == whole.model.read_bytes()
    assert again == score
    assert run.read_record().ended == whole.read_record().ended


def test_reaching_it_is_not_passing_it():
    """3 of 10 right is no more than 0.3, which single precision would have it be."""
    from ostinato.training import learning

    class Guess(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = torch.nn.Parameter(torch.eye(2)[[0] * 3 + [1] * 7])

        def forward(self, x):
            return self.logits

    network = Guess()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    labels = torch.zeros(10, dtype=torch.long)
    _, accuracy = learning.learn(network, optimizer, labels, labels, 0.0)
    assert accuracy == 0.3
    step = training.Step(step=1, epoch=1, seconds=0.0, step_ms=1.0, loss=1.0, accuracy=accuracy)
    assert learning.early_end(tiny(until_batch_accuracy=0.3), step, 5) is None
    assert "reached an accuracy of 0.3000, above 0.29." in learning.early_end(
        tiny(until_batch_accuracy=0.29), step, 5
    )


def test_the_last_step_is_no_early_end(tiny_folder, tmp_path, early):
    steps = len(accuracies(early[0]))
    recipe = training.with_training(tiny(until_batch_accuracy=0.5), steps=steps)
    run, _ = training.train(recipe, tmp_path / "run", data=tiny_folder, threads=1)
    assert run.read_record().ended is None


def test_older_runs_can_be_read(early, tmp_path):
    import json

    whole, _ = early
    content = json.loads((whole.path / "run.json").read_text())
    for key in ("ended", "compile_seconds", "uncompiled", "ran_by"):
        del content[key]
    (tmp_path / "run.json").write_text(json.dumps(content))
    record = RunFolder(tmp_path).read_record()
    assert (record.ended, record.compile_seconds, record.uncompiled) == (None, None, None)
    assert record.ran_by == []
