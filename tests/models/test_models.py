"""From settings to networks: what each reads, and what each ignores."""

import pytest
import torch

from ostinato.errors import ShapeError
from ostinato.models import CNN, build
from ostinato.models.settings import CNNSettings, ImageShape, RecurrentSettings

SHAPE = ImageShape(rows=6, columns=5, classes=3)


def recurrent(**changes):
    settings = {
        "kind": "recurrent",
        "cell": {"name": "lstm", "forget_bias": 1.0},
        "hidden": 4,
        "layers": 2,
        "bidirectional": False,
        "dropout": 0.0,
        "output_dropout": 0.0,
        "readout": "last",
    }
    return RecurrentSettings.model_validate(settings | changes)


@pytest.mark.parametrize(
    "cell",
    [
        {"name": "elman", "activation": "relu"},
        {"name": "lstm", "forget_bias": 1.0},
        {"name": "gru", "reset_after": True},
        {"name": "sru", "highway": True},
        {"name": "layer_norm_lstm", "forget_bias": 1.0, "epsilon": 1e-5},
    ],
    ids=lambda cell: cell["name"],
)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_cell_classifies(cell, bidirectional):
    torch.manual_seed(1)  # a ReLU may be dead from some seeds
    # The mean, since the backward half of the last step has read that step alone.
    network = build(recurrent(cell=cell, bidirectional=bidirectional, readout="mean"), SHAPE)
    logits = network(torch.rand(2, 6, 5))
    assert logits.shape == (2, 3)
    logits.sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


def test_options_reach_the_cell():
    network = build(recurrent(cell={"name": "gru", "reset_after": True}), SHAPE)
    assert all(layer.cell.reset_after for layer in network.encoder.layers)
    network = build(recurrent(cell={"name": "lstm", "forget_bias": 0.5}), SHAPE)
    assert all(layer.cell.forget_bias == 0.5 for layer in network.encoder.layers)


def test_last_reads_the_last_step_and_mean_reads_them_all():
    x = torch.rand(1, 6, 5)
    for readout in ("last", "mean"):
        network = build(recurrent(readout=readout), SHAPE)
        outputs, _ = network.encoder(x)
        seen = outputs[:, -1] if readout == "last" else outputs.mean(1)
        torch.testing.assert_close(network(x), network.head(seen))


@pytest.mark.parametrize("readout", ["last", "mean"])
def test_output_dropout_is_for_training_only(readout):
    network = build(recurrent(readout=readout, output_dropout=0.5, layers=1), SHAPE)
    x = torch.rand(4, 6, 5)
    assert not torch.equal(network.train()(x), network(x))
    assert torch.equal(network.eval()(x), network(x))


def test_cnn():
    settings = {"kind": "cnn", "channels": [2, 4], "kernel": 3, "hidden": 8, "dropout": 0.5}
    network = build(CNNSettings.model_validate(settings), SHAPE).eval()
    assert isinstance(network, CNN)
    x = torch.rand(2, 6, 5)
    assert network(x).shape == (2, 3)
    torch.testing.assert_close(network(x)[:1], network(x[:1]))


def test_cnn_refuses_images_that_pooling_would_swallow():
    with pytest.raises(ShapeError, match=r"3 poolings halve an image of 6×5 to nothing; .* at most 2"):
        CNN(6, 5, 3, channels=(2, 2, 2))


def test_the_same_seed_gives_the_same_network():
    networks = []
    for _ in range(2):
        torch.manual_seed(7)
        networks.append(build(recurrent(), SHAPE))
    x = torch.rand(1, 6, 5)
    assert torch.equal(networks[0](x), networks[1](x))
