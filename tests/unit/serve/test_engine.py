"""An engine answers as the tasks do offline, and refuses what a model cannot do."""

import base64
import io
import sys
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from unit.serve.engines import GOLDEN, LIMITS, asked, one, opened
from zoo.serve.engine import Engine
from zoo.serve.job import Job
from zoo.serve.refusal import Refusal
from zoo.tasks import Embedder, FillMask, Generator, ImageClassifier, Matcher, TextClassifier


def png(width=20, height=16, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    return held.getvalue()


def vector(coded):
    return torch.from_numpy(np.frombuffer(base64.b64decode(coded), "<f4").copy())


TEXTS = ["the house", "a", "she looked at the river and said nothing at all"]
SAMPLING = {"max_tokens": 12, "temperature": 0.0, "seed": 3}


def test_texts_are_continued_as_offline():
    task = Generator.from_folder(GOLDEN / "gpt2-english")
    answer = one("gpt2-english", "complete", {"prompts": TEXTS, **SAMPLING})
    expected = task.generate(TEXTS, max_new_tokens=12, seed=3)
    assert [c["text"] for c in answer["choices"]] == [g.text for g in expected]
    assert [c["tokens"] for c in answer["choices"]] == [g.ids for g in expected]
    assert [c["finish"] for c in answer["choices"]] == [g.finish for g in expected]
    assert answer["new_tokens"] == sum(len(g.ids) for g in expected)
    assert answer["prompt_tokens"] == sum(len(task.tokenizer.encode(text)) for text in TEXTS)


def test_choices_draw_with_seeds_that_follow_each_other():
    task = Generator.from_folder(GOLDEN / "gpt2-english")
    body = {"prompts": TEXTS[:2], "n": 2, "max_tokens": 8, "temperature": 0.9, "top_k": 40}
    answer = one("gpt2-english", "complete", body | {"seed": 5})
    options = {"max_new_tokens": 8, "temperature": 0.9, "top_k": 40}
    expected = [
        task.generate([TEXTS[i]], seed=5 + 2 * i + k, **options)[0].text
        for i in range(2)
        for k in range(2)
    ]
    assert [c["text"] for c in answer["choices"]] == expected
    assert len(set(expected)) == 4


@pytest.mark.parametrize("asked_for", [{"echo": True}, {"logprobs": 2}], ids=["echo", "logprobs"])
def test_pieces_join_to_the_answer(asked_for):
    asking = asked("gpt2-english")
    body = {"prompts": TEXTS, "stream": True, **asked_for, **SAMPLING}
    id = asking.ask("complete", body)
    asking.work()
    answer, pieces = asking.answer(id), asking.told[id][:-1]
    for place, choice in enumerate(answer["choices"]):
        own = [piece for piece in pieces if piece["choice"] == place]
        assert "".join(piece["text"] for piece in own) == choice["text"]
        assert [token for piece in own for token in piece["tokens"]] == choice["tokens"]
        assert [piece["finish"] for piece in own] == [None] * (len(own) - 1) + [choice["finish"]]
        assert choice["text"].startswith(TEXTS[place]) == ("echo" in asked_for)
        if "logprobs" not in asked_for:
            assert choice["logprobs"] is None
            continue
        for name, values in choice["logprobs"].items():
            assert [value for piece in own for value in piece["logprobs"][name]] == values
        first = choice["logprobs"]["top_logprobs"][0]
        assert len(first) == 2
        assert max(first.values()) == choice["logprobs"]["token_logprobs"][0]  # greedy
        offsets = choice["logprobs"]["text_offset"]
        assert offsets[0] == 0 and offsets == sorted(offsets) and offsets[-1] > 8


def test_a_stop_string_ends_a_text_before_it():
    task = Generator.from_folder(GOLDEN / "gpt2-english")
    plain = task.generate([TEXTS[0]], max_new_tokens=20)[0].text
    stop = plain[6:9]
    body = {"prompts": TEXTS[:1], "max_tokens": 20, "temperature": 0.0, "seed": 0, "stop": [stop]}
    choice = one("gpt2-english", "complete", body)["choices"][0]
    assert choice["text"] == plain[: plain.index(stop)] and choice["finish"] == "stop"


def test_vectors_are_those_of_the_task():
    task = Embedder.from_folder(GOLDEN / "bert-english")
    answer = one("bert-english", "embed", {"texts": TEXTS})
    made = torch.stack([vector(coded) for coded in answer["vectors"]])
    torch.testing.assert_close(made, task.embed(TEXTS), rtol=1e-5, atol=1e-5)
    assert answer["size"] == made.shape[1]
    scaled = one("bert-english", "embed", {"texts": TEXTS, "normalize": True})
    lengths = torch.stack([vector(coded) for coded in scaled["vectors"]]).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(3))


