"""The colours of a page: one for each thing that is compared, the same in all its pictures."""

from collections.abc import Iterable
from colorsys import hls_to_rgb, rgb_to_hls

COLOURS = (
    "#c2410c",
    "#1d6fa5",
    "#2f7d4f",
    "#7b4fa6",
    "#a16207",
    "#0f766e",
    "#b83280",
    "#55606e",
)
"""Told apart on white, and (as `in_the_dark` turns them) on black; after them they begin again."""


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, in their order."""
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(dict.fromkeys(names))}


def in_the_dark(colour: str) -> str:
    """The colour `#rrggbb` as it is to be on a dark page: its hue stays, the darker the lighter.

    >>> in_the_dark("#000000"), in_the_dark("#ffffff")
    ('#f2f2f2', '#595959')
    """
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    hue, lightness, saturation = rgb_to_hls(red, green, blue)
    turned = hls_to_rgb(hue, 0.95 - 0.6 * lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in turned)
