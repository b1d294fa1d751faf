"""The golden checkpoints from a row to an answer: against transformers, through other doors, and
under changes that must not matter."""

import json
import random

import pytest
import torch
import transformers

from integration.damage import SETS
from zoo.checkpoint.packaged import golden
from zoo.evaluate.golden_quality import ask
from zoo.evaluate.judges import judge
from zoo.evaluate.sets import GoldenRows
from zoo.evaluate.sheets import picture
from zoo.evaluate.subject import Subject
from zoo.evaluate.versions import ROUNDING
from zoo.tasks import FillMask, ImageClassifier, Matcher, TextClassifier

TEXTS = ("gpt2-english", "bert-english", "bert-spam")
THEIRS = {
    "gpt2-english": transformers.GPT2LMHeadModel,
    "bert-english": transformers.BertForMaskedLM,
    "bert-spam": transformers.BertForSequenceClassification,
    "vit-mnist": transformers.ViTForImageClassification,
    "clip-openmoji": transformers.CLIPModel,
}
SOME = 24  # rows, each of another place of the set


def some(model, *, tasks=None):
    held = GoldenRows.open(golden()[model].parent / SETS[model])
    rows = [row for row in held.rows if row.test == "mft" and (not tasks or row.task in tasks)]
    return held, rows[:: max(1, len(rows) // SOME)][:SOME]


def texts_of(rows):
    names = ("text", "prompt", "caption")
    return [next(row.fields[name] for name in names if name in row.fields) for row in rows]


def theirs(model):
    return THEIRS[model].from_pretrained(golden()[model], dtype=torch.float64).eval()


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("model", TEXTS)
def test_rows_are_the_same_tokens_and_logits_in_transformers(model):
    subject = Subject.open(golden()[model], dtype=torch.float64)
    tokenizer = transformers.AutoTokenizer.from_pretrained(golden()[model])
    other = theirs(model)
    for text in texts_of(some(model)[1]):
        ids = subject.tokenizer.encode(text)
        assert tokenizer(text)["input_ids"] == ids
        batch = torch.tensor([ids[: subject.model.config.context]])
        with torch.no_grad():
            close(subject.model(batch), other(batch).logits)


def test_scans_are_the_same_pixels_and_logits_in_transformers():
    subject = Subject.open(golden()["vit-mnist"], dtype=torch.float64)
    held, rows = some("vit-mnist")
    images = [picture(row.fields["image"], held.folder, held.sheets) for row in rows]
    pixels = subject.processor(images).double()
    with torch.no_grad():
        close(subject.model(pixels), theirs("vit-mnist")(pixels).logits)


def test_drawings_and_captions_are_as_near_in_transformers():
    subject = Subject.open(golden()["clip-openmoji"], dtype=torch.float64)
    held, rows = some("clip-openmoji", tasks=("retrieve",))
    images = [picture(row.fields["image"], held.folder, held.sheets) for row in rows]
    processor = transformers.CLIPImageProcessorPil.from_pretrained(golden()["clip-openmoji"])
    wanted = torch.tensor(processor(images, return_tensors="np")["pixel_values"])
    pixels = subject.processor(images)
    assert torch.equal(pixels, wanted)
    batch = subject.tokenizer.batch(texts_of(rows))
    other = theirs("clip-openmoji")
    with torch.no_grad():
        ours = subject.model(batch["input_ids"], pixels.double(), batch["attention_mask"])
        given = other(
            input_ids=batch["input_ids"],
            pixel_values=pixels.double(),
            attention_mask=batch["attention_mask"],
        )
    close(ours, given.logits_per_image)


@pytest.mark.thinned(2)
@pytest.mark.parametrize("model", SETS)
def test_the_order_of_rows_and_their_neighbours_change_no_answer(model):
    held, _ = some(model)
    accepted = held.accepted()
    rows = [row for row in held.rows if row.test == "mft" and row.task != "retrieve"]
    random.Random(1).shuffle(rows)
    subject = Subject.open(golden()[model])
    for chosen in (rows, rows[::3]):
        for outcome in judge(chosen, subject, held.folder):
            before = accepted[outcome.id]
            assert outcome.answer == before.answer
            assert outcome.value == pytest.approx(before.value, rel=ROUNDING, abs=ROUNDING)


@pytest.mark.thinned(3)
@pytest.mark.parametrize("model", SETS)
def test_what_is_saved_again_answers_the_same_bits(model, tmp_path):
    subject = Subject.open(golden()[model])
    subject.model.save_pretrained(tmp_path)
    if subject.tokenizer is not None:
        subject.tokenizer.save(tmp_path)
    if subject.processor is not None:
        subject.processor.save(tmp_path)
    held, _ = some(model)
    assert ask(held, tmp_path).outcomes == ask(held, golden()[model]).outcomes


def test_the_doors_of_a_checkpoint_say_what_its_rows_do():
    """What `zoo fill`, `zoo classify` and `zoo match` call gives the answers that were accepted."""
    held, rows = some("bert-spam")
    accepted = held.accepted()
    found = TextClassifier.from_folder("bert-spam").classify(texts_of(rows), top=1)
    assert [best.name for (best,) in found] == [accepted[row.id].answer for row in rows]
    held, rows = some("vit-mnist")
    accepted = held.accepted()
    images = [picture(row.fields["image"], held.folder, held.sheets) for row in rows]
    found = ImageClassifier.from_folder("vit-mnist").classify(images, top=1)
    assert [best.name for (best,) in found] == [accepted[row.id].answer for row in rows]
    held, rows = some("bert-english", tasks=("fill",))
    accepted = held.accepted()
    filler = FillMask.from_folder("bert-english")
    for row in [row for row in rows if "choices" not in row.fields]:
        best = filler.fill(row.fields["text"], top=1)[0][0]
        assert best.token.strip() == accepted[row.id].answer
    held, rows = some("clip-openmoji", tasks=("caption",))
    accepted = held.accepted()
    matcher = Matcher.from_folder("clip-openmoji")
    for row in rows:
        image = picture(row.fields["image"], held.folder, held.sheets)
        scores = matcher.encode_texts(row.fields["captions"]) @ matcher.encode_images([image])[0]
        assert row.fields["captions"][int(scores.argmax())] == accepted[row.id].answer


def test_accepted_answers_are_lines_that_can_be_read_without_zoo():
    for model, name in SETS.items():
        lines = (golden()[model].parent / name / "accepted.jsonl").read_text(encoding="utf-8")
        found = [json.loads(line) for line in lines.splitlines()]
        assert len({line["id"] for line in found}) == len(found) >= 200
