"""In which order the images are seen: a shuffle an epoch that follows from seed and epoch alone."""

import numpy as np
import torch
from torch import Tensor


class Order:
    """Which rows make up the batch of a step; any step can be asked for, so nothing need be saved.

    Steps count from 1, epochs too. Each epoch sees every image once; its last batch may be smaller.
    """

    def __init__(self, images: int, batch: int, seed: int):
        self.images = images
        self.size = batch
        self.seed = seed
        self.steps_per_epoch = -(-images // batch)
        self._epoch = 0
        self._rows = torch.empty(0)

    def epoch(self, step: int) -> int:
        """The epoch that a step belongs to."""
        return (step - 1) // self.steps_per_epoch + 1

    def ends_epoch(self, step: int) -> bool:
        """Whether a step is the last of its epoch."""
        return step % self.steps_per_epoch == 0

    def batch(self, step: int) -> Tensor:
        """The rows of a step's batch."""
        if self.epoch(step) != self._epoch:
            self._epoch = self.epoch(step)
            shuffle = np.random.default_rng([self.seed, self._epoch])
            self._rows = torch.from_numpy(shuffle.permutation(self.images))
        start = (step - 1) % self.steps_per_epoch * self.size
        return self._rows[start : start + self.size]
