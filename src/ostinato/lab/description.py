"""A folder of the laboratory, described: what was asked for, how far it is, what came of it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ostinato.errors import RunError
from ostinato.files import write_atomically
from ostinato.training.run import machine, versions

FORMAT = 1


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Description(BaseModel):
    """What `<kind>.json` holds, whatever the kind; the folder's path is not part of it."""

    model_config = ConfigDict(extra="forbid")

    KIND: ClassVar[str]
    """what it is called: the name of the command, and of the file"""
    MAKES: ClassVar[str]
    """the command that makes one"""

    format: int = FORMAT
    kind: str = ""
    status: Literal["working", "finished"] = "working"
    started: str = Field(default_factory=now)
    finished: str | None = None
    versions: dict[str, str] = Field(default_factory=versions)
    machine: dict[str, str] = Field(default_factory=machine)

    def model_post_init(self, _: object) -> None:
        self.kind = self.KIND

    @property
    def question(self) -> tuple[object, ...]:
        """What was asked for: of two with the same, one is the other, begun before."""
        raise NotImplementedError

    def __str__(self) -> str:
        """What was asked for, in words."""
        raise NotImplementedError

    def taken_up(self, asked: Self) -> Self:
        """What was begun before, when it is asked for again."""
        return self

    def end(self) -> None:
        self.status = "finished"
        self.finished = self.finished or now()

    @classmethod
    def file(cls, folder: Path) -> Path:
        return folder / f"{cls.KIND}.json"

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Raises RunError where there is none, and where it is damaged or newer than this library."""
        file = cls.file(folder)
        if not file.is_file():
            raise RunError(
                f"{folder}: expected the folder of a {cls.KIND}, found "
                f"{'none in it' if folder.is_dir() else 'nothing'}. `ostinato {cls.MAKES}` makes one."
            )
        try:
            content = file.read_text(encoding="utf-8")
            found = _Format.model_validate_json(content).format
            if found == FORMAT:
                return cls.model_validate_json(content)
        except (ValidationError, ValueError) as error:
            raise RunError(f"{file}: not the description of a {cls.KIND} ({error}).") from error
        raise RunError(
            f"{file}: its format is {found}, this version of Ostinato reads {FORMAT}. The {cls.KIND} "
            "was made by a newer version; upgrade ostinato."
        )

    def write(self, folder: Path) -> None:
        write_atomically(self.file(folder), self.model_dump_json(indent=2) + "\n")

    def place(self, out: Path | None, usual: Path) -> tuple[Path, Self]:
        """Its folder, and what stands there: this one, or the same one begun before.

        `out`, or the first of `usual`, `usual-2`, … that is free or holds the same. Raises RunError
        when `out` holds something else, or cannot be written.
        """
        path, number = out or usual, 1
        while self.file(path).is_file():
            before = self.open(path)
            if before.question == self.question:
                return path, before.taken_up(self)
            if out is not None:
                raise RunError(
                    f"{out}: expected a new folder or this very {self.KIND}, found {before}. Name "
                    "another folder with --out."
                )
            number += 1
            path = usual.with_name(f"{usual.name}-{number}")
        self._create(path)
        return path, self

    def _create(self, path: Path) -> None:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"{path}: expected a new or empty folder for the {self.KIND}, found "
                f"{'something else in it' if path.is_dir() else 'a file'}. Name another with --out."
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            self.write(path)
        except OSError as error:
            raise RunError(
                f"{path}: a {self.KIND} cannot be written there: {error.strerror}. Name another folder "
                "with --out."
            ) from error


class _Format(BaseModel):
    format: int
