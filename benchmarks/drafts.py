"""What drafts save: tokens a second of a GPT-2 124M, one row, with and without.

    python benchmarks/drafts.py [none | float32 | float16 | int8] [tokens]

The argument is how `optimize_for_inference` packs the weights. The model has random weights and
its true cost; what it says is given, for its logits are raised where the text goes on. So a draft
is as good as the text allows, and the seconds are those of a model that would say this text.
CPU time of one thread, the answer to the prompt included, in turns; ratios are medians of pairs.
"""

import random
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn

from zoo.generate import DraftModel, NGram, Sampling, generate
from zoo.generate.reader import Reader
from zoo.models import GPT2, GPT2Config
from zoo.tokenizers import Tokenizer

HOME = Path(__file__).parents[1]
VOCAB = 8000  # of the texts' own tokenizer
LONGEST = 400  # tokens of a prompt
ROUNDS = 2
RIGHT = (0.3, 0.5, 0.7, 0.9, 1.0)  # how often a draft model says what comes


class Says(nn.Module):
    """A decoder of full cost that says the given ids; one row."""

    head_name = "lm"

    def __init__(self, model: GPT2, ids: list[int]) -> None:
        super().__init__()
        self.model, self.config, self.ids = model, model.config, torch.tensor(ids)
        self.new_cache = model.new_cache

    def encode(self, ids, mask=None, *, cache):
        self.end = cache.length + ids.shape[1]
        return self.model.encode(ids, mask, cache=cache)

    def head(self, hidden):
        logits = self.model.head(hidden)
        start = self.end - hidden.shape[1] + 1
        said = self.ids[start : start + hidden.shape[1]]
        logits[0, torch.arange(len(said)), said] = 1e4
        return logits


def texts():
    """Give texts by what they are like; of each the second half is said."""
    stops = (HOME / "src/zoo/generate/stops.py").read_text()[:900]
    verbs = "tokenizer model loader trainer sampler cache server report golden".split()
    return {
        "prose": (HOME / "docs/training.md").read_text(),
        "code": (HOME / "src/zoo/models/vit.py").read_text(),
        "list": "\n".join(
            f"- [{v}](docs/{v}.md): what the {v} does, how it is tested" for v in verbs
        ),
        "edit": stops + "\nThe same with one name changed:\n" + stops.replace("stops", "ends"),
    }


def compare(title, model, prompt, tokens, drafts):
    """Print tokens a second without a draft, and how many times that with each."""
    taken = {name: [] for name in drafts}
    options, answers = Sampling(max_new_tokens=tokens), {}
    for _ in range(ROUNDS):
        for name, draft in drafts.items():
            start = time.process_time()
            (answers[name],) = generate(model, [prompt], options, draft=draft)
            taken[name].append(time.process_time() - start)
    assert len({tuple(answer.ids) for answer in answers.values()}) == 1
    plain = taken["none"]
    print(f"{title:<8} {tokens / statistics.median(plain):5.1f} tokens/s", end="")
    for name in list(drafts)[1:]:
        ratio = statistics.median(a / b for a, b in zip(plain, taken[name], strict=True))
        told = answers[name]
        print(f"   {name} x{ratio:.2f} ({told.accepted} of {told.drafted} taken)", end="")
    print(flush=True)


def reading(model, rows):
    """Print what reading several tokens a row at once costs, beside one."""
    reader = Reader(model, rows, 256)
    reader.read([list(range(64))] * rows, 1)
    counts = (1, 2, 3, 5, 9)
    taken = {count: [] for count in counts}
    for _ in range(5):
        for count in counts:
            start = time.process_time()
            reader.read([list(range(count))] * rows, count)
            taken[count].append(time.process_time() - start)
            reader.forget([count] * rows)
    for count in counts:
        ratio = statistics.median(b / a for a, b in zip(taken[1], taken[count], strict=True))
        print(f"   {count}: x{ratio:.2f}", end="")
    print(f"   tokens a row, {rows} rows; 1 takes {1e3 * statistics.median(taken[1]):.0f} ms")


def main(form="none", tokens="48"):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, small = GPT2(GPT2Config()), GPT2(GPT2Config(width=256, heads=4, depth=2))
    for each in (model, small):
        each.eval()
        if form != "none":
            each.optimize_for_inference(form)
    for rows in (1, 8):
        reading(model, rows)
    files = [*sorted((HOME / "src/zoo").rglob("*.py")), *sorted((HOME / "docs").glob("*.md"))]
    tokenizer = Tokenizer.train([file.read_text() for file in files], vocab=VOCAB)
    for name, text in texts().items():
        ids = tokenizer.encode(text)
        start = min(len(ids) * 6 // 10, LONGEST)
        said = ids[: start + int(tokens)]
        compare(
            name,
            Says(model, said),
            said[:start],
            len(said) - start,
            {"none": None, "ngram": NGram()},
        )
    rng = random.Random(0)
    ids = [rng.randrange(VOCAB) for _ in range(64 + int(tokens))]
    drafts = {"none": None}
    for right in RIGHT:
        guess = [token if rng.random() < right else (token + 1) % VOCAB for token in ids]
        drafts[f"{right:.0%}"] = DraftModel(Says(small, guess))
    compare("a model", Says(model, ids), ids[:64], int(tokens), drafts)


if __name__ == "__main__":
    main(*sys.argv[1:])
