"""The HTML: hostile text is text, the page needs nothing else, every figure is drawn and said."""

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from unit.report.pages import DATA, HOSTILE, figure, page, part
from zoo.report.page import Bars, Figure
from zoo.report.write import HERE, environment, render, write_page

VOID = {"br", "img", "link", "meta"}


class Seen(HTMLParser):
    """Collects tags with their attributes, texts by tag, and refuses tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))

    def named(self, *names):
        return [attrs for tag, attrs in self.tags if tag in names]


@pytest.fixture(scope="module")
def seen():
    return Seen(render(page()))


def test_hostile_text_is_shown_and_never_run(seen):
    assert seen.named("script") == []
    assert not any(name.startswith("on") for _, attrs in seen.tags for name in attrs)
    assert sum(HOSTILE in text for _, text in seen.texts) > 20
    assert all(image["src"].startswith("data:image/") for image in seen.named("img"))
    assert any(image["alt"] == HOSTILE for image in seen.named("img"))


@pytest.mark.parametrize("kind", DATA)
def test_a_figure_of_each_kind_has_a_heading_a_sentence_and_its_command(kind):
    text = render(page(part(figures=[figure(kind, DATA[kind])])))
    drawn = Seen(text[text.index("<figure") : text.index("</figure>") + len("</figure>")])
    told = {where[-1] for where, said in drawn.texts if said.strip() == HOSTILE}
    assert {"h3", "p", "code"} <= told


def test_no_kind_is_drawn_that_has_no_row_here():
    known = set(environment().get_template("figures.html.j2").module.kinds)
    assert known == set(DATA)


def test_the_page_names_no_address_that_a_browser_would_fetch(seen):
    fetched = [
        value
        for _, attrs in seen.tags
        for name, value in attrs.items()
        if name in ("src", "href", "srcset", "poster", "data", "action")
    ]
    assert fetched
    assert all(value.startswith(("#", "data:")) for value in fetched)
    style = (HERE / "page.css").read_text()
    assert not re.search(r"url\(|@import|@font-face", style)


def test_the_page_forbids_all_but_what_it_holds(seen):
    (policy,) = (m["content"] for m in seen.named("meta") if "http-equiv" in m)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_links_within_the_page_lead_somewhere(seen):
    ids = [attrs["id"] for _, attrs in seen.tags if "id" in attrs]
    assert len({*ids}) == len(ids)
    assert {a["href"][1:] for a in seen.named("a")} <= {*ids}


def test_headings_go_down_one_level_at_a_time(seen):
    levels = [int(tag[1]) for tag, _ in seen.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_head_of_a_table_says_what_it_heads(seen):
    assert all(attrs.get("scope") in ("col", "row") for attrs in seen.named("th"))


def test_every_picture_says_how_large_it_is_so_that_nothing_moves(seen):
    assert seen.named("img")
    assert all(image["width"] and image["height"] for image in seen.named("img"))


def test_every_chart_has_words_or_is_left_out_of_what_is_read(seen):
    spoken = [
        svg
        for svg in seen.named("svg")
        if svg.get("aria-hidden") == "true" or (svg.get("role") == "img" and svg["aria-label"])
    ]
    in_keys = [svg for svg in seen.named("svg") if set(svg) <= {"width", "height"}]
    assert len(spoken) + len(in_keys) == len(seen.named("svg"))
    assert all(
        ul.get("aria-hidden") == "true" for ul in seen.named("ul") if ul.get("class") == "key"
    )


def test_the_history_of_a_score_is_told_in_words(seen):
    labels = [svg.get("aria-label") or "" for svg in seen.named("svg")]
    said = "right answers over accepted versions, version 1: 25.0 %, version 2: 50.0 %"
    assert said in labels


VERDICTS = {
    "all as accepted": (("ok", "ok"), "None is worse than the accepted version."),
    "one worse": (("ok", "worse"), "Worse than accepted: b."),
    "two worse": (("worse", "worse"), "Worse than accepted: a, b."),
    "one not accepted": (
        ("ok", "none"),
        "None is worse than the accepted version; not accepted yet: b.",
    ),
    "none accepted": (("none", "none"), "None is accepted yet."),
}


@pytest.mark.parametrize(("verdicts", "said"), VERDICTS.values(), ids=VERDICTS)
def test_the_head_says_what_is_worse(verdicts, said):
    parts = [part(n, verdict, ()) for n, verdict in zip("ab", verdicts, strict=True)]
    text = render(page(*parts))
    head = text[text.index("</h1>") : text.index("</header>")]
    words = " ".join(html.unescape(re.sub(r"<[^>]*>", "", head)).split())
    assert words.startswith("2 models, 8 questions. " + said)


@pytest.mark.parametrize(
    ("made", "shown"), [("2026-11-21", True), (None, False)], ids=["with-a-date", "without"]
)
def test_the_date_stands_there_when_there_is_one(made, shown):
    assert ("2026-11-21" in render(page(made=made))) is shown


def test_the_same_page_gives_the_same_bytes(tmp_path):
    for name in ("a.html", "b.html"):
        write_page(page(), tmp_path / name)
    first, second = (tmp_path / name for name in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_a_page_that_cannot_be_drawn_leaves_the_old_one(tmp_path):
    out = tmp_path / "report.html"
    out.write_text("the old one")
    broken = Figure(id="x", title="x", says="x", kind="no-such-kind")
    with pytest.raises(Exception, match="no-such-kind"):
        write_page(page(part(figures=[broken])), out)
    assert out.read_text() == "the old one"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_number_that_is_none_is_not_drawn():
    bars = DATA["bars"].bars[0]
    nan = replace(bars, estimate=replace(bars.estimate, value=float("nan")))
    with pytest.raises(ValueError, match="nan is not on an axis"):
        render(page(part(figures=[figure("bars", Bars(what="slice", bars=(nan,)))])))
