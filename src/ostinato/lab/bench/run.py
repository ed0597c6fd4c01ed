"""Cases one after another, so that who stops the rest keeps what was measured."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch

from ostinato.lab.bench.cases import CASES
from ostinato.lab.bench.choice import choose
from ostinato.lab.bench.harness import Case, Disagreement, NotThere
from ostinato.lab.bench.rate import matrix_products
from ostinato.lab.bench.results import Benchmark, Outcome
from ostinato.lab.bench.table import in_words
from ostinato.lab.bench.turns import in_short
from ostinato.lab.watcher import Watcher


def bench(
    cases: Sequence[Case] = CASES,
    *,
    peers: Sequence[str] | None = None,
    seconds: float = 1.0,
    threads: int | None = None,
    check: bool = False,
    quick: bool = False,
    out: Path | None = None,
    keep: Callable[[Benchmark], None] = lambda _: None,
    watcher: Watcher | None = None,
) -> Benchmark:
    """Measures cases; every side for so many seconds, and three turns at least.

    `check` compares numbers at small sizes and times nothing; `quick` times three turns of the small
    sizes, which shows that all works and says nothing of speed. What there is goes into the folder
    `out` and to `keep` after each case; in a folder where the same was begun it goes on. Ctrl-C or a
    termination ends it: the case in progress is lost, the status stays "working". Threads are torch's,
    all there are if nothing is said. The caller's thread count and random state are left as they were.

    Raises RunError for a folder that holds something else, OSError where nothing can be written.
    """
    before, small = torch.get_num_threads(), check or quick
    # Small sizes gain nothing by more threads, which on a busy machine wait for one another.
    threads = threads or (1 if small else before)
    names = [case.name for case in cases]
    found = Benchmark(
        names=names,
        peers=None if peers is None else sorted(peers),
        seconds=0.0 if quick else seconds,
        threads=threads,
        check=check,
        quick=quick,
    )
    if out is not None:
        out, found = found.place(out, out)

    def kept() -> None:
        if out is not None:
            found.write(out)
        keep(found)

    watcher = watcher or Watcher()
    torch.set_num_threads(threads)
    try:
        kept()
        with torch.random.fork_rng(devices=()), _termination_interrupts():
            for number, case in enumerate(cases, start=1):
                if case.name not in found.cases:
                    watcher.stage(number, len(cases), case.name)
                    _measure(case.tiny() if small else case, found)
                    watcher.outcome(number, len(cases), in_words(found.cases[case.name]))
                    kept()
        found.end()
        kept()
    except KeyboardInterrupt:
        pass
    finally:
        torch.set_num_threads(before)
        watcher.end()
    return found


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Within it a termination acts as Ctrl-C does. Outside the main thread there are no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def resume(folder: Path, watcher: Watcher | None = None) -> Benchmark:
    """Goes on with a benchmark that was stopped, as it was asked for.

    Raises RunError for a folder that holds none, or one of other versions or another machine.
    """
    begun = Benchmark.open(folder)
    return bench(
        choose(begun.names, peers=begun.peers),
        peers=begun.peers,
        seconds=begun.seconds,
        threads=begun.threads,
        check=begun.check,
        quick=begun.quick,
        out=folder,
        watcher=watcher,
    )


def _measure(case: Case, found: Benchmark) -> None:
    """Adds what came of it."""
    outcome = Outcome(case.what)
    try:
        outcome.measured = case.check() if found.check else case.measure(found.seconds)
    except NotThere as reason:
        outcome.problem = str(reason)
    except Disagreement as difference:
        outcome.problem, outcome.wrong = str(difference), True
    except Exception as error:
        outcome.problem, outcome.wrong = f"ours failed: {in_short(error)}", True
    if outcome.measured and outcome.measured.gflop and not (found.check or found.quick):
        found.gflops = matrix_products(found.threads) / 1e9
    found.cases[case.name] = outcome
