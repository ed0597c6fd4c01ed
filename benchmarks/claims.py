"""What is claimed of the cases of `ostinato bench`: the figures that README and docs promise."""

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Literal

import torch

from ostinato.lab.bench.cases import CASES
from ostinato.lab.bench.cases.memory import Peak
from ostinato.lab.bench.harness import OURS, Measured, Race
from ostinato.lab.bench.turns import significant
from rate import machine_rate
from record import Results, figures


@dataclass(frozen=True)
class Claim:
    """What a figure has to be: `limit` at least, `aim` if all goes well.

    The figure beside peers is one of them, or several as "a or b", of which the fastest counts: how
    many times as long as ours it takes.
    """

    figure: str
    sign: Literal["<", "≤", "≥"]
    limit: float
    aim: float | None = None

    def met(self, value: float) -> bool:
        signs = {"<": value < self.limit, "≤": value <= self.limit, "≥": value >= self.limit}
        return signs[self.sign]

    def __str__(self) -> str:
        return f"{self.figure} {self.sign} {self.limit}"


def at_least(peer: str, limit: float, aim: float | None = None) -> Claim:
    return Claim(peer, "≥", limit, aim)


_TORCH, _PACKED, _LOOP, _LSTM = "torch.nn", "torch.nn packed", "loop", "nn.LSTM"
_ONNX = "ONNX Runtime or ONNX Runtime, 2 threads"

CLAIMS: dict[str, tuple[Claim, ...]] = {
    "train/lstm-2x128": (at_least(_TORCH, 1.4, 1.7),),
    "train/lstm-3x256": (at_least(_TORCH, 1.3, 1.5),),
    "train/lstm-512": (at_least(_TORCH, 1.35, 1.5),),
    "train/lstm-long": (at_least(_TORCH, 2.2, 3.0),),
    "train/gru-256": (at_least(_TORCH, 1.8, 2.4),),
    "train/bigru-2x256": (at_least(_TORCH, 1.6, 2.0),),
    "train/elman-2x128": (at_least(_TORCH, 1.4, 2.0),),
    "both-ways/gru-256": (Claim("ours both ways", "≤", 2.1, 2.0),),
    "packed/lstm-256": (at_least(_PACKED, 6.0, 9.0),),
    "packed/gru-256": (at_least(_PACKED, 4.0, 6.0),),
    "packed/bilstm-256": (at_least(_PACKED, 6.0, 9.0),),
    "packed/bigru-256": (at_least(_PACKED, 5.0, 8.0),),
    "resets/lstm-256": (at_least("steps of nn.LSTM", 4.0, 7.0),),
    "train/layer-norm-lstm": (at_least(_LOOP, 2.0, 2.5),),
    "train/layer-norm-lstm-long": (at_least(_LOOP, 3.5, 5.0),),
    "train/unknown-2x128": (at_least(_LOOP, 1.8, 2.5), at_least("our LSTM", 0.8, 0.9)),
    "train/sru-2x128": (at_least(_LOOP, 2.2, 3.0), at_least(_LSTM, 2.5, 4.0)),
    "train/sru-long": (
        at_least(_LOOP, 4.0, 7.0),
        at_least("lax.scan", 4.0, 6.0),
        at_least(_LSTM, 8.0, 12.0),
    ),
    "torchrecurrent/*": (at_least("its layer", 1.0),),
    "infer/gru-256": (at_least("torch.nn or ONNX Runtime", 1.7, 2.2),),
    "infer/lstm-2x128": (at_least("torch.nn or ONNX Runtime", 1.15, 1.3),),
    "stream/lstm-32": (at_least(_LSTM, 20, 40), at_least(_ONNX, 2, 3)),
    "stream/lstm-128": (at_least(_LSTM, 12, 20), at_least(_ONNX, 2, 3)),
    "stream/lstm-256": (at_least(_LSTM, 12, 30),),
    "bfloat16/*": (at_least("float32", 1.6, 1.9),),
    "peak/train/*": (Claim(_TORCH, "≤", 1.0),),
    "peak/packed/*": (Claim(_PACKED, "≤", 1.0),),
    "step/*": (at_least("row program", 1.0),),
}
"""By the name of a case, or by a pattern for all of a family. Of memory: ours, by the peer's."""

FAMILY = at_least("its layer", 2.0, 3.0)
"""What the median of all of `torchrecurrent/*` is to be; none is to be under 1."""


@dataclass(frozen=True)
class Claimed:
    """A case of the library, and what is claimed of it."""

    case: Race | Peak
    claims: tuple[Claim, ...]
    threads = 2
    table = "peers"

    @property
    def name(self) -> str:
        return self.case.name

    @property
    def claimed(self) -> str:
        if isinstance(self.case, Peak):
            return "; ".join(f"memory {one.sign} {one.limit} of {one.figure}" for one in self.claims)
        return "; ".join(map(str, self.claims))

    def check(self) -> None:
        self.case.tiny().check()

    def measure(self, seconds: float) -> Results:
        found = self.case.measure(seconds)
        named = "peak_MB" if found.unit == "MB" else "ms"
        results: Results = {
            "case": self.case.what,
            "rows": found.rows,
            named: found.values,
            "beside": {each.figure: beside(each, found) for each in self.claims},
        }
        if found.turns is not None:
            results["turns"] = found.turns
        if found.missing:
            results["not_there"] = found.missing
        if found.crashed:
            results["crashed"] = found.crashed
        if found.gflop is not None:
            results |= self.shares(found, found.gflop)
        return results

    def shares(self, found: Measured, gflop: float) -> Results:
        """Of the machine's rate, that the products alone would need in the time taken."""
        assert isinstance(self.case, Race)
        rate, what = machine_rate(found.threads or torch.get_num_threads())
        tasks = {name: each.task for name, each in self.case.sides.items()}
        return {
            "products_gflop": significant(gflop),
            "machine_gflops": {what: significant(rate / 1e9)},
            "share_of_machine": {
                name: significant(gflop * 1e9 / (ms / 1e3) / rate)
                for name, ms in found.values.items()
                if not tasks[name]
            },
        }

    def met(self, results: Results) -> bool:
        return all(each["met"] is not False for each in results["beside"].values())


def beside(claim: Claim, found: Measured) -> Results:
    """What is claimed beside a peer, or beside the fastest of several, and what was found."""
    said: Results = {"sign": claim.sign, "at_least": claim.limit, "aim": claim.aim}
    peers = [each for each in claim.figure.split(" or ") if each in found.ratios]
    if not peers:
        return {**said, "ratio": None, "met": None}
    fastest = min(peers, key=lambda peer: found.values[peer])
    if found.unit == "MB":
        measured: dict[str, Any] = {"ratio": found.values[OURS] / found.values[fastest]}
    else:
        measured = figures(found.ratios[fastest])
    return {**said, "peer": fastest, **measured, "met": claim.met(measured["ratio"])}


def claims_of(name: str) -> tuple[Claim, ...]:
    found = [claims for pattern, claims in CLAIMS.items() if fnmatch(name, pattern)]
    return found[0] if found else ()


CLAIMED = [Claimed(case, claims_of(case.name)) for case in CASES if claims_of(case.name)]
"""In the order of the tables."""
