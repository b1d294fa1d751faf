"""A set of results that says whether two runs, two machines or two commits compute the same.

A group is a function that yields results: values by name, with how far from them another machine
may come. The bound of a number is that of `zoo.testing.tolerances`, and nothing is tuned:

    |other - value| <= roundings u (|value| + scale) + slack,   u = eps / 2 of the dtype

`roundings` is twice (both sides round) the longest chain of roundings: one a term of each sum on
the way. `scale` is the largest number that is added up, as far as it is known. What is counted, cut
or chosen has no roundings: it is the same everywhere.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from integration.test_resume import batches_of, with_dropout
from zoo.data.order import Order
from zoo.data.order import uniform as drawn
from zoo.generate import Sampling, generate
from zoo.images import ImageProcessor
from zoo.models import MODELS, load, probe
from zoo.models.probe_inputs import inputs_of
from zoo.objectives import OBJECTIVES
from zoo.ops.table import OPS
from zoo.testing.tolerances import unit
from zoo.tokenizers import Tokenizer
from zoo.train import fit, make_optimizer

GOLDEN = Path(__file__).parents[2] / "golden"
# each number comes from one number, or is one
ELEMENTWISE = ("drop_path", "dropout", "gelu", "patches", "unpatches")
TOKENIZERS = ("tokenizer-bpe", "tokenizer-clip", "tokenizer-wordpiece")
CHECKPOINTS = ("bert-english", "bert-spam", "clip-openmoji", "gpt2-english", "vit-mnist")
PROCESSORS = ("clip-openmoji", "vit-mnist")
STEPS, RATE = 5, 1e-3
PROMPTS = [[11], [57, 26], [4, 89, 73, 1, 54]]
NEW = 12  # tokens that are added to a prompt


@dataclass(frozen=True)
class Result:
    """A value by name; without roundings it is the same on every machine."""

    name: str
    value: Tensor
    roundings: int = 0
    scale: float = 0.0
    slack: float = 0.0

    def bound(self) -> Tensor:
        """Give how far from each number another machine's may lie."""
        value = self.value.detach().double()
        if not self.roundings:
            return torch.zeros_like(value)
        share = self.roundings * unit(self.value.dtype)
        return share * (value.abs() + self.scale) + self.slack

    def hash(self) -> str:
        """Hash dtype, shape and bits: 64 bits of sha256 as 16 letters."""
        value = self.value.detach().contiguous()
        head = f"{value.dtype} {tuple(value.shape)} ".encode()
        body = value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
        return hashlib.sha256(head + body).hexdigest()[:16]


def largest(*tensors: Tensor) -> float:
    """Give the largest absolute value there is; 0 where there is none."""
    return max((float(x.detach().abs().max()) for x in tensors if x.numel()), default=0.0)


def direction(y: Tensor) -> Tensor:
    """Make a direction in which no two numbers weigh the same, and for which nothing is drawn."""
    return torch.arange(y.numel(), dtype=torch.float64).cos().to(y.dtype).reshape(y.shape)


def of_op(info, dtype=torch.float32) -> Iterator[Result]:
    """Give the output and the gradients of an op on each of its samples."""
    for sample in info.samples():
        given = sample.to(dtype, grad=True)
        terms = 0 if info.name in ELEMENTWISE else max(x.numel() for x in given.floats())
        chain = 2 * (info.roundings + terms)
        y = given.call(info.op)
        grads = torch.autograd.grad(y, given.floats(), direction(y))
        name = f"ops/{info.name}/{sample.name}"
        yield Result(f"{name}/forward", y, chain, sample.cancels * largest(y))
        scale = sample.cancels * max(1.0, largest(*grads, *given.floats()))
        flat = torch.cat([g.reshape(-1) for g in grads])
        yield Result(f"{name}/backward", flat, chain, scale)


