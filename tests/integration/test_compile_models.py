"""A compiled model is one graph for batches of every length, and gives what it gives uncompiled."""

import shutil

import pytest
import torch
from torch._dynamo.utils import counters

from unit.models.tiny import HEADS, MAIN, example, tiny
from zoo.generate import Sampling, generate

pytestmark = pytest.mark.compile

SHALLOW = {
    "bert": {"depth": 1},
    "clip": {"image_depth": 1, "text_depth": 1},
    "gpt2": {"depth": 1},
    "vit": {"depth": 1},
}
TEXT = ("input_ids", "token_type_ids", "attention_mask")
SIZES = ((11, 4), (7, 4), (9, 3), (2, 2))  # tokens, rows


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    counters.clear()


def batch_of(family, head, model, size, padded):
    """Give a batch of so many tokens and rows; a padded one has a row that is half padding.

    Texts lose their beginning, for CLIP reads at the end token. Rows of choices stay two by two.
    """
    tokens, rows = size
    batch = example(family, head, model)
    if head != "multiple_choice":
        batch = {name: x[:rows] for name, x in batch.items()}
    batch = {name: x[..., -tokens:] if name in TEXT else x for name, x in batch.items()}
    if padded:
        mask = torch.ones_like(batch["input_ids"])
        mask[0, ..., : tokens // 2] = 0
        batch["attention_mask"] = mask
    return {name: x.clone(memory_format=torch.contiguous_format) for name, x in batch.items()}


def texts(family, head):
    """Tell whether a model reads texts that may be padded on the left."""
    return family in ("bert", "gpt2") or head in ("match", "text_features", "text_hidden")


def graphs(family, head, backend):
    """Call a compiled model with batches of all sizes; count the graphs that it took.

    What is compared differs by the order of sums alone, in float64.
    """
    model = tiny(family, head, **SHALLOW[family]).eval()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=backend)
    for padded in (False, True)[: 1 + texts(family, head)]:
        for number, size in enumerate(SIZES):
            batch = batch_of(family, head, model, size, padded)
            stance = "fail_on_recompile" if number else "default"
            with torch.no_grad(), torch.compiler.set_stance(stance):
                found = compiled(**batch)
            with torch.no_grad():
                expected = model(**batch)
            assert found.shape == expected.shape
            if padded and found.dim() == 3:  # what stands at padding is anyone's
                real = batch["attention_mask"].bool()
                found, expected = found[real], expected[real]
            assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()
    return counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("family", MAIN)
def test_one_graph_serves_all_lengths_and_one_all_padded_batches(family):
    head = MAIN[family]
    assert graphs(family, head, "aot_eager") == 1 + texts(family, head)


@pytest.mark.scheduled
@pytest.mark.skipif(shutil.which("g++") is None, reason="waits for a C++ compiler: apt install g++")
@pytest.mark.parametrize("family", MAIN)
def test_one_graph_of_torchs_own_backend_serves_them_too(family, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    head = MAIN[family]
    assert graphs(family, head, "inductor") == 1 + texts(family, head)


@pytest.mark.thinned(4)
@pytest.mark.parametrize(
    ("family", "head"), [pair for pair in HEADS if pair not in MAIN.items()], ids=str
)
def test_each_head_is_one_graph(family, head):
    assert graphs(family, head, "eager") == 1 + texts(family, head)


def test_steps_against_a_growing_cache_take_one_graph():
    """After one for the prompt; and one more for several tokens at once, however many."""
    model = tiny("gpt2", "lm", **SHALLOW["gpt2"]).eval()
    encode = torch.compile(model.encode, fullgraph=True, dynamic=True, backend="eager")
    ids = batch_of("gpt2", "lm", model, (11, 4), padded=False)["input_ids"].repeat(1, 2)
    cache, start, graphs = model.new_cache(4, 22), 0, []
    with torch.no_grad():
        expected = model.encode(ids)
        for tokens in (3, 1, 1, 1, 1, 2, 1, 4, 1, 5):
            found = encode(ids[:, start : start + tokens].clone(), None, cache=cache)
            here = expected[:, start : start + tokens]
            assert (found - here).abs().max() <= 1e-12 * expected.abs().max()
            start += tokens
            graphs.append(counters["stats"]["unique_graphs"])
    assert graphs == [1, 2, 2, 2, 2, 3, 3, 3, 3, 3]


def test_a_compiled_model_generates_what_a_plain_one_does():
    model = tiny("gpt2", "lm", **SHALLOW["gpt2"]).eval()
    compiled = torch.compile(model, dynamic=True, backend="eager")
    options = Sampling(max_new_tokens=9, temperature=0.8)
    assert generate(compiled, [[1, 2, 3]], options) == generate(model, [[1, 2, 3]], options)


def test_a_graph_that_knows_one_length_alone_is_found_out():
    """Else the stance above would say nothing."""
    model = tiny("gpt2", "lm", depth=1).eval()
    compiled = torch.compile(model, fullgraph=True, dynamic=False, backend="eager")
    with torch.no_grad():
        compiled(**batch_of("gpt2", "lm", model, (11, 4), padded=False))
        with (
            torch.compiler.set_stance("fail_on_recompile"),
            pytest.raises(RuntimeError, match="recompile"),
        ):
            compiled(**batch_of("gpt2", "lm", model, (7, 4), padded=False))
