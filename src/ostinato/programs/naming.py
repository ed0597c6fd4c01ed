"""Names for values: one each, and one that Python takes."""

from collections.abc import Iterable
from keyword import iskeyword

from ostinato.programs.operations import NAMES
from ostinato.programs.program import Value

RESERVED = frozenset(
    "block rows like time valid resets steps late last beside special cuts active s n run bool_ inf "
    "nan".split()
)
SUFFIXES = ("_start", "_fresh", "_end", "_all", "_out", "_full", "_on", "_s", "_t")


class Namer:
    """Gives each value a name of its own, which is one in Python too."""

    def __init__(self, known: Iterable[Value] = ()) -> None:
        """A namer that avoids the names of known values."""
        self.taken = {value.name for value in known}
        self.next: dict[str, int] = {}

    def __call__(self, wish: str = "t") -> str:
        wish = "".join(c if c.isalnum() else "_" for c in wish)
        if not wish.isidentifier():
            wish = f"w_{wish}"
        if wish in RESERVED or wish in NAMES or iskeyword(wish) or wish.endswith(SUFFIXES):
            wish += "_"
        count = self.next.get(wish, 0)
        # A weight may be called what the second of two namesakes would be.
        while (name := _numbered(wish, count)) in self.taken:
            count += 1
        self.next[wish] = count + 1
        self.taken.add(name)
        return name


def _numbered(wish: str, count: int) -> str:
    return f"{wish}{count}" if wish == "t" else f"{wish}_{count}" if count else wish
