"""The package is built by scikit-build-core; without its core, where that cannot be built.

A machine without a compiler gets the library all the same, and so does one where the build of the core
fails; `ostinato.kernels.core` then says that there is none.
"""

import os
import shlex
import shutil
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from scikit_build_core import build
from scikit_build_core.build import build_sdist, get_requires_for_build_sdist

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

Settings = dict[str, list[str] | str] | None


def get_requires_for_build_wheel(settings: Settings = None) -> list[str]:
    # CMake is not fetched for nothing.
    return build.get_requires_for_build_wheel(settings) if _compiler() else []


get_requires_for_build_editable = get_requires_for_build_wheel


def build_wheel(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    return _built(build.build_wheel, directory, settings)


def build_editable(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    """The checkout itself on the path, by a .pth file, and its core beside its Python.

    scikit-build-core would put a finder before all others, and PYTHONPATH would count no more.
    """
    path = Path("build/ostinato.pth")
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{Path('src').resolve()}\n")
    return _built(build.build_editable, directory, settings, [*Path("src/ostinato").glob("_core.*")])


def _built(
    make: Callable[[str, Settings], str],
    directory: str,
    settings: Settings,
    earlier: Sequence[Path] = (),
) -> str:
    if _compiler():
        try:
            return make(directory, settings)
        except (Exception, SystemExit):
            if "CIBUILDWHEEL" in os.environ:  # a wheel for others has the core, or is none
                raise
            traceback.print_exc()
            print("*** Without the native core: it could not be built; the reason stands above.")
    else:
        print("*** Without the native core: there is no C++ compiler.")
    for core in earlier:
        core.unlink()
    return make(directory, {**(settings or {}), "wheel.cmake": "false", "wheel.py-api": "py3"})


def _compiler() -> str | None:
    wished = shlex.split(os.environ.get("CXX", ""))[:1]
    return next(filter(None, map(shutil.which, wished or ["c++", "g++", "clang++"])), None)
