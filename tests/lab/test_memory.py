"""How much memory a training step needs, in processes of their own."""

import pytest

from ostinato.errors import OptionError
from ostinato.lab import memory
from ostinato.lab.peak import in_fresh_processes
from ostinato.models.settings import ImageShape
from ostinato.training import read_recipe
from tests.conftest import unroll_with

DIGITS = ImageShape(rows=28, columns=28, classes=10)


def test_a_larger_batch_needs_more_by_what_it_leaves_for_the_backward_pass():
    found = [
        memory.memory_of_step(read_recipe("gru-1", {"training.batch": str(batch)}), DIGITS, threads=1)
        for batch in (100, 400)
    ]
    weights = 4 * 256 * 3 * (256 + 28)
    kept = 4 * 28 * 256 * 300  # a number of each unit at each step of the rows that were added
    assert found[0] > 3 * weights  # the gradient, and Adam's two moments
    assert found[1] > found[0] + kept


def raised_uncompiled(recipe):
    """In a process of its own, where the unrolled loop is not worth a minute's compiling."""
    with pytest.MonkeyPatch.context() as patch:
        unroll_with(patch, "eager")
        return memory._raised(recipe, DIGITS)


def test_what_compiling_takes_is_not_the_steps():
    changes = {"training.batch": "32", "model.hidden": "16"}
    static = in_fresh_processes(1, raised_uncompiled, read_recipe("lstm-static", changes))
    dynamic = memory.memory_of_step(read_recipe("lstm-dynamic", changes), DIGITS, threads=1)
    # A compiler's modules alone are more than a hundred.
    assert 0 < static < 20e6
    assert 0 < dynamic < 20e6


def test_where_it_cannot_be_measured_that_is_said(monkeypatch, tmp_path):
    recipe = read_recipe("sru")
    with pytest.raises(OptionError, match="not measured here: on cuda"):
        memory.memory_of_step(recipe, DIGITS, 1, "cuda:1")
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    with pytest.raises(OptionError, match="not measured here: this system has no /proc"):
        memory.memory_of_step(recipe, DIGITS, 1)
