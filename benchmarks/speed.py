"""Measures Ostinato beside others, and beside itself, and records what was found.

    python benchmarks/speed.py                              # every case: most of an hour
    python benchmarks/speed.py train/gru-256 'stream/*'     # some
    python benchmarks/speed.py --check                      # small sizes, right numbers, no times

A case runs in one process, its sides by turns, after all of them were seen to give the same numbers,
gradients included (`ostinato.lab.bench`). Measured are the cases of `ostinato bench` of which something
is claimed (`claims.py`), and what concerns this project alone: what plain torch's row is claimed to be
(`plain.py`), memory in proportion (`proportion.py`). Tables go to standard output, a day's results into
records in `benchmarks/records/`, one for each table: `speed`, plain torch's row; `peers`, whatever runs
by itself beside other libraries. A case whose sides disagree has no figures, and the exit code is 1.
"""

import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import torch
import typer

import plain
import proportion
import tables
from claims import CLAIMED, Claimed
from ostinato.lab.bench.harness import NotThere
from ostinato.lab.bench.results import versions
from ostinato.training.run import machine
from record import Results, commit, todays, write

CASES = [*plain.CASES, *CLAIMED, *proportion.CASES]
"""In the order of the tables."""

Case = plain.Plain | Claimed | proportion.InProportion


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help="Cases, or patterns such as 'train/*'; all by default.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare numbers at small sizes; measure nothing.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(help="Of torch; by default what each case says, to check 1.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="For which each side of a case is run.")] = 5.0,
    out: Annotated[Path | None, typer.Option(help="Folder of the records.")] = None,
) -> None:
    """Measure, print and record."""
    wrong: list[str] = []
    found: dict[str, dict[str, Results]] = {}
    for case in chosen(names or ["*"]):
        print(case.name, file=sys.stderr, flush=True)
        # Small sizes gain nothing by more threads, which on a busy machine wait for one another.
        torch.set_num_threads(threads or (1 if check else case.threads))
        torch.manual_seed(0)
        try:
            if check:
                case.check()
            else:
                # Each at once, so that who stops the rest loses nothing.
                found[case.table] = recorded(case, measured(case, seconds), out)
        except NotThere as reason:
            print(f"{case.name}: {reason}")
        except AssertionError as difference:
            wrong.append(case.name)
            print(f"{case.name}: {difference}")
    for table, together in found.items():
        print(f"{tables.full(together)}\n\n{tables.BRIEF[table](together)}\n\n{todays(table, out)}\n")
    if wrong:
        print(f"Wrong numbers, so no figures: {', '.join(wrong)}")
        raise typer.Exit(1)


def chosen(names: list[str]) -> list[Case]:
    """Those that are named, in the order of the tables."""
    for name in names:
        if not any(fnmatch(case.name, name) for case in CASES):
            known = ", ".join(case.name for case in CASES)
            raise typer.BadParameter(f"no case {name}; there are {known}")
    return [case for case in CASES if any(fnmatch(case.name, name) for name in names)]


def measured(case: Case, seconds: float) -> Results:
    """What is written down of a case."""
    threads = torch.get_num_threads()
    results = case.measure(seconds)
    return {
        "command": f"python benchmarks/speed.py {case.name} --threads {threads} --seconds {seconds:g}",
        "commit": commit(),
        "threads": threads,
        "claim": case.claimed,
        "met": case.met(results),
        **results,
    }


def recorded(case: Case, results: Results, out: Path | None) -> dict[str, Results]:
    """All that the day's record of this table has by now."""
    note = "Times in ms are medians; sides take turns."
    path = todays(case.table, out)
    return write(path, "cases", {case.name: results}, machine(), versions(), note)


if __name__ == "__main__":
    typer.run(main)
