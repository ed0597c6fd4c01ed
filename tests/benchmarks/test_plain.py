"""What is claimed of plain torch's row holds where noise cannot hide it."""

import pytest
import torch

import plain
import tables


@pytest.mark.parametrize(
    "case",
    [
        plain.Trace("lstm"),
        plain.Recipe("lstm-static").tiny(),
        plain.Recipe("bilstm-sgd").tiny(),
        plain.Long("sru").tiny(),
        plain.Linear("gru").tiny(),
        plain.Ragged("lstm").tiny(),
        plain.Memory("gru", "reference").tiny(),
    ],
    ids=lambda case: case.name,
)
def test_a_case_of_each_kind(case):
    torch.manual_seed(0)
    results = case.measure(seconds=0)
    assert results[case.claim.figure] > 0
    assert case.met(results) in (True, False)
    table = tables.full({case.name: {"claim": case.claimed, "met": True, **results}})
    assert f"| `{case.name}` | {results['case']}" in table


def test_every_case_is_of_a_kind():
    assert {case.name.split("/")[0] for case in plain.CASES} == set(tables.KINDS)


def test_the_brief_table_sets_off_what_is_not_met():
    one = {"claim": "ratio ≥ 1.0", "met": True, "ratio": 1.234}
    cases = {"recipe/a": one, "recipe/b": {**one, "met": False, "ratio": 0.9}}
    assert tables.of_plain_torch(cases).endswith("| ≥ 1.0 | `a` 1.23, `b` *0.90* |")


# With room for a busy machine: the best of a few, and limits that a mistake would leave far behind.


def best(case):
    return min(case.measure(seconds=0.1)["ratio"] for _ in range(3))


def test_the_backward_pass_grows_linearly():
    case = plain.Linear("lstm", times=(100, 800), batch=4, size=16)
    assert best(case) < 2  # 8 if it were quadratic


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_ragged_is_no_slower_than_padded(cell):
    assert best(plain.Ragged(cell, batch=32, hidden=64)) < 1.5


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_long_sequence_fits_in_a_quarter(cell):
    """The median of three processes, as recorded, and once more: even that varies, upwards."""
    case = plain.Memory(cell, "program", processes=3)
    assert min(case.peak("sqrt") for _ in range(2)) < 0.25 * case.peak(None)
