"""Engines on the golden checkpoints, and how a test asks them without threads."""

import functools
from pathlib import Path

import torch

from zoo.serve.job import Job
from zoo.serve.limits import Limits
from zoo.serve.opening import open_engine

GOLDEN = Path(__file__).parents[3] / "golden"
LIMITS = Limits(rows=4, batch=8)


@functools.cache
def opened(name):
    """Open a golden checkpoint once for all tests of a process."""
    return open_engine(GOLDEN / name, LIMITS)


class Asked:
    """An engine and what its jobs are told, by their ids."""

    def __init__(self, engine):
        self.engine = engine
        self.told = {}

    def ask(self, verb, body, files=(), deadline=None):
        """Submit a job; give its id."""
        id = len(self.told) + 1
        self.told[id] = []
        self.engine.submit(Job(id, verb, body, self.told[id].append, tuple(files), deadline))
        return id

    def work(self, turns=10_000):
        """Let the engine compute until nothing is left."""
        with torch.no_grad():
            while turns and (self.engine.inbox or self.engine.cancelled or self.engine.crew.busy):
                self.engine.turn()
                turns -= 1
        assert turns, "the engine did not come to an end"

    def answer(self, id):
        """Give a job's answer."""
        last = self.told[id][-1]
        assert last["is"] == "done", last
        return last["answer"]

    def refusal(self, id):
        """Give what a job was refused for."""
        last = self.told[id][-1]
        assert last["is"] == "failed", last
        assert len([event for event in self.told[id] if event["is"] != "piece"]) == 1
        return last


def asked(name):
    return Asked(opened(name))


def one(name, verb, body, files=()):
    """Give the answer to one job."""
    asking = asked(name)
    id = asking.ask(verb, body, files)
    asking.work()
    return asking.answer(id)
