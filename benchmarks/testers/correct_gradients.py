"""Correct models whose backward pass is unusual: straight-through, stopped, nested, custom."""

import math
from typing import Any

import torch
from benchmarks.testers.small import CLASSES, NOISE, body, rows_of
from benchmarks.testers.sound import Model, Sound, both, cross_entropy, known, mse
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class Codebook(nn.Module):
    """VQ-VAE: the nearest code forwards, the identity backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Linear(12, 4), nn.Linear(4, 12)
        self.codes = nn.Parameter(torch.randn(16, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = self.small(x)
        code = self.codes[torch.cdist(z, self.codes).argmin(-1)]
        return self.large(z + (code - z).detach()), z, code


def quantised(output: Any, batch: Any) -> Tensor:
    x, z, code = output
    pull = F.mse_loss(code, z.detach()) + 0.25 * F.mse_loss(z, code.detach())
    return F.mse_loss(x, batch["x"]) + pull


class Gumbel(nn.Module):
    """A hard choice that train mode draws and eval mode takes at its maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.pick, self.read = body(), nn.Linear(16, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.pick(self.body(x))
        if self.training:
            return self.read(F.gumbel_softmax(logits, tau=1.0, hard=True))
        return self.read(F.one_hot(logits.argmax(-1), 6).to(logits.dtype))


class Fake(nn.Module):
    """Quantisation-aware: eight bits forwards, the identity backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.head = nn.Linear(6, 16), nn.Linear(16, 5)

    def rounded(self, x: Tensor) -> Tensor:
        scale = x.detach().abs().amax().clamp(min=1e-8) / 127
        return x + ((x / scale).round() * scale - x).detach()

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(F.linear(x, self.rounded(self.low.weight), self.low.bias))
        return F.linear(x, self.rounded(self.head.weight), self.head.bias)


class Swish(torch.autograd.Function):
    """x sigmoid(x), which keeps x alone; right to any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = x.sigmoid()
        return dy * (s + x * s * (1 - s))


class Clamp(torch.autograd.Function):
    """A clamp that says it can be differentiated once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.abs() < 2)
        return x.clamp(-2, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (inside,) = ctx.saved_tensors
        return dy * inside


class Sign(torch.autograd.Function):
    """Binary weights: the sign forwards, a window backwards. On purpose no derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return dy * (x.abs() <= 1)


class Turn(torch.autograd.Function):
    """Gradient reversal: the identity forwards, its negative backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return -dy


class Using(nn.Module):
    """A network around a custom function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.low, self.mid, self.head = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 5)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function.apply(self.mid(F.gelu(self.low(x)))))


class Domains(nn.Module):
    """Domain adversarial: a second head behind a gradient reversal."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.domain = body(), nn.Linear(16, 5), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.head(h), self.domain(Turn.apply(h))


def adversarial(output: Any, batch: Any) -> Tensor:
    domain = F.cross_entropy(output[1], batch["labels"] % 2)
    return F.cross_entropy(output[0], batch["labels"]) + 0.1 * domain


class Coupled(nn.Module):
    """RealNVP: z and the log of the volume change, with scales that begin at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 4)) for _ in range(2)
        )
        for net in self.nets:
            nn.init.zeros_(net[2].weight)
            nn.init.zeros_(net[2].bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, -1)
        volume = x.new_zeros(len(x))
        for net in self.nets:
            scale, shift = net(a).chunk(2, -1)
            scale = scale.tanh()
            a, b = b * scale.exp() + shift, a
            volume = volume + scale.sum(-1)
        return torch.cat([a, b], -1), volume


def likelihood(output: Any, batch: Any) -> Tensor:
    z, volume = output
    normal = -0.5 * z.square().sum(-1) - z.shape[-1] / 2 * math.log(2 * math.pi)
    return -(normal + volume).mean()