def test_ids_are_read_as_the_text_they_stand_for():
    ids = Embedder.from_folder(GOLDEN / "bert-english").tokenizer.encode(TEXTS[0])
    both = one("bert-english", "embed", {"texts": [TEXTS[0], ids]})
    assert both["vectors"][0] == both["vectors"][1]
    assert both["prompt_tokens"] == 2 * len(ids)


def test_masks_are_filled_as_offline():
    task = FillMask.from_folder(GOLDEN / "bert-english")
    texts = ["the [MASK] was dark", "[MASK] said that [MASK] was late"]
    answer = one("bert-english", "fill", {"texts": texts, "top": 3})
    for text, masks in zip(texts, answer["texts"], strict=True):
        expected = task.fill(text, top=3)
        assert [[g["filled"] for g in guesses] for guesses in masks] == [
            [g.filled for g in guesses] for guesses in expected
        ]
        assert masks[0][0]["probability"] == pytest.approx(expected[0][0].probability, rel=1e-4)


def test_texts_are_classified_as_offline():
    task = TextClassifier.from_folder(GOLDEN / "bert-spam")
    texts = ["win a free prize now", "see you at lunch"]
    answer = one("bert-spam", "classify", {"texts": texts, "top": 2, "labels": None})
    for found, expected in zip(answer["labels"], task.classify(texts, top=2), strict=True):
        assert [label["label"] for label in found] == [label.name for label in expected]
        chances = [label["probability"] for label in found]
        assert chances == pytest.approx([label.probability for label in expected], rel=1e-4)


def test_pictures_are_classified_as_offline():
    task = ImageClassifier.from_folder(GOLDEN / "vit-mnist")
    files = [png(seed=seed) for seed in range(3)]
    answer = one("vit-mnist", "classify", {"top": 3}, files)
    for found, expected in zip(answer["labels"], task.classify(files, top=3), strict=True):
        assert [label["label"] for label in found] == [label.name for label in expected]


def test_a_picture_is_as_large_as_its_patches():
    skill = opened("vit-mnist").crew.skills["classify"]
    (row,) = skill.rows(Job(1, "classify", {"top": 1}, print, (png(),)))
    assert (row.kind, row.size) == ("image", 7 * 7)


def test_pictures_and_texts_meet_as_offline():
    task = Matcher.from_folder(GOLDEN / "clip-openmoji")
    files, texts = [png(40, 40, seed) for seed in range(2)], ["a red heart", "a dog", "a flag"]
    answer = one("clip-openmoji", "match", {"texts": texts}, files)
    expected = task.encode_images(files) @ task.encode_texts(texts).T
    torch.testing.assert_close(torch.tensor(answer["cosines"]), expected, rtol=1e-5, atol=1e-5)
    sums = [sum(row) for row in answer["probabilities"]]
    assert sums == pytest.approx([1.0, 1.0])
    labels = ["heart", "dog"]
    found = one("clip-openmoji", "classify", {"top": 2, "labels": labels}, files)["labels"]
    for one_found, wanted in zip(found, task.classify(files, labels, top=2), strict=True):
        chances = [label["probability"] for label in one_found]
        assert [label["label"] for label in one_found] == [label.name for label in wanted]
        assert chances == pytest.approx([label.probability for label in wanted], rel=1e-4)


def test_a_text_in_the_space_of_a_clip_has_length_one():
    made = vector(one("clip-openmoji", "embed", {"texts": ["a red heart"]})["vectors"][0])
    assert made.norm() == pytest.approx(1.0, rel=1e-5)


