"""Ostinato: recurrent networks for PyTorch, from a cell's step to a trained model."""

__version__ = "0.1.0"
