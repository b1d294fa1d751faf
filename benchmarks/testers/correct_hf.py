"""Every model type that transformers can build tiny and random, and run on invented inputs.

    python -m benchmarks.testers.correct_hf [TYPE ...]     look again at what can be built

The shrinking is generic: names of fields say what is a width, a depth or a vocabulary. What came of
it is kept beside this file: for each type the class, the sizes and the inputs that worked, or the
last error. Only inputs with ids are described; nothing else is declared.
"""

import importlib
import json
import multiprocessing
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.testers.sound import Sound
from torch import Tensor, nn

from zoo.testing.spec import ModelSpec

KEPT = Path(__file__).with_name("correct_hf.json")
VOCAB, LENGTH, LARGEST, LIMIT = 97, 9, 3_000_000, 90.0  # ids, positions, parameters, seconds

WIDTHS = (
    "hidden_size d_model n_embd embed_dim emb_dim dim embedding_size hidden_dim "
    "word_embed_proj_dim projection_dim d_embed decoder_hidden_size encoder_hidden_size "
    "backbone_hidden_size width hidden_channels "
    "conv_dim out_hidden_size output_dim feature_size q_lora_rank kv_lora_rank "
    "cross_attention_hidden_size fusion_hidden_size decoder_dim encoder_dim text_embed_dim "
    "mm_hidden_size mlp_hidden_size bottleneck_features neck_hidden_sizes mask_feature_size"
).split()
INNER = (
    "intermediate_size ffn_dim d_ff n_inner encoder_ffn_dim decoder_ffn_dim dim_feedforward "
    "mlp_dim moe_intermediate_size shared_expert_intermediate_size feed_forward_size d_inner "
    "ffn_hidden_size intermediate_dim expert_ffn_size block_ff_dim"
).split()
DEPTHS = (
    "num_hidden_layers n_layer num_layers encoder_layers decoder_layers n_layers num_blocks depth "
    "num_encoder_layers num_decoder_layers num_conv_layers n_blocks num_attention_layers l_layers "
    "x_layers r_layers num_block_layers mlm_layers num_stages_layers"
).split()
HEADS = (
    "num_attention_heads n_head num_heads encoder_attention_heads decoder_attention_heads n_heads "
    "num_decoder_attention_heads num_encoder_attention_heads attention_heads"
).split()
SMALL: dict[str, int] = {
    "num_key_value_heads": 2, "num_kv_heads": 2, "vocab_size": VOCAB, "image_size": 32,
    "patch_size": 8, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
    "moe_num_experts": 4, "num_experts_per_tok": 2, "num_experts_per_token": 2, "moe_topk": 2,
    "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
    "entity_vocab_size": 11, "num_queries": 5, "num_mel_bins": 16, "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8, "v_head_dim": 8, "num_buckets": 2, "mamba_n_heads": 4,
    "mamba_d_head": 16, "mamba_d_state": 8, "state_size": 8, "ssm_state_size": 8,
    "vocab_size_per_layer_input": VOCAB,
    "max_source_positions": 64, "max_target_positions": 64, "num_frames": 2, "tubelet_size": 1,
    "num_classes": 4, "codebook_size": 16, "temporal_patch_size": 1, "decoder_vocab_size": VOCAB,
    "mamba_num_heads": 4, "mamba_head_dim": 16, "linear_num_value_heads": 4,
    "linear_num_key_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "text_vocab_size": VOCAB, "codebook_dim": 8, "num_codebooks": 2, "cardinality": 4,
    "rotary_dim": 8, "src_vocab_size": VOCAB, "tgt_vocab_size": VOCAB, "n_words": VOCAB,
}  # fmt: skip
STALE = (
    "out_features out_indices _out_features _out_indices stage_names per_layer_config layer_types "
    "mlp_layer_types architectures"
).split()
LEVELS: dict[str, dict[str, int]] = {  # tried in this order
    "plain": {"width": 32, "heads": 4, "head_dim": 8},
    "wide": {"width": 64, "heads": 4, "head_dim": 16},
    "equal heads": {"width": 64, "heads": 4, "head_dim": 16, "num_key_value_heads": 4},
    "small equal heads": {"width": 32, "heads": 4, "head_dim": 8, "num_key_value_heads": 4},
    "only depth": {},
}


