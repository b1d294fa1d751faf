"""The rows of flow: what each says, and which test would see it."""

from zoo.pyramid.mutate.operators import flow as at
from zoo.pyramid.mutate.operators.base import Operator

GRADIENTS = "ask that every parameter gets a gradient, and compare one with finite differences"
BRANCHES = "call it once for each of the two ways"
EDGES = "call it with the value where the two differ"
STEPS = "train two steps on one batch and compare weights with those of a plain loop"
DTYPES = "run it in bfloat16, and compare type and value with float64"
CACHE = "compare logits with a cache and without, at every split of a short text"

OPERATORS = (
    Operator(name="detach-inserted", family="detach", find=at.detach_inserted,
             says="no gradient flows through {}", seen=GRADIENTS),
    Operator(name="detach-removed", family="detach", find=at.detach_removed,
             says="a gradient flows through {}", seen=GRADIENTS),
    Operator(name="no-grad-removed", family="detach", find=at.no_grad_removed,
             says="{} keeps a graph", seen="ask that what comes out needs no gradient"),
    Operator(name="condition-negated", family="condition", find=at.condition_negated,
             says="`{}` is taken the other way round", seen=BRANCHES),
    Operator(name="comparison-moved", family="condition", find=at.comparison_moved, says="{}",
             seen=EDGES),
    Operator(name="logic-turned", family="condition", find=at.logic_turned,
             says="and stands for or in `{}`, or or for and", seen=BRANCHES),
    Operator(name="swapped", family="wrong argument", find=at.swapped,
             says="the two of ({}) are exchanged", seen="compare with a reference"),
    Operator(name="arguments-swapped", family="wrong argument", find=at.arguments_swapped,
             says="two arguments of {} are exchanged", seen="use sizes that all differ"),
    Operator(name="cast-lost", family="precision", find=at.cast_lost,
             says="{} stays in the type that it has", seen=DTYPES,
             replays="transformers #31035 (bfloat16)"),
    Operator(name="clone-lost", family="precision", find=at.clone_lost,
             says="{} is shared instead of copied", seen="ask that inputs stay as they were"),
    Operator(name="cache-lost", family="cache", find=at.cache_lost,
             says="`{}` is left out", seen=CACHE, replays="transformers #36536, #25420"),
    Operator(name="offset-lost", family="cache", find=at.offset_lost,
             says="{} has become 0", seen=CACHE, replays="transformers #27040, litgpt #2165"),
    Operator(name="ignored-counted", family="labels", find=at.ignored_counted,
             says="labels that {} leaves out count",
             seen="compare the loss with that of the rows that count alone"),
    Operator(name="step-lost", family="training", find=at.step_lost,
             says="`{}` is left out", seen=STEPS),
    Operator(name="decay-lost", family="training", find=at.decay_lost,
             says="{} is lost, or moved by a step", seen=STEPS,
             replays="seeded in other suites, which miss the weight decay"),
    Operator(name="mode-turned", family="training", find=at.mode_turned,
             says="{} sets the other mode", seen="compare train and eval mode"),
    Operator(name="default-changed", family="wrong argument", find=at.default_changed,
             says="the default {} is turned", seen="call it without the argument"),
    Operator(name="operand-lost", family="axis swapped", find=at.operand_lost,
             says="{} gives back what it was given", seen="compare with a reference"),
    Operator(name="statement-deleted", family="statement", find=at.statement_deleted,
             says="`{}` is left out", seen="compare the state before and after"),
)  # fmt: skip
