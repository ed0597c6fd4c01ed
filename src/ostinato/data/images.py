"""Labelled images, in memory as one tensor of bytes, split for training, validation and test."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ostinato.data.idx import read_idx
from ostinato.errors import DataError

MNIST = Path(__file__).with_name("bundle") / "mnist"
"""The whole of MNIST, which travels inside the package."""

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True)
class Images:
    """`pixels [N, rows, columns]` as bytes 0…255, and `labels [N]`."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice) -> "Images":
        return Images(self.pixels[rows], self.labels[rows])

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        _, rows, columns = self.pixels.shape
        return rows, columns

    @property
    def classes(self) -> int:
        """Labels are 0 … classes − 1."""
        return 1 + int(self.labels.max()) if len(self) else 0

    def batch(self, rows: Tensor | slice, device: torch.device) -> tuple[Tensor, Tensor]:
        """Some images as floats in 0…1 and their labels, on a device."""
        pixels = self.pixels[rows].to(device)
        return pixels.float() / 255, self.labels[rows].to(device)


@dataclass(frozen=True)
class ImageData:
    """A data set, split as the tutorials split MNIST: the last of the training images validate."""

    source: str
    train: Images
    validation: Images
    test: Images

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return self.train.size

    @property
    def classes(self) -> int:
        """How many there are in all parts together."""
        return max(part.classes for part in (self.train, self.validation, self.test))

    @cached_property
    def fingerprint(self) -> str:
        """Tells whether two runs read the same data: a digest of every pixel and label."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.train, self.validation, self.test):
            digest.update(part.pixels.numpy().data)
            digest.update(part.labels.numpy().data)
        return digest.hexdigest()


def load_images(folder: Path | None, train: int, validation: int) -> ImageData:
    """Reads the bundled MNIST, or any set of IDX files under the official names, packed or not.

    The first `train` of the training images train, the `validation` after them validate.
    Raises DataError when a file is missing, damaged, or does not match the others.
    """
    folder = MNIST if folder is None else folder
    images = _read_pair(folder, TRAIN)
    test = _read_pair(folder, TEST)
    if images.size != test.size:
        raise DataError(
            f"{folder}: training images are {_by(images)}, test images {_by(test)}; expected one "
            "size for both."
        )
    if train + validation > len(images):
        raise DataError(
            f"{folder}: the recipe asks for {train} images to train and {validation} to validate, the "
            f"set has {len(images)}. Ask for fewer, such as --set data.train="
            f"{max(1, len(images) * 11 // 12)} --set data.validation={len(images) // 12}."
        )
    source = "MNIST (bundled)" if folder == MNIST else str(folder.resolve())
    data = ImageData(source, images[:train], images[train : train + validation], test)
    if data.classes < 2:
        raise DataError(f"{folder}: every label is 0; expected at least two classes to tell apart.")
    return data


def load_test_images(folder: Path | None) -> Images:
    """The test images alone, of the bundled MNIST or of a folder as `load_images` takes it."""
    return _read_pair(MNIST if folder is None else folder, TEST)


def _read_pair(folder: Path, names: tuple[str, str]) -> Images:
    image_file, label_file = (_find(folder, name) for name in names)
    pixels, labels = read_idx(image_file, axes=3), read_idx(label_file, axes=1)
    if len(pixels) != len(labels):
        raise DataError(
            f"{folder}: {image_file.name} holds {len(pixels)} images, {label_file.name} "
            f"{len(labels)} labels; expected as many of the one as of the other."
        )
    if not len(pixels):
        raise DataError(f"{image_file}: expected images, found none.")
    return Images(torch.from_numpy(pixels.copy()), torch.from_numpy(labels.astype(np.int64)))


def _find(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise DataError(
            f"{folder}: expected a folder with the four IDX files of a data set ({name}.gz, …), found "
            f"{'a file' if folder.exists() else 'nothing'}."
        )
    for suffix in ("", ".gz", ".xz"):
        if (folder / (name + suffix)).is_file():
            return folder / (name + suffix)
    raise DataError(
        f"{folder}: {name} is missing (also as .gz or .xz). A data set is four files: "
        f"{', '.join(TRAIN + TEST)}."
    )


def _by(images: Images) -> str:
    return "×".join(map(str, images.size))
