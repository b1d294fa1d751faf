"""Training: one step and its loop, the learning rate, the optimizer's groups, a resumable state."""

from zoo.train.loop import Step, TrainingError, fit, token_batches, train_step
from zoo.train.optimizer import make_optimizer, parameter_groups
from zoo.train.schedule import learning_rate
from zoo.train.state import load_state, save_state

__all__ = [
    "Step",
    "TrainingError",
    "fit",
    "learning_rate",
    "load_state",
    "make_optimizer",
    "parameter_groups",
    "save_state",
    "token_batches",
    "train_step",
]
