"""Cases one after another, so that who stops the rest keeps what was measured."""

from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatch

import torch

from ostinato.errors import OptionError, nearest
from ostinato.lab.bench.cases import CASES, SHORT
from ostinato.lab.bench.harness import Case, Disagreement, NotThere
from ostinato.lab.bench.peers import PEERS
from ostinato.lab.bench.rate import matrix_products
from ostinato.lab.bench.results import Benchmark, Outcome
from ostinato.lab.bench.turns import in_short


class Observer:
    """Hears of each case. What it does not care for, it leaves out."""

    def begin(self, cases: Sequence[Case]) -> None: ...

    def case(self, case: Case) -> None:
        """It begins."""

    def done(self, case: Case, outcome: Outcome) -> None: ...

    def end(self) -> None: ...


def choose(
    names: Collection[str] = (),
    containing: str | None = None,
    peers: Collection[str] | None = None,
    known: Sequence[Case] = CASES,
) -> list[Case]:
    """Cases by name or pattern (`train/*`), those alone that contain a text or match a pattern, beside
    these peers alone; a short choice without any names. In the order in which they are declared.

    Raises OptionError for what is not there, or when nothing is left.
    """
    for name in names:
        if not any(fnmatch(case.name, name) for case in known):
            near = nearest(name, [case.name for case in known])
            raise OptionError(f'no case "{name}"; {near}. `ostinato bench --list` shows all.')
    for peer in peers or ():
        if peer not in PEERS:
            raise OptionError(f'no peer "{peer}"; {nearest(peer, PEERS)}. Known: {", ".join(PEERS)}.')
    if not names:
        names = ["*"] if containing or peers is not None else SHORT
    chosen = [case for case in known if any(fnmatch(case.name, name) for name in names)]
    if containing is not None:
        chosen = [case for case in chosen if fnmatch(case.name, f"*{containing}*")]
        if not chosen:
            raise OptionError(
                f'no case has "{containing}" in its name; `ostinato bench --list` shows all.'
            )
    if peers is not None:
        chosen = [case.among(peers) for case in chosen if case.peers & set(peers)]
        if not chosen:
            raise OptionError(
                f"none of these cases is measured beside {', '.join(peers)}; "
                "`ostinato bench --list` shows who is beside whom."
            )
    return chosen


def bench(
    cases: Sequence[Case],
    *,
    seconds: float = 1.0,
    threads: int | None = None,
    check: bool = False,
    quick: bool = False,
    observer: Observer | None = None,
    keep: Callable[[Benchmark], None] = lambda _: None,
) -> Benchmark:
    """Measures cases; every side for so many seconds, and three turns at least.

    `check` compares numbers at small sizes and times nothing; `quick` times the small sizes, which
    shows that all works and says nothing of speed. `keep` is given what there is after each case.
    Ctrl-C ends it: the case in progress is lost, status "stopped" tells. Threads are torch's, all
    there are if nothing is said. The caller's thread count and random state are left as they were.
    """
    before, observer = torch.get_num_threads(), observer or Observer()
    small = check or quick
    # Small sizes gain nothing by more threads, which on a busy machine wait for one another.
    torch.set_num_threads(threads or (1 if small else before))
    result = Benchmark(seconds, torch.get_num_threads(), checked_only=check, quick=quick)
    observer.begin(cases)
    try:
        keep(result)
        with torch.random.fork_rng(devices=()):
            for case in cases:
                observer.case(case)
                outcome = _outcome(case.tiny() if small else case, None if check else seconds)
                if outcome.measured is not None and outcome.measured.gflop is not None and not small:
                    result.gflops = matrix_products(torch.get_num_threads()) / 1e9
                result.cases[case.name] = outcome
                observer.done(case, outcome)
                keep(result)
        result.status = "finished"
    except KeyboardInterrupt:
        result.status = "stopped"
    finally:
        torch.set_num_threads(before)
        observer.end()
    keep(result)
    return result


def _outcome(case: Case, seconds: float | None) -> Outcome:
    """Checked alone if no seconds are given."""
    outcome = Outcome(case.what)
    try:
        outcome.measured = case.check() if seconds is None else case.measure(seconds)
    except NotThere as reason:
        outcome.problem = str(reason)
    except Disagreement as difference:
        outcome.problem, outcome.wrong = str(difference), True
    except Exception as error:
        outcome.problem, outcome.wrong = f"ours failed: {in_short(error)}", True
    return outcome
