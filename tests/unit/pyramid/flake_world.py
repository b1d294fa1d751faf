"""A suite that exists as a rule only: which test fails in which setting, after which tests."""

import os
import random

from zoo.pyramid.flake.child import Outcome, Run
from zoo.pyramid.flake.setting import Setting, Trial

NAMES = tuple(f"test_w.py::test_{letter}" for letter in "abcdefgh")


class World:
    """Answers trials as child processes would; a rule gets setting, test and tests before it."""

    def __init__(self, rule, names=NAMES):
        self.rule, self.names = rule, names
        self.trials = []

    def __call__(self, trial, seconds):
        self.trials.append(trial)
        names = trial.tests or arranged(self.names, trial.setting.order)
        queues = [names[k :: max(1, trial.setting.workers)] for k in range(max(1, len(names)))]
        queues = [queue for queue in queues[: max(1, trial.setting.workers)] if queue]
        processes = tuple(tuple(self.process(trial, queue)) for queue in queues)
        return Run(trial=trial, processes=processes, collected=tuple(names), seconds=0.1)

    def process(self, trial, names):
        done = []
        for turn in range(trial.rounds):
            done = [] if trial.fork else done
            seed = trial.setting.seed + turn * trial.step
            for name in names:
                setting = replaced(trial.setting, seed)
                bad = self.rule(setting, name, tuple(done))
                yield Outcome(name, turn, seed, "failed" if bad else "passed", 0.001, "it said so")
                done.append(name)


def arranged(names, order):
    if order == "given":
        return names
    if order == "reversed":
        return names[::-1]
    return tuple(random.Random(order).sample(names, len(names)))


def replaced(setting: Setting, seed: int) -> Setting:
    return Setting(**{**vars(setting), "seed": seed})


def at_random(share):
    """Give a rule that fails by chance alone, the same in every run of this file."""
    draws = random.Random(5)
    return lambda setting, name, done: name == NAMES[3] and draws.random() < share


def never(setting, name, done):
    return False


PLAIN = Trial()
CORES = os.cpu_count() or 1
