"""How much memory rows of many lengths need, beside the same rows all at full length; two threads."""

from dataclasses import dataclass, replace
from typing import ClassVar

from claims import Claim
from ostinato.lab.bench.cases import ragged
from ostinato.lab.bench.cases.memory import Peak
from ostinato.lab.bench.harness import OURS
from record import Results


@dataclass(frozen=True)
class InProportion:
    """By the steps that are there: 1 is exactly in proportion.

    What goes in and comes out is as long as the longest row, or packed.
    """

    peak: Peak
    side: str
    claim: ClassVar[Claim] = Claim("memory by steps", "≤", 1.15)
    threads = 2
    table = "peers"

    @property
    def name(self) -> str:
        given = "padded" if self.side == OURS else "packed"
        return f"proportion/{given}/{self.peak.race.name.removeprefix('packed/')}"

    @property
    def claimed(self) -> str:
        return f"{self.claim} of full length"

    def check(self) -> None:
        self.peak.check()

    def measure(self, seconds: float) -> Results:
        checked = self.peak.check()
        race = self.peak.race
        longest = replace(race.sizes, lengths=(race.sizes.time, race.sizes.time))
        full = replace(self.peak, race=replace(race, sizes=longest))
        peaks = {"ours": self.peak.of(self.side), "full length": full.of(self.side)}
        work = race.work()
        share = work.steps / (work.sizes.batch * work.sizes.time)
        ratio = peaks["ours"] / peaks["full length"] / share
        said = {"sign": self.claim.sign, "at_least": self.claim.limit, "aim": None}
        return {
            "case": f"{self.peak.what}, {'padded' if self.side == OURS else 'a PackedSequence'}",
            "rows": checked.rows,
            "steps_that_are_no_padding": share,
            "peak_MB": {side: round(peak / 1e6, 1) for side, peak in peaks.items()},
            "beside": {
                "full length": {
                    **said,
                    "peer": "full length",
                    "ratio": ratio,
                    "met": self.claim.met(ratio),
                }
            },
        }

    def met(self, results: Results) -> bool:
        return bool(results["beside"]["full length"]["met"])


CASES = [
    InProportion(Peak(race), side) for side in (ragged.OURS_PACKED, OURS) for race in ragged.PACKED
]
