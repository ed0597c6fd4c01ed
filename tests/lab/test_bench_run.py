"""Which cases are meant; what is kept, said and drawn of them, whatever happens on the way."""

import json

import pytest
import torch

from ostinato.cells import GRU
from ostinato.errors import OptionError, RunError
from ostinato.lab.bench import CASES, PEERS, SHORT, Benchmark, bench, choose, resume
from ostinato.lab.bench.cases import memory
from ostinato.lab.bench.harness import Entrant, NotThere, Race, Side
from ostinato.lab.bench.page import page_of
from ostinato.lab.bench.peers.needed import needed
from ostinato.lab.bench.sides import ours
from ostinato.lab.bench.table import notes, table
from ostinato.lab.bench.work import Sizes
from ostinato.lab.report.kinds import write_report

SIZES = Sizes(hidden=3, inputs=2, time=4, batch=2)


def race(name="try/gru", **sides):
    sides = {"ours": Entrant(ours), "peer": Entrant(ours, "loop"), **sides}
    return Race(name, "training step", SIZES, GRU, sides)


def raising(error):
    def make(work):
        raise error

    return make


ABSENT = Entrant(raising(NotThere('keras is not installed: pip install "ostinato[bench]"')), "keras")
BROKEN = Entrant(raising(ValueError("no such shape")), "jax")


def stopping(work):
    return Side(raising_now(KeyboardInterrupt), ours(work).numbers)


def raising_now(error):
    def run():
        raise error

    return run


def wrong(work):
    """Ours, but for its outputs."""
    numbers = ours(work).numbers
    return Side(ours(work).run, lambda: numbers() | {"outputs": numbers()["outputs"] + 1})


class TestChoice:
    def names(self, *given, **options):
        return [case.name for case in choose(*given, **options)]

    def test_without_names_the_short_choice(self):
        chosen = self.names()
        assert chosen == self.names(SHORT)
        assert 10 < len(chosen) < 30

    def test_by_name_and_by_pattern_in_their_order(self):
        assert self.names(["train/gru-256", "train/lstm-long"]) == ["train/lstm-long", "train/gru-256"]
        assert self.names(["pixels/*"]) == ["pixels/train-lstm", "pixels/train-gru"]
        assert self.names(["*"]) == [case.name for case in CASES]

    def test_by_a_text_in_the_name(self):
        assert self.names(containing="pixels") == ["pixels/train-lstm", "pixels/train-gru"]
        assert self.names(["pixels/*"], containing="gru") == ["pixels/train-gru"]

    def test_beside_some_alone(self):
        for case in choose(peers=["jax"]):
            assert case.peers == {"jax"}

    def test_every_peer_has_a_case_and_every_case_known_peers(self):
        assert set().union(*(case.peers for case in CASES)) == set(PEERS)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (
                {"names": ["train/lstm-2x182"]},
                r'no case "train/lstm-2x182"; did you mean "train/lstm-2x',
            ),
            ({"names": ["zzz*"]}, r'no case "zzz\*"'),
            ({"peers": ["jaxx"]}, r'no peer "jaxx"; did you mean "jax"'),
            ({"containing": "zzz"}, r'none of these cases has "zzz" in its name'),
            ({"names": ["bfloat16/*"], "peers": ["jax"]}, "measured beside jax"),
        ],
    )
    def test_what_is_not_there(self, given, said):
        with pytest.raises(OptionError, match=f"{said}.*--list"):
            choose(**given)


def test_widths_from_32_to_1024_of_both_kinds_and_uses():
    names = {case.name for case in CASES}
    for kind in ("train-lstm", "train-gru", "infer-lstm", "infer-gru"):
        assert {f"width-{kind}/{hidden}" for hidden in (32, 64, 128, 256, 512, 1024)} <= names


def test_each_case_is_kept_at_once():
    seen = []
    cases = [race("try/one"), race("try/two")]
    found = bench(cases, seconds=0, keep=lambda each: seen.append((each.status, [*each.cases])))
    begun, *between, done = seen
    assert begun == ("working", [])
    assert between == [("working", ["try/one"]), ("working", ["try/one", "try/two"])]
    assert done == ("finished", ["try/one", "try/two"])
    assert found.threads == torch.get_num_threads()
    assert found.share(found.cases["try/one"].measured) > 0


