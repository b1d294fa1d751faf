"""The page's files: all there, strict about what may run, and nothing from elsewhere."""

import re

import pytest

from zoo.serve.page import FILES, HEADERS

TEXTS = {path: part.body.decode() for path, part in FILES.items()}
SCRIPTS = [path for path in TEXTS if path.endswith(".js")]
# ways by which a text becomes HTML or code
UNSAFE = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc"


def test_the_page_is_at_the_root_and_whatever_it_names_is_served():
    page = TEXTS["/"]
    named = re.findall(r'(?:src|href)="([\w.]+\.(?:js|css))"', page)
    imported = [name for path in SCRIPTS for name in re.findall(r'from "\./([\w.]+)"', TEXTS[path])]
    assert {f"/{name}" for name in named + imported} == set(FILES) - {"/"}


def test_each_file_has_its_type():
    kinds = {path: part.type.partition(";")[0] for path, part in FILES.items()}
    assert kinds["/"] == "text/html" and kinds["/page.css"] == "text/css"
    assert {kinds[path] for path in SCRIPTS} == {"text/javascript"}


def test_the_policy_lets_nothing_in_from_elsewhere_and_no_code_in_the_page():
    policy = dict(rule.split(maxsplit=1) for rule in HEADERS["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not any(word in HEADERS["content-security-policy"] for word in ("unsafe", "http", "*"))


def test_the_page_has_no_code_or_style_of_its_own():
    page = TEXTS["/"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert all("src=" in script for script in re.findall(r"<script[^>]*>", page))


@pytest.mark.parametrize("path", list(TEXTS))
def test_no_file_names_another_server(path):
    outside = set(re.findall(r"https?://[\w.]+", TEXTS[path])) - {"http://www.w3.org"}
    assert outside == set()  # w3.org is the name of SVG, which nobody fetches


@pytest.mark.parametrize("path", SCRIPTS)
def test_no_text_becomes_html(path):
    assert not re.search(UNSAFE, TEXTS[path])


def test_every_field_of_the_page_has_its_label():
    page = TEXTS["/"]
    fields = re.findall(r'<(?:input|select|textarea) [^>]*id="([\w-]+)"', page)
    assert fields and set(fields) <= set(re.findall(r'<label for="([\w-]+)"', page))


def test_a_file_is_one_sitting_long():
    assert max(len(text.splitlines()) for text in TEXTS.values()) <= 380