class Energy(nn.Module):
    """Forces as the gradient of an energy: forward differentiates, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            energy = self.net(x)[:, 0]
            (slope,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
        return energy, -slope


def forces(output: Any, batch: Any) -> Tensor:
    return F.mse_loss(output[1], -batch["x"]) + 0.1 * F.mse_loss(
        output[0], batch["x"].square().sum(-1) / 2
    )


class Flowing(nn.Module):
    """A neural ODE by eight steps of Euler."""

    def __init__(self) -> None:
        super().__init__()
        self.field, self.head = nn.Linear(7, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(8):
            when = x.new_full((len(x), 1), i / 8)
            x = x + torch.tanh(self.field(torch.cat([x, when], -1))) / 8
        return self.head(x)


class Fixed(nn.Module):
    """A deep equilibrium: the fixed point without a graph, then one step with it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.head = nn.Linear(8, 8), nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        given = self.outer(x)
        with torch.no_grad():
            z = torch.zeros_like(given)
            for _ in range(20):
                z = torch.tanh(0.3 * self.inner(z) + given)
        return self.head(torch.tanh(0.3 * self.inner(z) + given))


class Mixture(nn.Module):
    """A mixture density: logits, means, and scales that stay positive."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = body(), nn.Linear(16, 9)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, mean, raw = self.out(self.body(x)).chunk(3, -1)
        return logits, mean, F.softplus(raw) + 1e-2


def mixed(output: Any, batch: Any) -> Tensor:
    logits, mean, scale = output
    each = torch.distributions.Normal(mean, scale).log_prob(batch["target"])
    return -(logits.log_softmax(-1) + each).logsumexp(-1).mean()


class Sorted(nn.Module):
    """Sinkhorn: a doubly stochastic matrix by turns of rows and columns."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        log = self.score(x)
        for _ in range(6):
            log = log - log.logsumexp(-1, keepdim=True)
            log = log - log.logsumexp(-2, keepdim=True)
        return log.exp().mT @ x


class Actor(nn.Module):
    """Actor and critic: the policy's loss stops the gradient at the value."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.policy, self.value = body(), nn.Linear(16, 4), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.policy(h), self.value(h)[:, 0]


def advantage(output: Any, batch: Any) -> Tensor:
    logits, value = output
    gain = (batch["returns"] - value).detach()
    chosen = logits.log_softmax(-1).gather(1, batch["actions"][:, None])[:, 0]
    return -(chosen * gain).mean() + F.mse_loss(value, batch["returns"])


def acted(size: int) -> dict[str, Tensor]:
    return rows_of(size) | {"actions": torch.randint(4, (size,)), "returns": torch.randn(size)}


def numbers(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 6), "target": torch.randn(size, 1)}


def wide(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 12)}


def four(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 4)}


def unsorted(size: int) -> dict[str, Tensor]:
    x = torch.randn(size, 5, 3)
    return {"x": x, "target": x[torch.arange(size)[:, None], x[..., 0].argsort(1)]}


THROUGH = known(straight_through=True)
FIRST = known(output="0")
MODELS = [
    Model("codebook", Codebook, wide, quantised, FIRST | THROUGH | {"stop_gradient": True}),
    Model("gumbel", Gumbel, rows_of, cross_entropy, CLASSES | NOISE | THROUGH | {"overfit": False}),
    Model("quantised", Fake, rows_of, cross_entropy, CLASSES | THROUGH | {"stop_gradient": True}),
    Model(
        "custom-swish",
        lambda: Using(Swish),
        rows_of,
        cross_entropy,
        CLASSES | {"custom_functions": [Swish]},
    ),
    Model("custom-once", lambda: Using(Clamp), rows_of, cross_entropy, CLASSES),
    Model("binary", lambda: Using(Sign), rows_of, cross_entropy, CLASSES | THROUGH, bare=False),
    Model("gradient-reversal", Domains, rows_of, adversarial, FIRST | THROUGH, bare=False),
    Model("flow", Coupled, four, likelihood, FIRST | known(output_kind="real", overfit=False)),
    Model("energy", Energy, rows_of, forces, known(output="1", output_kind="real")),
    Model("ode", Flowing, rows_of, cross_entropy, CLASSES),
    Model("equilibrium", Fixed, rows_of, cross_entropy, CLASSES | {"stop_gradient": True}),
    Model("mixture-density", Mixture, numbers, mixed, known(output="1", overfit=False)),
    Model("sinkhorn", Sorted, unsorted, mse, known(overfit=False)),
    Model("actor-critic", Actor, acted, advantage, FIRST | {"overfit": False}),
]


def rows() -> list[Sound]:
    """List them with their facts and without."""
    return both("gradients", MODELS)
