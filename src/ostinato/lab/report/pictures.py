"""Numbers as small pictures inside a page: PNG, a pixel a number."""

import base64
import io

import numpy as np
from PIL import Image

Numbers = np.ndarray

POSITIVE, NEGATIVE = (194, 65, 12), (29, 111, 165)
"""The first two of `COLOURS`; how far a number is from 0 is how much of them there is."""


def grey(pixels: Numbers) -> str:
    """Bytes `[rows, columns]`, light on dark, as an address that holds the picture itself."""
    return _address(Image.fromarray(pixels.astype(np.uint8), "L"))


def signed(numbers: Numbers, full: float = 1.0) -> str:
    """Numbers `[rows, columns]` from −full to full; 0 is transparent, so it suits any page."""
    share = np.clip(np.nan_to_num(numbers) / (full or 1.0), -1, 1)
    colour = np.where((share >= 0)[..., None], POSITIVE, NEGATIVE)
    alpha = np.round(np.abs(share) * 255)[..., None]
    return _address(Image.fromarray(np.concatenate([colour, alpha], -1).astype(np.uint8), "RGBA"))


def _address(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
