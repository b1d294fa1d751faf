"""Beams that go on from each other's past: the cache follows them.

Fresh weights hide the past behind the last token, its position and biases; these do not.
"""

import pytest
import torch

from unit.models.tiny import tiny
from zoo.generate import Sampling, generate

PROMPT = [5, 17, 3]


def remembering(seed):
    """Make a model in which what comes next depends on all that came before."""
    model = tiny("gpt2", "lm").double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if name.endswith("bias"):
                parameter.zero_()
            elif name == "tokens.weight":
                parameter.copy_(noise)
            elif name == "positions.weight":
                parameter.copy_(0.1 * noise)
            elif parameter.dim() == 2:
                parameter.copy_(noise * parameter.shape[1] ** -0.5)
        for block in model.blocks:
            block.attn.out.weight.mul_(3)
    return model


def searched(model, beams, steps):
    """Search without a cache, every sequence read anew; give the best, its score, its parents."""
    running, parents = [([], 0.0)], []
    for _ in range(steps):
        candidates = []
        for number, (ids, total) in enumerate(running):
            with torch.no_grad():
                steps_ = model(torch.tensor([PROMPT + ids]))[0, -1].log_softmax(-1).tolist()
            candidates += [(total + p, number, [*ids, token]) for token, p in enumerate(steps_)]
        best = sorted(candidates, key=lambda c: -c[0])[:beams]
        running = [(ids, total) for total, _, ids in best]
        parents.append([number for _, number, _ in best])
    return *running[0], parents


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beams", [2, 3])
def test_beams_find_what_they_find_without_a_cache(beams, seed):
    model = remembering(seed)
    ids, total, _ = searched(model, beams, 6)
    (found,) = generate(model, [PROMPT], Sampling(max_new_tokens=6, beams=beams))
    assert found.ids == ids
    assert found.logprob == pytest.approx(total, rel=1e-12)


def test_beams_do_change_places():
    parents = [row for seed in range(4) for row in searched(remembering(seed), 3, 6)[2][1:]]
    assert any(row != sorted(row) for row in parents)
    assert any(len({*row}) > 1 for row in parents)
