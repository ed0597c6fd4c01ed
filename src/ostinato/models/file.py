"""A trained model in one file: weights as safetensors, and all that is needed to build it again.

The header entry "ostinato" is JSON: format, library version, recipe name, model settings, image shape.
Loading builds the network from those settings and copies the weights in; nothing in the file can run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import nn

from ostinato import __version__
from ostinato.errors import ModelFileError
from ostinato.files import read_tensors, write_tensors
from ostinato.models.build import build
from ostinato.models.settings import CNNSettings, ImageShape, ModelSettings, RecurrentSettings

FORMAT = 1


@dataclass(frozen=True)
class SavedModel:
    """A network as it came from its file, ready to classify."""

    network: nn.Module
    settings: RecurrentSettings | CNNSettings
    shape: ImageShape
    recipe: str


def save_model(
    path: Path,
    network: nn.Module,
    settings: RecurrentSettings | CNNSettings,
    shape: ImageShape,
    recipe: str,
) -> None:
    """Writes the model file in one move."""
    header = {
        "format": FORMAT,
        "version": __version__,
        "recipe": recipe,
        "model": settings.model_dump(),
        "shape": shape.model_dump(),
    }
    write_tensors(path, network.state_dict(), header)


def load_model(path: Path) -> SavedModel:
    """Builds the network that the file describes and gives it the file's weights; evaluation mode.

    Raises ModelFileError when the file is missing, damaged, newer than this library, or when its
    weights do not fit the network that it describes.
    """
    header, tensors = read_tensors(path, FORMAT, ModelFileError, "a model saved by Ostinato")
    settings, shape = _read_header(path, header)
    network = build(settings, shape)
    _check_fit(path, network, tensors)
    network.load_state_dict(tensors)
    return SavedModel(network.eval(), settings, shape, str(header.get("recipe", "")))


def _read_header(
    path: Path, header: dict[str, Any]
) -> tuple[RecurrentSettings | CNNSettings, ImageShape]:
    try:
        settings = TypeAdapter(ModelSettings).validate_python(header["model"])
        return settings, ImageShape.model_validate(header["shape"])
    except (KeyError, ValidationError) as error:
        raise ModelFileError(
            f"{path}: its settings describe no model that this version can build: {error}"
        ) from error


def _check_fit(path: Path, network: nn.Module, tensors: dict[str, Any]) -> None:
    expected = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: list(tensor.shape) for name, tensor in tensors.items()}
    wrong = [
        f"{name}: expected {expected.get(name, 'nothing')}, got {found.get(name, 'nothing')}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    if wrong:
        raise ModelFileError(
            f"{path}: its weights do not fit the model that it describes: {'; '.join(wrong[:4])}"
            f"{f'; and {len(wrong) - 4} more' if len(wrong) > 4 else ''}. The file was changed or "
            "damaged; train again or take a whole copy."
        )
