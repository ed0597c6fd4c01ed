"""The parts of a training: order, metrics, scores, files."""

import errno
import math
import os

import pytest
import torch

from ostinato.data import Images
from ostinato.files import write_atomically
from ostinato.training import evaluate
from ostinato.training.metrics import COLUMNS, Metrics, read_metrics
from ostinato.training.order import Order

CPU = torch.device("cpu")


def test_an_epoch_sees_every_image_once():
    order = Order(images=10, batch=4, seed=0)
    for epoch in (1, 2):
        steps = [3 * (epoch - 1) + n for n in (1, 2, 3)]
        assert [order.epoch(n) for n in steps] == [epoch] * 3
        assert [order.ends_epoch(n) for n in steps] == [False, False, True]
        batches = [order.batch(n) for n in steps]
        assert [len(b) for b in batches] == [4, 4, 2]
        assert sorted(torch.cat(batches).tolist()) == list(range(10))


def test_order_follows_from_seed_and_step_alone():
    order = Order(50, 8, seed=1)
    forwards = [order.batch(n).tolist() for n in range(1, 20)]
    again = Order(50, 8, seed=1)
    backwards = [again.batch(n).tolist() for n in range(19, 0, -1)]
    assert forwards == backwards[::-1]
    assert forwards[0] != forwards[7]  # another epoch
    assert forwards[0] != Order(50, 8, seed=2).batch(1).tolist()


class Fixed(torch.nn.Module):
    """Says class 1 for everything, loudly; NaN while training."""

    def forward(self, x):
        logits = torch.tensor([0.0, 2.0, 0.0]).expand(len(x), 3)
        return logits * math.nan if self.training else logits


def test_score_is_exact_over_uneven_batches():
    labels = torch.tensor([1, 0, 1, 1, 2, 1, 1])
    images = Images(torch.zeros(7, 2, 2, dtype=torch.uint8), labels)
    network = Fixed().train()
    score = evaluate(network, images, CPU, batch=3)
    assert score.accuracy == 5 / 7
    assert score.images == 7
    expected = torch.nn.functional.cross_entropy(torch.tensor([[0.0, 2.0, 0.0]]).expand(7, 3), labels)
    assert score.loss == pytest.approx(expected.item())
    assert network.training


def row(step):
    return {"step": step, "epoch": 1, "seconds": 0.5, "step_ms": 3.0, "loss": 1 / step, "accuracy": 0.5}


def test_metrics_survive_a_kill(tmp_path):
    path, events = tmp_path / "metrics.csv", tmp_path / "events"
    with Metrics(path, events, 0) as metrics:
        for step in (1, 2, 3):
            metrics.add(row(step))
        metrics.flush()
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    path.write_text(path.read_text() + "4,1,0.9,3.0,0.2")  # killed within a line
    assert [r["step"] for r in read_metrics(path)] == ["1", "2", "3"]
    with Metrics(path, events, 2) as metrics:
        metrics.add(row(3))
    assert [r["step"] for r in read_metrics(path)] == ["1", "2", "3"]
    assert read_metrics(path)[2]["loss"] == "0.333333333"
    assert read_metrics(tmp_path / "none.csv") == []


def test_tensorboard_reads_the_events(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Metrics(tmp_path / "m.csv", tmp_path / "events", 0) as metrics:
        for step in (1, 2, 3):
            metrics.add(row(step) | {"validation_accuracy": 0.25})
    with Metrics(tmp_path / "m.csv", tmp_path / "events", 2) as metrics:  # went on after step 2
        metrics.add(row(3) | {"loss": 7.0})
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss/train")] == [(1, 1.0), (2, 0.5), (3, 7.0)]
    assert events.Scalars("accuracy/validation")[0].value == 0.25


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_written_files_have_ordinary_permissions(tmp_path):
    (tmp_path / "ordinary").write_text("")
    write_atomically(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
