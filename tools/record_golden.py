"""Record a golden set from another implementation (transformers), in float64.

    python tools/record_golden.py gpt2-tiny --because "why the numbers may change"

Raises the version, writes the reason into the history, and prints how far each tensor moved.
"""

import argparse
import datetime
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import golden_foreign
import golden_vision
import torch
import transformers
from recording import outputs_of, random_weights
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[1] / "golden"
# our submodule -> theirs; {} is a block
GPT2_PLACES = {
    "drop": "transformer.drop",
    "blocks.{}.norm1": "transformer.h.{}.ln_1",
    "blocks.{}.attn": "transformer.h.{}.attn",
    "blocks.{}.norm2": "transformer.h.{}.ln_2",
    "blocks.{}.mlp": "transformer.h.{}.mlp",
    "blocks.{}": "transformer.h.{}",
    "norm": "transformer.ln_f",
    "logits": "lm_head",
}
BERT_PLACES = {
    "norm": "bert.embeddings.LayerNorm",
    "blocks.{}.attn": "bert.encoder.layer.{}.attention.output.dense",
    "blocks.{}.norm1": "bert.encoder.layer.{}.attention.output.LayerNorm",
    "blocks.{}.mlp.up": "bert.encoder.layer.{}.intermediate.dense",
    "blocks.{}.mlp": "bert.encoder.layer.{}.output.dense",
    "blocks.{}": "bert.encoder.layer.{}",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "logits": "cls.predictions.decoder",
}
DEPTH = 3


def make_gpt2():
    config = transformers.GPT2Config(
        vocab_size=97, n_positions=24, n_embd=20, n_layer=DEPTH, n_head=4, n_inner=36,
        layer_norm_epsilon=1e-2, bos_token_id=None, eos_token_id=None, num_labels=2,
        attn_implementation="eager",
    )  # fmt: skip
    return random_weights(transformers.GPT2LMHeadModel(config), 0)


def make_bert():
    config = transformers.BertConfig(
        vocab_size=97, max_position_embeddings=24, hidden_size=20, num_hidden_layers=DEPTH,
        num_attention_heads=4, intermediate_size=36, type_vocab_size=2, layer_norm_eps=1e-2,
        attn_implementation="eager",
    )  # fmt: skip
    return random_weights(transformers.BertForMaskedLM(config), 1)


def batches(family):
    """Three batches: whole rows, and rows of 4, 11 and 7 tokens padded on either side."""
    generator = torch.Generator().manual_seed(2)
    result = {}
    for name in ("whole", "right", "left"):
        lengths = [11, 11, 11] if name == "whole" else [4, 11, 7]
        ids = torch.randint(1, 97, (3, 11), generator=generator)
        column = torch.arange(11)
        mask = torch.stack([column < n if name != "left" else column >= 11 - n for n in lengths])
        ids = ids * mask
        if family == "gpt2":
            labels = ids.clone()
            # theirs counts a guess made from padding: leave it out
            first = mask.long().argmax(1)
            labels[range(3), first] = -100
        else:
            chosen = torch.rand(3, 11, generator=generator) < 0.3
            labels = torch.where(chosen, ids, -100)
        labels = labels.masked_fill(~mask, -100)
        batch = {"input_ids": ids, "labels": labels}
        if family == "bert":
            batch["token_type_ids"] = (torch.rand(3, 11, generator=generator) < 0.5).long() * mask
        if name != "whole":
            batch["attention_mask"] = mask.long()
        result[name] = batch
    return result


def expected_of(model, places, batch):
    """Run one batch: the outputs of the named places, the loss, the norm of each gradient."""
    extra = {}
    if "attention_mask" in batch:
        extra["position_ids"] = (batch["attention_mask"].cumsum(1) - 1).clamp_min(0)
    model.zero_grad()
    labels = batch["labels"]
    inputs = {name: t for name, t in batch.items() if name != "labels"}
    found, logits = outputs_of(model, places, lambda: model(**inputs, **extra).logits)
    if "GPT2" in type(model).__name__:  # its own loss would round the logits to float32
        logits, labels = logits[:, :-1], labels[:, 1:]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss.backward()
    found["loss"] = loss.detach()
    skipped = ("cls.predictions.decoder.bias",)  # a second name of cls.predictions.bias
    for name, parameter in model.named_parameters():
        if name not in skipped:
            found[f"gradient:{name}"] = parameter.grad.norm()
    return found


def record_model(family, folder):
    model = {"gpt2": make_gpt2, "bert": make_bert}[family]()
    places = GPT2_PLACES if family == "gpt2" else BERT_PLACES
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    inputs, expected = {}, {}
    for name, batch in batches(family).items():
        inputs |= {f"{name}/{key}": t.contiguous() for key, t in batch.items()}
        found = expected_of(model, places, batch)
        expected |= {f"{name}/{key}": t.contiguous() for key, t in found.items()}
    save_file(inputs, folder / "inputs.safetensors")
    save_file(expected, folder / "expected.safetensors")
    if family == "gpt2":
        generator = torch.Generator().manual_seed(3)
        rows = []
        for length in (1, 2, 5, 12):
            prompt = torch.randint(1, 97, (1, length), generator=generator)
            made = model.generate(prompt, max_new_tokens=12, do_sample=False, pad_token_id=0)
            rows.append({"prompt": prompt[0].tolist(), "tokens": made[0, length:].tolist()})
        write_lines(folder / "generation.jsonl", rows)
    return {"model": family, "compare": {"dtype": "float64", "rtol": 1e-9, "atol": 1e-9}}


