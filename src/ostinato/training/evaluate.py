"""How good a network is on labelled images."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ostinato.data import Images


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy and the share of images classified right."""

    loss: float
    accuracy: float
    images: int


@torch.no_grad()
def evaluate(network: nn.Module, images: Images, device: torch.device, batch: int = 500) -> Score:
    """Scores a network in evaluation mode (no dropout), and leaves it in the mode it was in.

    A NaN in the logits counts as wrong.
    """
    was_training = network.training
    network.eval()
    loss, right = 0.0, 0
    for start in range(0, len(images), batch):
        x, labels = images.batch(slice(start, start + batch), device)
        logits = network(x)
        loss += cross_entropy(logits, labels, reduction="sum").item()
        right += int((logits.argmax(-1) == labels).sum())
    network.train(was_training)
    return Score(loss / len(images), right / len(images), len(images))
