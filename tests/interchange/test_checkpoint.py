"""TensorFlow's checkpoint files without TensorFlow: what TensorFlow wrote, and what is damaged."""

import shutil

import numpy as np
import pytest

from ostinato.errors import WeightsError
from ostinato.interchange.checkpoint import read_tensorflow
from ostinato.interchange.tensorflow import layer_from_tensorflow
from tests.cells.test_vectors import VECTORS, Case
from tests.interchange.test_tensorflow import same, state_of

SAVED = VECTORS / "tensorflow/saved.ckpt"
DATA = "saved.ckpt.data-00000-of-00001"


def test_the_arrays_are_those_that_tensorflow_reads():
    read, expected = read_tensorflow(SAVED), Case("tensorflow/checkpoint").named("checkpoint")
    assert set(read) == {*expected, "parted"}
    for name, array in expected.items():
        assert read[name].dtype == array.numpy().dtype, name
        np.testing.assert_array_equal(read[name], array.numpy(), err_msg=name)


def test_a_layer_straight_from_the_files():
    expected = Case("tensorflow/checkpoint").named("checkpoint")
    ours = layer_from_tensorflow(read_tensorflow(SAVED), scope="encoder", forget_bias=0.5)
    theirs = layer_from_tensorflow(expected, scope="encoder", forget_bias=0.5)
    same(state_of(ours), state_of(theirs))


@pytest.mark.parametrize("name", ["saved.ckpt.index", DATA, "saved.ckpt.meta"])
def test_any_of_the_files_may_be_named(name):
    assert list(read_tensorflow(SAVED.with_name(name))) == list(read_tensorflow(str(SAVED)))


def test_a_variable_in_parts_is_refused_when_it_is_asked_for():
    with pytest.raises(WeightsError, match='"parted" was saved in parts by a partitioner'):
        read_tensorflow(SAVED)["parted"]


def test_missing_files(tmp_path):
    words = "No such file or directory. Expected the files of a checkpoint, .*Saver.save returned"
    with pytest.raises(WeightsError, match=f"model.ckpt.index.*{words}"):
        read_tensorflow(tmp_path / "model.ckpt")
    shutil.copy(SAVED.with_name("saved.ckpt.index"), tmp_path)
    with pytest.raises(WeightsError, match=f"{DATA}.*{words}"):
        read_tensorflow(tmp_path / "saved.ckpt")["dense/kernel"]


def test_files_cut_short(tmp_path):
    for name in ("saved.ckpt.index", DATA):
        shutil.copy(SAVED.with_name(name), tmp_path)
    (tmp_path / DATA).write_bytes(SAVED.with_name(DATA).read_bytes()[:100])
    with pytest.raises(WeightsError, match=f"reader/.*{DATA} is cut short, 384 bytes expected, got 0"):
        read_tensorflow(tmp_path / "saved.ckpt")["reader/bidirectional_rnn/fw/basic_lstm_cell/kernel"]


@pytest.mark.parametrize("at", range(0, 2700, 113))
def test_a_byte_that_is_another(tmp_path, at):
    """In the index, or in the numbers: what TensorFlow's checksums are for."""
    for name in ("saved.ckpt.index", DATA):
        shutil.copy(SAVED.with_name(name), tmp_path)
    index = bytearray(SAVED.with_name("saved.ckpt.index").read_bytes())
    index[at] ^= 1
    (tmp_path / "saved.ckpt.index").write_bytes(index)
    with pytest.raises(WeightsError, match="its index is damaged"):
        read_tensorflow(tmp_path / "saved.ckpt")
    (tmp_path / "saved.ckpt.index").write_bytes(SAVED.with_name("saved.ckpt.index").read_bytes())
    data = bytearray(SAVED.with_name(DATA).read_bytes())
    data[at] ^= 1
    (tmp_path / DATA).write_bytes(data)
    with pytest.raises(WeightsError, match=f"{DATA} is damaged, its checksum is another"):
        list(read_tensorflow(tmp_path / "saved.ckpt").values())


@pytest.mark.parametrize("left", [0, 7, 40, 1000])
def test_a_damaged_index(tmp_path, left):
    index = SAVED.with_name("saved.ckpt.index").read_bytes()
    (tmp_path / "model.ckpt.index").write_bytes(index[-left:] if left else b"")
    with pytest.raises(WeightsError, match="its index is damaged, or none that TensorFlow has written"):
        read_tensorflow(tmp_path / "model.ckpt")
