"""Several instructions in one: each of them is what some cell of the library becomes."""

import pytest
from tests.contract.cells import CASES

from ostinato.kernels.core import why_missing
from ostinato.kernels.fusing import PATTERNS
from ostinato.kernels.native import native_program


@pytest.mark.skipif(bool(why_missing()), reason="there is no core")
def test_each_pattern_is_met():
    met = set()
    for make in CASES.values():
        steps = native_program(make(3, 4))
        derived = steps.derived(True, (True,) * len(steps.program.weights))
        for run in (steps.inference, derived.forward, derived.run):
            stages = run.function.__globals__["walker"].lowered.stages
            met |= {each.op for stage in stages for each in stage.instructions}
    assert {name for name, _, _ in PATTERNS} <= met
