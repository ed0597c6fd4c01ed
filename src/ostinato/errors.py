"""What a person did that cannot work: each error says what was expected, what came and what to do.

Every class here is caught by the command line and shown as one paragraph, exit code 2.
Anything else that escapes is a bug in the library and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class OstinatoError(Exception):
    """The root of every error that a person can mend."""


class ShapeError(OstinatoError, ValueError, RuntimeError):
    """A tensor or a size does not fit; torch raises ValueError for some, RuntimeError for others."""


class DtypeError(OstinatoError, TypeError, ValueError):
    """A tensor holds another kind of number than the weights; a ValueError in torch."""


class DeviceError(OstinatoError, ValueError, RuntimeError):
    """A tensor lies on another device than the weights; a RuntimeError in torch."""


class LengthsError(OstinatoError, ValueError):
    """Lengths or resets have the wrong shape, kind or values."""


class StateError(OstinatoError, ValueError, RuntimeError):
    """A state has the wrong shape, or is another cell's; a RuntimeError in torch."""


class StepError(OstinatoError, ValueError):
    """A cell's step is not one: it changes its input in place, or returns another kind of state."""


class OptionError(OstinatoError, ValueError):
    """An option does not exist, has a value it cannot have, or excludes another."""


class KindError(OptionError, TypeError):
    """An option is of another kind: a number where True or False is meant. A TypeError in torch too."""


class WeightsError(OstinatoError, ValueError):
    """Weights from elsewhere do not fit: a name, a shape, or an option that one side does not have."""


class RowError(OstinatoError, RuntimeError):
    """Who was asked to run a call cannot run it."""


class DataError(OstinatoError):
    """A data file or an image cannot be read for what it should be."""


class RecipeError(OstinatoError):
    """A recipe has a wrong key, type or value."""


class ModelFileError(OstinatoError):
    """A saved model is missing, damaged, newer than this library, or does not fit."""


class RunError(OstinatoError):
    """A run folder is missing, half-written, finished, in the way, or newer than this library."""


class Interrupted(OstinatoError):
    """A person (or the system) asked the training to stop; everything is saved."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest of the known names, or all of them when none is near.

    >>> nearest("lrr", ["lr", "betas"])
    'did you mean "lr"?'
    """
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f'did you mean "{close[0]}"?' if close else f"known: {', '.join(known)}"
