"""The command: which cases, what is compared, recorded and printed, and how it ends."""

import json

import pytest
import typer
from typer.testing import CliRunner

import speed
import tables
from claims import Claim, Claimed
from ostinato.cells import GRU
from ostinato.lab.bench.harness import Disagreement, Entrant, NotThere, Race
from ostinato.lab.bench.sides import ours
from ostinato.lab.bench.work import Sizes


def run(*given):
    app = typer.Typer()
    app.command()(speed.main)
    return CliRunner().invoke(app, list(given))


def race(name):
    sides = {"ours": Entrant(ours), "peer": Entrant(ours)}
    sizes = Sizes(hidden=3, inputs=2, time=4, batch=2)
    return Claimed(Race(name, "training step", sizes, GRU, sides), (Claim("peer", "≥", 0.01),))


class Wrong:
    """A case whose sides disagree."""

    name, threads, table, claimed = "try/wrong", 1, "peers", "ratio ≥ 1"

    def check(self):
        raise Disagreement("1 is not 2")

    def measure(self, seconds):
        return self.check()


class Absent(Wrong):
    name = "try/absent"

    def check(self):
        raise NotThere("nobody is at home")


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(speed, "CASES", [race("try/one"), race("try/two"), Absent(), Wrong()])


def test_every_case_comes_to_the_right_numbers():
    """The short form: every case of the harness at small sizes."""
    done = run("--check")
    assert done.exit_code == 0, done.output
    assert " ms " not in done.output


def test_a_record_keeps_what_it_has(few, tmp_path):
    for name in ("try/one", "try/two"):
        done = run(name, "--seconds", "0", "--out", str(tmp_path))
        assert done.exit_code == 0, done.output
        assert f"`{name}`" in done.output
    (path,) = tmp_path.iterdir()
    assert path.name.endswith("-peers.json")
    record = json.loads(path.read_text())
    assert list(record["cases"]) == ["try/one", "try/two"]
    assert {"date", "machine", "versions"} <= set(record)
    one = record["cases"]["try/one"]
    assert {"command", "commit", "threads", "claim", "met", "case", "rows", "ms"} <= set(one)
    assert one["command"] == "python benchmarks/speed.py try/one --threads 2 --seconds 0"
    assert {"ratio", "ratio_quartiles", "at_least", "met"} <= set(one["beside"]["peer"])


def test_wrong_numbers_have_no_figures(few, tmp_path):
    done = run("--seconds", "0", "--out", str(tmp_path))
    assert done.exit_code == 1
    assert "try/wrong: 1 is not 2" in done.output
    assert "try/absent: nobody is at home" in done.output
    assert "Wrong numbers, so no figures: try/wrong" in done.output
    (path,) = tmp_path.iterdir()
    assert list(json.loads(path.read_text())["cases"]) == ["try/one", "try/two"]


def test_who_stops_the_rest_keeps_what_was_measured(few, tmp_path, monkeypatch):
    monkeypatch.setattr(Wrong, "check", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run("try/one", "try/wrong", "--seconds", "0", "--out", str(tmp_path)).exit_code != 0
    (path,) = tmp_path.iterdir()
    assert list(json.loads(path.read_text())["cases"]) == ["try/one"]


def test_the_short_form_measures_nothing(few, tmp_path):
    done = run("try/o*", "try/absent", "--check", "--out", str(tmp_path))
    assert done.exit_code == 0
    assert "try/absent: nobody is at home" in done.output
    assert not list(tmp_path.iterdir())
    assert run("--check").exit_code == 1


def test_an_unknown_case_is_named():
    done = run("recipe/sru", "recipe/nothing")
    assert done.exit_code == 2
    assert "recipe/nothing" in done.output


def test_each_case_has_a_table():
    of_programs_of_their_own = {"phases"}
    assert {case.table for case in speed.CASES} == set(tables.BRIEF) - of_programs_of_their_own


def test_the_table_beside_others():
    claimed = {"sign": "≥", "at_least": 1.4, "aim": 1.7}
    one = {
        "case": "training step",
        "share_of_machine": {"ours": 0.6},
        "beside": {"torch.nn": {**claimed, "ratio": 1.5, "met": True}},
    }
    missed = {"case": "b", "beside": {"a or b": {**claimed, "ratio": 1.0, "met": False}}}
    absent = {"case": "c", "beside": {"d": {**claimed, "aim": None, "ratio": None, "met": None}}}
    cell = {"sign": "≥", "at_least": 1.0, "aim": None, "met": True}
    family = {
        f"torchrecurrent/{name}": {"case": "", "beside": {"its layer": {**cell, "ratio": ratio}}}
        for name, ratio in (("A", 2.5), ("B", 0.9), ("C", 4.0))
    }
    lines = tables.of_peers({"a": one, "b": missed, "c": absent, **family}).splitlines()[2:]
    assert lines == [
        "| `a` | training step | torch.nn | ≥ 1.4 | 1.7 | 1.50 | 60% |",
        "| `b` | b | a or b | ≥ 1.4 | 1.7 | *1.00* |  |",
        "| `c` | c | d | ≥ 1.4 |  | not there |  |",
        "| `torchrecurrent/*` | training step, 2×128, B=128, T=28, 3 cells: the median "
        "| its layer | ≥ 2 | 3 | 2.50 |  |",
        "|  | the worst, B | its layer | ≥ 1 |  | *0.90* |  |",
    ]
