"""The benchmark runs, its loops are the cells, and what it claims holds where noise cannot hide it."""

import json

import pytest
import torch
from typer.testing import CliRunner

import loops
import speed
from ostinato.cells import GRU, LSTM, QRNN, SRU, MinGRU
from ostinato.drivers import Recurrent
from ostinato.wrappers import Bidirectional, Stack


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "make",
    [
        lambda i: LSTM(i, 5),
        lambda i: LSTM(i, 5, forget_bias=0.0),
        lambda i: GRU(i, 5),
        lambda i: GRU(i, 5, reset_after=True),
        lambda i: SRU(i, 5),
        lambda i: SRU(i, 5, highway=True),
        lambda i: MinGRU(i, 5),
        lambda i: QRNN(i, 5),
    ],
)
def test_the_loops_are_the_cells(make):
    torch.manual_seed(0)
    both = Bidirectional(Recurrent(make(3)), Recurrent(make(3), reverse=True))
    encoder = Stack([both, Recurrent(make(10))])
    for each in encoder.parameters():
        torch.nn.init.normal_(each)
    encoder = speed.on_row(encoder, "reference")
    x, gradient = torch.randn(4, 7, 3), torch.randn(4, 7, 5)
    speed.check_equal(encoder, x, gradient, ours=lambda n, x: n(x)[0], theirs=loops.encoder)


def test_a_loop_that_is_wrong_is_found():
    layer = Recurrent(MinGRU(3, 5))
    x, gradient = torch.randn(4, 7, 3), torch.randn(4, 7, 5)
    with pytest.raises(AssertionError):
        speed.check_equal(
            layer,
            x,
            gradient,
            ours=lambda n, x: n(x)[0],
            theirs=lambda n, x: loops.encoder(n, x.flip(1)),
        )


@pytest.mark.parametrize(
    "case",
    [
        speed.Trace("lstm"),
        speed.Recipe("lstm-static"),
        speed.Recipe("bilstm-sgd"),
        speed.Long("sru", time=40, batch=2, hidden=4),
        speed.Linear("gru", times=(4, 8), batch=2, size=3),
        speed.Ragged("lstm", lengths=(2, 6), batch=3, hidden=4),
        speed.Memory("gru", "reference", time=20, batch=2, hidden=4, processes=1),
    ],
    ids=lambda case: case.name,
)
def test_a_case_of_each_kind(case):
    torch.manual_seed(0)
    results = case.measure(seconds=0)
    assert results[case.claim.figure] > 0
    assert case.claim.met(results) in (True, False)
    speed.table({case.name: {"claim": "ratio ≥ 1", "met": True, "ratio": 1.0, **results}})


def test_every_case_has_a_name_of_its_own_and_a_kind():
    names = [case.name for case in speed.CASES]
    assert len(set(names)) == len(names)
    assert {name.split("/")[0] for name in names} == set(speed.KINDS)


def test_the_brief_table_sets_off_what_is_not_met():
    one = {"claim": "ratio ≥ 1.0", "met": True, "ratio": 1.234}
    cases = {"recipe/a": one, "recipe/b": {**one, "met": False, "ratio": 0.9}}
    assert speed.brief(cases).endswith("| ≥ 1.0 | `a` 1.23, `b` *0.90* |")


@pytest.mark.parametrize(
    ("sign", "value", "met"),
    [("<", 0.9, True), ("<", 1.0, False), ("≤", 1.0, True), ("≤", 1.1, False), ("≥", 1.0, True),
     ("≥", 0.9, False)],
)  # fmt: skip
def test_a_claim(sign, value, met):
    assert speed.Claim("ratio", sign, 1.0).met({"ratio": value}) is met


def test_a_record_keeps_what_it_has(tmp_path):
    path = tmp_path / "speed.json"
    for name in ("trace/sru", "trace/elman"):
        app = speed.typer.Typer()
        app.command()(speed.main)
        done = CliRunner().invoke(app, [name, "--seconds", "0", "--out", str(path)])
        assert done.exit_code == 0, done.output
        assert f"`{name}`" in done.output
    record = json.loads(path.read_text())
    assert list(record["cases"]) == ["trace/sru", "trace/elman"]
    assert {"command", "commit", "claim", "met", "case"} <= set(record["cases"]["trace/sru"])
    assert {"date", "machine", "versions"} <= set(record)


def test_an_unknown_case_is_named():
    app = speed.typer.Typer()
    app.command()(speed.main)
    done = CliRunner().invoke(app, ["recipe/nothing"])
    assert done.exit_code == 2
    assert "recipe/nothing" in done.output


# What is claimed, with room for a busy machine.


def test_the_backward_pass_grows_linearly():
    results = speed.Linear("lstm", times=(100, 800), batch=4, size=16).measure(seconds=0)
    assert results["ratio"] < 2  # 8 if it were quadratic


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_ragged_is_no_slower_than_padded(cell):
    results = speed.Ragged(cell, batch=32, hidden=64).measure(seconds=0.2)
    assert results["ratio"] < 1.5


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_long_sequence_fits_in_a_quarter(cell):
    case = speed.Memory(cell, "program", processes=1)
    assert case.peak("sqrt") < 0.25 * case.peak("none")
