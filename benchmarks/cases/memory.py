"""How much memory a training step needs: beside torch.nn's, and with rows of many lengths."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from cases import ragged, training
from harness import Claim, Race, Results
from peak import in_fresh_processes, raised_by


@dataclass(frozen=True)
class Peak:
    """The same step as a race's, in processes of their own."""

    race: Race
    peer: str
    processes: int = 3
    claim: ClassVar[Claim] = Claim("memory", "≤", 1.0)
    table: str = "peers"

    @property
    def name(self) -> str:
        return f"peak/{self.race.name}"

    @property
    def threads(self) -> int:
        return self.race.threads

    @property
    def claimed(self) -> str:
        return f"{self.claim} of {self.peer}"

    def check(self) -> None:
        self.race.check()

    def measure(self, seconds: float) -> Results:
        self.race.check()
        peaks = {side: self.peak(side) for side in ("ours", self.peer)}
        return {
            "case": f"memory of a training step, {self.race.sizes}",
            "rows": self.race.work(tiny=True).rows(),
            **figure(self.claim, self.peer, peaks, peaks["ours"] / peaks[self.peer]),
        }

    def peak(self, side: str) -> int:
        """Bytes."""
        threads = torch.get_num_threads()
        return in_fresh_processes(self.processes, raise_of, self.race, side, threads=threads)

    def met(self, results: Results) -> bool:
        return bool(results["beside"][self.peer]["met"])


@dataclass(frozen=True)
class InProportion(Peak):
    """Of rows of many lengths beside the same rows all at full length, by the steps that are there.

    1 is exactly in proportion. What goes in and comes out stays padded.
    """

    peer: str = "full length"
    claim: ClassVar[Claim] = Claim("memory by steps", "≤", 1.15)

    @property
    def name(self) -> str:
        return f"proportion/{self.race.name}"

    def measure(self, seconds: float) -> Results:
        self.race.check()
        full = replace(self, race=replace(self.race, sizes=replace(self.race.sizes, lengths=None)))
        peaks = {"ours": self.peak("ours"), self.peer: full.peak("ours")}
        work = self.race.work()
        share = work.steps / (work.sizes.batch * work.sizes.time)
        return {
            "case": f"memory of a training step, {self.race.sizes}",
            "rows": work.rows(),
            "steps_that_are_no_padding": share,
            **figure(self.claim, self.peer, peaks, peaks["ours"] / peaks[self.peer] / share),
        }


def figure(claim: Claim, peer: str, peaks: dict[str, int], ratio: float) -> Results:
    said = {"sign": claim.sign, "at_least": claim.limit, "aim": claim.aim, "peer": peer}
    return {
        "peak_MB": {side: round(peak / 1e6, 1) for side, peak in peaks.items()},
        "beside": {peer: {**said, "ratio": ratio, "met": claim.met(ratio)}},
    }


def raise_of(race: Race, side: str) -> int:
    """Bytes; of a fresh process."""
    make = race.sides[side].make
    make(race.work(tiny=True)).run()
    return raised_by(make(race.work()).run)


CASES = [
    *(Peak(race, "torch.nn") for race in training.CASES if race is not training.BOTH_OVER_ONE),
    *(Peak(race, "torch.nn packed") for race in ragged.PACKED),
    *(InProportion(race) for race in ragged.PACKED),
]
