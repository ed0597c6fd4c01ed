"""The profile adds up, and its products are those of the case."""

from dataclasses import replace

import pytest

import phases
import tables
from ostinato.kernels.core import why_missing
from ostinato.lab.bench.cases import CASES
from ostinato.lab.bench.harness import OURS

RACES = {case.name: case for case in CASES}


@pytest.mark.skipif(bool(why_missing()), reason="there is no core")
@pytest.mark.parametrize("name", ["train/lstm-3x256", "train/gru-256", "train/bigru-2x256"])
def test_it_counts_what_a_step_multiplies(name):
    race = RACES[name]
    # No narrower: products of few numbers are done again rather than kept.
    race = replace(race, sizes=replace(race.sizes, hidden=20, inputs=17, time=3, batch=2))
    work = race.work()
    side = race.sides[OURS].make(work)
    side.run()
    found = phases.Phases()
    with found.watching():
        side.run()
    assert sum(found.operations.values()) == work.products(training=True)
    assert {"walk", "walk backwards", "gradients of weights", "packing"} == {*found.seconds}
    assert all(each > 0 for each in found.seconds.values())


@pytest.mark.skipif(bool(why_missing()), reason="there is no core")
def test_a_record_has_every_phase(monkeypatch):
    monkeypatch.setattr(phases, "machine_rate", lambda threads: (1e9, "made up"))
    found = phases.profile(RACES["train/sru-2x128"].tiny(), 0.0)
    assert {*found["ms"]} == {"all", *tables.PHASES}
    assert {*found["share_of_machine"]} == {*tables.PHASES} - {"packing", "the rest"}
    assert found["ms"]["the rest"] < found["ms"]["all"]
    row = tables.of_phases({"a case": found}).splitlines()[-1]
    assert row.count("%") == len(tables.PHASES) + 3
