"""A picture of one digit, from anywhere, made like those that the network has learned from."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ostinato.errors import DataError

INK = 0.25
"""How far from background to full ink a pixel must be to count as drawn."""

BOX = 20 / 28
"""MNIST fits each digit into 20×20 of its 28×28 pixels, then centres its mass."""


def read_digit(path: Path, rows: int, columns: int) -> Tensor:
    """Reads a PNG, JPEG or other picture as `[rows, columns]` bytes, light on dark, centred as MNIST.

    Any size; light on dark or dark on light, told apart by the border. A picture that is already
    rows×columns is taken to be prepared, and only turned light on dark.
    Raises DataError when it is no picture, is damaged, or shows nothing.
    """
    grey = _grey(path)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = float(np.median(border))
    low, high = float(grey.min()), float(grey.max())
    if high - low < 16:
        raise DataError(
            f"{path}: it shows nothing: all its pixels are grey {low:.0f} to {high:.0f} of 255. "
            "Expected a digit that stands out from its background."
        )
    if paper > (low + high) / 2:
        grey, paper, high = 255 - grey, 255 - paper, 255 - low
    if grey.shape == (rows, columns):
        return torch.from_numpy(grey.astype(np.uint8))
    ink = np.clip((grey - paper) / (high - paper), 0, 1)
    return torch.from_numpy(_centre(_fit(_crop(ink), rows, columns), rows, columns))


def _grey(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                upright = _on_paper(upright.convert("RGBA"))
            return np.asarray(upright.convert("L"), np.float32)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file.") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: expected a picture (PNG, JPEG, …), found something else.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: the picture cannot be read: {error}.") from error


def _on_paper(image: Image.Image) -> Image.Image:
    """A transparent picture on a background that its ink stands out from."""
    pixels = np.asarray(image, np.float32)
    luminance, alpha = pixels[..., :3].mean(-1), pixels[..., 3]
    opaque = luminance[alpha > 127]
    light_ink = opaque.size > 0 and opaque.mean() > 127
    paper = Image.new("RGBA", image.size, "black" if light_ink else "white")
    return Image.alpha_composite(paper, image)


def _crop(ink: np.ndarray) -> np.ndarray:
    """The smallest part that holds everything drawn."""
    drawn = ink > INK
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fit(ink: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Scaled, its shape kept, so that it just fits into MNIST's box."""
    height, width = ink.shape
    scale = min(BOX * rows / height, BOX * columns / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray((ink * 255).astype(np.uint8))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS), np.uint8)


def _centre(digit: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """On an empty field, its centre of mass in the middle, as far as it still fits."""
    height, width = digit.shape
    mass = digit.astype(np.float64)
    centre_row = (mass.sum(1) @ np.arange(height)) / mass.sum()
    centre_column = (mass.sum(0) @ np.arange(width)) / mass.sum()
    top = int(np.clip(round((rows - 1) / 2 - centre_row), 0, rows - height))
    left = int(np.clip(round((columns - 1) / 2 - centre_column), 0, columns - width))
    field = np.zeros((rows, columns), np.uint8)
    field[top : top + height, left : left + width] = digit
    return field
