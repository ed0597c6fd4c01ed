"""The model file: whole, or refused in words; it cannot run anything."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.models.test_models import SHAPE, recurrent

from ostinato.errors import ModelFileError
from ostinato.models import build
from ostinato.models.file import load_model, save_model


@pytest.fixture
def saved(tmp_path):
    settings = recurrent(dropout=0.5)
    network = build(settings, SHAPE)
    path = tmp_path / "model.safetensors"
    save_model(path, network, settings, SHAPE, "a recipe")
    return path, network


def rewrite(path, tensors=None, **changes):
    """The file again, with other tensors or another header."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["ostinato"])
    save_file(
        load_file(path) if tensors is None else tensors,
        path,
        {"ostinato": json.dumps(header | changes)},
    )


def test_round_trip(saved):
    path, network = saved
    again = load_model(path)
    x = torch.rand(3, 6, 5)
    assert not again.network.training
    assert torch.equal(again.network(x), network.eval()(x))
    assert (again.recipe, again.shape, again.settings) == ("a recipe", SHAPE, recurrent(dropout=0.5))


def test_missing(tmp_path):
    with pytest.raises(ModelFileError, match="expected a model saved by Ostinato, found nothing"):
        load_model(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_cut_off_anywhere(saved, keep):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match="only a part of one"):
        load_model(path)


def test_newer(saved):
    path, _ = saved
    rewrite(path, format=99)
    with pytest.raises(
        ModelFileError, match="its format is 99, this version of Ostinato reads 1.*upgrade"
    ):
        load_model(path)


def test_weights_that_do_not_fit(saved):
    path, _ = saved
    tensors = load_file(path)
    tensors["head.bias"] = torch.zeros(4)
    tensors["more"] = torch.zeros(1)
    rewrite(path, tensors)
    with pytest.raises(
        ModelFileError,
        match=r"head\.bias: expected \[3\], got \[4\]; more: expected nothing, got \[1\]",
    ):
        load_model(path)


def test_settings_that_mean_nothing(saved):
    path, _ = saved
    rewrite(path, model={"kind": "transformer"})
    with pytest.raises(ModelFileError, match="no model that this version can build"):
        load_model(path)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("loading ran code from the file",))


def test_a_pickle_is_not_run(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelFileError, match="found something else"):
        load_model(path)
    torch.save({"weights": Trap()}, path)
    with pytest.raises(ModelFileError, match="found something else"):
        load_model(path)


def test_other_peoples_safetensors(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(ModelFileError, match="found something else"):
        load_model(path)
