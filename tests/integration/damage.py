"""Damage done to golden checkpoints on purpose: what makes a model worse, or only another one.

A row of DAMAGES changes a copy of a checkpoint's folder. It is then told twice: by the probe, which
`load` compares, and, as if somebody had accepted the probe, by the gates of the checkpoint's golden
rows. `python tests/integration/damage.py` prints the table of docs/quality.md.
"""

import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo import load
from zoo.checkpoint import CheckpointError
from zoo.checkpoint.packaged import golden
from zoo.evaluate.golden_quality import ask, verdict_of
from zoo.evaluate.sets import GoldenRows
from zoo.models import write_probe

SETS = {  # checkpoint -> the golden rows that are put to it
    "gpt2-english": "english-next",
    "bert-english": "english-fill",
    "bert-spam": "mails",
    "vit-mnist": "scans",
    "clip-openmoji": "drawings",
}
MAIN = {"gpt2-english": "bits_per_byte", "clip-openmoji": "recall@5"}  # else accuracy


@dataclass(frozen=True)
class Damage:
    """One damage: to which checkpoint, what it is, and what it does to a copy of the folder."""

    model: str
    what: str
    do: Callable[[Path], None]
    harmless: bool = False  # to the answers: the gate may be silent, and figures show why

    def __str__(self) -> str:
        return f"{self.model}, {self.what}".replace(" ", "-")


@dataclass(frozen=True)
class Told:
    """What was said of a damage, and what it did to the checkpoint's main metric."""

    probe: str | None
    gate: tuple[str, ...]
    before: float
    after: float
    changed: int  # rows with another answer
    rows: int


def weights(change: Callable[[Any], None]) -> Callable[[Path], None]:
    """Change a model's parameters in place; the probe that lies there is kept."""

    def do(folder: Path) -> None:
        model = load(folder, probe=False)
        with torch.no_grad():
            change(model)
        put(model, folder)

    return do


def config(**changes: Any) -> Callable[[Path], None]:
    """Give the same weights to a model with another config."""

    def do(folder: Path) -> None:
        model = load(folder, probe=False)
        other = type(model)(
            dataclasses.replace(model.config, **changes), head=model.head_name
        ).eval()
        other.load_state_dict(model.state_dict())
        put(other, folder)

    return do


