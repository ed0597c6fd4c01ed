"""Names for values: one each, and one that Python takes."""

from collections.abc import Iterable
from keyword import iskeyword

from ostinato.programs.operations import NAMES
from ostinato.programs.program import Value

RESERVED = frozenset(
    "block rows like time valid resets steps late last beside special cuts active s n run bool_ inf "
    "nan".split()
)
SUFFIXES = ("_start", "_fresh", "_end", "_all", "_out", "_full", "_on", "_s")


class Namer:
    """Gives each value a name of its own, which is one in Python too."""

    def __init__(self, known: Iterable[Value] = ()) -> None:
        """A namer that avoids the names of known values."""
        self.taken: dict[str, int] = {}
        for value in known:
            self.taken[value.name] = max(1, self.taken.get(value.name, 0))
            if value.name[0] == "t" and value.name[1:].isdigit():
                self.taken["t"] = max(int(value.name[1:]) + 1, self.taken.get("t", 0))

    def __call__(self, wish: str = "t") -> str:
        wish = "".join(c if c.isalnum() else "_" for c in wish)
        numbered = wish[0] == "t" and wish[1:].isdigit()
        if wish in RESERVED or wish in NAMES or iskeyword(wish) or wish.endswith(SUFFIXES) or numbered:
            wish += "_"
        count = self.taken.get(wish, 0)
        self.taken[wish] = count + 1
        return f"{wish}{count}" if wish == "t" else f"{wish}_{count}" if count else wish
