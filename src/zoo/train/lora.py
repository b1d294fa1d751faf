"""LoRA on a model: which layers learn, and how what they learnt becomes part of their weights.

Merging rounds W + change to the weight's dtype. How much of the change that costs is measured in
float64, layer by layer, and a merge that would lose too much is refused:

    error  = |stored - (W + change)| / |change|        Frobenius norms: a share of what was learnt
    output = the largest |(stored - (W + change)) x| for |x| <= 1: the spectral norm
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.nn import Linear
from zoo.nn.lora import LoRALinear
from zoo.train.optimizer import matches_of, matching, names_of

MOST = 0.01  # of what was learnt may be lost in a merge


class MergeError(ValueError):
    """A merge that would lose too much of what was learnt."""


@dataclass(frozen=True)
class Merged:
    """What a merge did to one layer, and the adapter that it took away."""

    name: str
    error: float  # share of the learnt change that rounding takes; 0 when nothing was learnt
    output: float  # largest change of the layer's output, by rounding, for inputs of length one
    rank: int
    alpha: float
    rate: float
    down: Tensor
    up: Tensor


@dataclass(frozen=True)
class MergeReport:
    """What a merge did, layer by layer."""

    layers: tuple[Merged, ...]

    def worst(self) -> Merged:
        """Give the layer that lost the largest share."""
        return max(self.layers, key=lambda layer: layer.error)

    def sentence(self) -> str:
        worst = self.worst()
        return (
            f"{len(self.layers)} layers merged; rounding took at most {worst.error:.2e} of what "
            f"was learnt ({worst.name}), and changes no layer's output by more than "
            f"{max(layer.output for layer in self.layers):.2e} for inputs of length one"
        )


def add_lora(
    model: nn.Module,
    *,
    rank: int,
    alpha: float,
    targets: Sequence[str],
    rate: float = 0.0,
    trained: Sequence[str] = (),
) -> list[str]:
    """Put adapters on the linear layers that match a pattern, freeze all else; give their names.

    `targets` are patterns of our module names, such as `*.attn.qkv` and `*.mlp.up`; `trained` are
    patterns of parameters that stay trained, such as `head.*`. An adapter of a fused `qkv` spans
    queries, keys and values. `down` is drawn from torch's generator; `rate` is of dropout.
    Raises ValueError, and changes nothing, for a pattern that matches nothing, and for a model
    that has adapters.
    """
    found = {name: part for name, part in model.named_modules() if type(part) is Linear}
    if adapters_of(model):
        raise ValueError("the model has adapters already; merge_lora makes them part of it")
    names = matches_of(list(found), targets, "linear layer")
    kept = matching(model, trained)
    refuse_shared(model, names, kept)
    made = {name: LoRALinear(found[name], rank=rank, alpha=alpha, rate=rate) for name in names}
    install(model, made, kept)
    return names


def install(model: nn.Module, made: dict[str, LoRALinear], kept: Sequence[str]) -> None:
    """Put adapted layers in place and train nothing but them and the parameters `kept`."""
    model.requires_grad_(False)
    named = names_of(model)
    for name in kept:
        named[name].requires_grad_(True)
    for name, layer in made.items():
        put(model, name, layer)


def refuse_shared(model: nn.Module, names: Sequence[str], kept: Sequence[str]) -> None:
    """Refuse to adapt a weight that has a second name, and one that is trained itself."""
    named = names_of(model)
    for name in names:
        weight = f"{name}.weight"
        others = [n for n, p in named.items() if p is named[weight] and n != weight]
        if others:
            raise ValueError(f"{weight} is tied to {others[0]}: an adapter would part them")
        if weight in kept:
            raise ValueError(f"{weight} is trained and adapted; leave it out of one of the two")


def adapters_of(model: nn.Module) -> dict[str, LoRALinear]:
    """Give the adapted layers by name."""
    return {name: part for name, part in model.named_modules() if isinstance(part, LoRALinear)}


def put(model: nn.Module, name: str, layer: nn.Module) -> None:
    where, _, own = name.rpartition(".")
    setattr(model.get_submodule(where), own, layer)


def lora_state(model: nn.Module) -> dict[str, Tensor]:
    """Give what adapters have learnt, `<layer>.down` (rank, in) and `<layer>.up` (out, rank)."""
    return {
        f"{name}.{part}": getattr(layer, part).detach()
        for name, layer in adapters_of(model).items()
        for part in ("down", "up")
    }


def merge_lora(model: nn.Module, *, most: float = MOST) -> MergeReport:
    """Make adapters part of the weights, in place; the layers are plain again, and still frozen.

    `most` bounds the share of a layer's learnt change that rounding to the weight's dtype may take.
    Raises MergeError, and changes nothing, when a layer would lose more, and ValueError when there
    are no adapters.
    """
    adapters = adapters_of(model)
    if not adapters:
        raise ValueError("the model has no adapters to merge; add_lora puts some on it")
    stored = {name: rounded(layer, 1.0) for name, layer in adapters.items()}
    report = MergeReport(tuple(measure(n, layer, stored[n]) for n, layer in adapters.items()))
    over = [layer for layer in report.layers if not layer.error <= most]  # NaN is over too
    if over:
        worst = max(over, key=lambda layer: layer.error)
        dtype = str(adapters[worst.name].weight.dtype).removeprefix("torch.")
        raise MergeError(
            f"in {dtype} {worst.name} would lose {worst.error:.1%} of what it learnt, more than "
            f"{most:.1%}, and {len(over) - 1} more layers too much: merge in float32, "
            "model.float(), and keep it so"
        )
    for name, layer in adapters.items():
        with torch.no_grad():
            layer.weight.copy_(stored[name])
        put(model, name, layer.plain())
    return report


def rounded(layer: LoRALinear, times: float) -> Tensor:
    """Give the weight and `times` its change, added in float64, in the weight's dtype."""
    weight = layer.weight.detach()
    return (weight.double() + times * layer.change()).to(weight.dtype)


