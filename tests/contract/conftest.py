"""Random masks that are the same at every call, so that two calls can be compared."""

from unittest import mock

import pytest
import torch

from ostinato.wrappers import stack, weight_drop, wrapped


def one_draw(batch, device):
    return torch.full((batch,), 7, device=device)


@pytest.fixture(scope="package", autouse=True)
def calls_draw_the_same():
    """Where a test gives no state, all rows draw by one number; where it does, each by its own."""
    with (
        mock.patch.object(stack, "fresh_draws", one_draw),
        mock.patch.object(wrapped, "fresh_draws", one_draw),
        mock.patch.object(weight_drop, "fresh_draws", one_draw),
    ):
        yield
