"""How much memory a training step needs, beside torch.nn's."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Self

import torch

from ostinato.lab.bench.cases import ragged, training
from ostinato.lab.bench.harness import OURS, Measured, NotThere, Race
from ostinato.lab.bench.turns import Ratio, significant
from ostinato.lab.peak import STATUS, in_fresh_processes, raised_by


@dataclass(frozen=True)
class Peak:
    """The same step as a race's, in processes of their own."""

    race: Race
    processes: int = 3

    @property
    def name(self) -> str:
        return f"peak/{self.race.name}"

    @property
    def what(self) -> str:
        return f"memory of a {self.race.what}"

    @property
    def peers(self) -> frozenset[str]:
        return self.race.peers

    def among(self, peers: Collection[str]) -> Self:
        return replace(self, race=self.race.among(peers))

    def tiny(self) -> Self:
        return replace(self, race=self.race.tiny(), processes=1)

    def check(self) -> Measured:
        return self.race.tiny().check()

    def measure(self, seconds: float) -> Measured:
        if not STATUS.exists():
            raise NotThere("not measured here: this system has no /proc")
        checked = self.check()
        timed = [name for name, each in self.race.sides.items() if each.timed]
        peaks = {
            name: self.of(name) for name in timed if name not in {*checked.missing, *checked.crashed}
        }
        ratios = {name: peak / peaks[OURS] for name, peak in peaks.items() if name != OURS}
        return replace(
            checked,
            unit="MB",
            values={name: significant(peak / 1e6) for name, peak in peaks.items()},
            ratios={name: Ratio(ratio, ratio, ratio) for name, ratio in ratios.items()},
        )

    def of(self, side: str) -> int:
        """Bytes."""
        threads = torch.get_num_threads()
        return in_fresh_processes(self.processes, raise_of, self.race, side, threads=threads)


def raise_of(race: Race, side: str) -> int:
    """Bytes; of a fresh process."""
    make = race.sides[side].make
    make(race.tiny().work()).run()
    return raised_by(make(race.work()).run)


CASES = [
    *(Peak(race) for race in training.CASES if race is not training.BOTH_OVER_ONE),
    *(Peak(race) for race in ragged.PACKED),
]
