"""Trainings side by side: a step each in turn, so that a noisy machine hurts all alike."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from ostinato.errors import Interrupted
from ostinato.training import Training
from ostinato.training.interrupt import StopRequest

Failed = Callable[[str, Exception], None]


def train_by_turns(
    openers: Mapping[str, Callable[[], Training]], stop: StopRequest, failed: Failed
) -> None:
    """Opens trainings, takes a step of each in turn until all have ended, and tests their models.

    Every second round goes the other way, so that nobody always follows the same neighbour. One that
    fails is told to `failed`, and the others go on. When asked to stop, saves all and raises
    Interrupted. A system that refuses (OSError) concerns all of them, and is raised.
    """
    with ExitStack() as stack:
        running: dict[str, Training] = {}
        for name, opened in openers.items():
            with _reported(name, failed):
                running[name] = stack.enter_context(opened())
        order = list(running)
        while running:
            for name in [each for each in order if each in running]:
                training = running.pop(name)
                with _reported(name, failed):
                    if not training.ended:
                        training.advance()
                    if training.ended:
                        training.finish()
                    else:
                        running[name] = training
                if stop.came:
                    for each in running.values():
                        each.save()
                    raise Interrupted
            order.reverse()


@contextmanager
def _reported(name: str, failed: Failed) -> Iterator[None]:
    """Whatever goes wrong within is one entrant's failure, unless it concerns all."""
    try:
        yield
    except (OSError, Interrupted):
        raise
    except Exception as error:
        failed(name, error)
