"""Writes `saved.ckpt`, `checkpoint.npz`, `block_cells.npz`: `pip install tensorflow-cpu tf_keras`.

`saved.ckpt` is TensorFlow's own checkpoint of a small training; `checkpoint.npz` is what TensorFlow
reads from it, name by name, with what its two networks compute; `block_cells.npz` is a step of its
LSTMBlockCell and GRUBlockCell operations, which know float32 alone. The other files beside it came
before this script. Nobody who runs the tests needs TensorFlow.
"""

import os
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
HERE = Path(__file__).parent
B, T, I = 3, 5, 4  # noqa: E741


def checkpoint(draw: np.random.Generator) -> dict[str, np.ndarray]:
    """An encoder of two kinds of cells and a reader in both directions, after one step of Adam."""
    data = {"x": draw.standard_normal((B, T, I)), "lengths": np.array([5, 2, 4])}
    with v1.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(0)
        x, lengths = tf.constant(data["x"]), tf.constant(data["lengths"])
        cell = v1.nn.rnn_cell
        with v1.variable_scope("encoder"):
            lower = cell.LSTMCell(4, use_peepholes=True, num_proj=3, forget_bias=0.5)
            upper = cell.DropoutWrapper(cell.GRUCell(3), output_keep_prob=tf.constant(1.0, tf.float64))
            stack = cell.MultiRNNCell([lower, cell.ResidualWrapper(upper)])
            encoded, states = v1.nn.dynamic_rnn(stack, x, lengths, dtype=tf.float64)
        with v1.variable_scope("reader"):
            ahead, behind = cell.BasicLSTMCell(2), cell.BasicLSTMCell(2)
            read, both = v1.nn.bidirectional_dynamic_rnn(ahead, behind, x, lengths, dtype=tf.float64)
        kernel = v1.get_variable("dense/kernel", (3, 1), tf.float64)
        bias = v1.get_variable("dense/bias", (1,), tf.float64)
        step = v1.train.get_or_create_global_step()
        v1.get_variable("said", initializer=tf.constant("text"), trainable=False)
        parts = v1.fixed_size_partitioner(2)
        v1.get_variable("parted", (4, 2), trainable=False, partitioner=parts)
        loss = tf.reduce_sum((encoded @ kernel + bias) ** 2) + tf.reduce_sum(tf.concat(read, -1) ** 2)
        trained = v1.train.AdamOptimizer(0.1).minimize(loss, global_step=step)
        average = tf.train.ExponentialMovingAverage(0.9)
        with v1.control_dependencies([trained]):
            train = average.apply(v1.trainable_variables())
        session.run(v1.global_variables_initializer())
        session.run(train)
        results = {"encoded": encoded, "read": tf.concat(read, -1)}
        results |= {"lower/c": states[0].c, "lower/h": states[0].h, "upper/h": states[1]}
        results |= {
            f"{side}/{part}": getattr(state, part)
            for side, state in zip(("fw", "bw"), both, strict=True)
            for part in "ch"
        }
        data |= session.run(results)
        saver = v1.train.Saver()
        saved = saver.save(session, str(HERE / "saved.ckpt"), write_meta_graph=False, write_state=False)
        reader = tf.train.load_checkpoint(saved)
        names = reader.get_variable_to_shape_map()
        return data | {
            f"checkpoint/{name}": reader.get_tensor(name)
            for name in names
            if name not in ("said", "parted")
        }


def block_cells(draw: np.random.Generator) -> dict[str, np.ndarray]:
    """One step of the block operations from a random state."""

    def some(*shape: int) -> np.ndarray:
        return draw.standard_normal(shape).astype(np.float32)

    kept = {"x": some(B, I), "h": some(B, 2), "c": some(B, 2)}
    lstm = {"kernel": some(I + 2, 8), "bias": some(8)}
    lstm |= {f"w_{gate}_diag": some(2) for gate in "ifo"}
    gru = {"w_ru": some(I + 2, 4), "w_c": some(I + 2, 2), "b_ru": some(4), "b_c": some(2)}
    done = tf.raw_ops.LSTMBlockCell(
        x=kept["x"],
        cs_prev=kept["c"],
        h_prev=kept["h"],
        w=lstm["kernel"],
        b=lstm["bias"],
        wci=lstm["w_i_diag"],
        wcf=lstm["w_f_diag"],
        wco=lstm["w_o_diag"],
        forget_bias=0.5,
        cell_clip=0.4,
        use_peephole=True,
    )
    kept |= {"lstm/h": done.h.numpy(), "lstm/c": done.cs.numpy()}
    kept["gru/h"] = tf.raw_ops.GRUBlockCell(x=kept["x"], h_prev=kept["h"], **gru).h.numpy()
    kept |= {f"weight/lstm_cell/{name}": array for name, array in lstm.items()}
    return kept | {f"weight/gru_cell/{name}": array for name, array in gru.items()}


if __name__ == "__main__":
    draw = np.random.default_rng(0)
    for name, make in (("checkpoint", checkpoint), ("block_cells", block_cells)):
        np.savez_compressed(HERE / f"{name}.npz", **make(draw))
