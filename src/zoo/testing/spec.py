"""One description of a model, from which every check follows.

`build` and `batch` are enough to begin; each further fact lets more be checked, and more strictly.
What is not said is found out by trial where that is certain, and left untested where it is not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

Batch = Mapping[str, Any]  # keyword arguments of forward, and what only the loss reads
Kind = Literal[
    "float",  # real numbers
    "image",  # (b, c, h, w)
    "tokens",  # ids of a vocabulary, one a position
    "targets",  # the decoder's own past: what it is trained to give, one position later
    "index",  # whole numbers that say where: positions, segments, edges, time steps
    "mask",  # which positions count
    "adjacency",  # (b, n, n): which nodes are joined
    "labels",  # read by the loss alone
    "other",  # left as it is
]
Task = Literal[
    "classification",
    "multilabel",
    "regression",
    "next_token",
    "masked_tokens",
    "token_classification",
    "segmentation",
    "contrastive",
    "reconstruction",
    "denoising",
]


@dataclass(frozen=True, kw_only=True)
class Input:
    """What one entry of the batch is. Every field may be left out."""

    kind: Kind | None = None
    batch_axis: int | None = None
    sequence_axis: int | None = None
    vocab_size: int | None = None
    max_length: int | None = None  # positions along the sequence axis
    pad_id: int | None = None
    mask: str | None = None  # the entry that says which positions of this one count
    true_means: Literal["keep", "drop"] | None = None  # of a mask: what True (or 1) says
    low: float | None = None  # legal range, both ends included
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """How a model is trained, in pieces that can be checked one by one.

    `step` is all that one batch makes happen: gradients to zero, forward, backward, clipping, the
    optimizer's and the scheduler's step. `scheduler` is None where none is made.
    """

    optimizer: Callable[[nn.Module], Any]
    step: Callable[[nn.Module, Any, Any, Batch], Any] | None = (
        None  # (model, optimizer, scheduler, batch) -> loss
    )
    scheduler: Callable[[Any], Any] | None = None  # optimizer -> scheduler
    accumulate: Callable[[nn.Module, Any, Any, Sequence[Batch]], Any] | None = None
    # (model, optimizer, scheduler, pieces): one step over a batch that was cut into pieces
    evaluate: Callable[[nn.Module, Sequence[Batch]], Any] | None = None  # (model, batches) -> value
    save: Callable[[nn.Module, Any, Any], Any] | None = None  # (model, optimizer, scheduler)
    load: Callable[[Any, nn.Module, Any, Any], None] | None = None
    # (what save gave, model, optimizer, scheduler): all three brought to that state
    clip: float | None = None  # the norm that `step` clips gradients to
    schedule: Callable[[int], float] | None = None
    # optimizer step (from 0) -> the learning rate it must use; not given: not checked


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model, how to call it, and what its author knows about it.

    `build` gives a fresh module. `batch(size)` gives keyword tensors for `forward`; what `forward`
    does not name (labels, say) is for `loss` alone. `loss(output, batch)` gives a scalar. The kit
    seeds all three.
    """

    build: Callable[[], nn.Module]
    batch: Callable[[int], Any] | None = None
    loss: Callable[[Any, Any], Tensor] | None = None
    name: str = ""

    family: Literal["gpt2", "bert", "vit", "clip"] | None = None
    # the published architecture that this is meant to be: every step is held against its formula

    # the task and the loss
    task: Task | None = None
    num_classes: int | None = None
    labels: str | None = None  # the entry with what is to be predicted
    label_shift: int | None = None
    # position t is trained to emit labels[t + label_shift]: 0 where labels are aligned or were
    # shifted by the data, 1 where the loss (or the model) shifts
    ignore_index: int | None = None
    reduction: Literal["mean", "sum", "none"] | None = None
    symmetric_loss: bool | None = None  # contrastive: both directions count
    class_axis: int | None = None  # of the output

    # inputs
    inputs: Mapping[str, Input | Kind] = field(default_factory=dict)
    tokens: str | Sequence[str] | None = None
    vocab_size: int | None = None
    max_length: int | None = None
    pad_id: int | None = None
    padding_mask: str | None = None
    true_means: Literal["keep", "drop"] | None = None
    padding_side: Literal["right", "left", "both"] | None = None  # which sides must work
    batch_axis: int | None = None
    sequence_axis: int | None = None
    may_ignore: Sequence[str] = ()  # inputs that need not change the output
    must_raise: Mapping[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    # a sentence -> a function that turns a good batch into one that forward must refuse

    # the output
    output: str | Callable[[Any], Tensor] | None = None  # a path such as "logits" or "0.hidden"
    output_kind: (
        Literal["logits", "probabilities", "log_probabilities", "embedding", "unit", "real"] | None
    ) = None
    output_batch_axis: int | None = None
    output_sequence_axis: int | None = None
    output_range: tuple[float, float] | None = None
    output_shape: Callable[[dict[str, Any]], Sequence[int]] | None = None  # batch -> shape

    # what one output may depend on
    causal: str | bool | None = None  # the input whose future must not be seen
    couples_batch: bool | None = None  # in eval mode a row may depend on the other rows
    couples_batch_train: bool | None = None  # ... in train mode: batch norm
    permutation_invariant: str | Sequence[str] = ()
    permutation_equivariant: str | Sequence[str] = ()
    position_sensitive: bool | None = None  # swapping two tokens must show
    receptive_field: int | None = None  # positions before (and after) that may matter

    # parameters
    frozen: Sequence[str] | None = None  # patterns of names; () says that nothing is frozen
    unused_ok: Sequence[str] = ()
    tied: Sequence[Sequence[str]] = ()  # groups of names that are one tensor
    stop_gradient: bool | Sequence[str] = False  # detached on purpose: everywhere, or by module
    straight_through: bool | Sequence[str] = False  # backward is not the derivative on purpose
    custom_functions: Sequence[Any] = ()  # autograd.Function classes, or (function, inputs)

    # behaviour
    train_noise: bool | None = None  # True: train mode draws (dropout); False: it must not
    deterministic: bool | None = None  # eval mode gives the same bits twice
    stateful: bool | None = None  # remembers between calls, on purpose
    reset: str | Callable[[nn.Module], None] | None = None  # forgets
    train_eval_same: bool | None = None  # both modes give the same numbers
    step: str | Callable[..., Any] | None = None
    # step(module, piece, state) -> (output, state), or a method's name; piece is the batch cut to
    # one position, state None at first: positions one by one must agree with forward
    min_batch_train: int | None = None  # the smallest batch of train mode: 2 with batch norm

    # learning
    lr: float | None = None
    steps: int | None = None
    overfit: bool = True  # one batch can be learnt by heart
    trainer: Trainer | None = None
