"""No time without right numbers; what was found, what is missing and what failed is said."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ostinato.cells import GRU, HiddenState
from ostinato.lab.bench import harness
from ostinato.lab.bench.cases import (
    CASES,
    elementwise,
    memory,
    own_cells,
    ragged,
    recipes,
    streaming,
    training,
)
from ostinato.lab.bench.harness import Disagreement, Entrant, NotThere, Race, Side, agree
from ostinato.lab.bench.sides import ours
from ostinato.lab.bench.turns import by_turns
from ostinato.lab.bench.work import Sizes, Work

SIZES = Sizes(hidden=3, inputs=2, time=4, batch=2)

RACES = [
    *training.CASES[::3],
    training.BOTH_OVER_ONE,
    *ragged.CASES[-2:],
    *own_cells.CASES[1:],
    elementwise.CASES[0],
    recipes.CASES[0],
]
"""One of each kind of work, but those that need what is not installed with the tests."""


def race(**options):
    told = {
        "name": "try/gru",
        "doing": "training step",
        "sizes": SIZES,
        "cell": GRU,
        "sides": {"ours": Entrant(ours), "peer": Entrant(ours)},
    }
    return Race(**(told | options))


def missing(work):
    raise NotThere("nobody is at home")


@pytest.fixture
def untimed(monkeypatch):
    """Fails where anything is timed."""

    def refuse(*given):
        raise AssertionError("this was timed")

    monkeypatch.setattr(harness, "by_turns", refuse)


def off(factor, key, work, make=ours):
    """A side, but for one of its numbers."""
    side = make(work)

    def numbers():
        found = dict(side.numbers())
        name = next(name for name in found if key in name)
        return found | {name: found[name] * factor}

    return Side(side.run, numbers)


@pytest.mark.parametrize("key", ["outputs", "W_n", "cell.b"])
def test_a_peer_that_is_wrong_is_never_timed(untimed, key):
    case = race(sides={"ours": Entrant(ours), "peer": Entrant(lambda work: off(1.01, key, work))})
    with pytest.raises(Disagreement, match=f"try/gru: peer and ours differ in .*{key} by"):
        case.measure(seconds=0)
    with pytest.raises(Disagreement):
        case.check()


def test_not_a_number_is_no_agreement():
    one = {"outputs": torch.ones(2)}
    with pytest.raises(Disagreement, match="differ in outputs by nan"):
        agree("a", {"outputs": torch.tensor([1.0, float("nan")])}, "b", one, 1e-4)


def test_a_number_that_is_left_out_or_of_another_shape_is_no_agreement():
    one = {"outputs": torch.ones(2), "W": torch.ones(1)}
    with pytest.raises(Disagreement, match="do not come to the same things: W"):
        agree("a", {"outputs": torch.ones(2)}, "b", one, 1e-4)
    with pytest.raises(Disagreement, match="has outputs of"):
        agree("a", one | {"outputs": torch.ones(1)}, "b", one, 1e-4)


@pytest.mark.parametrize("case", RACES, ids=lambda case: case.name)
@pytest.mark.parametrize("key", ["outputs", "cell"])
def test_every_kind_of_peer_notices_when_ours_is_wrong(case, key):
    case = case.tiny()
    case.check()
    for name in [name for name in case.sides if name.startswith("our")]:
        entrant = case.sides[name]
        broken = replace(entrant, make=lambda work, make=entrant.make: off(1.01, key, work, make))
        with pytest.raises(Disagreement):
            replace(case, sides={**case.sides, name: broken}).check()


def test_sides_of_another_task_are_not_compared():
    other = Entrant(lambda work: off(2.0, "outputs", work), task="another")
    race(sides={"ours": Entrant(ours), "peer": other}).check()


def test_what_is_not_there_is_said():
    sides = {"ours": Entrant(ours), "peer": Entrant(missing)}
    found = race(sides=sides).measure(seconds=0)
    assert found.missing == {"peer": "nobody is at home"}
    assert set(found.values) == {"ours"}
    sides = {"ours": Entrant(missing), "peer": Entrant(ours)}
    for run in (race(sides=sides).check, lambda: race(sides=sides).measure(0)):
        with pytest.raises(NotThere, match="nobody is at home"):
            run()


def breaking(at):
    """Ours, until the call with this number, which fails."""

    def make(work):
        side, count = ours(work), 0

        def run():
            nonlocal count
            count += 1
            if count == at:
                raise MemoryError("no room\nat all")
            return side.run()

        return Side(run, side.numbers)

    return make


@pytest.mark.parametrize("at", [1, 3])
def test_a_peer_that_fails_is_said_and_the_rest_goes_on(at):
    sides = {"ours": Entrant(ours), "bad": Entrant(breaking(at)), "good": Entrant(ours)}
    found = race(sides=sides).measure(seconds=0)
    assert found.crashed == {"bad": "MemoryError: no room"}
    assert set(found.values) == {"ours", "good"}
    assert set(found.ratios) == {"good"}


def test_a_peer_that_cannot_even_be_made_is_said():
    sides = {"ours": Entrant(ours), "bad": Entrant(lambda work: 1 / 0)}
    assert race(sides=sides).check().crashed == {"bad": "ZeroDivisionError: division by zero"}


def test_ours_must_not_fail():
    sides = {"ours": Entrant(breaking(2)), "peer": Entrant(ours)}
    with pytest.raises(MemoryError):
        race(sides=sides).measure(seconds=0)


def test_a_result_says_how_it_was_found():
    found = race().measure(seconds=0)
    assert found.rows
    assert set(found.values) == {"ours", "peer"}
    assert found.unit == "ms"
    assert found.turns >= 3
    ratio = found.ratios["peer"]
    assert ratio.low <= ratio.high
    assert ratio.ratio == pytest.approx(found.values["peer"] / found.values["ours"], rel=1e-2)
    assert found.gflop > 0


def test_beside_some_peers_alone():
    sides = {
        "ours": Entrant(ours),
        "one": Entrant(ours, "torch.nn"),
        "other": Entrant(ours, "jax"),
        "equal": Entrant(ours, timed=False),
    }
    case = race(sides=sides)
    assert case.peers == {"torch.nn", "jax"}
    assert list(case.among(["jax"]).sides) == ["ours", "other", "equal"]


def test_sides_take_turns_and_change_their_order():
    order = []
    taken = by_turns({name: lambda name=name: order.append(name) for name in "ab"}, 0, calls=2)
    assert "".join(order) == "ab" + "aabb" + "bbaa" + "aabb"
    assert [len(times) for times in taken.values()] == [3, 3]


def test_products_are_counted():
    """By hand, for T·B = 8 steps: forwards 2·3·3·(2 + 3), backwards that again and one of the state."""
    work = Work.of(GRU, SIZES)
    forward = 8 * 2 * 3 * 3 * (2 + 3)
    assert work.products(training=False) == forward
    assert work.products(training=True) == 2 * forward + 8 * 2 * 3 * 3 * 3
    stacked = Work.of(GRU, replace(SIZES, layers=2, both_ways=True))
    upper = 8 * 2 * 3 * 3 * (6 + 3)
    assert stacked.products(training=False) == 2 * (forward + upper)
    assert stacked.products(True) == 2 * (2 * forward + 8 * 2 * 3 * 3 * 3 + 3 * upper)
    ragged = Work.of(GRU, replace(SIZES, lengths=(1, 4)))
    assert ragged.products(False) == forward * int(ragged.lengths.sum()) / 8


class Detached(GRU):
    """Its step is no program."""

    def step(self, x, state):
        return super().step(x, HiddenState(state.h.detach()))


def test_of_one_step_they_are_those_of_a_step():
    whole, one = (race(training=False, one_step=step).measure(seconds=0) for step in (False, True))
    assert one.gflop == pytest.approx(whole.gflop / SIZES.time)
    assert (whole.threads, one.threads) == (None, 1)
    assert Work.of(Detached, SIZES).products(training=True) is None


def heavy(work):
    """Ours, with 100 MB more held on the way."""
    side = ours(work)

    def run():
        ballast = torch.ones(25_000_000)
        side.run()
        return ballast

    return Side(run, side.numbers)


def test_memory_is_that_of_a_process_of_its_own():
    sizes = Sizes(hidden=64, inputs=8, time=200, batch=64, lengths=(1, 200))
    sides = {"ours": Entrant(ours), "peer": Entrant(heavy)}
    found = memory.Peak(race(sizes=sizes, sides=sides), processes=1).measure(seconds=0)
    assert found.unit == "MB"
    assert 50 < found.values["peer"] - found.values["ours"] < 150
    expected = found.values["peer"] / found.values["ours"]
    assert found.ratios["peer"].ratio == pytest.approx(expected, rel=0.01)


class Session:
    """What `ostinato.Session` is for one stream, as a layer can be it."""

    def __init__(self, layer, streams, weights="float32"):
        self.layer, self.state, self.error = layer, None, 1e-3 if weights == "bfloat16" else 0

    @torch.no_grad()
    def step(self, x):
        outputs, self.state = self.layer(torch.tensor(x)[None], self.state)
        return outputs[0].numpy() * (1 + self.error)


class Forgetful(Session):
    def step(self, x):
        self.state = None
        return super().step(x)


@pytest.mark.parametrize("case", streaming.CASES, ids=lambda case: case.name)
def test_a_session_is_compared_step_by_step(case, monkeypatch):
    case = case.tiny()
    monkeypatch.setattr(streaming, "ostinato", SimpleNamespace())
    with pytest.raises(NotThere, match="ostinato.Session is not there yet"):
        case.check()
    monkeypatch.setattr(streaming, "ostinato", SimpleNamespace(Session=Session))
    case.check()
    monkeypatch.setattr(streaming, "ostinato", SimpleNamespace(Session=Forgetful))
    with pytest.raises(Disagreement):
        case.check()


def test_every_case_has_a_name_of_its_own():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
