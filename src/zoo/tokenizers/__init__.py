"""Text <-> ids: a thin face over the `tokenizers` library (the extra `text`).

A folder holds tokenizer.json, or vocab.json + merges.txt (byte-level BPE, Radford et al. 2019),
or vocab.txt (WordPiece, Devlin et al. 2018). Ids are those of Hugging Face's own tokenizers.
"""

from zoo.tokenizers.files import TokenizerError
from zoo.tokenizers.stream import Detokenizer
from zoo.tokenizers.tokenizer import Tokenizer

__all__ = ["Detokenizer", "Tokenizer", "TokenizerError"]
