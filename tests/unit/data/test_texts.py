"""Texts that are empty, far too long, or in the wrong encoding: told, and nothing else is."""

import pytest

from unit.data.seen import found, labelled, rows_of, words
from zoo.data.check import inspect
from zoo.data.texts import LONG

A, B = words(30, 1), words(30, 2)


def hurt(text, encoding="cp1252"):
    """Read UTF-8 in another encoding."""
    return text.encode("utf-8").decode(encoding)


WRONG = [
    ("French", hurt("un café très cher"), "mojibake"),
    ("German, as Latin-1", hurt("über die Straße", "latin-1"), "mojibake"),
    ("quotes", hurt("it’s “so” – here…", "latin-1"), "mojibake"),
    ("the euro", hurt("9 € a month"), "mojibake"),
    ("the pound", hurt("£31.95"), "mojibake"),
    ("Cyrillic", hurt("привет", "latin-1"), "mojibake"),
    ("Japanese", hurt("日本語", "latin-1"), "mojibake"),
    ("Hindi", hurt("हिन्दी", "latin-1"), "mojibake"),
    ("three letters of Greek", hurt("ναι", "latin-1"), "mojibake"),
    ("lost bytes", "caf\ufffd", "lost"),
    ("control characters", "a\x00b", "control"),
    ("an escape", "a\x1b[0m", "control"),
]


@pytest.mark.parametrize(("text", "what"), [r[1:] for r in WRONG], ids=[r[0] for r in WRONG])
def test_a_wrong_encoding_is_told(text, what):
    report = inspect(labelled("ttt", [f"{A} {text}", A, B], ["ham", "ham", "spam"]))
    (finding,) = found(report, "encodings")
    assert (finding.level, finding.rows) == ("warning", ("r0",))
    assert finding.numbers == {"rows": 1, "what": what}
    assert finding.examples[0].startswith("r0: ")


RIGHT = [
    ("plain", 'it\'s "so" - here...\r\n\tand there\f'),
    ("French capitals and quotes", "« LE CAFÉ» ET «À LA CARTE» Â° Ã"),
    ("a quote that ends in dots", "« un cliché»… et puis? DÉ»"),
    ("Portuguese", "NÃO, SÃO PAULO; avó à mão"),
    ("Vietnamese", "Tiếng Việt rất đẹp"),
    ("Russian", "Привет, мир"),
    ("Chinese", "汽车、交通行业"),
    ("emoji", "so 👩‍👩‍👧 it is ❤️"),
    ("Korean read as Latin-1, which was no UTF-8", "µ×è¹µÑÇ ¡ÑºâÅ¡¸ØÃ¡Ô¨ Ã¿"),
    ("Icelandic", "Það er Ð og Þ, ærlig Ñandú Ñº"),
]


@pytest.mark.parametrize("text", [r[1] for r in RIGHT], ids=[r[0] for r in RIGHT])
def test_a_right_encoding_is_left_alone(text):
    assert inspect(labelled("tt", [f"{A} {text}", B])).findings == ()


@pytest.mark.parametrize("text", ["", " \n", "\u200b"], ids=["empty", "blank", "invisible"])
def test_an_empty_text_is_told(text):
    (finding,) = found(inspect(labelled("ttt", [A, text, B], list("aba"))), "lengths")
    assert (finding.level, finding.rows, finding.numbers) == ("warning", ("r1",), {"rows": 1})


@pytest.mark.parametrize(
    ("length", "told"),
    [(100_001, ("r2",)), (100_000, ())],
    ids=["over", "at the bound"],
)
def test_a_text_far_longer_than_others_is_told(length, told):
    report = inspect(labelled("ttt", ["see you", "all is well", "x" * length], list("aba")))
    assert tuple(i for f in found(report, "lengths") for i in f.rows) == told


def test_texts_that_are_all_long_are_long_at_a_million():
    report = inspect(labelled("tt", ["ab " * (LONG // 3), "x" * (LONG + 1)]))
    assert [f.rows for f in found(report, "lengths")] == [("r1",)]


def test_a_document_may_be_a_book():
    assert inspect(rows_of("text", "tt", text=["x" * (LONG + 1), A])).findings == ()
