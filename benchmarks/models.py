"""All four families against Hugging Face's (sdpa): forward and training step, interleaved.

    python benchmarks/models.py [--threads 2] [--rounds 7] [--only gpt2-forward ...] [--json FILE]

Both models hold the same weights and read the same batch in one process; each round times one
after the other, in turn, and the ratio of a round is theirs over ours (above 1: ours is faster).
"""

import argparse
import gc
import json
import statistics
import sys
import time

import torch
import transformers

from zoo.models import BERT, CLIP, GPT2, BERTConfig, CLIPConfig, GPT2Config, ViT, ViTConfig
from zoo.objectives import classification, masked_token, match, next_token


def gpt2_pair(dropout):
    config = transformers.GPT2Config(resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout)
    theirs = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    return theirs, GPT2(GPT2Config(dropout=dropout, attention_dropout=dropout))


def bert_pair(dropout):
    config = transformers.BertConfig(
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout
    )
    theirs = transformers.AutoModelForMaskedLM.from_config(config, attn_implementation="sdpa")
    return theirs, BERT(BERTConfig(dropout=dropout, attention_dropout=dropout))


def vit_pair():
    config = transformers.ViTConfig(num_labels=1000)
    kind = transformers.AutoModelForImageClassification
    theirs = kind.from_config(config, attn_implementation="sdpa")
    return theirs, ViT(ViTConfig())


def clip_pair():
    theirs = transformers.CLIPModel._from_config(
        transformers.CLIPConfig(), attn_implementation="sdpa"
    )
    return theirs, CLIP(CLIPConfig())


def forward(pair, batch):
    theirs, ours = (model.eval() for model in pair)

    def run(model, **extra):
        with torch.no_grad():
            model(**batch, **extra)

    extra = {"use_cache": False} if "GPT2" in type(theirs).__name__ else {}
    return (lambda: run(theirs, **extra)), (lambda: run(ours))


def training(pair, batch, objective):
    theirs, ours = (model.train() for model in pair)
    optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-4, fused=True) for m in pair]

    def step(loss_of, optimizer):
        loss_of().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    extra = {"use_cache": False} if "GPT2" in type(theirs).__name__ else {}
    extra |= {"return_loss": True} if "CLIP" in type(theirs).__name__ else {}
    return (
        lambda: step(lambda: theirs(**batch, **extra).loss, optimizers[0]),
        lambda: step(lambda: objective(ours, batch), optimizers[1]),
    )


def text(rows, tokens, vocab):
    return {"input_ids": torch.randint(1, vocab, (rows, tokens))}


def causal(rows, tokens):
    batch = text(rows, tokens, 50257)
    return batch | {"labels": batch["input_ids"]}


def masked(rows, tokens):
    batch = text(rows, tokens, 30522)
    kept = torch.rand(rows, tokens) < 0.15
    return batch | {"labels": torch.where(kept, batch["input_ids"], -100)}


def ragged(rows, tokens, vocab):
    """Rows of a quarter to all of the length, padded on the right."""
    batch = text(rows, tokens, vocab)
    lengths = torch.linspace(tokens // 4, tokens, rows).long()
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    return {"input_ids": batch["input_ids"] * mask, "attention_mask": mask}


def images(rows):
    return {"pixel_values": torch.randn(rows, 3, 224, 224)}


def labelled(rows):
    return images(rows) | {"labels": torch.randint(1000, (rows,))}


def captioned(rows):
    ids = torch.randint(1, 49400, (rows, 77))
    ids[:, -1] = 49407
    return images(rows) | {"input_ids": ids}


ITEMS = {
    "gpt2-forward-1x512": lambda: forward(gpt2_pair(0.0), text(1, 512, 50257)),
    "gpt2-train-1x512": lambda: training(gpt2_pair(0.0), causal(1, 512), next_token),
    "gpt2-train-1x512-dropout": lambda: training(gpt2_pair(0.1), causal(1, 512), next_token),
    "bert-forward-8x128": lambda: forward(bert_pair(0.0), text(8, 128, 30522)),
    "bert-forward-8x128-ragged": lambda: forward(bert_pair(0.0), ragged(8, 128, 30522)),
    "bert-train-8x128": lambda: training(bert_pair(0.0), masked(8, 128), masked_token),
    "bert-train-8x128-dropout": lambda: training(bert_pair(0.1), masked(8, 128), masked_token),
    "vit-forward-8": lambda: forward(vit_pair(), images(8)),
    "vit-train-8": lambda: training(vit_pair(), labelled(8), classification),
    "clip-forward-8": lambda: forward(clip_pair(), captioned(8)),
    "clip-train-8": lambda: training(clip_pair(), captioned(8), match),
}


def compare(make, rounds):
    theirs, ours = make()
    theirs(), ours()
    times = []
    for number in range(rounds):
        pair = [0.0, 0.0]
        for index in (0, 1) if number % 2 else (1, 0):
            start = time.process_time()
            (theirs, ours)[index]()
            pair[index] = time.process_time() - start
        times.append(pair)
    ratios = sorted(a / b for a, b in times)
    return {
        "theirs_cpu_s": statistics.median(a for a, _ in times),
        "ours_cpu_s": statistics.median(b for _, b in times),
        "ratio": statistics.median(ratios),
        "ratio_min": ratios[0],
        "ratio_max": ratios[-1],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", default=list(ITEMS))
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = {}
    print(f"{'item':28} {'theirs':>8} {'ours':>8} {'ratio':>6}   spread")
    for name in options.only:
        torch.manual_seed(0)
        found = results[name] = compare(ITEMS[name], options.rounds)
        print(
            f"{name:28} {found['theirs_cpu_s']:7.3f}s {found['ours_cpu_s']:7.3f}s "
            f"{found['ratio']:5.2f}x   {found['ratio_min']:.2f}-{found['ratio_max']:.2f}",
            flush=True,
        )
        gc.collect()
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"threads": options.threads, "items": results}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
