"""What every test shares: few threads, and a small folder of real digits."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from ostinato.data import load_images
from ostinato.data.images import TEST, TRAIN
from ostinato.drivers import Static

TRAINED, VALIDATED, TESTED = 320, 80, 100

TINY_RECIPE = """
name = "tiny"
title = "A small SRU on few digits"
source = "these tests"

[data]
train = 320
validation = 80

[model]
kind = "recurrent"
hidden = 12
layers = 2
bidirectional = false
dropout = 0.25
output_dropout = 0.0
readout = "last"

[model.cell]
name = "sru"
highway = false

[optimizer]
name = "adam"
lr = 1e-2
betas = [0.9, 0.999]
eps = 1e-8

[training]
seed = 3
batch = 48
epochs = 2
clip_norm = 1.0

[log]
line = 2
validate = 5
test = 4
checkpoint = 3
"""


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_counts():
    """Whoever starts the tests in the background starts them deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tests run side by side; more threads would only quarrel. What several tests share is made before
    the first of them, so the whole session begins with one."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread_again():
    """A test may set more."""
    yield
    torch.set_num_threads(1)


def unroll_with(monkeypatch, backend) -> None:
    """Static models are compiled by another backend: the real one takes a minute for 28 rows."""
    monkeypatch.setitem(Static.__init__.__kwdefaults__, "backend", backend)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Unsigned bytes as an IDX file."""
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="session")
def digits():
    """All of the bundled MNIST."""
    return load_images(None, 55_000, 5_000)


@pytest.fixture(scope="session")
def tiny_folder(digits, tmp_path_factory) -> Path:
    """The first real digits, as plain IDX files."""
    folder = tmp_path_factory.mktemp("tiny")
    for names, images, count in (
        (TRAIN, digits.train, TRAINED + VALIDATED),
        (TEST, digits.test, TESTED),
    ):
        write_idx(folder / names[0], images.pixels[:count].numpy())
        write_idx(folder / names[1], images.labels[:count].numpy())
    return folder


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory) -> Path:
    """A recipe that trains in a second: 14 steps, dropout included."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY_RECIPE)
    return path
