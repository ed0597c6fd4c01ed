"""Packages that a peer needs: imported when it is made."""

from importlib import import_module
from typing import Any

from ostinato.lab.bench.harness import NotThere


def needed(package: str, extra: str = "bench") -> Any:
    """Raises NotThere with the command that brings it."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise NotThere(f'{package} is not installed: pip install "ostinato[{extra}]"') from None
