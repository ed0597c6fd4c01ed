"""ONNX Runtime on a model of ONNX's own LSTM or GRU nodes, with our weights.

Data are time first, as its operators want them. Inputs and outputs are bound once: no array is looked
up, converted or allocated in a call.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.lab.bench.harness import Side
from ostinato.lab.bench.peers.needed import needed
from ostinato.lab.bench.peers.onnx_model import Model, model_of
from ostinato.lab.bench.work import Work


def inferring(work: Work) -> Side:
    """Forwards over whole sequences, on as many threads as torch has."""
    threads = torch.get_num_threads()
    x = np.ascontiguousarray(work.x.transpose(0, 1).numpy())
    outputs = np.empty((work.sizes.time, work.sizes.batch, work.sizes.hidden), np.float32)
    session, _ = _session(work, work.sizes.time, work.sizes.batch, threads, states=False)
    binding = _bound(session, {"x": x}, {"y": outputs})

    def run() -> Any:
        session.run_with_iobinding(binding)
        return x, outputs  # which a binding knows by their addresses alone

    return Side(run, lambda: {"outputs": torch.tensor(run()[1]).transpose(0, 1)})


def streaming(threads: int, work: Work) -> Side:
    """One step after another, the state handed on: two sets of arrays, written by turns."""
    session, model = _session(work, 1, 1, threads, states=True)
    rows = np.ascontiguousarray(work.x[0].numpy())[:, None, None]
    x, y = np.empty_like(rows[0]), np.empty((1, 1, work.sizes.hidden), np.float32)
    sets = [{name: np.zeros_like(y) for name in model.states} for _ in range(2)]
    bindings = [
        _bound(session, {"x": x, **before}, {"y": y, **{f"new_{n}": a for n, a in after.items()}})
        for before, after in (sets, sets[::-1])
    ]
    count = 0

    def step() -> Any:
        nonlocal count
        x[:] = rows[count % len(rows)]
        session.run_with_iobinding(bindings[count % 2])
        count += 1
        return y

    def numbers() -> dict[str, Tensor]:
        nonlocal count
        count = 0
        for array in sets[0].values():
            array[:] = 0
        return {"outputs": torch.tensor(np.stack([step()[0].copy() for _ in rows], 1))}

    return Side(step, numbers)


def _session(work: Work, time: int, batch: int, threads: int, states: bool) -> tuple[Any, Model]:
    onnxruntime, _ = needed("onnxruntime"), needed("onnx")
    model = model_of(work.layer, time, batch, states)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model.content, options, providers=providers), model


def _bound(session: Any, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    """By address: whoever binds an array has to keep it."""
    binding = session.io_binding()
    for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
        for name, array in arrays.items():
            bind(name, "cpu", 0, np.float32, list(array.shape), array.ctypes.data)
    return binding
