"""One step after another from Python: a session of ours beside a module call and ONNX Runtime."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ostinato
from ostinato.errors import RowError
from ostinato.interchange import layer_to_torch
from ostinato.lab.bench.cases.training import TORCHS_LSTM
from ostinato.lab.bench.harness import ASLEEP, Entrant, NotThere, Race, Side
from ostinato.lab.bench.peers import onnx_runtime
from ostinato.lab.bench.sides import inferred
from ostinato.lab.bench.work import Sizes, Work


def session(work: Work, **options: Any) -> Side:
    """`ostinato.Session`, given and giving numpy arrays."""
    kind = getattr(ostinato, "Session", None)
    if kind is None:
        raise NotThere("ostinato.Session is not there yet")
    rows = [np.ascontiguousarray(each) for each in work.x[0].numpy()[:, None]]
    try:
        running, count = kind(work.layer.eval(), streams=1, **options), 0
    except RowError as reason:  # bfloat16 needs the compiled core
        raise NotThere(str(reason)) from None

    def step() -> Any:
        nonlocal count
        count += 1
        return running.step(rows[count % len(rows)])

    def numbers() -> dict[str, Tensor]:
        fresh = kind(work.layer, streams=1, **options)
        made = [torch.tensor(np.asarray(fresh.step(row))) for row in rows]
        return {"outputs": torch.stack(made, 1)}

    return Side(step, numbers)


def module_calls(work: Work) -> Side:
    """`torch.nn.LSTM`, called on one step of one row with the state that it returned last."""
    module = layer_to_torch(work.layer).eval()
    module.batch_first = False
    rows, state, count = list(work.x[0, :, None, None].contiguous()), None, 0

    @torch.no_grad()
    def step() -> Tensor:
        nonlocal state, count
        count += 1
        made, state = module(rows[count % len(rows)], state)
        return made  # type: ignore[no-any-return]

    def numbers() -> dict[str, Tensor]:
        nonlocal state, count
        state, count = None, -1
        return {"outputs": torch.cat([step() for _ in rows], 1)}

    return Side(step, numbers)


def whole(work: Work) -> Side:
    """The layer over the whole sequence, which a session must equal."""
    return inferred(lambda: work.layer.eval()(work.x)[0])


def one_step(hidden: int) -> Race:
    return Race(
        f"stream/lstm-{hidden}",
        "one step of one stream from Python",
        Sizes(hidden, inputs=hidden, time=50, batch=1),
        TORCHS_LSTM,
        {
            "ours": Entrant(session),
            "our layer": Entrant(whole, timed=False),
            "nn.LSTM": Entrant(module_calls, "torch.nn"),
            "ONNX Runtime": Entrant(partial(onnx_runtime.streaming, 1), "onnx"),
            "ONNX Runtime, 2 threads": Entrant(partial(onnx_runtime.streaming, 2), "onnx"),
        },
        training=False,
        calls=200,
        one_step=True,
        pause=ASLEEP,
    )


def narrower(hidden: int) -> Race:
    """Weights kept in bfloat16; the state stays in float32."""
    return Race(
        f"bfloat16/lstm-{hidden}",
        "one step of one stream from Python, weights in bfloat16",
        Sizes(hidden, inputs=hidden, time=50, batch=1),
        TORCHS_LSTM,
        {
            "ours": Entrant(partial(session, weights="bfloat16")),
            "our layer": Entrant(whole, timed=False),
            "float32": Entrant(session),
        },
        tolerance=0.02,
        training=False,
        calls=200,
        one_step=True,
    )


CASES = [
    *(one_step(hidden) for hidden in (32, 128, 256)),
    *(narrower(hidden) for hidden in (128, 256, 512)),
]
