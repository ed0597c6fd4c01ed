"""From a recipe to a tested model: the loop, checkpoints, metrics, the record of a run."""

from ostinato.training.evaluate import Score, evaluate
from ostinato.training.loop import resume, train
from ostinato.training.observer import Observer, Step
from ostinato.training.recipe import Recipe, parse_recipe, read_recipe, recipe_names, with_training
from ostinato.training.run import Record, RunFolder
from ostinato.training.stepped import Training
from ostinato.training.use import classify, score_run

__all__ = [
    "Observer",
    "Recipe",
    "Record",
    "RunFolder",
    "Score",
    "Step",
    "Training",
    "classify",
    "evaluate",
    "parse_recipe",
    "read_recipe",
    "recipe_names",
    "resume",
    "score_run",
    "train",
    "with_training",
]
