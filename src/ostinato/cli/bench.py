"""`ostinato bench`: layers beside what one would otherwise use."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostinato.cli.options import Threads

if TYPE_CHECKING:
    from ostinato.lab.bench import Benchmark, Case

EXAMPLE = "Example: ostinato bench 'train/*' --peers torch.nn,jax --seconds 3 --out runs/bench"


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CASE…]",
            help="Names or patterns such as 'train/*'; a short choice by default, all with '*'.",
        ),
    ] = None,
    containing: Annotated[
        str | None,
        typer.Option(
            "--filter", metavar="PATTERN", help="Only cases with this in their name: lstm, 'train*gru'."
        ),
    ] = None,
    peers: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Beside these alone, such as torch.nn,jax (see --list)."),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Show cases and peers, and leave.")] = False,
    seconds: Annotated[
        float, typer.Option(min=0.0, metavar="S", help="For which each side of a case is run.")
    ] = 1.0,
    threads: Threads = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare numbers at small sizes; time nothing.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes: shows that all works, says nothing of speed.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the results there, case by case.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A folder for results and report.html, or where to go on."),
    ] = None,
) -> None:
    """Measure layers beside torch.nn, loops by hand, ONNX Runtime, JAX, Keras, …

    All sides of a case run in this one process, by turns, once they were seen to come to the same
    numbers, gradients included. Who is not installed is named. Ctrl-C keeps what was measured.
    """
    from ostinato.cli.stages import watcher
    from ostinato.files import write_atomically
    from ostinato.lab import bench as lab

    beside = None if peers is None else [each.strip() for each in peers.split(",")]
    chosen = lab.choose(names or (), containing, beside)
    if show_list:
        _show_list(chosen if names or containing or peers else lab.CASES)
        return
    if check and quick:
        raise typer.BadParameter("expected --check or --quick, got both")

    def keep(found: "Benchmark") -> None:
        if json is not None:
            write_atomically(json, found.model_dump_json(indent=2) + "\n")

    found = lab.bench(
        chosen,
        peers=beside,
        seconds=seconds,
        threads=threads,
        check=check,
        quick=quick,
        out=out,
        keep=keep,
        watcher=watcher(),
    )
    say_outcome(found, json, out)


def say_outcome(found: "Benchmark", json: Path | None, out: Path | None) -> None:
    """Table, what is not in it and why, where everything is; how it ends."""
    from ostinato.cli.tables import show
    from ostinato.errors import Interrupted
    from ostinato.lab.bench.table import notes, table
    from ostinato.lab.report.kinds import write_report

    print()
    if found.cases:
        show(table(found))
    for note in notes(found):
        print(f"\n{note}")
    if out is not None and found.cases:
        print(f"\n  report   {write_report(out)}")
    if json is not None:
        print(f"\n  results  {json}")
    if found.status != "finished":
        again = (
            "what was measured stands above" if out is None else "the same command goes on from here"
        )
        raise Interrupted(f"stopped after {len(found.cases)} of {len(found.names)} cases; {again}.")
    if found.wrong:
        raise typer.Exit(1)


def _show_list(cases: "Sequence[Case]") -> None:
    """Each case with its work and who is beside it; then who these are."""
    from ostinato.cli.tables import show
    from ostinato.lab.bench import PEERS, SHORT
    from ostinato.lab.report import Table

    rows = [
        (each.name, each.what, ", ".join(name for name in PEERS if name in each.peers))
        for each in cases
    ]
    short = f"Without a name these are measured: {', '.join(SHORT)}."
    show(Table(("case", "work", "beside"), rows, short))
    print()
    show(Table(("peer", "who that is"), list(PEERS.items())))
