"""What a network said of every test image: how often it errs, on what, and how sure it was."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from ostinato.data import Images
from ostinato.lab.report.parts import Table
from ostinato.lab.report.pictures import grey

BATCH = 500


@dataclass(frozen=True)
class Answers:
    """`probabilities [N, classes]` for each of the images."""

    images: Images
    probabilities: np.ndarray

    @cached_property
    def true(self) -> np.ndarray:
        labels: np.ndarray = self.images.labels.numpy()
        return labels

    @cached_property
    def said(self) -> np.ndarray:
        return np.asarray(self.probabilities.argmax(-1))

    @cached_property
    def counts(self) -> np.ndarray:
        """`[true, said]`: how many images of the one class were taken for the other."""
        classes = self.probabilities.shape[1]
        return np.bincount(self.true * classes + self.said, minlength=classes**2).reshape(classes, -1)

    def surest_mistakes(self, most: int) -> np.ndarray:
        """Which images were wrong, those that the network was most sure of first."""
        wrong = np.flatnonzero(self.said != self.true)
        return wrong[np.argsort(-self.probabilities.max(-1)[wrong], kind="stable")][:most]


@torch.no_grad()
def ask(network: nn.Module, images: Images) -> Answers:
    """What a network in evaluation mode says of the images, on the CPU."""
    said = []
    for start in range(0, len(images), BATCH):
        x, _ = images.batch(slice(start, start + BATCH), torch.device("cpu"))
        said.append(network(x).softmax(-1))
    return Answers(images, torch.cat(said).numpy())


@dataclass(frozen=True)
class Confusion:
    """Each class against what it was taken for; mistakes are tinted, the more the darker."""

    counts: np.ndarray
    caption: str
    template: ClassVar[str] = "confusion.html"

    @property
    def wide(self) -> bool:
        return len(self.counts) > 12

    @property
    def rows(self) -> list[list[tuple[int, str]]]:
        """Counts with how each is tinted."""
        mistakes = self.counts - np.diag(np.diag(self.counts))
        tints = np.ceil(9 * mistakes / max(1, mistakes.max())).astype(int)
        np.fill_diagonal(tints, 0)
        return [
            [
                (int(count), "right" if true == said else f"tint-{tints[true, said]}")
                for said, count in enumerate(row)
            ]
            for true, row in enumerate(self.counts)
        ]


@dataclass(frozen=True)
class Mistake:
    """A picture, the digit it is, the digit it was taken for, and how probable that seemed."""

    picture: str
    true: int
    said: int
    probability: float


@dataclass(frozen=True)
class Mistakes:
    """Pictures with what the network took them for."""

    shown: list[Mistake]
    caption: str
    template: ClassVar[str] = "mistakes.html"
    wide: ClassVar[bool] = True

    @classmethod
    def surest(cls, answers: Answers, most: int = 18) -> "Mistakes":
        which = answers.surest_mistakes(most)
        shown = [
            Mistake(
                grey(answers.images.pixels[index].numpy()),
                int(answers.true[index]),
                int(answers.said[index]),
                float(answers.probabilities[index].max()),
            )
            for index in which
        ]
        wrong = int((answers.said != answers.true).sum())
        return cls(shown, f"The {len(shown)} of {wrong:,} mistakes that it was most sure of.")


def by_class(answers: Answers) -> Table:
    """Of each class how many images there are, how many it got right, and its commonest mistake."""
    rows = []
    for true, row in enumerate(answers.counts):
        total, right = int(row.sum()), int(row[true])
        others = row.copy()
        others[true] = 0
        taken_for = f"{others.argmax()} ({others.max():,}×)" if others.any() else None
        rows.append((str(true), total, right, f"{right / total:.2%}" if total else None, taken_for))
    return Table(
        ["digit", "images", "right", "accuracy", "taken for"],
        rows,
        "Each class by itself, and its commonest mistake.",
    )
