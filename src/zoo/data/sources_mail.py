"""Mails as text: the subject, then what there is to read, as the mails of SpamAssassin need it.

    header   =?iso-8859-1?Q?...?=, or bytes of no declared charset
    body     the plain parts; where they are empty, the HTML without its tags
    bytes    in the charset that is told, if Python knows it and it fits; else UTF-8; else cp1252

Only the standard library's parser of mails is used, and tags are taken out by rules of our own: its
HTML parser changes from one Python to the next.
"""

import email
import email.header
import html
import re
from email.message import Message
from pathlib import Path
from typing import Any

from zoo.data.sources_text import tidy

GROUPS = {
    "easy-ham-1": "ham",
    "easy-ham-2": "ham",
    "hard-ham-1": "ham",
    "spam-1": "spam",
    "spam-2": "spam",
}
UNSEEN = re.compile(r"<!--.*?-->|<(script|style|title)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
MARKED = re.compile(r"<(?:html|body|table)\b[^>]*>", re.IGNORECASE)
BREAK = re.compile(r"<(?:br|/?p|/?div|/?tr|/?li|/?h[1-6]|/?table|hr)\b[^>]*>", re.IGNORECASE)
TAG = re.compile(r"</?[a-zA-Z!?][^>]*>")


def mails(package: Path) -> list[dict[str, Any]]:
    """Give SpamAssassin's mails with the label spam or ham, each text once."""
    rows, seen = [], {""}
    for group, label in GROUPS.items():
        for file in sorted((package / "spam-assassin" / "data" / group).glob("*.txt")):
            text = mail_text(file.read_bytes())
            if text not in seen:
                name = f"{group}/{file.name.split('.')[0]}"
                rows.append({"id": name, "label": label, "text": text})
            seen.add(text)
    return rows


def mail_text(data: bytes) -> str:
    """Give a mail's subject and its body, decoded."""
    message = email.message_from_bytes(data)
    # as it came: `get` would put a question mark for each byte that is not ASCII
    subjects = [value for name, value in message.raw_items() if name.lower() == "subject"]
    return tidy(f"{header(subjects[0]) if subjects else ''}\n\n{body(message)}")


def header(value: Any) -> str:
    """Decode a header: encoded words, or bytes that say nothing of themselves."""
    text = decode(str(value).encode("utf-8", "surrogateescape"), None)
    try:
        parts = email.header.decode_header(text)
    except (email.errors.HeaderParseError, ValueError):  # such as base64 that is none
        parts = [(text, None)]
    decoded = []
    for part, charset in parts:
        if isinstance(part, bytes):  # what was not encoded comes in the library's own escapes
            part = decode(part, charset) if charset else part.decode("raw-unicode-escape")
        decoded.append(part)
    return " ".join("".join(decoded).split())


def body(message: Message) -> str:
    """Give the text of a mail's parts."""
    plain: list[str] = []
    marked: list[str] = []
    for part in message.walk():
        kind = part.get_content_type()
        if kind not in ("text/plain", "text/html") or part.get_filename() is not None:
            continue
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            text = decode(payload, part.get_content_charset())
            # mailers that send HTML call it plain, too
            (marked if kind == "text/html" or MARKED.search(text) else plain).append(text)
    told = "\n\n".join(plain)
    return told if told.strip() else "\n\n".join(without_tags(text) for text in marked)


def decode(data: bytes, charset: str | None) -> str:
    """Decode bytes as they say they are, or as they look; nothing is refused."""
    for known in (charset, "utf-8"):
        try:
            return data.decode(known or "ascii")
        except (LookupError, UnicodeError, ValueError):
            continue
    return data.decode("cp1252", errors="replace")


def without_tags(text: str) -> str:
    """Give what a reader of HTML sees, roughly: the text, with lines where blocks begin."""
    flowing = " ".join(UNSEEN.sub(" ", text).split())
    text = html.unescape(TAG.sub(" ", BREAK.sub("\n", flowing))).replace("\xa0", " ")
    return "\n".join(" ".join(line.split()) for line in text.split("\n"))
