"""What a check found: a kind of bug, a place, the evidence, why it is wrong, and what to change."""

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["fail", "warn", "info"]

# Kinds of bugs, and the sentence that opens a finding of the kind.
KINDS: dict[str, str] = {
    # forward
    "crash": "the model does not run",
    "shape": "the output's shape is wrong, or the model fails at an ordinary size",
    "non-finite": "NaN or infinity appears",
    "range": "the output leaves its range, or is not what it is said to be",
    "accepts-bad-input": "input that must be refused is accepted",
    "bad-input-data": "the batch holds values that the model cannot mean",
    # what an output depends on
    "causal-leak": "an output sees the future",
    "batch-leak": "rows of a batch change each other",
    "padding-leak": "padding changes real positions",
    "mask": "a mask does not do what it says",
    "ignored-input": "an input has no effect",
    "dead-position": "a position neither sees nor is seen",
    "position-blind": "the order of positions does not matter",
    "permutation": "a promised symmetry does not hold",
    "receptive-field": "an output sees less, or more, than it should",
    "cache": "step by step disagrees with all at once",
    "formula": "a step is not what the model's family computes there",
    # state and modes
    "nondeterministic": "the same input gives other numbers",
    "eval-noise": "eval mode draws random numbers",
    "no-train-noise": "dropout that was declared does nothing",
    "hidden-rng": "randomness does not follow torch's seed",
    "train-eval": "a layer does not follow train() and eval()",
    "state-carried": "one call changes the next",
    "input-mutated": "the model writes into its input",
    "global-state": "the model changes a setting of the whole process",
    "lost-state": "saving and loading loses something",
    "broken-tie": "tied weights are not tied, or separate ones are",
    # gradients and parameters
    "wrong-gradient": "a backward pass is not the derivative of its forward pass",
    "detached": "the gradient is cut on its way",
    "unused-parameter": "a parameter has no part in the output",
    "unregistered": "a tensor that should be a parameter (or a buffer) is not registered",
    "frozen": "what is trained and what is frozen is not what was said",
    "double-backward": "the second derivative is wrong",
    # numbers
    "dtype": "the model does not keep to its dtype",
    "device": "the model does not move to another device",
    "precision": "low precision costs more than its rounding",
    "init": "the weights begin at a scale that hinders learning",
    "dead-units": "units that never answer",
    "saturated": "units that always answer the same",
    "exploding": "the signal or the gradient explodes with depth",
    "vanishing": "the signal or the gradient vanishes with depth",
    "collapsed": "different inputs give the same output",
    # the loss
    "loss-shape": "the loss compares shapes that do not belong together",
    "loss-sign": "the loss falls when the answer gets worse",
    "loss-input": "the loss is given the wrong kind of numbers",
    "loss-targets": "positions are trained to emit the wrong target",
    "loss-ignored": "labels that should not count count, or the other way round",
    "loss-scale": "the loss has the wrong scale",
    "loss-one-sided": "a loss that should be symmetric is not",
    "loss-constant": "the loss does not depend on the output or on the labels",
    "not-learning": "one batch cannot be learnt by heart",
    # neutrality
    "accumulation": "a batch in pieces gives other gradients",
    "checkpointing": "activation checkpointing changes the numbers",
    "compile": "torch.compile changes the numbers",
    "threads": "the number of threads changes more than the rounding",
    # training loop
    "zero-grad": "gradients of earlier steps are left",
    "eval-mode": "evaluation does not run in eval mode, or does not give train mode back",
    "scheduler": "the learning rate is not the schedule's",
    "clipping": "gradients are not clipped, or at the wrong moment",
    "optimizer": "the optimizer does not hold the trainable parameters",
    "resume": "training that goes on differs from training that never stopped",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or looks so."""

    kind: str  # a key of KINDS
    severity: Severity
    where: str  # the module's dotted path ("" is the model itself), or an input's name
    evidence: str  # what was done and what came out, with numbers
    explanation: str  # why that is a bug
    fix: str  # what to change
    line: str = ""  # "model.py:41 scores.softmax(1)" where the kit saw it
    check: str = ""  # filled in by the engine
    repro: str = ""  # three lines; filled in by the engine
    data: Any = None  # a matrix for the page, JSON-able
    because: str = ""  # "unregistered at blocks": follows from that; filled in by the report

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no kind of bug is called {self.kind!r}; see KINDS")