def put(model: Any, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(Path(place, name), folder / name)


def file(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change a JSON file."""

    def do(folder: Path) -> None:
        path = folder / name
        held = json.loads(path.read_text(encoding="utf-8"))
        found = change(held)
        path.write_text(json.dumps(held if found is None else found), encoding="utf-8")

    return do


def rounded(bits: int) -> Callable[[Any], None]:
    """Round matrices to so many bits, a scale a row."""

    def change(model: Any) -> None:
        steps = 2 ** (bits - 1) - 1
        for p in model.parameters():
            if p.dim() == 2:
                scale = p.abs().amax(1, keepdim=True).clamp_min(1e-12) / steps
                p.copy_((p / scale).round() * scale)

    return change


def as_dtype(dtype: torch.dtype) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for p in model.parameters():
            p.copy_(p.to(dtype).to(p.dtype))

    return change


def noise(share: float, only: str = "") -> Callable[[Any], None]:
    """Add normal noise of a share of each tensor's deviation."""

    def change(model: Any) -> None:
        generator = torch.Generator().manual_seed(0)
        for name, p in model.named_parameters():
            if name.startswith(only) and p.dim() > 1:
                p += share * p.std() * torch.randn(p.shape, generator=generator)

    return change


def blocks(model: Any, tower: str = "") -> Any:
    return model.get_submodule(f"{tower}blocks")


def head_off(block: int, head: int, tower: str = "") -> Callable[[Any], None]:
    """Nothing of one head is read any more."""

    def change(model: Any) -> None:
        attn = blocks(model, tower)[block].attn
        size = attn.out.weight.shape[1] // attn.heads
        attn.out.weight[:, head * size : (head + 1) * size] = 0

    return change


def skipped(block: int, tower: str = "") -> Callable[[Any], None]:
    """A block that adds nothing (before its norms, where these come last)."""

    def change(model: Any) -> None:
        part = blocks(model, tower)[block]
        for linear in (part.attn.out, part.mlp.down):
            linear.weight.zero_()
            linear.bias.zero_()

    return change


def exchanged(one: int, other: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        held = blocks(model)
        first = {name: t.clone() for name, t in held[one].state_dict().items()}
        held[one].load_state_dict(held[other].state_dict())
        held[other].load_state_dict(first)

    return change


def times(name: str, factor: float) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.get_parameter(name).mul_(factor)

    return change


def rolled(name: str, by: int, axis: int) -> Callable[[Any], None]:
    """Shift a tensor along an axis; what leaves on one side comes in on the other."""

    def change(model: Any) -> None:
        p = model.get_parameter(name)
        p.copy_(p.roll(by, axis))

    return change


def zeroed(name: str, rows: slice) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.get_parameter(name)[rows] = 0

    return change


def lost_class(number: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        classifier(model).bias[number] -= 30

    return change


def classifier(model: Any) -> Any:
    return model.head if hasattr(model.head, "bias") else model.head.linear


def swapped_classes(one: int, other: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        linear = classifier(model)
        order = list(range(len(linear.bias)))
        order[one], order[other] = other, one
        linear.weight.copy_(linear.weight[order])
        linear.bias.copy_(linear.bias[order])

    return change


def patches(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], None]:
    """Change the pixels of the patches' kernels (d, c, y, x): as if the pictures were changed."""

    def do(model: Any) -> None:
        weight = (model.image if hasattr(model, "text") else model).patch.weight
        kernels = weight.view(len(weight), model.config.channels, *model.config.patch)
        weight.copy_(change(kernels).reshape(weight.shape))

    return do


def relabelled(held: dict[str, Any]) -> None:
    names = list(held["id2label"].values())
    held["id2label"] = {str(i): name for i, name in enumerate(reversed(names))}
    held["label2id"] = {name: int(i) for i, name in held["id2label"].items()}


def without_merges(held: dict[str, Any]) -> None:
    """An older tokenizer of the same size: it never learnt its last merges."""
    del held["model"]["merges"][-200:]


def cased(folder: Path) -> None:
    """Words keep their capitals: both files say so, as a cased checkpoint's do."""
    file("tokenizer.json", lambda held: held["normalizer"].update(lowercase=False))(folder)
    file("tokenizer_config.json", lambda held: held.update(do_lower_case=False))(folder)


def two_words_swapped(held: dict[str, Any]) -> None:
    vocab = held["model"]["vocab"]
    one, other = sorted(vocab, key=vocab.__getitem__)[300:302]
    vocab[one], vocab[other] = vocab[other], vocab[one]


GPT2, BERT, SPAM, VIT, CLIP = SETS
DAMAGES = [
    Damage(GPT2, "weights rounded to bfloat16", weights(as_dtype(torch.bfloat16)), harmless=True),
    Damage(GPT2, "weights rounded to 8 bits", weights(rounded(8)), harmless=True),
    Damage(GPT2, "weights rounded to 4 bits", weights(rounded(4))),
    Damage(GPT2, "1 % noise on the weights", weights(noise(0.01)), harmless=True),
    Damage(GPT2, "20 % noise on one block", weights(noise(0.2, "blocks.2."))),
    Damage(GPT2, "one head off", weights(head_off(1, 2))),
    Damage(GPT2, "one block skipped", weights(skipped(3))),
    Damage(GPT2, "two blocks exchanged", weights(exchanged(1, 3))),
    Damage(GPT2, "eps 1e-2 for 1e-5", config(eps=1e-2)),
    Damage(GPT2, "eps 1e-12 for 1e-5", config(eps=1e-12), harmless=True),
    Damage(GPT2, "quick for tanh gelu", config(gelu="quick"), harmless=True),
    Damage(GPT2, "exact for tanh gelu", config(gelu="erf"), harmless=True),
    Damage(GPT2, "twice as many heads", config(heads=10)),
    Damage(GPT2, "positions off by one", weights(rolled("positions.weight", 1, 0))),
    Damage(GPT2, "attention twice as sharp", weights(times("blocks.1.attn.qkv.weight", 1.4))),
    Damage(GPT2, "old tokenizer", file("tokenizer.json", without_merges)),
    Damage(GPT2, "two words of the tokenizer swapped", file("tokenizer.json", two_words_swapped)),
    Damage(BERT, "weights rounded to bfloat16", weights(as_dtype(torch.bfloat16)), harmless=True),
    Damage(BERT, "weights rounded to 3 bits", weights(rounded(3))),
    Damage(BERT, "1 % noise on the weights", weights(noise(0.01)), harmless=True),
    Damage(BERT, "one head off", weights(head_off(0, 1))),
    Damage(BERT, "one block skipped", weights(skipped(1))),
    Damage(BERT, "eps 1e-5 for 1e-12", config(eps=1e-5), harmless=True),
    Damage(BERT, "quick for exact gelu", config(gelu="quick"), harmless=True),
    Damage(BERT, "case kept", cased),
    Damage(BERT, "positions off by one", weights(rolled("positions.weight", 1, 0))),
    Damage(BERT, "first block without its offsets", weights(times("positions.weight", 0.3))),
    Damage(SPAM, "labels swapped", file("config.json", relabelled)),
    Damage(SPAM, "a class lost", weights(lost_class(1))),
    Damage(SPAM, "one block skipped", weights(skipped(0))),
    Damage(SPAM, "case kept", cased),
    Damage(SPAM, "words forgotten", weights(zeroed("tokens.weight", slice(1000, 2000)))),
    Damage(SPAM, "surer than it was", weights(times("pooler.weight", 3.0)), harmless=True),
    Damage(VIT, "weights rounded to bfloat16", weights(as_dtype(torch.bfloat16)), harmless=True),
    Damage(VIT, "weights rounded to 3 bits", weights(rounded(3))),
    Damage(VIT, "1 % noise on the weights", weights(noise(0.01)), harmless=True),
    Damage(VIT, "30 % noise on the weights", weights(noise(0.3))),
    Damage(VIT, "one head off", weights(head_off(1, 0))),
    Damage(VIT, "one block skipped", weights(skipped(2))),
    Damage(VIT, "labels of 4 and 9 swapped", weights(swapped_classes(4, 9))),
    Damage(VIT, "a class lost", weights(lost_class(7))),
    Damage(VIT, "pixels shifted by two", weights(patches(lambda k: k.roll(2, 3)))),
    Damage(VIT, "rows and columns exchanged", weights(patches(lambda k: k.mT))),
    Damage(
        VIT,
        "pixels of twice the contrast",
        file("preprocessor_config.json", lambda held: held.update(image_std=[0.25])),
    ),
    Damage(VIT, "eps 1e-1 for 1e-12", config(eps=1e-1)),
    Damage(CLIP, "weights rounded to bfloat16", weights(as_dtype(torch.bfloat16)), harmless=True),
    Damage(CLIP, "weights rounded to 4 bits", weights(rounded(4))),
    Damage(CLIP, "blue for red", weights(patches(lambda k: k.flip(1)))),
    Damage(CLIP, "exact for quick gelu", config(gelu="erf"), harmless=True),
    Damage(CLIP, "one text block skipped", weights(skipped(1, "text."))),
    Damage(CLIP, "one image block skipped", weights(skipped(1, "image."))),
    Damage(CLIP, "one head off", weights(head_off(1, 1, "image."))),
    Damage(CLIP, "10 % noise on the weights", weights(noise(0.1))),
    Damage(
        CLIP,
        "similarities half as sharp",
        weights(lambda m: m.logit_scale.sub_(0.7)),
        harmless=True,
    ),
    Damage(
        CLIP,
        "pictures without the training mean",
        file("preprocessor_config.json", lambda held: held.update(image_mean=[0.0, 0.0, 0.0])),
    ),
    Damage(CLIP, "two words swapped", file("tokenizer.json", two_words_swapped), harmless=True),
]


def tell(damage: Damage, place: Path) -> Told:
    """Do the damage to a copy in `place`; ask the probe, and then the gate."""
    folder = place / damage.model
    shutil.copytree(golden()[damage.model], folder)
    damage.do(folder)
    probe = None
    try:
        load(folder)
    except CheckpointError as error:
        probe = str(error).replace(str(folder), damage.model)
    write_probe(folder)
    held = GoldenRows.open(golden()[damage.model].parent / SETS[damage.model])
    answered = ask(held, folder)
    verdict = verdict_of(held, answered)
    accepted = held.accepted()
    changed = sum(outcome.answer != accepted[outcome.id].answer for outcome in answered.outcomes)
    compared = verdict.metrics[MAIN.get(damage.model, "accuracy")]
    return Told(
        probe, verdict.sentences, compared.before, compared.after, changed, len(answered.outcomes)
    )


def main() -> None:
    print("| checkpoint | damage | probe | gate | metric | before | after | other answers |")
    print("|---|---|---|---|---|---|---|---|")
    only = [word for word in sys.argv[1:] if not word.startswith("-")]
    for damage in [d for d in DAMAGES if not only or d.model in only]:
        with tempfile.TemporaryDirectory() as place:
            told = tell(damage, Path(place))
        gate = f"{len(told.gate)} sentences" if told.gate else "silent"
        metric = MAIN.get(damage.model, "accuracy")
        print(
            f"| {damage.model} | {damage.what} | {'refuses' if told.probe else 'silent'} | {gate} "
            f"| {metric} | {told.before:.3f} | {told.after:.3f} | {told.changed} of {told.rows} |",
            flush=True,
        )
        for line in (told.probe, *told.gate[:2]):
            if line and "-v" in sys.argv:
                print(f"    {line[:300]}")


if __name__ == "__main__":
    main()