LONG = "word " * 600
COMPLETE = {"max_tokens": 4, "temperature": 0.0, "seed": 0}
REFUSED = [
    ("gpt2-english", "embed", {"texts": ["a"]}, (), "model", "complete, not embed"),
    ("gpt2-english", "complete", {**COMPLETE, "prompts": []}, (), "prompt", "expected 1 to 8"),
    ("gpt2-english", "complete", {**COMPLETE, "prompts": ["a"] * 9}, (), "prompt", "1 to 8"),
    ("gpt2-english", "complete", {**COMPLETE, "prompts": ["a"] * 5, "n": 2}, (), "prompt", "2 ch"),
    ("gpt2-english", "complete", {**COMPLETE, "prompts": [LONG]}, (), "prompt", "shorten"),
    ("gpt2-english", "complete", {**COMPLETE, "prompts": ["a"], "max_tokens": 999}, (),
     "max_tokens", "ask for fewer"),
    ("gpt2-english", "complete", {**COMPLETE, "prompts": ["a"], "echo": True, "logprobs": 0}, (),
     "echo", "ask for one"),
    ("gpt2-english", "complete", {**COMPLETE, "prompts": [[99999]]}, (), None, "99999"),
    ("gpt2-english", "complete", {**COMPLETE, "prompts": [[-1]]}, (), None, "-1"),
    ("gpt2-english", "complete", {**COMPLETE, "prompts": ["a"], "top_p": 2.0}, (), None, "top_p"),
    ("bert-english", "embed", {"texts": []}, (), "input", "at least one"),
    ("bert-english", "embed", {"texts": ["a", LONG]}, (), "input", "input 1 has"),
    ("bert-english", "embed", {"texts": ["a" * 16385]}, (), "input", "16,385 characters"),
    ("gpt2-english", "complete", {**COMPLETE, "prompts": ["a" * 32769]}, (), "prompt", "32,769"),
    ("bert-english", "embed", {"texts": [[]]}, (), "input", "no tokens"),
    ("bert-english", "embed", {"texts": [[2048]]}, (), "input", "0 to 2047"),
    ("bert-english", "fill", {"texts": ["no mask"], "top": 2}, (), None, "[MASK]"),
    ("bert-english", "fill", {"texts": ["[MASK]"], "top": 0}, (), None, "top 0"),
    ("bert-english", "fill", {"texts": ["[MASK]" * 120] * 8, "top": 12}, (), "top", "9,239,040"),
    ("bert-spam", "classify", {"texts": ["a"], "top": 1, "labels": ["b"]}, (), "labels", "leave"),
    ("bert-spam", "classify", {"texts": [], "top": 1}, (png(),), "image", "reads texts"),
    ("vit-mnist", "classify", {"top": 1}, (), "image", "at least one"),
    ("vit-mnist", "classify", {"texts": ["a"], "top": 1}, (), "input", "sees pictures"),
    ("vit-mnist", "classify", {"top": 1}, (png(), png()[:90]), "image", "image 1"),
    ("vit-mnist", "classify", {"top": 1}, (b"GIF89a",), "image", "image 0"),
    ("clip-openmoji", "classify", {"top": 1}, (png(),), "labels", "give labels"),
    ("clip-openmoji", "classify", {"top": 1, "labels": ["a", "a"]}, (png(),), None, "2 times"),
    ("clip-openmoji", "match", {"texts": []}, (png(),), "text", "at least one"),
    ("clip-openmoji", "match", {"texts": ["a"]}, (), "image", "at least one"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "verb", "body", "files", "param", "why"), REFUSED)
def test_what_a_model_cannot_do_is_refused_at_once(name, verb, body, files, param, why):
    asking = asked(name)
    refusal = asking.refusal(asking.ask(verb, body, files))
    assert refusal["kind"] == "invalid" and refusal["param"] == param
    assert why in refusal["message"]


def test_what_comes_too_late_is_not_read():
    asking = asked("bert-english")
    late = asking.ask("embed", {"texts": [LONG]}, deadline=time.monotonic() - 1)
    assert asking.refusal(late)["kind"] == "late"
    skill = opened("vit-mnist").crew.skills["classify"]
    with pytest.raises(Refusal) as raised:  # the time may be over after the first of many
        skill.rows(Job(1, "classify", {"top": 1}, print, (png()[:90],), time.monotonic() - 1))
    assert raised.value.kind == "late"


def test_what_was_read_too_late_is_not_computed():
    asking = asked("bert-english")
    soon = time.monotonic() + 0.05
    late = asking.ask("embed", {"texts": ["a"]}, deadline=soon)
    while time.monotonic() <= soon:
        pass
    good = asking.ask("embed", {"texts": ["a"]}, deadline=time.monotonic() + 100)
    before = asking.engine.crew.stats()["prompt_tokens"]
    asking.work()
    assert asking.refusal(late)["kind"] == "late"
    assert asking.engine.crew.stats()["prompt_tokens"] - before == 3  # of the good one
    assert asking.answer(good)["size"] == 128


