"""TensorFlow as its tutorials of 2017 use it: cells, dynamic_rnn and a session, by compat.v1.

Needs the package tf_keras too, which holds those cells since TensorFlow 2.16.
"""

import os
import warnings
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells import LSTM, Elman
from ostinato.interchange import from_tensorflow, to_tensorflow
from ostinato.interchange.names import leaves, tree
from ostinato.lab.bench.harness import NotThere, Side
from ostinato.lab.bench.peers.needed import needed
from ostinato.lab.bench.work import Work


def training(work: Work) -> Side:
    """A training step."""
    return _side(work, training=True)


def inferring(work: Work) -> Side:
    """Forwards alone."""
    return _side(work, training=False)


def _side(work: Work, training: bool) -> Side:
    tf = _tensorflow()
    v1, sizes = tf.compat.v1, work.sizes
    x_array, gradient_array = work.x.numpy(), work.gradient.numpy()
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, x_array.shape)
        gradient = v1.placeholder(tf.float32, gradient_array.shape)
        cells = [_cell(v1, each, sizes.hidden) for each in leaves(tree(work.layer))]
        cell = cells[0] if len(cells) == 1 else v1.nn.rnn_cell.MultiRNNCell(cells)
        outputs, _ = v1.nn.dynamic_rnn(cell, x, dtype=tf.float32)
        variables = v1.trainable_variables()
        names = [each.name.removesuffix(":0") for each in variables]
        gradients = v1.gradients(outputs, variables, gradient) if training else []
    session = v1.Session(graph=graph, config=_settings(v1))
    arrays = to_tensorflow(work.layer)
    with graph.as_default():
        for name, variable in zip(names, variables, strict=True):
            variable.load(arrays[name], session)
    fed = {x: x_array, gradient: gradient_array} if training else {x: x_array}
    # What is only computed and not fetched crosses no border: a training step fetches nothing.
    run = session.make_callable([outputs.op, *[each.op for each in gradients]], list(fed))

    def numbers() -> dict[str, Tensor]:
        made, *back = session.run([outputs, *gradients], fed)
        found = dict(zip(names, back, strict=True)) if training else {}
        return {"outputs": torch.tensor(made), **(_as_ours(work.layer, found) if found else {})}

    return Side(lambda: run(*fed.values()), numbers)


def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    tf = needed("tensorflow", "bench-tensorflow")
    needed("tf_keras", "bench-tensorflow")
    tf.get_logger().setLevel("ERROR")
    return tf


def _cell(v1: Any, cell: nn.Module, hidden: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they have been deprecated for years
        if isinstance(cell, LSTM):
            return v1.nn.rnn_cell.LSTMCell(hidden, forget_bias=cell.forget_bias)
        if isinstance(cell, Elman):
            return v1.nn.rnn_cell.BasicRNNCell(hidden)
    raise NotThere(f"TensorFlow 1 has no {type(cell).__name__} of this form")


def _settings(v1: Any) -> Any:
    threads = torch.get_num_threads()
    return v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)


def _as_ours(layer: nn.Module, gradients: dict[str, Any]) -> dict[str, Tensor]:
    """Gradients go through the door for weights, under the names that ours have."""
    holder = deepcopy(layer)
    told = {each.forget_bias for each in leaves(tree(layer)) if isinstance(each, LSTM)}
    from_tensorflow(holder, gradients, forget_bias=next(iter(told), None))
    return dict(holder.named_parameters())
