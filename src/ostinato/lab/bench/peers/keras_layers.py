"""Keras 3 on JAX: a Sequential model, its training step as its guide to custom loops has it.

Of Keras' two backends that need nothing of TensorFlow JAX is the faster by far on CPUs: on torch, Keras
walks over time in Python. Like JAX it uses every core that it finds.
"""

import os
import sys
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ostinato.cells import GRU, LSTM, Cell, Elman
from ostinato.interchange import from_keras, to_keras
from ostinato.interchange.names import leaves, tree
from ostinato.lab.bench.harness import NotThere, Side
from ostinato.lab.bench.peers.needed import needed
from ostinato.lab.bench.work import Work


def training(work: Work) -> Side:
    """A training step."""
    jax, model = needed("jax"), _model(work)

    def step(weights: Any, x: Any, gradient: Any) -> Any:
        def outputs(weights: Any) -> Any:
            return model.stateless_call(weights, state, x, training=True)[0]

        made, back = jax.vjp(outputs, weights)
        return made, back(gradient)[0]

    compiled = jax.jit(step)
    weights = [each.value for each in model.trainable_variables]
    state = [each.value for each in model.non_trainable_variables]
    x, gradient = (jax.numpy.asarray(each.numpy()) for each in (work.x, work.gradient))

    def numbers() -> dict[str, Tensor]:
        made, gradients = compiled(weights, x, gradient)
        arrays = [np.array(each) for each in gradients]
        return {"outputs": _tensor(made), **_as_ours(work.layer, arrays)}

    return Side(lambda: jax.block_until_ready(compiled(weights, x, gradient)), numbers)


def inferring(work: Work) -> Side:
    """`predict_on_batch`, which gives a numpy array."""
    model, x = _model(work), work.x.numpy()
    return Side(
        lambda: model.predict_on_batch(x), lambda: {"outputs": _tensor(model.predict_on_batch(x))}
    )


def _model(work: Work) -> Any:
    keras, sizes = _keras(), work.sizes
    kinds: dict[type[Cell], Any] = {
        Elman: keras.layers.SimpleRNN,
        LSTM: keras.layers.LSTM,
        GRU: keras.layers.GRU,
    }
    cell = leaves(tree(work.layer))[0]
    options = {"reset_after": cell.reset_after} if isinstance(cell, GRU) else {}
    model = keras.Sequential([keras.Input((sizes.time, sizes.inputs))])
    for _ in range(sizes.layers):
        layer = kinds[type(cell)](sizes.hidden, return_sequences=True, **options)
        model.add(keras.layers.Bidirectional(layer) if sizes.both_ways else layer)
    model.set_weights(to_keras(work.layer))
    return model


def _keras() -> Any:
    """On JAX, whatever the environment says: nobody else has imported it yet, or has on JAX too."""
    needed("jax")
    if "keras" not in sys.modules:
        said = os.environ.get("KERAS_BACKEND")
        os.environ["KERAS_BACKEND"] = "jax"
        try:
            return needed("keras")
        finally:
            if said is None:
                del os.environ["KERAS_BACKEND"]
            else:
                os.environ["KERAS_BACKEND"] = said
    keras = needed("keras")
    if (backend := keras.config.backend()) != "jax":
        raise NotThere(f"keras is in use here on {backend}, and is measured on JAX")
    return keras


def _as_ours(layer: nn.Module, gradients: list[Any]) -> dict[str, Tensor]:
    """Gradients go through the door for weights, under the names that ours have."""
    for index, cell in enumerate(leaves(tree(layer))):
        if isinstance(cell, GRU) and cell.reset_after:
            # Of two biases that are added each has the gradient of ours; the second counts for n alone.
            gradients[3 * index + 2][1, : 2 * cell.hidden_size] = 0
    holder = deepcopy(layer)
    from_keras(holder, gradients)
    return dict(holder.named_parameters())


def _tensor(a: Any) -> Tensor:
    return torch.tensor(np.asarray(a))
