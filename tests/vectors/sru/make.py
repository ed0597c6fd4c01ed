"""Computes the vectors beside it with the `sru` package (2.6.0): `pip install --no-deps sru==2.6.0`.

That package compiles C++ when it is imported. Its path for training on a CPU is plain Python and never
calls what was compiled, so the compilation is passed over here; nobody who runs the tests needs the
package.
"""

import math
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.utils.cpp_extension

torch.utils.cpp_extension.load = lambda **_: None
torch.jit.script = lambda function: function
from sru import SRUCell  # noqa: E402

T, B = 6, 4
CASES = {
    "same_width": (5, 5, {}),
    "projected": (5, 8, {}),
    "highway_bias": (5, 5, {"highway_bias": -1.5}),
    "projected_highway_bias": (5, 8, {"highway_bias": -1.5}),
    "unscaled": (5, 5, {"highway_bias": -1.5, "rescale": False}),
}


def make(inputs: int, hidden: int, options: dict) -> dict[str, torch.Tensor]:
    cell = SRUCell(inputs, hidden, **options).double()
    if options.get("rescale", True):  # kept in float32 by the package, which is not what is asked here
        exact = math.sqrt(1 + 2 * math.exp(options.get("highway_bias", 0)))
        cell.scale_x = torch.tensor([exact], dtype=torch.float64)
    with torch.no_grad():
        cell.bias.add_(torch.randn_like(cell.bias) / 2)
    x = torch.randn(T, B, inputs, dtype=torch.float64, requires_grad=True)
    start = torch.randn(B, hidden, dtype=torch.float64, requires_grad=True)
    outputs, state = cell(x, start)
    probe, state_probe = torch.randn_like(outputs), torch.randn_like(state)
    ((outputs * probe).sum() + (state * state_probe).sum()).backward()
    kept = {
        "x": x.transpose(0, 1),
        "start": start,
        "outputs": outputs.transpose(0, 1),
        "state/0": state,
        "probe_outputs": probe.transpose(0, 1),
        "probe_state/0": state_probe,
        "grad/x": x.grad.transpose(0, 1),
        "grad/start": start.grad,
    }
    for name, weight in cell.named_parameters():
        kept |= {f"weight/{name}": weight, f"grad/{name}": weight.grad}
    return kept


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the package warns of its path for training on a CPU
    torch.manual_seed(0)
    for name, case in CASES.items():
        arrays = {key: tensor.detach().numpy() for key, tensor in make(*case).items()}
        np.savez_compressed(Path(__file__).with_name(f"{name}.npz"), **arrays)
