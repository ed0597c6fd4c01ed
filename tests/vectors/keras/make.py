"""Computes the vectors beside it with Keras, in float64: `pip install keras tensorflow-cpu`.

x, lengths and weights were drawn once and are kept in the files; what Keras makes of them, the probes
and the gradients are made anew. `saved.keras` is a small model of two layers as Keras saves it, with
its outputs in `saved.npz`. Nobody who runs the tests needs Keras.
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

HERE = Path(__file__).parent
ALL = {"return_sequences": True, "return_state": True}
CASES = {
    "simple_rnn": lambda: layers.SimpleRNN(8, **ALL),
    "lstm": lambda: layers.LSTM(8, **ALL),
    "gru_reset_before": lambda: layers.GRU(8, reset_after=False, **ALL),
    "gru_reset_after": lambda: layers.GRU(8, reset_after=True, **ALL),
    "bidirectional_gru_concat": lambda: layers.Bidirectional(layers.GRU(8, **ALL)),
    "bidirectional_lstm_sum": lambda: layers.Bidirectional(layers.LSTM(8, **ALL), merge_mode="sum"),
}


def make(layer, case: dict[str, np.ndarray], draw: np.random.Generator) -> dict[str, np.ndarray]:
    """The case as it was, with what the layer computes of it."""
    kept = {
        name: array for name, array in case.items() if name in ("x", "lengths") or "weight/" in name
    }
    names = [name for name in kept if "weight/" in name]
    x = tf.Variable(kept["x"])
    mask = np.arange(x.shape[1]) < kept["lengths"][:, None]
    layer.build(x.shape)
    layer.set_weights([kept[name] for name in names])
    with tf.GradientTape() as tape:
        outputs, *states = layer(tf.convert_to_tensor(x), mask=tf.constant(mask))
        probes = [draw.standard_normal(each.shape) for each in (outputs, *states)]
        loss = sum(
            tf.reduce_sum(each * probe) for each, probe in zip((outputs, *states), probes, strict=True)
        )
    weights = [weight.value for weight in layer.trainable_weights]
    gradients = tape.gradient(loss, [x, *weights])
    kept |= {"outputs": outputs, "probe_outputs": probes[0], "loss": loss, "grad/x": gradients[0]}
    for n, (state, probe) in enumerate(zip(states, probes[1:], strict=True)):
        kept |= {f"state/{n}": state, f"probe_state/{n}": probe}
    for name, gradient in zip(names, gradients[1:], strict=True):
        kept[name.replace("weight/", "grad/")] = gradient
    return {name: np.asarray(each) for name, each in kept.items()}


def save_a_model(draw: np.random.Generator) -> None:
    model = keras.Sequential(
        [
            layers.Input((None, 3)),
            layers.Bidirectional(layers.GRU(2, return_sequences=True)),
            layers.LSTM(2),
            layers.Dense(1),
        ]
    )
    model.set_weights([draw.standard_normal(each.shape) for each in model.get_weights()])
    model.save(HERE / "saved.keras")
    x = draw.standard_normal((2, 4, 3))
    last = keras.Model(model.inputs[0], model.layers[-2].output)
    np.savez_compressed(HERE / "saved.npz", x=x, outputs=last(x))


if __name__ == "__main__":
    keras.config.set_floatx("float64")
    draw = np.random.default_rng(0)
    for name, layer in CASES.items():
        file = HERE / f"{name}.npz"
        np.savez_compressed(file, **make(layer(), dict(np.load(file)), draw))
    save_a_model(draw)
