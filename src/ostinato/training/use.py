"""What a finished run is good for: testing its model again, and classifying pictures with it."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ostinato.data import load_test_images
from ostinato.data.drawing import read_digit
from ostinato.errors import DataError, RunError
from ostinato.models.file import SavedModel, load_model
from ostinato.training.device import pick_device
from ostinato.training.evaluate import Score, evaluate
from ostinato.training.run import RunFolder


def score_run(path: Path, *, data: Path | None = None, device: str = "cpu") -> Score:
    """Scores the saved model of a run on the test images of its data set, or of another folder.

    Raises RunError when there is no trained model, ModelFileError when it is damaged, DataError when
    the images do not fit it.
    """
    run = RunFolder.open(path)
    record = run.read_record()
    model = trained_model(run)
    folder = data or (None if record.data_folder is None else Path(record.data_folder))
    images = load_test_images(folder)
    found, expected = images.size, (model.shape.rows, model.shape.columns)
    if found != expected or images.classes > model.shape.classes:
        raise DataError(
            f"{folder or 'MNIST'}: {found[0]}×{found[1]} images of {images.classes} classes do not fit "
            f"the model, which reads {expected[0]}×{expected[1]} and tells {model.shape.classes} apart."
        )
    where = pick_device(device)
    return evaluate(model.network.to(where), images, where)


@torch.no_grad()
def classify(path: Path, images: Sequence[Path]) -> list[list[float]]:
    """A probability for each class, for each picture; pictures are read before the first is classified.

    Raises RunError and ModelFileError as `score_run` does, DataError for a file that is no picture.
    """
    model = trained_model(RunFolder.open(path))
    digits = [read_digit(image, model.shape.rows, model.shape.columns) for image in images]
    logits = model.network(torch.stack(digits).float() / 255)
    probabilities: list[list[float]] = logits.softmax(-1).tolist()
    return probabilities


def trained_model(run: RunFolder) -> SavedModel:
    """The model of a run; RunError where there is none yet, ModelFileError for a damaged one."""
    if not run.model.exists():
        raise RunError(
            f"{run.path}: this training has not ended, so there is no model yet. Go on with: ostinato "
            f"resume {run.path}"
        )
    return load_model(run.model)
