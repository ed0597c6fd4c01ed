"""What tests of comparisons have in common."""

import os
import signal

from ostinato.lab import compare as lab
from ostinato.training import Observer

SEEDS = (3, 4)


def runs(folder, comparison):
    return [folder.run(run) for each in comparison.entrants for run in each.runs]


class Turns(lab.Watcher):
    """Writes down who took which step; presses Ctrl-C after some."""

    def __init__(self, stop_after=None):
        self.steps, self.notes, self.stop_after = [], [], stop_after

    def training(self, name):
        turns = self

        class One(Observer):
            def step(self, step, line):
                turns.steps.append((name, step.step))
                if len(turns.steps) == turns.stop_after:
                    os.kill(os.getpid(), signal.SIGINT)

        return One()

    def note(self, text):
        self.notes.append(text)
