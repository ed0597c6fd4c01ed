"""The compiled core, or the reason why there is none."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch  # noqa: F401  before the core, which shares its threads


@cache
def core() -> ModuleType | None:
    """The module `ostinato._core`, or None where it was not built."""
    return None if find_spec("ostinato._core") is None else import_module("ostinato._core")


def why_missing() -> str | None:
    """Why there is no core, or None where there is one."""
    return "the core was not built when Ostinato was installed" if core() is None else None
