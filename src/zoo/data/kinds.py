"""The kinds of data: which columns make a row, and what each holds.

What a column holds is one of FORMS; a column of form `image` is a path, and its content is the
bytes of that file. `key` names the columns that must not be shared by two splits: a question about
a text that was trained on is no test.
"""

from collections.abc import Mapping
from dataclasses import dataclass

FORMS = ("text", "tokens", "number", "image", "label", "labels")

TRAIN, VALID, TEST = SPLITS = ("train", "valid", "test")
# what people call a split -> what it is called here
SPLIT_NAMES = {
    **{name: name for name in SPLITS},
    **dict.fromkeys(("val", "validation", "dev", "eval"), VALID),
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of data."""

    columns: Mapping[str, str]  # name -> form
    key: tuple[str, ...]
    optional: tuple[str, ...] = ()

    def required(self) -> list[str]:
        return [name for name in self.columns if name not in self.optional]

    def of_form(self, *forms: str) -> list[str]:
        """Name the columns that hold one of some forms."""
        return [name for name, form in self.columns.items() if form in forms]


KINDS: dict[str, Kind] = {
    "text": Kind(columns={"text": "text"}, key=("text",)),
    "labelled_text": Kind(
        columns={"text": "text", "pair": "text", "label": "label"},
        key=("text", "pair"),
        optional=("pair",),
    ),
    "tagged_text": Kind(columns={"tokens": "tokens", "tags": "labels"}, key=("tokens",)),
    "answers": Kind(
        columns={"question": "text", "context": "text", "answer": "text", "start": "number"},
        key=("context",),
    ),
    "labelled_images": Kind(columns={"image": "image", "label": "label"}, key=("image",)),
    "images": Kind(columns={"image": "image"}, key=("image",)),
    "pairs": Kind(columns={"image": "image", "caption": "text"}, key=("image",)),
}
