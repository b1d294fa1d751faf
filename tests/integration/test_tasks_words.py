"""Tasks that read texts, in memory and beside small files: lengths, masks, poolings, refusals."""

import dataclasses
import json

import pytest
import torch

from integration.task_models import (
    TEXTS,
    bert,
    clip,
    gpt2,
    near,
    tokenizer,
    vit,
)
from zoo.checkpoint import CheckpointError
from zoo.generate import Sampling
from zoo.tasks import (
    FillMask,
    Generator,
    Label,
    TextClassifier,
)
from zoo.tasks.text import EmbeddingConfig, Guess, elsewhere, read_embedding_config, unit
from zoo.tokenizers import Tokenizer


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_classes_of_texts_without_names_are_numbered(kind):
    made = {"bert": (bert, "wordpiece"), "gpt2": (gpt2, "bpe")}[kind]
    classifier = TextClassifier(made[0]("sequence", classes=3), tokenizer(made[1]))
    rows = classifier.classify(TEXTS)
    names = {"LABEL_0", "LABEL_1", "LABEL_2"}
    assert [{label.name for label in row} for row in rows] == [names] * 4
    assert [[label] for label, *_ in rows] == classifier.classify(TEXTS, top=1)
    assert classifier.classify([]) == []


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_text_to_classify_loses_its_end_at_the_context(kind):
    """Also where the tokenizer would let it be longer."""
    made = {"bert": (bert, "wordpiece"), "gpt2": (gpt2, "bpe")}[kind]
    tok = Tokenizer.train(TEXTS * 3, made[1], vocab=tokenizer(made[1]).vocab_size, longest=99)
    classifier = TextClassifier(made[0]("sequence", classes=3), tok)
    short = tok.batch(["sun " * 60], longest=24)
    with torch.no_grad():
        chances = classifier.model(**short)[0].softmax(-1).sort(descending=True).values
    (row,) = classifier.classify(["sun " * 60])
    assert [label.probability for label in row] == pytest.approx(chances.tolist(), rel=1e-6)


def test_a_damaged_file_beside_a_model_is_named(tmp_path):
    (tmp_path / "modules.json").write_bytes(b"[\xff]")
    with pytest.raises(
        CheckpointError, match=r"modules\.json is not JSON: .*can't decode byte 0xff"
    ):
        read_embedding_config(tmp_path)
    (tmp_path / "modules.json").write_text('[{"type": "é.Normalize"}]', encoding="utf-8")
    assert read_embedding_config(tmp_path).normalize is True


def test_vectors_become_as_long_as_one_however_short_they_are():
    vectors = torch.tensor([[3.0, 4.0], [3e-9, 4e-9], [0.0, 0.0]], dtype=torch.float64)
    near(unit(vectors), torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize(
    ("prompt", "context", "asked", "most"),
    [
        (0, 24, {}, 23),
        (1, 24, {}, 23),
        (2, 24, {}, 22),
        (22, 24, {}, 2),
        (23, 24, {}, 1),
        (24, 24, {}, 1),
        (30, 24, {}, 1),
        (2, 200, {}, 128),
        (2, 130, {}, 128),
        (2, 129, {}, 127),
        (2, 24, {"max_new_tokens": 99}, 99),
    ],
)
def test_without_a_length_a_text_goes_to_the_end_of_the_context(prompt, context, asked, most):
    generator = Generator(gpt2(context=context), tokenizer("bpe"))
    found = generator.sampling("." * prompt, {"seed": 3, "temperature": 0.5} | asked)
    assert len(generator.tokenizer.encode("." * prompt)) == prompt
    assert found == Sampling(seed=3, temperature=0.5, max_new_tokens=most)


EMBEDDING = {
    "nothing": ({}, EmbeddingConfig("mean", False, None)),
    "the first token": (
        {"1_Pooling/config.json": {"pooling_mode_cls_token": True}},
        EmbeddingConfig("cls", False, None),
    ),
    "the largest, of others that are not meant": (
        {
            "1_Pooling/config.json": {
                "pooling_mode_max_tokens": True,
                "pooling_mode_mean_tokens": 1,
                "pooling_mode_cls_token": False,
                "include_prompt": True,
            }
        },
        EmbeddingConfig("max", False, None),
    ),
    "a length": ({"sentence_bert_config.json": {"max_seq_length": 7}}, EmbeddingConfig(longest=7)),
    "parts of which one normalizes": (
        {"modules.json": [{"type": "a.Pooling"}, {}, {"type": "a.b.Normalize"}]},
        EmbeddingConfig(normalize=True),
    ),
    "parts of which none does": (
        {
            "modules.json": [
                {"type": "a.Normalize.b"},
                {"type": "Normalize"},
                {"name": ".Normalize"},
            ]
        },
        EmbeddingConfig(),
    ),
}


def write_all(folder, files):
    for name, held in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(held))


