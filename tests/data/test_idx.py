"""IDX files: read exactly, or refused by name."""

import gzip
import lzma
import time

import numpy as np
import pytest
from tests.conftest import write_idx

from ostinato.data import load_images
from ostinato.data.idx import read_idx
from ostinato.data.images import TEST, TRAIN
from ostinato.data.prepare import MD5, check, prepare
from ostinato.errors import DataError


@pytest.fixture
def content(tmp_path):
    """An IDX file of two 3×4 images, as bytes."""
    write_idx(tmp_path / "plain", np.arange(24).reshape(2, 3, 4))
    return (tmp_path / "plain").read_bytes()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gzip", "xz"])
def test_round_trip(tmp_path, content, pack):
    path = tmp_path / "file"
    path.write_bytes(pack(content))
    assert np.array_equal(read_idx(path, 3), np.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda c: c[:-1], r"promises 2 × 3 × 4 = 24 bytes, it holds 23. It is truncated"),
        (lambda c: c + b"!", r"= 24 bytes, it holds 25. It is damaged"),
        (lambda c: c[:9], r"header alone takes 16 bytes, the file has 9"),
        (lambda c: b"", r"found an empty file"),
        (lambda c: b"\x00\x00\x0d\x03" + c[4:], r"first bytes 00 00 08 03\), found 00 00 0d 03"),
        (lambda c: b"<html>" + c, r"found 3c 68 74 6d"),
        (lambda c: gzip.compress(c)[:-9], r"gzip packing is truncated or corrupt"),
        (lambda c: gzip.compress(c)[:12] + b"\xff" * 30, r"gzip packing is truncated or corrupt"),
        (lambda c: lzma.compress(c)[:-9], r"xz packing is truncated or corrupt"),
    ],
)
def test_damage_is_named(tmp_path, content, damage, words):
    path = tmp_path / "the-file"
    path.write_bytes(damage(content))
    with pytest.raises(DataError, match=rf"the-file: .*{words}"):
        read_idx(path, 3)


def test_the_bundle_is_the_official_mnist():
    """Unpacked, every file has its official checksum."""
    from ostinato.data.images import MNIST

    for name in MD5:
        check(name, lzma.decompress((MNIST / f"{name}.xz").read_bytes()))
    with pytest.raises(DataError, match="expected MD5"):
        check("t10k-labels-idx1-ubyte", b"other bytes")
    assert "ShareAlike" in (MNIST / "LICENSE.md").read_text()


def test_the_bundle_is_small_and_quick(digits):
    from ostinato.data.images import MNIST

    assert sum(file.stat().st_size for file in MNIST.iterdir()) < 9.3e6
    began = time.perf_counter()
    load_images(None, 55_000, 5_000)
    assert time.perf_counter() - began < 5  # about 0.7 s alone; other tests run beside this one
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (55_000, 5_000, 10_000)
    assert digits.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert digits.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert digits.train.labels.bincount().sum() == 55_000
    assert (digits.size, digits.classes) == ((28, 28), 10)


def test_prepare_packs_and_checks(tmp_path):
    for name in MD5:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(b"not MNIST"))
    with pytest.raises(DataError, match="train-images-idx3-ubyte: expected MD5"):
        prepare(tmp_path, tmp_path)


def test_a_folder_of_ones_own(tiny_folder, digits):
    images = load_images(tiny_folder, 320, 80)
    assert images.train.pixels.equal(digits.train.pixels[:320])
    assert images.validation.labels.equal(digits.train.labels[320:400])
    assert images.fingerprint != digits.fingerprint
    assert images.fingerprint == load_images(tiny_folder, 320, 80).fingerprint
    pixels, labels = images.train.batch(slice(0, 2), images.train.pixels.device)
    assert pixels.max() == 1
    assert pixels.min() == 0
    assert labels.tolist() == [5, 0]


def copy(folder, target):
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_gzipped_under_the_official_names(tiny_folder, tmp_path):
    folder = copy(tiny_folder, tmp_path / "packed")
    for file in list(folder.iterdir()):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert load_images(folder, 320, 80).fingerprint == load_images(tiny_folder, 320, 80).fingerprint


def test_sets_that_do_not_match(tiny_folder, tmp_path):
    with pytest.raises(DataError, match=r"expected a folder .* found nothing"):
        load_images(tmp_path / "nowhere", 1, 1)
    with pytest.raises(
        DataError, match=r"asks for 350 images to train and 80 .* has 400.*--set data.train"
    ):
        load_images(tiny_folder, 350, 80)

    folder = copy(tiny_folder, tmp_path / "missing")
    (folder / TRAIN[1]).unlink()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte is missing \(also as .gz or .xz\)"):
        load_images(folder, 1, 1)

    folder = copy(tiny_folder, tmp_path / "labels")
    write_idx(folder / TEST[1], np.zeros(99))
    with pytest.raises(DataError, match="holds 100 images, t10k-labels-idx1-ubyte 99 labels"):
        load_images(folder, 1, 1)

    folder = copy(tiny_folder, tmp_path / "one class")
    write_idx(folder / TRAIN[1], np.zeros(400))
    write_idx(folder / TEST[1], np.zeros(100))
    with pytest.raises(DataError, match="every label is 0; expected at least two classes"):
        load_images(folder, 1, 1)

    folder = copy(tiny_folder, tmp_path / "sizes")
    write_idx(folder / TEST[0], np.zeros((100, 8, 8)))
    with pytest.raises(DataError, match="training images are 28×28, test images 8×8"):
        load_images(folder, 1, 1)