def small_list(name: str, value: list[Any], sizes: dict[str, int]) -> list[Any]:
    """Shrink a list of depths or widths; leave any other list."""
    numbers = all(isinstance(item, int) for item in value)
    if name in ("num_heads", "num_attention_heads") and numbers and sizes:
        return [2 if i < 2 else 4 for i in range(len(value))]
    if name in ("conv_dim", "tdnn_dim") and numbers and sizes:
        return [sizes["width"]] * len(value)
    if name in ("depths", "layer_depths", "num_blocks", "encoder_depths") and numbers:
        return [1] * len(value)
    widths = ("hidden_sizes", "embed_dims", "channels", "dims", "encoder_hidden_sizes")
    if name in widths and numbers and "width" in sizes:
        return [sizes["width"] * 2 ** min(i, 1) for i in range(len(value))]
    return value


def shrunk(given: dict[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    """Make a config's fields small, sub-configs included."""
    depth = next((given[n] for n in DEPTHS if isinstance(given.get(n), int)), None)
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in STALE:
            continue  # follows from the others when the config is made
        if isinstance(value, dict):
            found[name] = shrunk(value, sizes) if "model_type" in value else value
        elif isinstance(value, list | tuple):
            listed = list(value)
            per_layer = depth is not None and len(listed) == depth and depth > 4
            found[name] = listed[-2:] if per_layer else small_list(name, listed, sizes)
        elif name in ("apply_spec_augment", "use_pretrained_backbone"):
            found[name] = False  # the one wants long inputs, the other a download
        elif name in ("mask_time_prob", "mask_feature_prob"):
            found[name] = 0.0  # likewise
        elif name == "vocab_size" and value is None:
            found[name] = VOCAB
        elif isinstance(value, bool) or not isinstance(value, int):
            found[name] = value
        else:
            found[name] = small_number(name, value, sizes)
    return found


def small_number(name: str, value: int, sizes: dict[str, int]) -> int:
    """Shrink one whole number by what its name says it is."""
    if name.endswith("token_id"):
        low = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        return low.get(name, min(value, VOCAB - 2))
    if name.endswith(("token_index", "_token")) or name == "vocab_size":
        return min(value, VOCAB - 1) if name != "vocab_size" else min(value, VOCAB)
    if name in DEPTHS:
        return min(value, 2)
    if name in SMALL and (sizes or name in ("vocab_size", "image_size", "num_experts")):
        return min(value, sizes.get(name, SMALL[name]))
    if not sizes:
        return value
    if name in WIDTHS:
        return min(value, sizes["width"])
    if name in INNER:
        return min(value, 2 * sizes["width"])
    if name in HEADS:
        return min(value, sizes["heads"])
    return min(value, sizes["head_dim"]) if name in ("head_dim", "attention_head_dim") else value


def config_of(kind: str, level: str) -> Any:
    """Build the small config of a model type."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    maker = CONFIG_MAPPING[kind]
    given = maker().to_dict()
    return maker(**shrunk(given, LEVELS[level]))


def ids(size: int, length: int = LENGTH) -> Tensor:
    return torch.randint(3, VOCAB - 3, (size, length))


def masked(size: int) -> dict[str, Tensor]:
    """Draw ids that are padded on the right in every second row."""
    mask = torch.ones(size, LENGTH, dtype=torch.long)
    mask[1::2, 6:] = 0
    return {"input_ids": ids(size).masked_fill(mask == 0, 0), "attention_mask": mask}


def side(config: Any) -> tuple[int, int]:
    """Read the number of channels and the side of a picture from a config."""
    parts = [
        config,
        getattr(config, "vision_config", None),
        getattr(config, "backbone_config", None),
    ]
    found = [getattr(part, "image_size", None) for part in parts]
    sides = [x[0] if isinstance(x, list | tuple) else x for x in found if x]
    channels = [getattr(part, "num_channels", None) for part in parts]
    return next((c for c in channels if isinstance(c, int)), 3), next(iter(sides), 32)


def picture(size: int, config: Any) -> Tensor:
    channels, pixels = side(config)
    return torch.randn(size, channels, pixels, pixels)


def frames(size: int, config: Any) -> Tensor:
    bins = getattr(config, "num_mel_bins", None) or getattr(config, "input_dim", None) or 16
    return torch.randn(size, bins, 2 * getattr(config, "max_source_positions", 32))


Draw = Callable[[int, Any], dict[str, Tensor]]
INPUTS: dict[str, Draw] = {
    "ids": lambda n, c: masked(n),
    "ids twice": lambda n, c: masked(n) | {"decoder_input_ids": ids(n, 7)},
    "ids and boxes": lambda n, c: masked(n) | {"bbox": torch.ones(n, LENGTH, 4, dtype=torch.long)},
    "ids without mask": lambda n, c: {"input_ids": ids(n)},
    "picture": lambda n, c: {"pixel_values": picture(n, c)},
    "picture and ids": lambda n, c: masked(n) | {"pixel_values": picture(n, c)},
    "large picture": lambda n, c: {"pixel_values": torch.randn(n, 3, 64, 64)},
    "sound": lambda n, c: {"input_values": torch.randn(n, 1600)},
    "one sound": lambda n, c: {"input_values": torch.randn(n, 1, 1600)},
    "frames": lambda n, c: {"input_features": frames(n, c)},
    "frames last": lambda n, c: {"input_features": frames(n, c).mT.contiguous()},
    "frames and ids": lambda n, c: {"input_features": frames(n, c), "decoder_input_ids": ids(n, 7)},
    "video": lambda n, c: {"pixel_values": picture(2 * n, c).unflatten(0, (n, 2))},
    "picture and text": lambda n, c: {"pixel_values": picture(n, c), "input_ids": ids(n)},
    "picture and words": lambda n, c: {"pixel_values": picture(n, c), "decoder_input_ids": ids(n)},
    "past values": lambda n, c: {"past_values": torch.randn(n, c.context_length, 1)},
}
LABELS: dict[str, Callable[[int, Any], Tensor]] = {
    "AutoModelForSequenceClassification": lambda n, c: torch.randint(2, (n,)),
    "AutoModelForImageClassification": lambda n, c: torch.randint(2, (n,)),
    "AutoModelForCausalLM": lambda n, c: torch.zeros(0),
    "AutoModelForMaskedLM": lambda n, c: torch.zeros(0),
    "AutoModelForTokenClassification": lambda n, c: torch.randint(2, (n, LENGTH)),
}


def batch_of(size: int, config: Any, inputs: str, head: str) -> dict[str, Tensor]:
    """Draw a batch, with labels where a head reads them."""
    batch = INPUTS[inputs](size, config)
    if head in LABELS:
        labels = LABELS[head](size, config)
        if not labels.numel():  # the tokens themselves; the model shifts where it must
            keep = batch.get("attention_mask", torch.ones_like(batch["input_ids"]))
            labels = batch["input_ids"].masked_fill(keep == 0, -100)
        batch["labels"] = labels
    return batch


def build_of(config: Any, head: str) -> nn.Module:
    """Build a model with random weights."""
    import transformers

    return getattr(transformers, head).from_config(config)


def runs(kind: str, head: str, level: str, inputs: str) -> None:
    """Build and run; raises what goes wrong."""
    config = config_of(kind, level)
    torch.manual_seed(0)
    model = build_of(config, head).eval()
    if (count := sum(p.numel() for p in model.parameters())) > LARGEST:
        raise ValueError(f"{count} parameters are too many")
    for size in (3, 2):
        with torch.no_grad():
            output = model(**batch_of(size, config, inputs, head))
    tensors = [x for x in output.values() if isinstance(x, Tensor) and x.is_floating_point()]
    if not tensors or not all(x.isfinite().all() for x in tensors):
        raise ValueError("the output has no tensor, or not a finite one")


def plan(kind: str, head: str) -> dict[str, str]:
    """Find the sizes and inputs that work; raises the first error of the last sizes tried."""
    error = ""
    for level in LEVELS:
        try:
            with torch.device("meta"):
                model = build_of(config_of(kind, level), head)
            count = sum(p.numel() for p in model.parameters())
            if count > LARGEST:
                raise ValueError(f"{count} parameters are too many")
        except Exception as wrong:
            error = (
                f"{type(wrong).__name__}: {str(wrong).splitlines()[0][:120]}" if str(wrong) else ""
            )
            continue
        first = ""
        for inputs in suited(model):
            try:
                runs(kind, head, level, inputs)
                return {"level": level, "inputs": inputs}
            except Exception as wrong:
                text = str(wrong).splitlines() or [""]
                first = first or f"{inputs}: {type(wrong).__name__}: {text[0][:120]}"
        error = error or first or "no inputs for " + model.main_input_name
    raise ValueError(error)


def suited(model: nn.Module) -> list[str]:
    """List the kinds of inputs that forward takes by name, the likelier first."""
    import inspect

    takes = set(inspect.signature(model.forward).parameters)
    config = type("Any", (), {"context_length": 4, "num_mel_bins": 16, "image_size": 8})()
    names = {key: set(draw(1, config)) for key, draw in INPUTS.items()}
    fits = [key for key, found in names.items() if found <= takes]
    main = getattr(model, "main_input_name", "input_ids")
    return sorted(fits, key=lambda key: main not in names[key])


def described(kind: str, head: str, found: dict[str, str]) -> Callable[[], ModelSpec]:
    """Describe a planned model; nothing is imported before it is called."""

    def make() -> ModelSpec:
        warnings.simplefilter("ignore")
        config = config_of(kind, found["level"])
        facts: dict[str, Any] = (
            {"loss": lambda output, batch: output.loss} if head in LABELS else {}
        )
        if "ids" in found["inputs"]:
            facts |= {"tokens": "input_ids", "vocab_size": VOCAB, "pad_id": 0}
        if "input_ids" in (batch := batch_of(2, config, found["inputs"], head)):
            facts |= {"padding_mask": "attention_mask"} if "attention_mask" in batch else {}
        else:
            facts.pop("tokens", None)
        return ModelSpec(
            build=lambda: build_of(config, head),
            batch=lambda size: batch_of(size, config, found["inputs"], head),
            name=kind,
            **facts,
        )

    return make


def rows() -> list[Sound]:
    """List the types that were found to build."""
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {"built": {}}
    return [
        Sound(f"hf/{key}", described(*key.split("/"), found))
        for key, found in kept["built"].items()
    ]


def preload() -> None:
    """Import once what every child needs."""
    import transformers
    import transformers.modeling_layers
    import transformers.modeling_outputs
    import transformers.models.auto.modeling_auto

    transformers.logging.set_verbosity_error()


def every() -> list[str]:
    """List every (type, head) that transformers names."""
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    heads = {
        "AutoModel": "MODEL_MAPPING_NAMES",
        "AutoModelForSequenceClassification": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
        "AutoModelForImageClassification": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
        "AutoModelForCausalLM": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
        "AutoModelForMaskedLM": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    }
    return [f"{kind}/{head}" for head, names in heads.items() for kind in getattr(auto, names)]


def look(key: str, answer: Any) -> None:
    """Plan one in a process of its own."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        answer.send((True, plan(*key.split("/"))))
    except Exception as error:
        answer.send((False, str(error)))


def main(chosen: list[str]) -> None:
    """Look at the chosen (or all) and keep what was found."""
    preload()
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    built, failed = kept.get("built", {}), kept.get("failed", {})
    context = multiprocessing.get_context("fork")
    for key in chosen or every():
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=look, args=(key, theirs))
        process.start()
        theirs.close()
        good, found = False, f"no answer in {LIMIT:g} s"
        try:
            if ours.poll(LIMIT):
                good, found = ours.recv()
        except EOFError:
            found = "the process died"
        process.kill()
        process.join()
        (built if good else failed)[key] = found
        (failed if good else built).pop(key, None)
        text = {"built": dict(sorted(built.items())), "failed": dict(sorted(failed.items()))}
        KEPT.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
        print(key, found, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
