"""The page of `zoo report` in a real browser: nothing is fetched, said or run; all of it is seen.

At the width of a phone and of a desk, light and dark: of a small root of golden sets, and of the
golden sets themselves. What was seen lies as PNG in the test's folder.
"""

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from e2e.browser import Browser, program
from e2e.door import ROOT, call
from e2e.report_files import HOSTILE, write_root

DATE = "2026-11-21"
MOST = 2_000_000  # bytes of the page
# golden rows of pictures: of a root without, there is little to see
GOLDEN = [
    path.parent.name
    for path in sorted((ROOT / "golden").glob("*/manifest.json"))
    if "sheets" in json.loads(path.read_text())
]
PAGES = ["small", "golden"] if GOLDEN else ["small"]
VIEWS = {
    f"{device}-{scheme}": {"width": width, "phone": device == "phone", "dark": scheme == "dark"}
    for device, width in (("phone", 390), ("desk", 1280))
    for scheme in ("light", "dark")
}
WIDE = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
PICTURES = """[...document.images].map(i => ({
  alt: i.alt, loaded: i.complete && i.naturalWidth > 0,
  ratio: i.getBoundingClientRect().width / i.getBoundingClientRect().height }))"""
HEADINGS = "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1])"
# the least contrast of any text with the ground that it stands on (WCAG 2.2, 1.4.3)
CONTRAST = """(() => {
  const parse = text => {
    const n = text.match(/[\\d.]+/g).map(Number);
    return n.length < 4 ? [...n, 1] : n;
  };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const ground = e => {
    const own = parse(getComputedStyle(e).backgroundColor);
    if (own[3] === 1) return own;
    return over(own, e.parentElement ? ground(e.parentElement) : [255, 255, 255, 1]);
  };
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = colour => {
    const [r, g, b] = colour.slice(0, 3).map(v => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, said = walk.currentNode.data.trim();
    if (!said || !e.getClientRects().length || e.closest('svg, script')) continue;
    const back = ground(e), front = over(parse(getComputedStyle(e).color), back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), said.slice(0, 40), e.className]);
  }
  return found.sort((a, b) => a[0] - b[0])[0];
})()"""


@pytest.fixture(scope="module")
def root(tmp_path_factory, models):
    return write_root(models, tmp_path_factory.mktemp("report") / "root")


@pytest.fixture(scope="module")
def pages(root):
    """Make a page when it is first asked for."""
    made = {}

    def page(name):
        if name not in made:
            out = root.parent / f"{name}.html"
            given = root if name == "small" else ROOT / "golden"
            answer = call("report", "--root", given, "--out", out, "--date", DATE, limit=600)
            assert answer.code == 0, answer.err
            made[name] = out
        return made[name]

    return page


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if program() is None:
        pytest.skip("waits for chromium: make browser")
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_whole_in_a_browser(name, view, pages, browser, tmp_path):
    page = pages(name)
    tab = browser.open(page.as_uri(), **VIEWS[view])
    assert tab.screenshot(tmp_path / f"{name}-{view}.png").stat().st_size > 10_000
    assert tab.complaints() == []
    assert tab.requests() == [page.as_uri()]
    wide, room = tab.value(WIDE)
    assert wide <= room == VIEWS[view]["width"]
    pictures = tab.value(PICTURES)
    assert pictures
    for picture in pictures:
        assert picture["loaded"] and picture["alt"].strip(), picture
        assert 0.99 < picture["ratio"] < 1.01, picture
    levels = tab.value(HEADINGS)
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    contrast, *where = tab.value(CONTRAST)
    assert contrast >= 4.5, where


def test_hostile_text_is_shown_and_never_run(pages, browser):
    tab = browser.open(pages("small").as_uri(), width=1280)
    assert tab.value("document.title") == "zoo: what the golden models can do"
    assert tab.value("document.scripts.length") == 0
    assert HOSTILE.split("<img")[0] in tab.value("document.body.innerText")


def test_a_browser_hears_and_refuses_what_a_page_must_not_do(browser, tmp_path):
    """The browser can tell: the tests above can fail."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<h3>x</h3><img src='nowhere.png' width=900 height=5><p style='color:#999'>grey</p>"
        "<script>console.error('said')</script>"
    )
    tab = browser.open(bad.as_uri(), width=390)
    assert any("said" in said for said in tab.complaints())
    assert len(tab.requests()) == 2
    wide, room = tab.value(WIDE)
    assert wide > room
    (picture,) = tab.value(PICTURES)
    assert (picture["alt"], picture["loaded"], picture["ratio"]) == ("", False, 180)
    assert tab.value(HEADINGS) == [3]
    assert tab.value(CONTRAST)[0] < 4.5


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_light_and_tells_nothing_of_the_machine(name, pages):
    text = pages(name).read_text(encoding="utf-8")
    assert len(text.encode()) < MOST
    assert DATE in text
    assert not re.search(r"(src|href)=\"?https?:", text)
    for told in (ROOT, pages(name).parent, Path.home()):
        assert str(told) not in text


def test_the_same_root_gives_the_same_bytes_and_the_date_of_the_build(root, pages, tmp_path):
    epoch = {"SOURCE_DATE_EPOCH": "1795219200"}  # 2026-11-21
    answer = call("report", "--root", root, "--out", tmp_path / "again.html", **epoch)
    assert answer.code == 0, answer.err
    assert (tmp_path / "again.html").read_bytes() == pages("small").read_bytes()


def test_one_line_a_model_says_how_it_is(root, tmp_path):
    out = tmp_path / "one.html"
    answer = call("report", "--root", root, "--only", "vit", "--out", out, "--json")
    (record,) = answer.records
    assert (record["model"], record["verdict"], record["rows"]) == ("vit", "worse", 24)
    assert set(record["scores"]) == {"accuracy"}
    assert "not good enough at accuracy" in out.read_text()


REFUSED = {
    "a model that is not there": (["--only", "nobody"], "nobody"),
    "an out that is no page": (["--out", "report.png"], ".html"),
    "an out in no folder": (["--out", "no/such/report.html"], "no folder"),
    "a root that is none": (["--root", "no/such"], "no such folder"),
    "a date that is none": (["--date", "tomorrow"], "YYYY-MM-DD"),
}


@pytest.mark.parametrize(("words", "said"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_in_a_line(words, said, root, tmp_path):
    shutil.copytree(root / "fill", tmp_path / "golden" / "fill")
    answer = call("report", *words, cwd=tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert not [path.name for path in tmp_path.iterdir() if path.name != "golden"]
