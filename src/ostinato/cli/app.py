"""The `ostinato` command: its parts, and how its mistakes are told."""

import sys
from typing import Annotated

import typer

from ostinato import __version__
from ostinato.cli import (
    bench,
    compare,
    evaluate,
    predict,
    recipes,
    report,
    reproduce,
    resume,
    sweep,
    train,
)
from ostinato.errors import Interrupted, OstinatoError

app = typer.Typer(
    name="ostinato",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: ostinato train sru",
)
app.command("recipes", epilog=recipes.EXAMPLE)(recipes.recipes)
app.command("train", epilog=train.EXAMPLE)(train.train)
app.command("resume", epilog=resume.EXAMPLE)(resume.resume)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command("compare", epilog=compare.EXAMPLE)(compare.compare)
app.command("bench", epilog=bench.EXAMPLE)(bench.bench)
app.command("sweep", epilog=sweep.EXAMPLE)(sweep.sweep)
app.command("reproduce", epilog=reproduce.EXAMPLE)(reproduce.reproduce)
app.command("predict", epilog=predict.EXAMPLE)(predict.predict)
app.command("report", epilog=report.EXAMPLE)(report.report)


def _version(asked: bool) -> None:
    if asked:
        print(f"ostinato {__version__}")
        raise typer.Exit


@app.callback()
def ostinato(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and leave.")
    ] = False,
) -> None:
    """Recurrent networks for PyTorch: train, test and use them from recipes."""


def main() -> None:
    """Runs the command line. A person's mistake is one paragraph and exit code 2; Ctrl-C is 130."""
    try:
        app(prog_name="ostinato")
    except Interrupted as error:
        _leave(str(error), 130)
    except OstinatoError as error:
        _leave(str(error), 2)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _leave(
            f"the system refused: {error.strerror or error}{where}. What was whole before still is; "
            "make room or mend the permission, then go on (a training: ostinato resume).",
            2,
        )
    except SystemExit as leaving:
        if leaving.code == 130:
            _leave("Stopped. What was whole before still is.", 130)
        raise


def _leave(message: str, code: int) -> None:
    print(f"ostinato: {message}", file=sys.stderr)
    sys.exit(code)