@pytest.mark.parametrize(
    ("name", "verb", "body"),
    [
        ("bert-english", "embed", {"texts": ["a", "b"]}),
        ("gpt2-english", "complete", {"prompts": ["a", "b"], **SAMPLING}),
    ],
)
def test_a_cancelled_job_ends_and_the_others_go_on(name, verb, body):
    asking = asked(name)
    gone, stays = asking.ask(verb, body), asking.ask(verb, body)
    asking.engine.cancel(gone)
    asking.work()
    assert asking.refusal(gone)["kind"] == "cancelled"
    assert asking.answer(stays) == one(name, verb, body)
    asking.engine.cancel(stays)  # which is over
    asking.work()


def test_a_text_is_cancelled_between_two_tokens():
    asking = asked("gpt2-english")
    id = asking.ask("complete", {"prompts": TEXTS, "stream": True, **SAMPLING})
    with torch.no_grad():
        while len(asking.told[id]) < 7:
            asking.engine.turn()
    encode = opened("gpt2-english").crew.task.tokenizer.encode
    room = sum(len(encode(text)) + SAMPLING["max_tokens"] - 1 for text in TEXTS)
    assert asking.engine.stats()["cache_tokens"] == room
    asking.engine.cancel(id)
    asking.work()
    assert asking.refusal(id)["kind"] == "cancelled"
    assert len(asking.told[id]) < 20
    assert asking.engine.stats()["cache_tokens"] == 0


def test_another_thread_may_look_while_texts_come_and_go():
    asking, looked, over = asked("gpt2-english"), [], threading.Event()

    def look():
        while not over.is_set():
            looked.append(asking.engine.stats()["cache_tokens"])
        looked.append("end")

    thread, interval = threading.Thread(target=look), sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-6)
        thread.start()
        for _ in range(20):
            asking.ask("complete", {"prompts": ["a"] * 8, "max_tokens": 1, "seed": 0})
        asking.work()
    finally:
        sys.setswitchinterval(interval)
        over.set()
        thread.join()
    assert looked[-1] == "end" and set(looked) > {0, "end"}


def test_a_model_that_fails_fails_those_it_was_asked_for_and_goes_on(capsys):
    asking = asked("bert-english")
    model = opened("bert-english").crew.skills["embed"].task.model
    blocks, model.blocks = model.blocks, torch.nn.ModuleList([torch.nn.Linear(1, 1)])
    id = asking.ask("embed", {"texts": ["a"] * 8})
    others = [asking.ask("embed", {"texts": ["b"] * 8}) for _ in range(4)]  # more than a batch
    with torch.no_grad():
        asking.engine.turn()
    model.blocks = blocks
    asking.work()
    assert asking.answer(others[-1])["size"] == 128
    refusal = asking.refusal(id)
    assert refusal["kind"] == "broken" and "the model failed" in refusal["message"]
    assert "Error" not in refusal["message"] and "Traceback" in capsys.readouterr().err
    asking.answer_after = asking.ask("embed", {"texts": ["a"]})
    asking.work()
    assert asking.answer(asking.answer_after)["size"] == 128


def test_a_closed_engine_answers_what_it_accepted_and_no_more():
    crew, about = opened("bert-english").crew, opened("bert-english").about
    engine, told = Engine(crew, about), {1: [], 2: []}
    engine.submit(Job(1, "embed", {"texts": ["a"]}, told[1].append))
    engine.close()
    engine.submit(Job(2, "embed", {"texts": ["a"]}, told[2].append))
    engine.run()
    assert told[1][-1]["is"] == "done"
    assert told[2][-1]["kind"] == "draining"
    assert engine.stats()["done"] == {"embed": 1} and engine.stats()["refused"] == {"draining": 1}


def test_an_engine_says_what_it_is():
    about = opened("gpt2-english").about
    assert about["family"] == "GPT2" and about["verbs"] == ["complete"]
    assert about["context"] == 256 and about["weights"] == "float32"
    assert opened("vit-mnist").about["image"] == [28, 28]
    assert opened("bert-spam").about["labels"] is not None
    assert about["fingerprint"] != opened("bert-spam").about["fingerprint"]
    assert LIMITS.rows == opened("gpt2-english").stats()["cache_limit"] // 16384