@pytest.mark.parametrize(("files", "config"), EMBEDDING.values(), ids=EMBEDDING)
def test_what_a_folder_says_of_its_vectors(tmp_path, files, config):
    write_all(tmp_path, files)
    assert read_embedding_config(tmp_path) == config


@pytest.mark.parametrize(
    "pooling",
    [
        {"other": True},
        {"pooling_mode_mean_tokens": False},
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode_lasttoken": True},
    ],
    ids=["none", "off", "two", "other"],
)
def test_a_pooling_is_one_of_ours_or_refused(tmp_path, pooling):
    write_all(tmp_path, {"1_Pooling/config.json": pooling})
    words = r"asks for .*; expected one of \['pooling_mode_cls_token', 'pooling_mode_max_tokens'"
    with pytest.raises(CheckpointError, match=words):
        read_embedding_config(tmp_path)


def test_as_many_words_as_there_are_may_be_asked_for():
    filler = FillMask(bert("masked_lm"), tokenizer("wordpiece"))
    size = filler.tokenizer.vocab_size
    (row,) = filler.fill("the [MASK] sat", top=size)
    assert sorted(filler.tokenizer.backend.token_to_id(g.token) for g in row) == [*range(size)]
    assert sum(g.probability for g in row) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match=f"top {size + 1}; expected 1 to {size}"):
        filler.fill("the [MASK]", top=size + 1)


def test_of_three_masks_each_is_filled_between_the_others():
    filler = FillMask(bert("masked_lm"), tokenizer("wordpiece"))
    rows = filler.fill("[MASK] a [MASK] b [MASK]", top=1)
    places = ["{} a [MASK] b [MASK]", "[MASK] a {} b [MASK]", "[MASK] a [MASK] b {}"]
    for (guess,), place in zip(rows, places, strict=True):
        assert isinstance(guess, Guess)
        before, after = place.split("{}")
        name = guess.token
        glued = before.rstrip() + name[2:] if name.startswith("##") else before + name
        assert guess.filled == glued + after


def test_a_tokenizer_without_a_mask_fills_nothing():
    with pytest.raises(ValueError, match="this tokenizer has no mask token; filling in needs"):
        FillMask(bert("masked_lm"), tokenizer("bpe")).fill("a [MASK]")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: gpt2(), ""),
        (lambda: bert(), ""),
        (lambda: clip(), "; a CLIP compares pictures with texts: zoo match, or Matcher"),
        (lambda: vit(), "; a ViT is for pictures: zoo classify, or ImageEmbedder for vectors"),
    ],
    ids=["gpt2", "bert", "clip", "vit"],
)
def test_another_family_is_pointed_to_where_it_is_of_use(model, words):
    assert elsewhere(model()) == words


SAVED = {"gpt2": (gpt2, "bpe"), "bert": (bert, "wordpiece")}
REFUSED = [
    (Generator, "bert", None, "generating needs a GPT-2 with its language-model head"),
    (Generator, "gpt2", "token", "generating needs a GPT-2 with its language-model head"),
    (FillMask, "gpt2", "lm", "filling in needs a BERT with its masked-LM head"),
    (FillMask, "bert", "token", "filling in needs a BERT with its masked-LM head"),
    (
        TextClassifier,
        "bert",
        "token",
        "classifying texts needs a BERT or GPT-2 with its sequence h",
    ),
    (
        TextClassifier,
        "gpt2",
        "lm",
        "classifying texts needs a BERT or GPT-2 with its sequence head",
    ),
]


@pytest.mark.parametrize(("task", "family", "head", "words"), REFUSED)
def test_a_folder_of_another_kind_is_refused_in_these_words(tmp_path, task, family, head, words):
    SAVED[family][0](head).save_pretrained(tmp_path)
    tokenizer(SAVED[family][1]).save(tmp_path)
    name = {"gpt2": "GPT2", "bert": "BERT"}[family]
    with pytest.raises(CheckpointError) as caught:
        task.from_folder(tmp_path)
    told = f"{tmp_path} holds a {name} with head {head!r}; {words}"
    assert str(caught.value).startswith(told) and str(caught.value).endswith(" head")


def test_a_label_a_guess_and_a_config_hold_what_they_are_made_of():
    assert dataclasses.astuple(Label("a", 0.5)) == ("a", 0.5)
    assert dataclasses.astuple(Guess("a", 0.5, "b a")) == ("a", 0.5, "b a")
    assert dataclasses.astuple(EmbeddingConfig()) == ("mean", False, None)
