"""What may be done to a text without changing what it says, to a reader.

    typos        in one word of ten, at least one, two inner letters change places or one is lost
    lower upper  all letters small, or large
    spaces       spaces in front, a space and a line's end behind
    punctuation  the last mark is dropped; where none is, a full stop is added
    quotes       straight quotes and apostrophes become curly
    padding      the text stays; its row of tokens is padded as beside a longer one
    greeting signature quoted      of a mail: a line in front of the body, lines behind it, and
                                   "> " before each of its lines; the first line, its subject, stays

A mask, [MASK], is never touched.
"""

import re

from zoo.evaluate.draw import Draw

MASK = "[MASK]"
LETTERS = re.compile(r"\[MASK\]|[^\W\d_]+")
SHARE = 10  # one word of so many has a typo
LEAST = 4  # letters of a word that may have one: two of them inside
MARKS = ".,;:!?"
OPENS = re.compile(r"(?:^|(?<=[\s(\[{\u2014-]))['\"]+")
GREETINGS = ("Hello,", "Hi,", "Good morning,")
NAMES = ("Alex", "Kim", "Robin")


def typos(text: str, draw: Draw) -> str:
    """Misspell one word of ten."""
    words = [word for word in LETTERS.finditer(text) if word[0] != MASK]
    fit = [word for word in words if len(word[0]) >= LEAST]
    count = min(len(fit), max(1, round(len(words) / SHARE)))
    for place in reversed(draw.some(count, len(fit))):  # from the end: places before stay
        start, stop = fit[place].span()
        text = text[:start] + misspelt(text[start:stop], draw) + text[stop:]
    return text


def misspelt(word: str, draw: Draw) -> str:
    """Let two inner letters that stand together change places, or lose one."""
    swaps = [i for i in range(1, len(word) - 2) if word[i] != word[i + 1]]
    if swaps and draw.below(2) == 0:
        i = swaps[draw.below(len(swaps))]
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    i = 1 + draw.below(len(word) - 2)
    return word[:i] + word[i + 1 :]


def lower(text: str, draw: Draw) -> str:
    return MASK.join(part.lower() for part in text.split(MASK))


def upper(text: str, draw: Draw) -> str:
    return MASK.join(part.upper() for part in text.split(MASK))


def spaces(text: str, draw: Draw) -> str:
    return f"{' ' * (1 + draw.below(3))}{text} \n"


def punctuation(text: str, draw: Draw) -> str:
    bare = text.rstrip()
    behind = text[len(bare) :]
    return (bare[:-1] if bare.endswith(tuple(MARKS)) else f"{bare}.") + behind


def quotes(text: str, draw: Draw) -> str:
    """Open behind a space, a bracket or a dash and at the start, close elsewhere."""
    opened = OPENS.sub(lambda found: curled(found[0], "\u201c", "\u2018"), text)
    return curled(opened, "\u201d", "\u2019")


def curled(text: str, double: str, single: str) -> str:
    return text.replace('"', double).replace("'", single)


def padding(text: str, draw: Draw) -> str:
    """Leave the text; zoo.evaluate.judging pads the row."""
    return text


def parts_of(mail: str) -> tuple[str, str]:
    """Give a mail's subject with what parts it from the body, and the body; no subject in a line.

    A mail is kept as its subject, an empty line and its body.
    """
    subject, empty, body = mail.partition("\n\n")
    return (subject + empty, body) if empty else ("", mail)


def greeting(text: str, draw: Draw) -> str:
    subject, body = parts_of(text)
    return f"{subject}{GREETINGS[draw.below(len(GREETINGS))]}\n\n{body}"


def signature(text: str, draw: Draw) -> str:
    return f"{text}\n\n-- \n{NAMES[draw.below(len(NAMES))]}"


def quoted(text: str, draw: Draw) -> str:
    subject, body = parts_of(text)
    return subject + "\n".join(f"> {line}" for line in body.split("\n"))
