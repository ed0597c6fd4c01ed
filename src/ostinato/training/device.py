"""Where a network runs."""

import torch

from ostinato.errors import OstinatoError


def pick_device(name: str) -> torch.device:
    """The device of that name; raises OstinatoError unless something can be put on it."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise OstinatoError(
            f'Device "{name}" cannot be used here: {str(error).splitlines()[0]} Expected cpu, or cuda '
            "where there is one."
        ) from error
    return device
