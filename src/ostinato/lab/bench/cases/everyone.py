"""The layers that others have too, beside all of them; of each kind of work one.

T = 784 is an image read pixel by pixel. Only at T = 28 does torch.compile take part, which unrolls the
loop, half a second or more a step.
"""

from functools import partial

from ostinato.cells import SRU2
from ostinato.lab.bench.cases.training import TORCHS_GRU, TORCHS_LSTM
from ostinato.lab.bench.harness import ASLEEP, Entrant, Race
from ostinato.lab.bench.peers import (
    compiled,
    keras_layers,
    lax_scan,
    loops,
    onnx_runtime,
    sru_package,
    tensorflow_v1,
    torch_nn,
)
from ostinato.lab.bench.sides import ours, ours_inferring
from ostinato.lab.bench.work import Sizes

TRAINING = {
    "ours": Entrant(ours),
    "torch.nn": Entrant(torch_nn.layer, "torch.nn"),
    "loop": Entrant(loops.by_hand, "loop"),
    "torch.compile": Entrant(compiled.training, "torch.compile"),
    "JAX": Entrant(lax_scan.training, "jax"),
    "Keras": Entrant(keras_layers.training, "keras"),
    "TensorFlow": Entrant(tensorflow_v1.training, "tensorflow"),
}

INFERENCE = {
    "ours": Entrant(ours_inferring),
    "torch.nn": Entrant(torch_nn.inferring, "torch.nn"),
    "loop": Entrant(loops.inferring, "loop"),
    "torch.compile": Entrant(compiled.inferring, "torch.compile"),
    "ONNX Runtime": Entrant(onnx_runtime.inferring, "onnx"),
    "JAX": Entrant(lax_scan.inferring, "jax"),
    "Keras": Entrant(keras_layers.inferring, "keras"),
    "TensorFlow": Entrant(tensorflow_v1.inferring, "tensorflow"),
}

OF_SRU2 = {
    "ours": Entrant(ours),
    "loop": Entrant(loops.by_hand, "loop"),
    "sru": Entrant(sru_package.training, "sru"),
}

OF_SRU2_INFERRING = {
    "ours": Entrant(ours_inferring),
    "loop": Entrant(loops.inferring, "loop"),
    "sru": Entrant(sru_package.inferring, "sru"),
}

RAGGED = {
    "ours": Entrant(ours),
    "torch.nn packed": Entrant(torch_nn.packed, "torch.nn"),
    "torch.nn padded": Entrant(torch_nn.padded, "torch.nn"),
    "JAX padded": Entrant(lax_scan.training, "jax"),
}

RESETS = {
    "ours": Entrant(ours),
    "steps of nn.LSTM": Entrant(torch_nn.by_steps, "torch.nn"),
    "JAX": Entrant(lax_scan.training, "jax"),
}

_28 = Sizes(hidden=128, inputs=28, time=28, batch=128)
_784 = Sizes(hidden=128, inputs=1, time=784, batch=64)
_RAGGED = Sizes(hidden=128, inputs=32, time=200, batch=64, lengths=(50, 200))
_RESETS = Sizes(hidden=128, inputs=32, time=128, batch=16, resets=0.05)

_beside = partial(Race, pause=ASLEEP)
_train = partial(_beside, doing="training step")
_infer = partial(_beside, doing="forwards without gradients", training=False)
_LSTM = partial(_train, cell=TORCHS_LSTM)
_GRU = partial(_train, cell=TORCHS_GRU)


def _without(sides: dict[str, Entrant], *names: str) -> dict[str, Entrant]:
    return {name: each for name, each in sides.items() if name not in names}


CASES = [
    _LSTM("everyone/train-lstm", sizes=_28, sides=TRAINING),
    # TensorFlow 1's GRU resets its state before the product, torch's after it.
    _GRU("everyone/train-gru", sizes=_28, sides=_without(TRAINING, "TensorFlow")),
    _infer("everyone/infer-lstm", sizes=_28, cell=TORCHS_LSTM, sides=INFERENCE),
    _infer(
        "everyone/infer-gru",
        sizes=_28,
        cell=TORCHS_GRU,
        sides=_without(INFERENCE, "TensorFlow"),
    ),
    _LSTM("pixels/train-lstm", sizes=_784, sides=_without(TRAINING, "torch.compile")),
    _GRU("pixels/train-gru", sizes=_784, sides=_without(TRAINING, "torch.compile", "TensorFlow")),
    _LSTM("ragged/train-lstm", sizes=_RAGGED, sides=RAGGED),
    _GRU("ragged/train-gru", sizes=_RAGGED, sides=RAGGED),
    _LSTM("resets/train-lstm", sizes=_RESETS, sides=RESETS),
    _train("everyone/train-sru2", sizes=_28, cell=SRU2, sides=OF_SRU2),
    _infer("everyone/infer-sru2", sizes=_28, cell=SRU2, sides=OF_SRU2_INFERRING),
]
