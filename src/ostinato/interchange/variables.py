"""Named arrays of another library, and which of them belong to cells."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ostinato.errors import WeightsError, nearest
from ostinato.interchange.blocks import Arrays

SLOTS = re.compile(
    r"(^|/)(Adadelta|Adagrad|Adam|ExponentialMovingAverage|Ftrl|Momentum|RMSProp)(_\d+)?$"
    r"|(^|/)(beta[12]_power|global_step)(_\d+)?$"
    r"|(^|/)bias_cudnn[_ ]\d+$"
)
"""What TensorFlow's optimizers and averages keep, under a variable's name and one of these; and the two
halves of a bias that its CudnnLSTM saves beside their sum."""


def _is_slot(name: str, names: Collection[str]) -> bool:
    """Whether it belongs to another variable: so says its last part, or a name that it stands under."""
    parents = (name[: cut.start()] for cut in re.finditer("/", name))
    return SLOTS.search(name) is not None or any(parent in names for parent in parents)


class Variables:
    """Arrays by name, of a mapping or of TensorFlow's checkpoint reader; those of optimizers left out.

    `scope` keeps to the names below it. Raises WeightsError where there is none, or for another kind of
    object.
    """

    def __init__(self, source: Any, scope: str = ""):
        if isinstance(source, Mapping):
            self._get: Callable[[str], Any] = source.__getitem__
            given = list(source)
        elif hasattr(source, "get_variable_to_shape_map"):  # a checkpoint, of which we read what we use
            self._get = source.get_tensor
            given = list(source.get_variable_to_shape_map())
        else:
            raise WeightsError(
                "expected a mapping from names to arrays, or what tf.train.load_checkpoint returns; "
                f"got {type(source).__name__}."
            )
        prefix = f"{scope.rstrip('/')}/" if scope else ""
        full = {re.sub(r":\d+$", "", name): name for name in given}
        full = {name: key for name, key in full.items() if not _is_slot(name, full)}
        self._full = {n[len(prefix) :]: key for n, key in full.items() if n.startswith(prefix)}
        self._prefix = prefix
        self._unused = set(self._full.values())
        if scope and not self._full:
            scopes = {
                "/".join(n.split("/")[:depth]) for n in full for depth in range(1, n.count("/") + 1)
            }
            raise WeightsError(f'no name below the scope "{scope}"; {nearest(scope, scopes)}')

    def cells(
        self,
        shorts: Collection[str],
        is_cell: Callable[[str], bool],
        short: Callable[[str], str] = str,
    ) -> dict[str, Arrays]:
        """Of each scope that holds a cell, its arrays by their short names.

        `shorts`: all that a cell may have; `is_cell(scope)` decides; `short` puts a name there
        in today's words. What else stands below a cell's scope is among its arrays too, left over.
        """
        scopes: dict[str, dict[str, str]] = {}
        for name in self._full:
            known = [s for s in shorts if f"/{short(name)}".endswith(f"/{s}")]
            if known:
                words = max(known, key=len)
                scope = "/".join(name.split("/")[: -words.count("/") - 1])
                scopes.setdefault(scope, {})[words] = name
        scopes = {scope: names for scope, names in scopes.items() if is_cell(scope)}
        for name in self._full:
            for scope, names in scopes.items():
                below = f"{scope}/" if scope else ""
                own = scope or self._prefix or "/" not in name
                if own and name.startswith(below) and name not in names.values():
                    names[name.removeprefix(below)] = name
        return {scope: self._read(scope, names) for scope, names in scopes.items()}

    def _read(self, scope: str, names: Mapping[str, str]) -> Arrays:
        keys = {words: self._full[name] for words, name in names.items()}
        self._unused -= set(keys.values())
        return Arrays(
            (self._prefix + scope).rstrip("/"), {words: self._get(key) for words, key in keys.items()}
        )

    def unused(self) -> tuple[str, ...]:
        """The names that no cell took."""
        return tuple(sorted(self._unused))