def measure(name: str, layer: LoRALinear, stored: Tensor) -> Merged:
    """Measure what rounding takes from a layer."""
    change = layer.change()
    lost = stored.double() - (layer.weight.detach().double() + change)
    size, learnt = float(lost.norm()), float(change.norm())
    error = size / learnt if learnt else size
    options = (layer.rank, layer.alpha, layer.drop.rate, layer.down.detach(), layer.up.detach())
    return Merged(name, error, spectral_norm(lost), *options)


def spectral_norm(matrix: Tensor) -> float:
    """Give the largest |M x| for |x| <= 1, by the eigenvalues of the smaller of M M^T and M^T M."""
    if not bool(matrix.isfinite().all()):
        return float("inf")
    tall = matrix.shape[0] > matrix.shape[1]
    size = float(matrix.abs().max()) or 1.0  # squares of what is tiny would vanish
    m = matrix / size
    squares = m.T @ m if tall else m @ m.T
    return size * float(torch.linalg.eigvalsh(squares)[-1].clamp_min(0).sqrt())


def unmerge_lora(model: nn.Module, report: MergeReport) -> None:
    """Take merged adapters out of the weights again and put them back as adapters.

    Each way rounds once: a weight comes back to within (1 + u) u (|W + change| + |W|), u = eps / 2
    of its dtype, and not to the same bits. To have those, keep the model's folder.
    Raises ValueError when a layer is not there any more or is no plain linear layer.
    """
    made = {}
    for old in report.layers:
        layer = dict(model.named_modules()).get(old.name)
        if type(layer) is not Linear:
            raise ValueError(f"{old.name} is {type(layer).__name__}; expected the merged Linear")
        made[old.name] = LoRALinear(layer, rank=old.rank, alpha=old.alpha, rate=old.rate)
        with torch.no_grad():
            made[old.name].down.copy_(old.down)
            made[old.name].up.copy_(old.up)
    for name, layer in made.items():
        with torch.no_grad():
            layer.weight.copy_(rounded(layer, -1.0))
        put(model, name, layer)
