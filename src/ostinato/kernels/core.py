"""The compiled core: loaded when it is first asked for, or the reason why there is none.

The core shares torch's OpenMP, whose threads would fight those of a second one; so torch is imported
before it, and its library of threads stands ready under the name that the core asks for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from struct import unpack_from
from types import ModuleType

import torch  # noqa: F401  before the core

from ostinato import __version__
from ostinato.errors import RowError

CSRC = Path(__file__).parents[3] / "csrc"
"""The core's sources, in a checkout."""


def core() -> ModuleType | None:
    """The module `ostinato._core`, or None where there is none that can be used."""
    found = _found()
    return found if isinstance(found, ModuleType) else None


def why_missing() -> str | None:
    """Why there is no core, or None where there is one."""
    found = _found()
    return found if isinstance(found, str) else None


def described() -> str:
    """One line on the core, for a person: its instruction sets, best first, or why it is missing."""
    module = core()
    if module is None:
        return f"no native core: {why_missing()}"
    threads = "" if module.openmp else ", one thread"
    return f"native core: {', '.join(module.isas())}{threads}"


@cache
def _found() -> ModuleType | str:
    spec = find_spec("ostinato._core")
    if spec is None or spec.origin is None:
        return (
            "the core was not built when Ostinato was installed, for want of a C++ compiler or because "
            "the build failed; install it again with `pip install -v`, which says why"
        )
    if _cut_short(Path(spec.origin)):
        return f"the core cannot be loaded: {spec.origin} is cut short; install it again"
    try:
        module = import_module("ostinato._core")
    except Exception as error:
        # Whatever may be wrong with a binary, the library runs without it.
        return f"the core cannot be loaded: {error}"
    built, _, sources = str(getattr(module, "version", "none")).partition("+")
    if built != __version__:
        return f"the core was built for Ostinato {built}, and this is {__version__}; install it again"
    if sources and CSRC.is_dir() and sources != _digest(CSRC):
        return f"the core was built from other sources than those in {CSRC}; install it again"
    return module


def _cut_short(library: Path) -> bool:
    """Whether the end of an ELF file is missing: to load it would end the process, not raise."""
    with library.open("rb") as file:
        head = file.read(64)
    if head[:5] != b"\x7fELF\x02" or len(head) < 64:
        return False  # the loader has words for that
    sections: int = unpack_from("<Q", head, 0x28)[0]  # the last part of the file
    size, count = unpack_from("<HH", head, 0x3A)
    return library.stat().st_size < sections + int(size) * int(count)


def _digest(csrc: Path) -> str:
    """The sources in one number, as CMakeLists.txt reckons it."""
    files = sorted(path for path in csrc.iterdir() if path.suffix in (".cpp", ".h"))
    lines = (f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    return sha256("".join(lines).encode()).hexdigest()


@contextmanager
def _chosen(isa: str) -> Iterator[None]:
    """Has what is made within use another instruction set: for tests and benchmarks."""
    module = core()
    if module is None:
        raise RowError(f"There is no native core to choose {isa} of: {why_missing()}.")
    before = module.isa()
    module.choose(isa)
    try:
        yield
    finally:
        module.choose(before)
