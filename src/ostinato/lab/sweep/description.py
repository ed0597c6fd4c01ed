"""A sweep is a folder: what was searched, its trials, and the best of them.

sweep.json     what was asked for, each trial, the best
study.db       the search itself, as Optuna keeps it in SQLite
trials/<n>/    an ordinary run each
best.toml      the best trial's recipe
sweep.png      accuracy over each parameter, and over the trials
report.html    all of it on one page
"""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from ostinato.errors import RunError
from ostinato.files import write_atomically
from ostinato.lab.sweep.space import Point
from ostinato.training import RunFolder
from ostinato.training.run import machine, versions

FORMAT = 1

Outcome = Literal["running", "finished", "repeated", "pruned", "failed"]


@dataclass
class Trial:
    """One point that was tried, and what came of it; `accuracy` is that on the validation images."""

    number: int
    point: Point
    outcome: Outcome = "running"
    accuracy: float | None = None
    steps: int | None = None
    seconds: float | None = None
    why: str | None = None
    """why it failed or was pruned, or what it repeats"""


@dataclass
class Best:
    """The trial with the highest validation accuracy; its model was tested when it was trained."""

    number: int
    point: Point
    accuracy: float
    test_accuracy: float
    test_loss: float


@dataclass
class Sweep:
    """What `sweep.json` holds."""

    recipe: str
    over: list[str]
    grid: bool
    """whether every point is tried"""
    count: int
    """of trials, all in all"""
    data_folder: str | None
    data_fingerprint: str
    threads: int
    device: str
    format: int = FORMAT
    kind: str = "sweep"
    status: Literal["searching", "finished"] = "searching"
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    finished: str | None = None
    versions: dict[str, str] = field(default_factory=versions)
    machine: dict[str, str] = field(default_factory=machine)
    trials: list[Trial] = field(default_factory=list)
    best: Best | None = None

    @property
    def question(self) -> tuple[Any, ...]:
        """What makes two sweeps the same one; one of them may ask for more trials."""
        return self.recipe, self.over, self.grid, self.data_fingerprint, self.device


@dataclass(frozen=True)
class SweepFolder:
    """The paths of a sweep, and its description."""

    path: Path

    @property
    def description(self) -> Path:
        return self.path / "sweep.json"

    @property
    def study(self) -> Path:
        return self.path / "study.db"

    @property
    def best(self) -> Path:
        return self.path / "best.toml"

    @property
    def picture(self) -> Path:
        return self.path / "sweep.png"

    def run(self, number: int) -> RunFolder:
        """The run of a trial."""
        return RunFolder(self.path / "trials" / str(number))

    @classmethod
    def create(cls, path: Path, sweep: Sweep) -> Self:
        """Makes the folder; raises RunError when `path` holds something else or cannot be made."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"{path}: expected a new or empty folder for the sweep, found "
                f"{'something else in it' if path.is_dir() else 'a file'}. Name another with --out."
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path)
            folder.write(sweep)
        except OSError as error:
            raise RunError(
                f"{path}: a sweep cannot be written there: {error.strerror}. Name another folder with "
                "--out."
            ) from error
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """A folder that holds a sweep; raises RunError when it does not."""
        folder = cls(path)
        if not folder.description.is_file():
            raise RunError(
                f"{path}: expected the folder of a sweep, found "
                f"{'none in it' if path.is_dir() else 'nothing'}. `ostinato sweep` makes one."
            )
        return folder

    def read(self) -> Sweep:
        """Raises RunError when `sweep.json` is damaged or newer than this library."""
        try:
            content: dict[str, Any] = json.loads(self.description.read_text(encoding="utf-8"))
            found = content["format"]
            if found == FORMAT:
                content["trials"] = [Trial(**each) for each in content["trials"]]
                content["best"] = Best(**content["best"]) if content["best"] else None
                return Sweep(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.description}: not the description of a sweep ({error}).") from error
        raise RunError(
            f"{self.description}: its format is {found}, this version of Ostinato reads {FORMAT}. The "
            "sweep was made by a newer version; upgrade ostinato."
        )

    def write(self, sweep: Sweep) -> None:
        write_atomically(self.description, json.dumps(asdict(sweep), indent=2) + "\n")
