"""The server as clients see it: OpenAI's client, plain HTTP, and bytes on a wire."""

import base64
import io

import openai
import pytest
from PIL import Image, ImageDraw

from e2e.serving import serving, until
from zoo.checkpoint.packaged import find
from zoo.serve.answers import Classes, Completion, Embeddings, Fills, Matches, Models
from zoo.tasks import Embedder, FillMask, Generator, ImageClassifier, Matcher, TextClassifier

SETS = {
    "gpt2": "gpt2-english",
    "bert": "bert-english",
    "spam": "bert-spam",
    "vit": "vit-mnist",
    "clip": "clip-openmoji",
}
PROMPT = "The history of the city"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = [f"{name}={find(folder)}" for name, folder in SETS.items()]
    with serving(tmp_path_factory.mktemp("server"), models) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def offline():
    return Generator.from_folder(SETS["gpt2"])


def greedy(offline, prompt=PROMPT, tokens=12, **options):
    (made,) = offline.generate([prompt], max_new_tokens=tokens, **options)
    return made.text


def test_a_completion_is_the_offline_one(client, offline):
    made = client.completions.create(
        model="gpt2", prompt=[PROMPT, "A"], max_tokens=12, temperature=0
    )
    assert [c.text for c in made.choices] == [greedy(offline), greedy(offline, "A")]
    assert made.model == "gpt2@1"
    assert made.usage.completion_tokens == 24
    assert made.usage.total_tokens == made.usage.prompt_tokens + 24
    assert [c.finish_reason for c in made.choices] == ["length", "length"]


def test_ids_are_as_good_as_their_text(client, offline):
    ids = offline.tokenizer.encode(PROMPT)
    made = client.completions.create(model="gpt2@1", prompt=ids, max_tokens=12, temperature=0)
    assert made.choices[0].text == greedy(offline)
    assert made.usage.prompt_tokens == len(ids)