TEXTS = [
    "", " ", "Hello world", "hello  two   spaces", "Tabs\tand\nlines\r\n", "naïve café",
    "e\u0301 combined", "CamelCase snake_case 3.14159", "don't can't we'll", "日本語のテキスト",
    "emoji 👩‍🚀 and 🏳️‍🌈", "<|endoftext|>", "[MASK] [CLS] [SEP] [PAD]", "a" * 40,
    "ｆｕｌｌ ｗｉｄｔｈ", "\u200bzero width", "МОСКВА", "ελληνικά", "1234567890", "()[]{}!?;:",
]  # fmt: skip


def record_bpe(folder):
    """Train a byte-level BPE and keep what transformers' GPT2Tokenizer makes of the texts."""
    from tokenizers import ByteLevelBPETokenizer

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(corpus(), vocab_size=400, special_tokens=["<|endoftext|>"])
    trained.save_model(str(folder))
    theirs = transformers.GPT2Tokenizer.from_pretrained(folder)
    write_cases(folder, theirs)
    return {}


def record_wordpiece(folder):
    """Train a WordPiece and keep what transformers' BertTokenizer makes of the texts."""
    from tokenizers import BertWordPieceTokenizer

    trained = BertWordPieceTokenizer(lowercase=True)
    trained.train_from_iterator(corpus(), vocab_size=400)
    trained.save_model(str(folder))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}\n')
    theirs = transformers.BertTokenizer.from_pretrained(folder)
    write_cases(folder, theirs)
    return {}


def record_clip(folder):
    """Train CLIP's byte-pair encoding and keep what transformers' CLIPTokenizer makes of texts."""
    from tokenizers import pre_tokenizers, trainers

    start, end = "<|startoftext|>", "<|endoftext|>"
    # its pipeline, without a vocabulary as yet
    whole = transformers.CLIPTokenizer({start: 0, end: 1}, []).backend_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = [*alphabet, *(f"{letter}</w>" for letter in alphabet)]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=base, end_of_word_suffix="</w>", show_progress=False
    )
    whole.train_from_iterator(corpus(), trainer)
    merges = [tuple(pair) for pair in json.loads(whole.to_str())["model"]["merges"]]
    tokens = [*dict.fromkeys([*base, *map("".join, merges)]), start, end]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}) + "\n")
    lines = "".join(f"{a} {b}\n" for a, b in merges)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}", "utf-8")
    (folder / "tokenizer_config.json").write_text(
        '{"model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}\n'
    )
    theirs = transformers.CLIPTokenizer.from_pretrained(folder)
    write_cases(folder, theirs)
    return {}


def corpus():
    from pydoc_data.topics import topics

    return [topics[name] for name in sorted(topics)][:40]


def write_cases(folder, theirs):
    rows = []
    for text in TEXTS:
        ids = theirs(text)["input_ids"]
        decoded = theirs.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        rows.append({"text": text, "ids": ids, "decoded": decoded})
    write_lines(folder / "cases.jsonl", rows)


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


SETS = {
    "gpt2-tiny": ("model", lambda folder: record_model("gpt2", folder)),
    "bert-tiny": ("model", lambda folder: record_model("bert", folder)),
    "clip-tiny": ("model", lambda folder: golden_vision.record("clip", folder)),
    "vit-tiny": ("model", lambda folder: golden_vision.record("vit", folder)),
    "timm-vit": ("layout", golden_foreign.record_timm),
    "open-clip": ("layout", golden_foreign.record_open_clip),
    "tokenizer-bpe": ("tokenizer", record_bpe),
    "tokenizer-wordpiece": ("tokenizer", record_wordpiece),
    "tokenizer-clip": ("tokenizer", record_clip),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=SETS)
    parser.add_argument("--because", required=True, help="why the numbers may change")
    options = parser.parse_args()
    kind, record = SETS[options.name]
    target = ROOT / options.name
    old = json.loads((target / "manifest.json").read_text()) if target.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        about = record(folder)
        show_changes(target, folder)
        files = {
            path.name: {
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
            }
            for path in sorted(folder.iterdir())
        }
        version = old.get("version", 0) + 1
        entry = {
            "version": version,
            "date": datetime.date.today().isoformat(),
            "why": options.because,
        }
        manifest = {
            "schema": 1,
            "name": options.name,
            "kind": kind,
            "version": version,
            "history": [entry, *old.get("history", [])],
            "source": {
                "implementation": f"transformers {transformers.__version__}",
                "torch": torch.__version__.partition("+")[0],
                "dtype": "float64",
            },
            **about,
            "files": files,
        }
        target.mkdir(parents=True, exist_ok=True)
        for path in target.iterdir():
            path.unlink()
        for path in folder.iterdir():
            (target / path.name).write_bytes(path.read_bytes())
        (target / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    print(f"{options.name}: version {version}, {sum(f['bytes'] for f in files.values())} bytes")
    return 0


def show_changes(old, new):
    for path in sorted(new.glob("*.safetensors")):
        if (old / path.name).exists():
            before, after = load_file(old / path.name), load_file(path)
            for name in sorted(before.keys() | after.keys()):
                if name not in before or name not in after:
                    print(f"{path.name} {name}: {'added' if name in after else 'removed'}")
                elif not torch.equal(before[name], after[name]):
                    moved = (before[name].double() - after[name].double()).abs().max()
                    print(f"{path.name} {name}: {moved:.3g}")


if __name__ == "__main__":
    sys.exit(main())