def chain_of(config) -> int:
    """Count the terms of all sums that a number goes through, from the input to the loss."""
    total = getattr(config, "vocab", 0) + getattr(config, "embed", 0)
    for tower in ("", "image_", "text_"):
        if hasattr(config, f"{tower}depth"):
            width, hidden = getattr(config, f"{tower}width"), getattr(config, f"{tower}hidden")
            tokens = getattr(config, "context", 0) if tower != "image_" else 0
            tokens = max(tokens, math.prod(getattr(config, "grid", (0,))))
            # two norms, q k v, scores and mix, softmax, out, up, down; and the ends of the tower
            block = 2 * width + width + width + 2 * tokens + width + width + (hidden or 4 * width)
            total += getattr(config, f"{tower}depth") * block + 3 * width
    return total


def model_of(family: str):
    """Read a family's recorded tiny model in float32."""
    return load(GOLDEN / f"{family}-tiny").eval()


def inputs_of_family(family: str, model) -> dict[str, Tensor]:
    """Make the fixed input of a probe in float32: formulas, and nothing drawn."""
    made = inputs_of(model)
    batch = {k: x.float() if x.is_floating_point() else x for k, x in made.items()}
    if family == "clip":  # a picture for each text
        two = torch.cat([batch["pixel_values"], batch["pixel_values"].flip(-1)])
        batch["pixel_values"] = two
    return batch


def of_model(family: str) -> Iterator[Result]:
    """Give a tiny model's output, its objective's direction and the gradient of each parameter."""
    model = model_of(family)
    y = model(**inputs_of_family(family, model))
    y = y if isinstance(y, Tensor) else y[0]
    chain = 2 * chain_of(model.config)
    yield Result(f"models/{family}/forward", y, chain, largest(y))
    (y * direction(y)).sum().backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    # the gradient of a key's bias is nothing but rounding: what cancels is as large as the others
    scale = largest(*grads.values())
    for name, grad in grads.items():
        yield Result(f"models/{family}/gradient of {name}", grad, 2 * chain, scale)


def of_training(family: str) -> Iterator[Result]:
    """Give the losses and the weights of a few AdamW steps, dropout included.

    Where a gradient is nothing but rounding AdamW still moves by the whole rate, either way. A
    weight may so be 2 x rate off for each step; and a loss by what such moves can make of it: the
    length of all moves, 2 rate sqrt(weights) a step, times that of the gradient's rounding.
    """
    spec = MODELS[family]
    config = with_dropout(family)
    torch.manual_seed(11)
    model = spec.build(config, spec.heads[0])
    batches = batches_of(family, config)
    optimizer = make_optimizer(model, RATE)
    objective = OBJECTIVES[spec.heads[0]]
    taken = list(fit(model, batches, objective, optimizer, rate=lambda _: RATE, steps=STEPS))
    chain = 2 * chain_of(config)
    count = sum(p.numel() for p in model.parameters())
    norm = max(step.norm for step in taken)
    wander = 2 * RATE * STEPS
    slack = math.sqrt(count) * wander * 2 * chain * unit(torch.float32) * norm
    losses = torch.tensor([step.loss for step in taken])
    yield Result(f"training/{family}/losses", losses, chain, largest(losses), slack)
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    yield Result(f"training/{family}/weights", flat, 2 * STEPS, largest(flat), wander)


def of_generation() -> Iterator[Result]:
    """Give what a tiny model writes, and by how much each token was ahead of the next best."""
    model = model_of("gpt2")
    options = Sampling(max_new_tokens=NEW)
    for row, prompt in enumerate(PROMPTS):
        written = generate(model, [prompt], options)[0]
        tokens = torch.tensor(written.ids)
        ids = torch.tensor([[*prompt, *tokens.tolist()]])
        with torch.no_grad():
            logits = model(input_ids=ids)[0, len(prompt) - 1 : -1]
        best = logits.topk(2).values
        chain = 2 * chain_of(model.config)
        yield Result(f"generation/{row}/tokens", tokens)
        margin = best[:, 0] - best[:, 1]
        yield Result(f"generation/{row}/margins", margin, 2 * chain, largest(logits))


