"""Whole networks: a sequence classifier, the CNN it is compared with, and the file they live in."""

from ostinato.models.build import build
from ostinato.models.classifier import SequenceClassifier
from ostinato.models.cnn import CNN

__all__ = ["CNN", "SequenceClassifier", "build"]
