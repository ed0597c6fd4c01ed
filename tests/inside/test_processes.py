"""Threads, forked and spawned processes, loaders' workers, and training in several processes."""

import threading

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from ostinato.cells import LSTM
from ostinato.drivers import Recurrent
from tests.inside.layers import B, T, close, layer_of, outcome, some_input


@pytest.mark.parametrize("shared", [True, False], ids=["one layer", "copies"])
@pytest.mark.parametrize("name", ["stack", "pair"])
def test_threads(name, shared):
    """Many at once, from the first call on, backwards too; as DataParallel's replicas are."""
    layers = [layer_of(name)] * 8 if shared else [layer_of(name) for _ in range(8)]
    inputs = [some_input(B, T + n, seed=n) for n in range(8)]
    results, together = [None] * 8, threading.Barrier(8)

    def run(number):
        together.wait()
        for _ in range(3):
            results[number] = outcome(layers[number], inputs[number])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for layer, x, got in zip(layers, inputs, results, strict=True):
        close(got, outcome(layer, x))


def test_a_kind_of_cell_that_eight_threads_meet_first():
    """Tracing at once gives eight times the same."""
    layers = [Recurrent(LSTM(5, 31)) for _ in range(8)]
    x, results, together = torch.randn(2, 3, 5), [None] * 8, threading.Barrier(8)

    def run(number):
        together.wait()
        results[number] = layers[number](x)[0]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for layer, got in zip(layers, results, strict=True):
        torch.testing.assert_close(got, Recurrent(layer.cell, row="reference")(x)[0])


class Encoded(Dataset):
    """Sequences that a layer has read, in whichever process fetches them."""

    def __init__(self):
        self.layer = layer_of("stack")

    def __len__(self):
        return 6

    def __getitem__(self, number):
        with torch.no_grad():
            return self.layer(some_input(1, T, seed=number))[0][0]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_loader(start):
    """Forked after the layer was used, backwards too; or fresh, with the layer pickled."""
    data = Encoded()
    outcome(data.layer, some_input())
    loader = DataLoader(data, batch_size=3, num_workers=2, multiprocessing_context=start)
    got = torch.cat(list(loader))
    torch.testing.assert_close(got, torch.stack([data[number] for number in range(6)]))


def learn(rank, queue, layer, x):
    queue.put((rank, [each.tolist() for each in outcome(layer, x)]))


def test_a_fork_after_use_learns_too():
    layer, x = layer_of("stack"), some_input()
    expected = [each.tolist() for each in outcome(layer, x)]
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=learn, args=(0, queue, layer, x))
    child.start()
    _, got = queue.get()
    child.join()
    assert got == expected


def train_apart(rank, folder, count):
    """One process of several, with its own rows of the batch."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=count)
    model = DistributedDataParallel(layer_of("stack"))
    step(model, some_input(4, T)[rank::count])
    if rank == 0:
        torch.save(model.module.state_dict(), f"{folder}/weights.pt")
    distributed.destroy_process_group()


def step(model, x):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    outputs, _ = model(x)
    outputs.sin().sum((1, 2)).mean().backward()
    optimizer.step()


@pytest.mark.skipif(not distributed.is_gloo_available(), reason="torch was built without gloo")
def test_distributed_training_is_training_on_the_whole_batch(tmp_path):
    multiprocessing.spawn(train_apart, (tmp_path, 2), nprocs=2)
    alone = layer_of("stack")
    step(alone, some_input(4, T))
    together = torch.load(tmp_path / "weights.pt")
    for name, weight in alone.state_dict().items():
        torch.testing.assert_close(together[name], weight)
