"""Numbers as small pictures inside a page: PNG, a pixel a number."""

import base64
import io

import numpy as np
from PIL import Image

Numbers = np.ndarray

POSITIVE, NEGATIVE, OPEN = (194, 65, 12), (29, 111, 165), (15, 118, 110)
"""Of `COLOURS`; how far a number is from 0 is how much of them there is, so they suit any page."""


def grey(pixels: Numbers) -> str:
    """Bytes `[rows, columns]`, light on dark, as an address that holds the picture itself."""
    return _address(Image.fromarray(pixels.astype(np.uint8), "L"))


def signed(numbers: Numbers, full: float) -> str:
    """Numbers `[rows, columns]` from −full to full."""
    share = np.nan_to_num(numbers) / (full or 1.0)
    return _tinted(np.where((share >= 0)[..., None], POSITIVE, NEGATIVE), share)


def opened(numbers: Numbers) -> str:
    """Numbers `[rows, columns]` from 0 to 1."""
    return _tinted(np.broadcast_to(OPEN, (*numbers.shape, 3)), np.nan_to_num(numbers))


def _tinted(colour: Numbers, share: Numbers) -> str:
    alpha = np.round(np.minimum(np.abs(share), 1) * 255)[..., None]
    return _address(Image.fromarray(np.concatenate([colour, alpha], -1).astype(np.uint8), "RGBA"))


def _address(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
