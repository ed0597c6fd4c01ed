"""What Ostinato is measured against, each written as those who know it well would."""

PEERS = {
    "torch.nn": "torch.nn's own layers, padded or packed",
    "loop": "a loop over the cell in plain torch, as an expert writes it by hand",
    "torch.compile": "that loop, compiled",
    "onnx": "ONNX Runtime on its own LSTM and GRU nodes",
    "jax": "JAX: the recurrence in lax.scan, all of it under one jit",
    "keras": "Keras 3 on JAX",
    "tensorflow": "TensorFlow's compat.v1: its cells, dynamic_rnn, a session",
    "sru": "the package sru of the SRU paper's authors",
    "torchrecurrent": "the layers of the package torchrecurrent",
    "ostinato": "Ostinato itself, done another way",
}
"""By the names that `--peers` knows."""
