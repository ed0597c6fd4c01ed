"""The training loop, from a recipe to a tested model, and from a checkpoint on."""

from pathlib import Path

from ostinato.errors import Interrupted
from ostinato.training.evaluate import Score
from ostinato.training.interrupt import stop_requests
from ostinato.training.observer import Observer
from ostinato.training.recipe import Recipe
from ostinato.training.run import RunFolder
from ostinato.training.stepped import Training


def train(
    recipe: Recipe,
    out: Path | None = None,
    *,
    data: Path | None = None,
    device: str = "cpu",
    threads: int | None = None,
    observer: Observer | None = None,
) -> tuple[RunFolder, Score]:
    """Trains a recipe, saves the model, loads it from disk and scores it on the test images.

    Everything goes into a run folder: `out`, or a new one under `runs/`. `data` is a folder of IDX
    files, the bundled MNIST if None. The caller's random state and thread count are left as they were.
    Raises an OstinatoError for what a person can mend; Interrupted after Ctrl-C, with all saved.
    """
    return _go_on(
        Training.new(recipe, out, data=data, device=device, threads=threads, observer=observer)
    )


def resume(path: Path, *, observer: Observer | None = None) -> tuple[RunFolder, Score]:
    """Goes on from a run's last checkpoint: the result equals that of a training never interrupted.

    Bit for bit so on the same machine with the same versions; threads and device are those of the run.
    Raises RunError when the run is finished, damaged, or its data are no longer the same.
    """
    return _go_on(Training.reopen(path, observer=observer))


def _go_on(training: Training) -> tuple[RunFolder, Score]:
    with training, stop_requests() as stop:
        while not training.ended:
            training.advance()
            if stop.came and not training.ended:
                training.save()
                raise Interrupted(
                    f"Stopped after step {training.done} of {training.record.steps}; everything is "
                    f"saved. Go on with: ostinato resume {training.run.path}"
                )
    return training.run, training.finish()
