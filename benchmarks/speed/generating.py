"""GPT-2 writes on: greedy, a fixed number of new tokens, in every library that can."""

import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from benchmarks.speed import work
from benchmarks.speed.families import Pair, Sizes
from benchmarks.speed.job import Absent, Answer, Job, Side, need
from benchmarks.speed.models import MODES, STORED

from zoo.generate import Sampling, generate


def generation(sizes: Sizes, *, alone: bool = False) -> Job:
    pair = Pair(sizes, alone=alone)
    sides: dict[str, Callable[[], Side]] = {
        mode: partial(ours, pair, mode) for mode in MODES if mode != "zoo-compiled"
    }
    sides["hf"] = lambda: theirs(pair)
    sides["ctranslate2"] = lambda: translated(pair, "float32")
    sides["ctranslate2-int8"] = lambda: translated(pair, "int8")
    needed = work.decoding(pair.config, sizes.rows, sizes.tokens, sizes.new)
    return Job(sides, needed, float(sizes.rows * sizes.new), "tokens", pair.bound)


def prompts_of(pair: Pair) -> list[list[int]]:
    return pair.batch["input_ids"].tolist()


def ours(pair: Pair, mode: str) -> Side:
    model = MODES[mode]((pair.ours if pair.alone else pair.another()).eval())
    prompts = prompts_of(pair)
    options = Sampling(max_new_tokens=pair.sizes.new, stop_tokens=())

    def call() -> list[list[int]]:
        return [found.ids for found in generate(model, prompts, options)]

    def answer() -> Answer:
        with torch.no_grad():
            logits = model(pair.batch["input_ids"])
        return {"tokens": torch.tensor(call()), "output": logits}

    return Side(call, answer, (model,), arithmetic=STORED.get(mode, "float32"), warm=True)


def theirs(pair: Pair) -> Side:
    model = pair.theirs().eval()
    ids, new = pair.batch["input_ids"], pair.sizes.new
    how = model.generation_config
    how.eos_token_id, how.pad_token_id, how.do_sample = None, 0, False
    mask = torch.ones_like(ids)

    def call() -> torch.Tensor:
        found = model.generate(ids, attention_mask=mask, max_new_tokens=new)
        return found[:, ids.shape[1] :]

    def answer() -> Answer:
        with torch.no_grad():
            return {"tokens": call(), "output": model(ids, use_cache=False).logits}

    return Side(call, answer, (model,), warm=True)


def translated(pair: Pair, compute: str) -> Side:
    """CTranslate2, from zoo's own weights under the names of its specification."""
    module = need("ctranslate2")
    if torch.get_default_dtype() != torch.float32 or pair.dtype != torch.float32:
        raise Absent("CTranslate2 has no float64")
    with tempfile.TemporaryDirectory() as folder:
        specification(module, pair).save(folder)
        generator = module.Generator(
            folder,
            device="cpu",
            compute_type=compute,
            inter_threads=1,
            intra_threads=torch.get_num_threads(),
        )
    if pair.alone:
        del pair.ours  # its own copy is all that it needs
    prompts = [[f"t{i}" for i in row] for row in prompts_of(pair)]
    new = pair.sizes.new

    def call() -> list[list[int]]:
        found = generator.generate_batch(
            prompts,
            max_length=new,
            min_length=new,
            end_token=[],
            include_prompt_in_result=False,
        )
        return [one.sequences_ids[0] for one in found]

    return Side(
        call,
        lambda: {"tokens": torch.tensor(call())},
        arithmetic=compute,
        opaque=True,
        warm=True,
    )


def specification(ctranslate2: Any, pair: Pair) -> Any:
    """Lay zoo's weights out as CTranslate2 wants them."""
    common = ctranslate2.specs.common_spec
    c, model = pair.config, pair.ours
    spec = ctranslate2.specs.TransformerDecoderModelSpec.from_config(
        c.depth, c.heads, pre_norm=True, activation=common.Activation.GELUTanh
    )

    def put(there: Any, here: Any) -> None:
        there.weight = here.weight.detach().numpy()
        if getattr(here, "bias", None) is not None:
            there.bias = here.bias.detach().numpy()

    def norm(there: Any, here: Any) -> None:
        there.gamma, there.beta = here.weight.detach().numpy(), here.bias.detach().numpy()

    decoder = spec.decoder
    decoder.scale_embeddings = False
    put(decoder.embeddings, model.tokens)
    decoder.position_encodings.encodings = model.positions.weight.detach().numpy()
    norm(decoder.layer_norm, model.norm)
    decoder.projection.weight = model.tokens.weight.detach().numpy()
    for there, here in zip(decoder.layer, model.blocks, strict=True):
        norm(there.self_attention.layer_norm, here.norm1)
        put(there.self_attention.linear[0], here.attn.qkv)
        put(there.self_attention.linear[1], here.attn.out)
        norm(there.ffn.layer_norm, here.norm2)
        put(there.ffn.linear_0, here.mlp.up)
        put(there.ffn.linear_1, here.mlp.down)
    spec.register_vocabulary([f"t{i}" for i in range(c.vocab)])
    spec.config.unk_token = spec.config.bos_token = spec.config.eos_token = "t0"
    spec.validate()
    spec.optimize(quantization=None)
    return spec
