"""What kinds of folders there are, told by the file that describes one, and who makes their pages."""

from collections.abc import Callable
from pathlib import Path

from ostinato.errors import RunError
from ostinato.lab.report.page import Page

REPORT = "report.html"


def _run(folder: Path) -> Page:
    from ostinato.lab.report.run_page import run_page

    return run_page(folder)


def _comparison(folder: Path) -> Page:
    from ostinato.lab.compare.page import page_of

    return page_of(folder)


def _sweep(folder: Path) -> Page:
    from ostinato.lab.sweep.page import page_of

    return page_of(folder)


def _reproduction(folder: Path) -> Page:
    from ostinato.lab.reproduce.page import page_of

    return page_of(folder)


def _bench(folder: Path) -> Page:
    from ostinato.lab.bench.page import page_of

    return page_of(folder)


KINDS: dict[str, Callable[[Path], Page]] = {
    "run.json": _run,
    "comparison.json": _comparison,
    "sweep.json": _sweep,
    "reproduction.json": _reproduction,
    "bench.json": _bench,
}
"""A new kind adds a line. What makes its page is imported when it is asked for."""


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Writes the page of whatever the folder is, as `report.html` in it or at `out`; returns where.

    Raises RunError for a folder that is of no known kind, and what its page raises for one that is
    half done or damaged; what was there before then still stands.
    """
    page = _kind(folder)(folder)
    file = folder / REPORT if out is None else out
    try:
        page.write(file)
    except OSError as error:
        raise RunError(
            f"{file}: a page cannot be written there: {error.strerror}. Name another file with --out."
        ) from error
    return file


def _kind(folder: Path) -> Callable[[Path], Page]:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise RunError(
            f"{folder}: expected the folder of something to report, found {found}. `ostinato train` "
            "makes one."
        )
    for name, make in KINDS.items():
        if (folder / name).is_file():
            return make
    raise RunError(
        f"{folder}: expected one of {', '.join(KINDS)} in it, found none: there is nothing to report."
    )
