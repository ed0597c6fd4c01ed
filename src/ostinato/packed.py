"""Sequences that come packed: padded, packed again, and looked at step by step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence


def padded(packed: PackedSequence) -> tuple[Tensor, Tensor]:
    """`x [B, T, …]` and `lengths [B]`, in the order in which the rows were packed."""
    return pad_packed_sequence(packed, batch_first=True)


def packed_like(packed: PackedSequence, values: Tensor) -> PackedSequence:
    """Of `[B, T, …]` the same steps, packed alike."""
    batch, time = values.shape[:2]
    order = packed.sorted_indices
    rows = torch.arange(batch, device=values.device) if order is None else order
    places = [rows[:count] * time + t for t, count in enumerate(packed.batch_sizes.tolist())]
    return with_data(packed, values.flatten(0, 1).index_select(0, torch.cat(places)))


def step_by_step(function: Callable[..., Tensor], *sequences: Any) -> Any:
    """A function of `[B, T, …]`; of PackedSequences, all whose steps it is given as one row's."""
    first = sequences[0]
    if not isinstance(first, PackedSequence):
        return function(*sequences)
    return with_data(first, function(*(each.data.unsqueeze(0) for each in sequences)).squeeze(0))


def with_data(packed: PackedSequence, data: Tensor) -> PackedSequence:
    """Other values of the same steps."""
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
