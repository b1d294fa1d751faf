"""Text from ids that arrive one by one.

A character may be spread over several tokens, and what a token means may depend on the one before
(WordPiece's spaces). So new ids are decoded behind the last ids whose text is complete, and text
is held while it ends in U+FFFD, which is how the library writes a character's first bytes.
"""

from zoo.tokenizers.tokenizer import Tokenizer

UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class Detokenizer:
    """Ids in, whole characters out: the pieces joined are `decode` of all ids."""

    def __init__(self, tokenizer: Tokenizer, *, skip_special: bool = True) -> None:
        self.tokenizer = tokenizer
        self.skip_special = skip_special
        self.context: list[int] = []  # the last ids whose text is complete
        self.fresh: list[int] = []  # ids since
        self.given = 0  # characters of text that are out, counted from the context's first

    def push(self, token: int) -> str:
        """Take the next id; give the text that it completes."""
        self.fresh.append(token)
        text = self.text()
        piece = text.removesuffix(UNFINISHED)[self.given :]
        self.given += len(piece)
        if self.given == len(text) and piece:
            self.context, self.fresh = self.fresh, []
            self.given = len(self.text())
        return piece

    def flush(self) -> str:
        """End the text; give what was held."""
        piece = self.text()[self.given :]
        self.context, self.fresh, self.given = [], [], 0
        return piece

    def text(self) -> str:
        return self.tokenizer.decode(self.context + self.fresh, skip_special=self.skip_special)
