"""Nothing outside of a tokenizer's folder is read, nothing huge, and nothing that is no file."""

import gzip
import os

import pytest

from zoo.tokenizers import Tokenizer, TokenizerError
from zoo.tokenizers.inside import LIMIT, UNPACKED, read_bytes, read_json, read_packed, read_text

TOK = Tokenizer.train(["a dog", "a dog"], "wordpiece", vocab=40)
NAMES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
names = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def folder(tmp_path):
    TOK.save(tmp_path / "model")
    (tmp_path / "model" / "special_tokens_map.json").write_text("{}")
    return tmp_path / "model"


@names
def test_a_link_out_of_the_folder_is_refused(folder, name):
    (folder / name).rename(folder.parent / "outside.json")
    (folder / name).symlink_to("../outside.json")
    with pytest.raises(TokenizerError, match=rf"{name} is a link that leads out of its folder"):
        Tokenizer.from_folder(folder)


@names
def test_a_link_within_the_folder_is_read(folder, name):
    (folder / name).rename(folder / "kept")
    (folder / name).symlink_to("kept")
    assert Tokenizer.from_folder(folder).encode("a dog") == TOK.encode("a dog")


def test_a_hub_caches_snapshot_links_to_its_blobs(folder):
    cache = folder.parent / "models--someone--something"
    snapshot = cache / "snapshots" / "1a2b"
    snapshot.mkdir(parents=True)
    folder.rename(cache / "blobs")
    for name in NAMES:
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    assert Tokenizer.from_folder(snapshot).encode("a dog") == TOK.encode("a dog")
    (snapshot / NAMES[0]).unlink()
    (snapshot / NAMES[0]).symlink_to("../../../outside")
    (folder.parent / "outside").write_bytes((cache / "blobs" / NAMES[0]).read_bytes())
    with pytest.raises(TokenizerError, match="leads out of its folder"):
        Tokenizer.from_folder(snapshot)


@pytest.mark.parametrize(
    "place", ["models--a--b/other/1a2b", "a--b/snapshots/1a2b", "models--a--b/1a2b"]
)
def test_what_only_looks_like_a_snapshot_links_to_nothing(folder, place):
    other = folder.parent / place
    other.mkdir(parents=True)
    (other / "tokenizer.json").symlink_to("../blob")
    (folder / "tokenizer.json").rename(other.parent / "blob")
    with pytest.raises(TokenizerError, match="leads out of its folder"):
        Tokenizer.from_folder(other)


def test_a_folder_may_itself_be_a_link(folder):
    (folder.parent / "link").symlink_to(folder)
    assert Tokenizer.from_folder(folder.parent / "link").encode("a") == TOK.encode("a")


@names
def test_a_file_that_is_too_large_is_refused(folder, name):
    with (folder / name).open("ab") as file:
        file.truncate(LIMIT + 1)  # a hole: it takes no room
    with pytest.raises(TokenizerError, match=rf"{name} is larger than {LIMIT} bytes"):
        Tokenizer.from_folder(folder)


def test_a_file_of_just_the_limit_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"seven..")
    assert read_bytes(tmp_path / "a", 7) == b"seven.."
    with pytest.raises(TokenizerError, match="a is larger than 6 bytes"):
        read_bytes(tmp_path / "a", 6)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (os.mkfifo, "is not a plain file"),
        (os.mkdir, "is not a plain file"),
        (lambda place: os.symlink("/dev/zero", place), "leads out of its folder"),
        (lambda place: os.symlink("nowhere", place), "No such file"),
        (lambda place: os.symlink(place.name, place), "symbolic links"),
    ],
    ids=["pipe", "folder", "device", "nowhere", "itself"],
)
@names
def test_what_is_no_plain_file_is_refused(folder, name, make, sentence):
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(TokenizerError, match=rf"{name}.* {sentence}"):
        Tokenizer.from_folder(folder)


def test_a_file_is_read_as_text_as_json_or_as_bytes(tmp_path):
    file = tmp_path / "a"
    file.write_bytes("é\r\n你\rx\n".encode())
    assert read_bytes(file) == "é\r\n你\rx\n".encode()
    assert read_text(file) == "é\n你\nx\n"
    file.write_text("[1]")
    assert read_json(file, list) == [1]
    with pytest.raises(TokenizerError, match=r"a holds a list; expected a dict$"):
        read_json(file)


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"\\uDFFF": 1}', '["\\uD83D"]'], ids=len)
def test_half_of_a_character_is_found_however_it_is_spelt(tmp_path, text):
    (tmp_path / "a").write_text(text)
    with pytest.raises(TokenizerError, match=r"a holds half of a character"):
        read_json(tmp_path / "a", object)


def test_packed_text_may_be_as_large_as_is_allowed(tmp_path):
    part = gzip.compress(b"x" * 2**20)
    (tmp_path / "a.gz").write_bytes(part * (UNPACKED // 2**20))
    assert len(read_packed(tmp_path / "a.gz")) == UNPACKED
    (tmp_path / "a.gz").write_bytes(part * (UNPACKED // 2**20) + gzip.compress(b"y"))
    with pytest.raises(TokenizerError, match=r"a\.gz unpacks to more than"):
        read_packed(tmp_path / "a.gz")
