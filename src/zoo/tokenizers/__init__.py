"""Text <-> ids: a thin face over the `tokenizers` library (the extra `text`).

A folder holds tokenizer.json, or vocab.json + merges.txt (byte-level BPE, Radford et al. 2019; or
CLIP's, Radford et al. 2021), or OpenAI's bpe_simple_vocab_16e6.txt.gz (CLIP's too), or vocab.txt
(WordPiece, Devlin et al. 2018). Ids are those of Hugging Face's own tokenizers.
"""

from zoo.tokenizers.inside import TokenizerError
from zoo.tokenizers.stream import Detokenizer
from zoo.tokenizers.tokenizer import Tokenizer

__all__ = ["Detokenizer", "Tokenizer", "TokenizerError"]
