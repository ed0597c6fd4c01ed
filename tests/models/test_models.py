"""From settings to networks: what each reads, and what each ignores."""

import inspect

import pytest
import torch

from ostinato.cells import CELLS
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


EVERY_CELL = [
    {"name": "elman", "activation": "relu"},
    {"name": "lstm", "forget_bias": 1.0},
    {"name": "gru", "reset_after": True},
    {"name": "sru", "highway": True},
    {"name": "sru2", "highway_bias": -1.0, "rescale": True},
    {"name": "layer_norm_lstm", "forget_bias": 1.0, "epsilon": 1e-5},
    {"name": "split_layer_norm_lstm", "forget_bias": 1.0, "epsilon": 1e-5},
    {"name": "layer_norm_gru", "epsilon": 1e-5},
    {"name": "qrnn", "pooling": "fo", "window": 2},
    {"name": "indrnn", "activation": "relu"},
    {"name": "min_gru"},
    {"name": "min_lstm"},
    {"name": "ugrnn", "forget_bias": 1.0},
    {"name": "lru", "r_min": 0.0, "r_max": 1.0, "max_phase": 6.28},
]
MORE_OPTIONS = [
    {"name": "lstm", "forget_bias": 1.0, "peepholes": True, "cell_clip": 3.0, "projection": 2}
    | {"projection_clip": 1.0, "activation": "softsign", "forget_bias_stored": True},
    {"name": "lstm", "forget_bias": 1.0, "coupled": True, "gate_activation": "hard_sigmoid"}
    | {"output_activation": "identity"},
    {"name": "gru", "reset_after": False, "activation": "elu", "gate_activation": "hard_sigmoid"},
    {"name": "ugrnn", "forget_bias": 1.0, "activation": "gelu"},
    {"name": "lru", "state_size": 7, "r_min": 0.5, "r_max": 0.9, "max_phase": 1.0},
]


def test_every_cell_that_reads_rows_is_here():
    assert [cell["name"] for cell in EVERY_CELL] == [name for name in CELLS if name != "conv_lstm"]


@pytest.mark.parametrize("cell", EVERY_CELL + MORE_OPTIONS, ids=lambda cell: cell["name"])
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


@pytest.mark.parametrize("cell", MORE_OPTIONS, ids=lambda cell: cell["name"])
def test_every_option_reaches_the_cell(cell):
    built = build(recurrent(cell=cell), SHAPE).encoder.layers[1].cell
    for option, value in cell.items():
        if option == "peepholes":
            assert built.p_f is not None
        elif option != "name":
            assert getattr(built, option) == value, option


@pytest.mark.parametrize("cell", EVERY_CELL, ids=lambda cell: cell["name"])
def test_a_settings_options_are_the_cells(cell):
    """None is forgotten in the settings, and the defaults are the same."""
    settings = recurrent(cell=cell).cell
    arguments = inspect.signature(CELLS[cell["name"]]).parameters
    options = {
        name: each for name, each in arguments.items() if name not in ("input_size", "hidden_size")
    }
    fields = {name: each for name, each in type(settings).model_fields.items() if name != "name"}
    assert set(fields) == set(options)
    for name, field in fields.items():
        assert field.is_required() or field.default == options[name].default, name


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"name": "lstm", "forget_bias": 1.0, "cell_clip": 0.0}, "greater than 0"),
        ({"name": "lstm", "forget_bias": 1.0, "activation": "tahn"}, "Input should be 'tanh', 'relu'"),
        ({"name": "qrnn", "pooling": "max", "window": 1}, "Input should be 'f', 'fo' or 'ifo'"),
        ({"name": "qrnn", "pooling": "f", "window": 3}, "less than or equal to 2"),
        ({"name": "lru", "r_min": 0.0, "r_max": 1.1, "max_phase": 6.28}, "less than or equal to 1"),
        ({"name": "conv_lstm"}, "does not match any of the expected tags"),
    ],
)
def test_settings_that_no_cell_has(cell, words):
    with pytest.raises(ValueError, match=words):
        recurrent(cell=cell)


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
