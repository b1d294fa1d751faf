"""An answer does not depend, to the last bit, on who shares the batch; nor does a poisoned one."""

import os
import random

import pytest
import torch

from unit.serve.engines import GOLDEN, LIMITS, Asked, asked, opened
from zoo.serve.opening import open_engine

SCHEDULED = os.environ.get("ZOO_SCHEDULED") == "1"
BATCHES, JOBS, MOST, TOKENS = (10_000, 24, 9, 10) if SCHEDULED else (5, 6, 6, 6)
WORDS = "the a river house said of and in light she never again war music 1914 ; ?".split()


def text(draw, most=24):
    return " ".join(draw.choices(WORDS, k=draw.randint(1, most)))


def completion(draw):
    body = {"prompts": [text(draw) for _ in range(draw.randint(1, 2))], "seed": draw.randrange(99)}
    body |= {"max_tokens": draw.randint(1, TOKENS), "logprobs": draw.choice([None, 2])}
    body |= {"temperature": draw.choice([0.0, 0.7, 1.3]), "top_p": draw.choice([None, 0.9])}
    return body | {"stop": draw.choice([[], ["the"]]), "n": draw.choice([1, 1, 2])}


def picture(draw):
    from unit.serve.test_engine import png

    return png(draw.randint(8, 60), draw.randint(8, 60), draw.randrange(10**6))


def pictures(draw):
    return tuple(picture(draw) for _ in range(draw.randint(1, 3)))


def texts(draw, most=24):
    return [text(draw, most) for _ in range(draw.randint(1, 3))]


def masked(draw):
    return f"{text(draw, 8)} [MASK] {text(draw, 8)}"


# model, verb, and what draws a request's body and files
KINDS = [
    ("gpt2-english", "complete", lambda draw: (completion(draw), ())),
    ("bert-english", "embed", lambda draw: ({"texts": texts(draw)}, ())),
    ("bert-english", "fill", lambda draw: ({"texts": [masked(draw)], "top": 3}, ())),
    ("bert-spam", "classify", lambda draw: ({"texts": texts(draw), "top": 2}, ())),
    ("vit-mnist", "classify", lambda draw: ({"top": 10}, pictures(draw))),
    ("clip-openmoji", "embed", lambda draw: ({"texts": texts(draw, 5)}, ())),
    ("clip-openmoji", "match", lambda draw: ({"texts": texts(draw, 5)}, pictures(draw))),
]


@pytest.mark.parametrize(("name", "verb", "drawn"), KINDS)
def test_batched_is_single_to_the_bit(name, verb, drawn):
    draw = random.Random(f"{name} {verb}")
    pool = [drawn(draw) for _ in range(JOBS)]
    alone = []
    for body, files in pool:
        asking = asked(name)
        id = asking.ask(verb, body, files)
        asking.work()
        alone.append(asking.answer(id))
    for _ in range(BATCHES):
        chosen = draw.choices(range(len(pool)), k=draw.randint(2, MOST))
        asking, ids = asked(name), []
        for place in chosen:
            ids.append(asking.ask(verb, *pool[place]))
            for _ in range(draw.choice([0, 0, 0, 2])):  # some come while others are worked on
                turn(asking)
        asking.work()
        for place, id in zip(chosen, ids, strict=True):
            assert asking.answer(id) == alone[place]


def turn(asking):
    with torch.no_grad():
        if asking.engine.inbox or asking.engine.crew.busy:
            asking.engine.turn()


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e38])
@pytest.mark.parametrize(
    ("name", "verb", "body"),
    [
        ("gpt2-english", "complete", {"max_tokens": 6, "temperature": 0.0, "seed": 0}),
        ("bert-english", "embed", {}),
        ("bert-spam", "classify", {"top": 2}),
    ],
)
def test_a_poisoned_row_fails_alone(name, verb, body, poison):
    engine = open_engine(GOLDEN / name, LIMITS)  # its own: its weights are damaged
    field = "prompts" if verb == "complete" else "texts"
    good = [{**body, field: [[5 + i, 9, 11]]} for i in range(3)]
    expected = answers(engine, verb, good)
    with torch.no_grad():
        model_of(engine, verb).positions.weight[20] = poison  # which the good ones do not reach
    asking = Asked(engine)
    bad = {**body, field: [[5] * 24]}
    ids = [asking.ask(verb, one) for one in (good[0], bad, good[1], good[2])]
    asking.work()
    assert [asking.answer(id) for id in (ids[0], *ids[2:])] == expected
    if poison != 1e38:  # a norm may make a number of it again
        assert asking.refusal(ids[1])["kind"] == "broken"


def model_of(engine, verb):
    if verb == "complete":
        return engine.crew.task.model
    skill = engine.crew.skills[verb]
    return skill.model if hasattr(skill, "model") else skill.task.model


def answers(engine, verb, bodies):
    asking = Asked(engine)
    ids = [asking.ask(verb, body) for body in bodies]
    asking.work()
    return [asking.answer(id) for id in ids]


def test_a_bad_request_leaves_the_batch_as_it_is_without_it():
    good = [{"texts": ["the river", "light"]}, {"texts": ["a house of music"]}]
    expected = answers(opened("bert-english"), "embed", good)
    asking = asked("bert-english")
    first = asking.ask("embed", good[0])
    bad = [
        asking.ask("embed", {"texts": [poison]}) for poison in ([], [10**9], [-1], "long " * 999)
    ]
    last = asking.ask("embed", good[1])
    asking.work()
    assert all(asking.refusal(id)["kind"] == "invalid" for id in bad)
    assert [asking.answer(first), asking.answer(last)] == expected