def test_a_stream_is_the_completion_in_pieces(client, offline):
    pieces = list(
        client.completions.create(
            model="gpt2",
            prompt=PROMPT,
            max_tokens=12,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *parts, last = pieces
    assert "".join(part.choices[0].text for part in parts) == greedy(offline)
    assert [part.choices[0].finish_reason for part in parts][-1] == "length"
    assert len(parts) > 6
    assert (last.choices, last.usage.completion_tokens) == ([], 12)
    assert {(piece.id, piece.model) for piece in pieces} == {(last.id, "gpt2@1")}


def test_a_seed_that_was_drawn_is_told_and_gives_the_same_again(client):
    ask = {"model": "gpt2", "prompt": PROMPT, "max_tokens": 12, "temperature": 1.0}
    first = client.completions.create(**ask)
    again = client.completions.create(**ask, seed=first.seed)
    assert again.choices[0].text == first.choices[0].text
    assert again.system_fingerprint == first.system_fingerprint
    seeds = {client.completions.create(**ask | {"max_tokens": 1}).seed for _ in range(4)}
    assert len(seeds) > 1


def test_stop_echo_and_logprobs(client, offline):
    whole = greedy(offline)
    stop = whole[len(whole) // 2 :][:4]
    asked = {"model": "gpt2", "prompt": PROMPT, "max_tokens": 12, "temperature": 0, "stop": stop}
    (choice,) = client.completions.create(**asked, echo=True).choices
    assert choice.text == PROMPT + whole[: whole.index(stop)]
    assert choice.finish_reason == "stop"
    with pytest.raises(openai.UnprocessableEntityError, match="echo and logprobs together"):
        client.completions.create(**asked, echo=True, logprobs=2)
    told = client.completions.create(**asked, logprobs=2).choices[0].logprobs
    assert all(chosen <= 0 for chosen in told.token_logprobs)
    assert len(told.tokens) == len(told.token_logprobs) == len(told.text_offset) > 1
    assert all(
        max(top.values()) == chosen  # the likeliest was taken
        for top, chosen in zip(told.top_logprobs, told.token_logprobs, strict=True)
    )


def test_embeddings_are_the_offline_ones(client):
    texts = ["a cat sits here", "ships sail"]
    vectors = Embedder.from_folder(SETS["bert"]).embed(texts)
    packed = client.embeddings.create(model="bert", input=texts)  # base64, as it asks by itself
    plain = client.embeddings.create(model="bert", input=texts, encoding_format="float")
    for told in (packed, plain):
        for row, vector in zip(told.data, vectors, strict=True):
            assert row.embedding == pytest.approx(vector.tolist(), abs=1e-5)
    assert packed.model == "bert@1" and packed.usage.total_tokens > 0


def test_models_are_listed_and_found(client):
    assert {model.id for model in client.models.list()} == set(SETS)
    found = client.models.retrieve("gpt2@1")
    assert (found.id, found.object, found.state) == ("gpt2@1", "model", "ready")


WRONG = [
    ({"model": "nobody"}, openai.NotFoundError, "no model 'nobody'"),
    ({"temperature": -1}, openai.UnprocessableEntityError, "temperature: should be greater"),
    ({"max_tokens": 10**6}, openai.UnprocessableEntityError, "max_tokens"),
    ({"prompt": "a " * 300}, openai.UnprocessableEntityError, "256"),
    ({"prompt": [999_999]}, openai.UnprocessableEntityError, "999999"),
    ({"presence_penalty": 1}, openai.UnprocessableEntityError, "presence_penalty: no model here"),
    ({"model": "bert"}, openai.UnprocessableEntityError, "bert@1 does embed, fill, not complete"),
    ({"stream": True, "prompt": "a " * 300}, openai.UnprocessableEntityError, "256"),
]


@pytest.mark.parametrize(("fields", "kind", "says"), WRONG, ids=range(len(WRONG)))
def test_the_client_raises_what_is_wrong_and_shows_why(client, fields, kind, says):
    asked = {"model": "gpt2", "prompt": "a", "max_tokens": 1} | fields
    with pytest.raises(kind) as raised:
        client.completions.create(**asked)
    assert says in raised.value.message
    assert raised.value.body["message"] in raised.value.message


def likely(rows):
    """Give labels and their rounded probabilities, of the server's rows or of zoo.tasks's."""
    return [
        [(row["label"], pytest.approx(row["probability"], abs=1e-5)) for row in labels]
        for labels in rows
    ]


def test_words_are_filled_in_as_offline(server):
    text = "the capital of [MASK] is"
    told = server.post("/v1/fill", model="bert", input=[text], top=3).json
    guesses = FillMask.from_folder(SETS["bert"]).fill(text, top=3)
    assert [[g["token"] for g in mask] for mask in told["data"][0]["masks"]] == [
        [guess.token for guess in mask] for mask in guesses
    ]


def test_texts_are_labelled_as_offline(server):
    texts = ["free money now", "see you at lunch"]
    told = server.post("/v1/classify", model="spam", input=texts)
    offline = TextClassifier.from_folder(SETS["spam"]).classify(texts)
    assert [[(x.name, x.probability) for x in row] for row in offline] == likely(
        row["labels"] for row in told.json["data"]
    )
    assert told.headers["x-model"] == told.json["model"] == "spam@1"


@pytest.fixture(scope="module")
def pictures():
    """Give two pictures as files: bytes, and base64."""
    made = []
    for size, place in [(28, (9, 3, 12, 25)), (40, (5, 5, 35, 35))]:
        picture = Image.new("RGB", (size, size), "black")
        ImageDraw.Draw(picture).ellipse(place, fill="white")
        file = io.BytesIO()
        picture.save(file, "PNG")
        made.append(file.getvalue())
    return made, [base64.b64encode(picture).decode() for picture in made]


def test_pictures_are_labelled_as_offline(server, pictures):
    files, sent = pictures
    told = server.post("/v1/classify", model="vit", image=sent, top=2).json
    offline = ImageClassifier.from_folder(SETS["vit"]).classify(map(io.BytesIO, files), top=2)
    assert [[(x.name, x.probability) for x in row] for row in offline] == likely(
        row["labels"] for row in told["data"]
    )


def test_pictures_are_labelled_by_texts_and_matched_as_offline(server, pictures):
    files, sent = pictures
    texts, matcher = ["a cat", "a red circle"], Matcher.from_folder(SETS["clip"])
    url = f"data:image/png;base64,{sent[0]}"
    told = server.post("/v1/classify", model="clip", image=[url], labels=texts).json
    offline = matcher.classify([io.BytesIO(files[0])], texts)
    assert [[(x.name, x.probability) for x in row] for row in offline] == likely(
        row["labels"] for row in told["data"]
    )
    told = server.post("/v1/match", model="clip", image=sent, text=texts).json
    for row, odds, file in zip(told["cosines"], told["probabilities"], files, strict=True):
        for match in matcher.describe(io.BytesIO(file), texts):
            assert row[match.index] == pytest.approx(match.cosine, abs=1e-5)
            assert odds[match.index] == pytest.approx(match.probability, abs=1e-4)


def test_answers_have_the_form_that_is_documented(server, pictures):
    asked = {
        "/v1/completions": (Completion, {"model": "gpt2", "prompt": "a", "logprobs": 1}),
        "/v1/embeddings": (Embeddings, {"model": "bert", "input": "a"}),
        "/v1/fill": (Fills, {"model": "bert", "input": "a [MASK]"}),
        "/v1/classify": (Classes, {"model": "vit", "image": pictures[1]}),
        "/v1/match": (Matches, {"model": "clip", "image": pictures[1], "text": "a"}),
    }
    for path, (form, body) in asked.items():
        reply = server.post(path, **body)
        told = form.model_validate_json(reply.body, strict=True)
        assert told.model == reply.headers["x-model"] == f"{body['model']}@1"
        assert reply.headers["content-type"] == "application/json"
    Models.model_validate_json(server.ask("GET", "/v1/models").body, strict=True)


def test_a_request_is_told_once_with_what_it_counted(server):
    reply = server.post("/v1/completions", model="gpt2", prompt=PROMPT, max_tokens=3, stream=True)
    name = reply.headers["x-request-id"]
    record = until(lambda: [r for r in server.records() if r["request_id"] == name])[0]
    assert (record["model"], record["verb"], record["route"]) == (
        "gpt2@1",
        "complete",
        "/v1/completions",
    )
    assert (record["status"], record["new_tokens"], record["bytes"]) == (200, 3, len(reply.body))
    assert 0 < record["first_seconds"] <= record["seconds"]
    assert record["prompt_tokens"] > 3
    assert reply.body.endswith(b"data: [DONE]\n\n")
