"""Being asked to stop: noted at once, obeyed between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """Which signal came, if any."""

    came: signal.Signals | None = None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Within it, the first Ctrl-C or termination is only noted; a second one acts as it always does.

    Outside the main thread Python delivers no signals, and nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    watched = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in watched}

    def note(number: int, _: FrameType | None) -> None:
        request.came = signal.Signals(number)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in watched:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
