"""Text that comes out id by id is the text that comes out at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.tokenizers import Detokenizer, Tokenizer

TEXTS = ["the quick dog don't jump, naïve café 你好 \U0001f600!", "over the dog."] * 3
BPE = Tokenizer.train(TEXTS, "bpe", vocab=280)
WORDPIECE = Tokenizer.train(TEXTS, "wordpiece", vocab=70)
CLIP = Tokenizer.train(TEXTS, "clip", vocab=540)
TOKENIZERS = {"bpe": BPE, "wordpiece": WORDPIECE, "clip": CLIP}
kinds = pytest.mark.parametrize("kind", TOKENIZERS)


def pieces(tokenizer, ids, **options):
    stream = Detokenizer(tokenizer, **options)
    return [*map(stream.push, ids), stream.flush()]


@kinds
@pytest.mark.parametrize("skip_special", [True, False])
@given(data=st.data())
def test_pieces_joined_are_what_decode_gives_for_any_ids(kind, skip_special, data):
    tok = TOKENIZERS[kind]
    ids = data.draw(st.lists(st.integers(0, tok.vocab_size - 1), max_size=25))
    out = pieces(tok, ids, skip_special=skip_special)
    assert "".join(out) == tok.decode(ids, skip_special=skip_special)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_characters_come_out_whole(text):
    out = pieces(BPE, BPE.encode(text))
    assert "".join(out) == text
    assert all("�" not in piece or "�" in text for piece in out)


def test_a_character_of_several_tokens_comes_with_its_last():
    ids = BPE.encode("aЖ\U0001f680b")  # one byte, two, four, one: none of them learnt whole
    assert len(ids) == 8
    assert pieces(BPE, ids) == ["a", "", "Ж", "", "", "", "\U0001f680", "b", ""]


def test_what_is_no_character_is_marked_when_that_is_certain():
    first = BPE.encode("\U0001f680")[:2]
    a = BPE.encode("a")
    assert pieces(BPE, [*first, *a]) == ["", "", "�a", ""]
    assert pieces(BPE, [*a, *first]) == ["a", "", "", "�"]


def test_words_are_parted_by_spaces_also_across_special_tokens():
    ids = WORDPIECE.encode("the dog, the dog")
    assert pieces(WORDPIECE, ids) == ["", "the", " dog", ",", " the", " dog", "", ""]


def test_clips_words_are_parted_also_across_special_tokens():
    ids = [*CLIP.encode("The dog, don't"), *CLIP.encode("over")]
    out = pieces(CLIP, ids)
    assert "".join(out) == CLIP.decode(ids) == "the dog , don 't over"
    assert out[-2:] == ["", ""]


def test_a_stream_begins_anew_after_its_end():
    stream = Detokenizer(WORDPIECE)
    ids = WORDPIECE.encode("the dog")
    first = [*map(stream.push, ids), stream.flush()]
    assert [*map(stream.push, ids), stream.flush()] == first


def test_an_id_that_the_vocabulary_lacks_is_refused():
    with pytest.raises(ValueError, match="id 280 is not in this vocabulary of 280"):
        Detokenizer(BPE).push(280)
