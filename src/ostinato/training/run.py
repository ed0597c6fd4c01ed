"""A run is a folder: what was asked for, what happened, and what came of it.

recipe.toml              the whole recipe, as run
run.json                 versions, machine, data, times, result
metrics.csv              a row a step
events/                  the same for TensorBoard
checkpoint.safetensors   where to go on from
model.safetensors        the trained model
curves.png               loss and accuracy over steps
"""

import json
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import torch

from ostinato import __version__
from ostinato.errors import RunError
from ostinato.files import write_atomically
from ostinato.training.recipe import Recipe, parse_recipe

FORMAT = 1


@dataclass
class Record:
    """What `run.json` holds."""

    data: str
    data_folder: str | None
    data_fingerprint: str
    threads: int
    device: str
    steps: int
    parameters: int
    format: int = FORMAT
    status: str = "training"
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    finished: str | None = None
    versions: dict[str, str] = field(default_factory=lambda: versions())
    machine: dict[str, str] = field(default_factory=lambda: machine())
    seconds: float | None = None
    step_ms: dict[str, float] | None = None
    ended: str | None = None
    """why the training ended before its last step, if it did"""
    compile_seconds: float | None = None
    """spent on compiling, where something is compiled; part of `seconds`"""
    uncompiled: str | None = None
    """why nothing was compiled, where it should have been"""
    ran_by: list[str] = field(default_factory=list)
    """who ran the recurrent layers, as `ostinato.explain` names them"""
    result: dict[str, float] | None = None


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run, and its two descriptions."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def events(self) -> Path:
        return self.path / "events"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @classmethod
    def create(cls, path: Path | None, recipe: Recipe) -> Self:
        """Makes an empty folder for a run: `path`, or the first free `runs/<recipe>-seed<n>`.

        Raises RunError when `path` holds something already or cannot be made.
        """
        if path is None:
            path = _first_free(Path("runs") / f"{recipe.name}-seed{recipe.training.seed}")
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"{path}: expected a new or empty folder for the run, found "
                f"{'one that is not empty' if path.is_dir() else 'a file'}. Name another with --out, "
                "or go on with that run: ostinato resume."
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path)
            write_atomically(run.path / "recipe.toml", recipe.to_toml())
        except OSError as error:
            raise RunError(
                f"{path}: a run cannot be written there: {error.strerror}. Name another folder with "
                "--out."
            ) from error
        return run

    @classmethod
    def open(cls, path: Path) -> Self:
        """A folder that holds a run; raises RunError when it does not."""
        if not path.is_dir():
            raise RunError(
                f"{path}: expected the folder of a run, found "
                f"{'a file' if path.exists() else 'nothing'}. `ostinato train` makes one."
            )
        for name in ("recipe.toml", "run.json"):
            if not (path / name).is_file():
                raise RunError(
                    f"{path}: {name} is missing, so this is no run, or one that ended before it had "
                    "begun. Train anew."
                )
        return cls(path)

    def sweep(self) -> None:
        """Removes what a killed process left of files it had not finished."""
        for part in self.path.glob(".*.part"):
            part.unlink()

    def read_recipe(self) -> Recipe:
        file = self.path / "recipe.toml"
        return parse_recipe(file.read_text(encoding="utf-8"), str(file))

    def read_record(self) -> Record:
        """Raises RunError when `run.json` is damaged or newer than this library."""
        file = self.path / "run.json"
        try:
            content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            found = content["format"]
            if found == FORMAT:
                return Record(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{file}: not the record of a run ({error}). Train anew.") from error
        raise RunError(
            f"{file}: its format is {found}, this version of Ostinato reads {FORMAT}. The run was made "
            "by a newer version; upgrade ostinato."
        )

    def write_record(self, record: Record) -> None:
        write_atomically(self.path / "run.json", json.dumps(asdict(record), indent=2) + "\n")


def versions() -> dict[str, str]:
    """Of what the numbers depend on."""
    return {
        "ostinato": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "safetensors")},
    }


def machine() -> dict[str, str]:
    """Of what the times depend on."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def _first_free(path: Path) -> Path:
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.name}-{number}")
        number += 1
    return candidate
