"""What is claimed is judged by what was measured."""

from fnmatch import fnmatch

import pytest

from claims import CLAIMED, CLAIMS, Claim, Claimed, beside
from ostinato.cells import GRU
from ostinato.lab.bench.cases import CASES
from ostinato.lab.bench.harness import Entrant, Measured, Race
from ostinato.lab.bench.sides import ours
from ostinato.lab.bench.turns import Ratio
from ostinato.lab.bench.work import Sizes


def claimed(*claims, **options):
    sides = {"ours": Entrant(ours), "peer": Entrant(ours)}
    sizes = Sizes(hidden=3, inputs=2, time=4, batch=2)
    return Claimed(Race("try/gru", "training step", sizes, GRU, sides, **options), claims)


def test_a_claim_that_is_missed_is_said():
    case = claimed(Claim("peer", "≥", 1e6), Claim("peer", "≤", 1e6))
    assert case.claimed == "peer ≥ 1000000.0; peer ≤ 1000000.0"
    case = claimed(Claim("peer", "≥", 1e6))
    results = case.measure(seconds=0)
    assert results["beside"]["peer"]["met"] is False
    assert not case.met(results)


@pytest.mark.parametrize(
    ("sign", "value", "met"),
    [("<", 0.9, True), ("<", 1.0, False), ("≤", 1.0, True), ("≤", 1.1, False), ("≥", 1.0, True),
     ("≥", 0.9, False)],
)  # fmt: skip
def test_a_claim(sign, value, met):
    assert Claim("ratio", sign, 1.0).met(value) is met


def found(unit="ms"):
    values = {"ours": 1.0, "a": 5.0, "b": 3.0}
    ratios = {name: Ratio(value, value, value) for name, value in values.items() if name != "ours"}
    return Measured(["program"], unit, values, ratios)


def test_of_several_peers_the_fastest_counts():
    result = beside(Claim("a or b or gone", "≥", 2.0), found())
    assert (result["peer"], result["ratio"], result["met"]) == ("b", 3.0, True)


def test_memory_is_claimed_by_the_peers():
    result = beside(Claim("a", "≤", 1.0), found("MB"))
    assert (result["ratio"], result["met"]) == (0.2, True)


def test_beside_nobody_nothing_is_met_or_missed():
    result = beside(Claim("gone", "≥", 2.0), found())
    assert (result["ratio"], result["met"]) == (None, None)


def test_a_record_says_how_it_was_found():
    results = claimed(Claim("peer", "≥", 0.1, 0.2)).measure(seconds=0)
    assert results["case"] == "training step, 1×3, B=2, T=4, I=2"
    assert results["rows"]
    assert set(results["ms"]) == {"ours", "peer"}
    assert results["turns"] >= 3
    one = results["beside"]["peer"]
    assert (one["sign"], one["at_least"], one["aim"]) == ("≥", 0.1, 0.2)
    low, high = one["ratio_quartiles"]
    assert low <= high
    assert 0 < results["share_of_machine"]["ours"] < 1


def test_every_claim_is_of_a_case_and_of_a_side_that_it_has():
    for pattern in CLAIMS:
        assert any(fnmatch(case.name, pattern) for case in CASES), pattern
    for each in CLAIMED:
        sides = getattr(each.case, "race", each.case).sides
        for claim in each.claims:
            assert set(claim.figure.split(" or ")) <= set(sides), each.name
