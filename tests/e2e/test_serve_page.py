"""The status page in a real browser: it shows what is served, tries each model, and runs no text.

At the width of a phone and of a desk, light and dark. What was seen lies as PNG in the test's
folder.
"""

import json
from itertools import pairwise

import pytest
from PIL import Image, ImageDraw

from e2e.browser import Browser, program
from e2e.serving import serving, until
from e2e.test_report_page import CONTRAST, HEADINGS, VIEWS, WIDE
from zoo.checkpoint.packaged import find

SETS = {
    "gpt2": "gpt2-english",
    "bert": "bert-english",
    "spam": "bert-spam",
    "digits": "vit-mnist",
    "clip": "clip-openmoji",
}
KEY = "a-key-that-is-long-enough"
HOSTILE = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
READY = "document.getElementById('state').textContent === 'ready'"
TOOK = "document.getElementById('took').textContent.startsWith('took')"
ANSWER = "document.getElementById('answer').innerText"
NAMED = "[...document.querySelectorAll('.model h3')].map(e => e.textContent)"
LABELLED = """[...document.querySelectorAll('input, select, textarea')]
  .filter(e => e.getClientRects().length).map(e => [e.id, e.labels.length])"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    served = [f"{name}={find(folder)}" for name, folder in SETS.items()]
    with serving(tmp_path_factory.mktemp("server"), served) as server:
        yield server


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if program() is None:
        pytest.skip("waits for chromium: make browser")
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    made = Image.new("L", (28, 28), 0)
    ImageDraw.Draw(made).line([(14, 4), (14, 24)], fill=255, width=3)  # a one
    file = tmp_path_factory.mktemp("picture") / "one.png"
    made.save(file)
    return file


@pytest.fixture
def tab(server, browser):
    """Open the page and wait until it shows what is served."""
    opened = browser.open(server.url + "/", width=1280)
    until(lambda: opened.value(READY) and len(opened.value(NAMED)) == len(SETS))
    return opened


def put(tab, name, value):
    """Give a field a value, as a person does."""
    tab.value(
        f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('input'));"
        f" e.dispatchEvent(new Event('change')); }})(document.getElementById({json.dumps(name)}))"
    )


def choose(tab, file):
    """Choose a file in the field for pictures."""
    ask = tab.browser.ask
    root = ask("DOM.getDocument", tab.session)["root"]["nodeId"]
    node = ask("DOM.querySelector", tab.session, nodeId=root, selector="#in-image")["nodeId"]
    ask("DOM.setFileInputFiles", tab.session, nodeId=node, files=[str(file)])
    until(lambda: tab.value("document.querySelector('img.shown').naturalWidth"))


def attempt(tab, model, kind, **fields):
    """Try a model; give the words of its answer."""
    put(tab, "model", model)
    put(tab, "verb", kind)
    if "file" in fields:
        choose(tab, fields.pop("file"))
    for name, value in fields.items():
        put(tab, f"in-{name}", value)
    tab.value("document.getElementById('run').click()")
    until(lambda: tab.value(TOOK) or "note bad" in tab.value("answer.innerHTML"))
    return tab.value(ANSWER)


@pytest.mark.parametrize("view", VIEWS)
def test_the_page_is_whole_in_a_browser(view, server, browser, tmp_path):
    tab = browser.open(server.url + "/", **VIEWS[view])
    until(lambda: tab.value(READY))
    attempt(tab, "bert", "fill")
    assert tab.screenshot(tmp_path / f"{view}.png").stat().st_size > 10_000
    assert tab.complaints() == []
    assert {url.startswith(server.url + "/") for url in tab.requests()} == {True}
    wide, room = tab.value(WIDE)
    assert wide <= room == VIEWS[view]["width"]
    levels = tab.value(HEADINGS)
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    contrast, *where = tab.value(CONTRAST)
    assert contrast >= 4.5, where
    assert tab.value(NAMED) == list(SETS)


def test_load_is_drawn_as_curves_that_say_what_they_show(tab, server):
    assert server.post("/v1/fill", model="bert", input="The [MASK].").status == 200
    curve = "document.querySelector('.chart .curve').getAttribute('d')"
    until(lambda: "L" in tab.value(curve))
    said = tab.value("[...document.querySelectorAll('svg')].map(e => e.getAttribute('aria-label'))")
    assert [text.partition(":")[0] for text in said] == [
        *("Requests / s", "Tokens / s", "Latency", "Queue, rows")
    ]
    assert "p95" in said[2]


@pytest.mark.parametrize(
    ("model", "kind", "fields", "shown"),
    [
        ("gpt2", "complete", {"prompt": "The history", "max_tokens": 8, "seed": 3}, "8 tokens"),
        ("bert", "embed", {"one": "a house", "other": "a house"}, "1.000"),
        ("bert", "fill", {"gap": "He was the [MASK] of the city."}, "of the city."),
        ("spam", "classify text", {"sort": "You have won a free prize, click now"}, "%"),
        ("digits", "classify picture", {}, "%"),
        ("clip", "classify among", {"labels": "a line\na cat"}, "a line"),
        ("clip", "match", {"texts": "a line\na cat"}, "cosine"),
    ],
    ids=str,
)
def test_each_model_can_be_tried(model, kind, fields, shown, tab, picture):
    seeing = {"file": picture} if model in ("digits", "clip") else {}
    assert shown in attempt(tab, model, kind, **seeing, **fields)
    assert tab.complaints() == []
    assert all(count for _, count in tab.value(LABELLED))


def test_the_same_seed_gives_the_same_text(tab):
    first, again = (attempt(tab, "gpt2", "complete", seed=5, max_tokens=12) for _ in range(2))
    assert first.splitlines()[0] == again.splitlines()[0]


def test_a_text_that_is_html_is_shown_and_never_run(tab):
    assert HOSTILE in attempt(tab, "gpt2", "complete", prompt=HOSTILE, max_tokens=4)
    assert HOSTILE in attempt(tab, "bert", "fill", gap=f"{HOSTILE} [MASK]")
    assert tab.value("document.querySelectorAll('#answer img, #answer script').length") == 0
    assert tab.value("document.title") == "zoo"
    assert tab.complaints() == []


def test_a_refusal_is_told_in_its_words(tab):
    said = attempt(tab, "bert", "fill", gap="no gap at all")
    assert said.startswith("Refused (422)") and "[MASK]" in said


def test_a_text_that_is_still_coming_can_be_stopped(tab):
    put(tab, "model", "gpt2")
    put(tab, "verb", "complete")
    put(tab, "in-max_tokens", 100)
    tab.value("document.getElementById('run').click()")
    until(lambda: tab.value("document.querySelector('.made')?.textContent"))
    tab.value("document.getElementById('stop').click()")
    until(lambda: tab.value("document.getElementById('took').textContent") == "stopped")
    assert tab.value("document.getElementById('run').disabled") is False


def test_a_server_with_keys_asks_for_one_and_the_tab_keeps_it(browser, tmp_path):
    with serving(tmp_path, [f"spam={find('bert-spam')}"], keys=[KEY]) as server:
        tab = browser.open(server.url + "/", width=390)
        until(lambda: tab.value("!document.getElementById('key').hidden"))
        assert tab.value(NAMED) == []
        give = "document.getElementById('key').requestSubmit()"
        put(tab, "key-text", "a wrong one")
        tab.value(give)
        until(lambda: "does not know" in tab.value("document.getElementById('lost').textContent"))
        put(tab, "key-text", KEY)
        tab.value(give)
        until(lambda: tab.value(NAMED) == ["spam"])
        assert "%" in attempt(tab, "spam", "classify text")
        kept = tab.value("[Object.values(sessionStorage), Object.values(localStorage)]")
        assert kept == [[KEY], []] and tab.value("document.cookie") == ""
        assert not [url for url in tab.requests() if KEY in url]
    until(lambda: tab.value("document.getElementById('state').textContent") == "no answer")