def of_data() -> Iterator[Result]:
    """Give two epochs' order, and draws that are made from counted numbers alone."""
    order = Order(101, 8, seed=3)
    for epoch in (0, 1):
        yield Result(f"data/order of epoch {epoch}", order.permutation(epoch))
    yield Result("data/samples of step 12", order.at(12))
    draws = drawn(torch.arange(5), 8)
    yield Result("data/draws", torch.from_numpy(np.ascontiguousarray(draws)))


def of_draws() -> Iterator[Result]:
    """Give what torch's generator gives; normal numbers go through a logarithm and a cosine."""
    made = torch.Generator().manual_seed(5)
    yield Result("draws/randperm", torch.randperm(64, generator=made))
    yield Result("draws/randint", torch.randint(1 << 40, (64,), generator=made))
    yield Result("draws/rand", torch.rand(64, generator=made))
    for dtype in (torch.float32, torch.float64):
        normal = torch.randn(64, generator=made, dtype=dtype)
        # sqrt(-2 log u) cos(2 pi v): four functions and three products, each side
        yield Result(f"draws/randn {str(dtype)[6:]}", normal, 2 * 8, largest(normal))


def of_tokenizers() -> Iterator[Result]:
    """Give the ids of recorded texts."""
    for name in TOKENIZERS:
        tokenizer = Tokenizer.from_folder(GOLDEN / name)
        lines = (GOLDEN / name / "cases.jsonl").read_text(encoding="utf-8").splitlines()
        ids = [i for line in lines for i in tokenizer.encode(json.loads(line)["text"])]
        yield Result(f"tokenizers/{name}", torch.tensor(ids))


def picture() -> np.ndarray:
    """Draw an uneven picture of 40 x 53 from a formula of whole numbers."""
    y, x, c = np.ogrid[:40, :53, :3]
    return ((y * y * (c + 3) + 7 * x * (y + 1) + 11 * x * x) % 256).astype(np.uint8)


def of_pictures() -> Iterator[Result]:
    """Give the pixels that a model of pictures reads; scaling is done in whole numbers."""
    for name in PROCESSORS:
        processor = ImageProcessor.from_folder(GOLDEN / name)
        image = picture() if processor.channels == 3 else picture()[:, :, 0]
        pixels = processor([image])
        yield Result(f"pictures/{name}", pixels, 2 * 4, largest(pixels))


def of_checkpoints() -> Iterator[Result]:
    """Give what the blocks of each golden checkpoint make of a probe's fixed input."""
    for name in CHECKPOINTS:
        model = load(GOLDEN / name, probe=False)
        for where, numbers in probe.take(model, model.stacks()).items():
            blocks = model.get_submodule(where)
            width = blocks[0].norm1.weight.shape[0]
            hidden = blocks[0].mlp.up.weight.shape[0]
            chain = 2 * len(blocks) * (6 * width + hidden + 2 * probe.TOKENS)
            value = torch.tensor(numbers)
            yield Result(f"checkpoints/{name}/{where}", value, chain, largest(value))


def groups(table=OPS):
    """Give the groups by name: functions without arguments that yield results."""
    found = {f"ops/{name}": lambda info=info: of_op(info) for name, info in table.items()}
    for family in sorted(MODELS):
        found[f"models/{family}"] = lambda family=family: of_model(family)
        found[f"training/{family}"] = lambda family=family: of_training(family)
    return found | {
        "generation": of_generation,
        "data": of_data,
        "draws": of_draws,
        "tokenizers": of_tokenizers,
        "pictures": of_pictures,
        "checkpoints": of_checkpoints,
    }


def all_results() -> dict[str, Result]:
    """Compute every result; by name."""
    return {r.name: r for make in groups().values() for r in make()}


def changed(info, op):
    """Give the row of an op with another function in its place."""
    return dataclasses.replace(info, op=op)
