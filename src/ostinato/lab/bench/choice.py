"""Which cases are meant, and beside whom."""

from collections.abc import Collection, Sequence
from fnmatch import fnmatch

from ostinato.errors import OptionError, nearest
from ostinato.lab.bench.cases import CASES, SHORT
from ostinato.lab.bench.harness import Case
from ostinato.lab.bench.peers import PEERS

LIST = "`ostinato bench --list` shows all."


def choose(
    names: Collection[str] = (),
    containing: str | None = None,
    peers: Collection[str] | None = None,
    known: Sequence[Case] = CASES,
) -> list[Case]:
    """Cases by name or pattern (`train/*`), of those the ones with a text in their name, beside these
    peers alone. Of no names the short choice; of all, where a text or peers are said.

    Raises OptionError for what is not there, or when nothing is left.
    """
    for name in names:
        if not any(fnmatch(case.name, name) for case in known):
            near = nearest(name, [case.name for case in known])
            raise OptionError(f'no case "{name}"; {near}. {LIST}')
    for peer in peers or ():
        if peer not in PEERS:
            raise OptionError(f'no peer "{peer}"; {nearest(peer, PEERS)}. {LIST}')
    if not names:
        names = ["*"] if containing or peers else SHORT
    chosen = [case for case in known if any(fnmatch(case.name, name) for name in names)]
    if containing:
        chosen = [case for case in chosen if fnmatch(case.name, f"*{containing}*")]
        if not chosen:
            raise OptionError(f'none of these cases has "{containing}" in its name. {LIST}')
    if peers:
        chosen = [case.among(peers) for case in chosen if case.peers & set(peers)]
        if not chosen:
            raise OptionError(f"none of these cases is measured beside {', '.join(peers)}. {LIST}")
    return chosen
