"""Training: a step and its loop, what a run keeps, and runs from recipes.

Importing this loads torch and no more: a public name is imported when it is first asked for, so a
loop written by hand needs none of the packages that read data.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.train.adapter import save_adapter
    from zoo.train.adapter_read import load_adapter
    from zoo.train.blame import Fault, find_fault
    from zoo.train.config import RunConfig, read_recipe, recipes
    from zoo.train.ema import EMA
    from zoo.train.learner import Learner
    from zoo.train.lock import Lock, LockedError
    from zoo.train.log import read_log
    from zoo.train.loop import Step, TrainingError, fit, token_batches, train_step
    from zoo.train.lora import MergeError, MergeReport, add_lora, merge_lora, unmerge_lora
    from zoo.train.meet import WorldError
    from zoo.train.optimizer import freeze, make_optimizer, parameter_groups
    from zoo.train.run import Outcome, train
    from zoo.train.schedule import learning_rate
    from zoo.train.state import TrainState, load_state, save_state
    from zoo.train.store import Store
    from zoo.train.world import World

# public name -> the file it lives in
PUBLIC = {
    "EMA": "zoo.train.ema",
    "Fault": "zoo.train.blame",
    "Learner": "zoo.train.learner",
    "Lock": "zoo.train.lock",
    "LockedError": "zoo.train.lock",
    "MergeError": "zoo.train.lora",
    "MergeReport": "zoo.train.lora",
    "Outcome": "zoo.train.run",
    "RunConfig": "zoo.train.config",
    "Step": "zoo.train.loop",
    "Store": "zoo.train.store",
    "TrainState": "zoo.train.state",
    "TrainingError": "zoo.train.loop",
    "World": "zoo.train.world",
    "WorldError": "zoo.train.meet",
    "add_lora": "zoo.train.lora",
    "find_fault": "zoo.train.blame",
    "fit": "zoo.train.loop",
    "freeze": "zoo.train.optimizer",
    "learning_rate": "zoo.train.schedule",
    "load_adapter": "zoo.train.adapter_read",
    "load_state": "zoo.train.state",
    "make_optimizer": "zoo.train.optimizer",
    "merge_lora": "zoo.train.lora",
    "parameter_groups": "zoo.train.optimizer",
    "read_log": "zoo.train.log",
    "read_recipe": "zoo.train.config",
    "recipes": "zoo.train.config",
    "save_adapter": "zoo.train.adapter",
    "save_state": "zoo.train.state",
    "token_batches": "zoo.train.loop",
    "train": "zoo.train.run",
    "train_step": "zoo.train.loop",
    "unmerge_lora": "zoo.train.lora",
}

__all__ = [
    "EMA",
    "Fault",
    "Learner",
    "Lock",
    "LockedError",
    "MergeError",
    "MergeReport",
    "Outcome",
    "RunConfig",
    "Step",
    "Store",
    "TrainState",
    "TrainingError",
    "World",
    "WorldError",
    "add_lora",
    "find_fault",
    "fit",
    "freeze",
    "learning_rate",
    "load_adapter",
    "load_state",
    "make_optimizer",
    "merge_lora",
    "parameter_groups",
    "read_log",
    "read_recipe",
    "recipes",
    "save_adapter",
    "save_state",
    "token_batches",
    "train",
    "train_step",
    "unmerge_lora",
]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'zoo.train' has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