def test_the_callers_threads_and_random_state_stay():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    bench([race()], seconds=0, threads=threads + 1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_checked_only_nothing_is_timed():
    found = bench([race(bad=Entrant(stopping))], check=True)
    assert found.cases["try/gru"].measured.values == {}
    assert "nothing was timed" in table(found).caption


def test_one_that_goes_wrong_does_not_stop_the_rest():
    cases = [
        race("try/differs", peer=Entrant(wrong)),
        race("try/ours", ours=Entrant(raising(RuntimeError("we broke")))),
        race("try/nobody", ours=Entrant(raising(NotThere("no part of the library")))),
        race("try/peers", absent=ABSENT, broken=BROKEN),
    ]
    found = bench(cases, seconds=0)
    assert found.status == "finished"
    assert found.wrong == ["try/differs", "try/ours"]
    said = notes(found)
    assert 'Without absent: keras is not installed: pip install "ostinato[bench]"' in said
    assert "try/peers: broken failed: ValueError: no such shape" in said
    (differs,) = [each for each in said if each.startswith("try/differs: try/differs: peer")]
    assert "differ in outputs by 1" in differs
    assert "try/ours: ours failed: RuntimeError: we broke" in said
    assert "try/nobody: no part of the library" in said
    rows = {row[5]: row for row in table(found).rows if row[0] in ("try/peers", "")}
    assert rows["absent"][6] == "not there"
    assert rows["broken"][6] == "failed"
    assert rows["peer"][7].endswith("×")


def test_stopped_and_gone_on_with(tmp_path):
    names = []
    cases = [race("try/one"), race("try/two", slow=Entrant(stopping)), race("try/three")]
    found = bench(cases, seconds=0, out=tmp_path / "out")
    assert (found.status, [*found.cases]) == ("working", ["try/one"])
    assert notes(found) == ["Stopped: 2 of 3 cases were not measured."]
    before = Benchmark.open(tmp_path / "out")
    assert before == found
    cases[1] = race("try/two")
    again = bench(cases, seconds=0, out=tmp_path / "out", keep=lambda each: names.append([*each.cases]))
    assert names[0] == ["try/one"]
    assert again.status == "finished"
    assert again.cases["try/one"] == before.cases["try/one"]


def test_a_real_one_is_gone_on_with_as_it_was_asked_for(tmp_path, monkeypatch):
    chosen = choose(["width-train-gru/*"], containing="/32", peers=["loop"])
    found = bench(chosen, peers=["loop"], quick=True, out=tmp_path / "out")
    del found.cases["width-train-gru/32"]
    found.status = "working"
    found.write(tmp_path / "out")
    again = resume(tmp_path / "out")
    assert again.status == "finished"
    assert list(again.cases["width-train-gru/32"].measured.ratios) == ["loop"]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(RunError, match="expected a new or empty folder for the bench"):
        bench([race()], out=tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
    other = tmp_path / "other"
    bench([race()], seconds=0, out=other)
    before = (other / "bench.json").read_text()
    with pytest.raises(RunError, match=r"this very bench, found one of try/gru, 0 s a side"):
        bench([race("try/another")], seconds=0, out=other)
    assert (other / "bench.json").read_text() == before


def test_results_are_json_for_programs(tmp_path):
    bench([race(absent=ABSENT)], seconds=0, out=tmp_path / "out")
    found = json.loads((tmp_path / "out/bench.json").read_text())
    assert {"versions", "machine", "seconds", "threads", "gflops"} <= set(found)
    assert {"cores", "model"} <= set(found["machine"])
    measured = found["cases"]["try/gru"]["measured"]
    assert set(measured["values"]) == {"ours", "peer"}
    ratio, low, high = measured["ratios"]["peer"]
    assert low <= high
    assert ratio > 0
    assert measured["missing"]["absent"].startswith("keras")


def test_the_page_of_a_benchmark(tmp_path):
    cases = [race("try/one", absent=ABSENT, broken=BROKEN)]
    cases += [race(f"width-train-gru/{hidden}") for hidden in (32, 64)]
    bench(cases, seconds=0, out=tmp_path / "out")
    page = page_of(tmp_path / "out")
    assert [section.heading for section in page.sections] == [
        "Pictures", "Table", "What is not in it", "Where it was measured",
    ]  # fmt: skip
    assert len(page.sections[0].parts) == 2
    html = write_report(tmp_path / "out").read_text()
    assert "times as much as ours" in html
    assert "pip install" in html
    for damaged in ("{", '{"format": 1}'):
        (tmp_path / "out/bench.json").write_text(damaged)
        with pytest.raises(RunError, match=r"bench\.json: not the description of a bench"):
            page_of(tmp_path / "out")


def test_small_sizes_are_not_drawn(tmp_path):
    bench([race()], quick=True, out=tmp_path / "out")
    page = page_of(tmp_path / "out")
    assert "says nothing of speed" in page.lead
    assert "Pictures" not in [section.heading for section in page.sections]


def test_memory_is_not_measured_where_the_system_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "nothing")
    found = bench([memory.Peak(race(), processes=1)], seconds=0)
    assert found.cases["peak/try/gru"].problem == "not measured here: this system has no /proc"
    assert not found.wrong


def test_a_package_that_is_missing_is_told_from_one_that_is_broken(tmp_path, monkeypatch):
    with pytest.raises(NotThere, match=r'nowhere is not installed: pip install "ostinato\[bench-x\]"'):
        needed("nowhere", "bench-x")
    (tmp_path / "half_a_package.py").write_text("import nowhere_either")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nowhere_either"):
        needed("half_a_package")
