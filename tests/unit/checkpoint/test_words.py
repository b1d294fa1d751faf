"""Files word for word, and errors with all of their words."""

import hashlib
import json
import os
import threading
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
import torch

from unit.checkpoint.hostile import CONFIG, TENSORS, parts, put, sound
from unit.checkpoint.shards import redirect, set_about
from zoo.checkpoint import CheckpointError, read_folder, resolve, write_folder
from zoo.checkpoint.folder import check_about, check_sum, hint, pending_config, sum_up
from zoo.checkpoint.hashed import pass_by
from zoo.checkpoint.write import check_metadata, shard_names, split, synchronise

ONES = torch.ones(4)


def fault(function, *arguments, **options):
    with pytest.raises(CheckpointError) as caught:
        function(*arguments, **options)
    return str(caught.value)


@pytest.fixture
def sharded(tmp_path):
    """Two shards: b alone in the first."""
    write_folder(tmp_path / "x", CONFIG, {"b": TENSORS["b"], "c": ONES}, max_shard_bytes=40)
    return tmp_path / "x"


def test_json_is_written_in_lines_that_people_can_read(sharded):
    text = json.dumps(CONFIG, indent=2, sort_keys=True) + "\n"
    assert (sharded / "config.json").read_text() == text
    sums = {}
    for file in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"):
        sums |= json.loads(parts(sharded, file)[0]["__metadata__"]["zoo.crc32"])
    index = {
        "metadata": {"total_size": 56, "zoo.crc32": sum_up(sums)},
        "weight_map": {
            "b": "model-00001-of-00002.safetensors",
            "c": "model-00002-of-00002.safetensors",
        },
    }
    text = json.dumps(index, indent=2) + "\n"
    assert (sharded / "model.safetensors.index.json").read_text() == text


def test_metadata_of_every_shard_is_given(sharded):
    for number, said in ((1, {"first": "1", "both": "1"}), (2, {"second": "2", "both": "2"})):
        name = f"model-0000{number}-of-00002.safetensors"
        header, data = parts(sharded, name)
        header["__metadata__"] |= said
        put(sharded, header, data, name)
    expected = {"format": "pt", "first": "1", "second": "2", "both": "2"}
    assert read_folder(sharded).metadata == expected


def test_an_index_of_others_has_no_sums_to_compare(sharded):
    for said in ({}, {"total_size": 7.5}, {"total_size": 2**63 - 1}, {"total_size": 0}):
        set_about(sharded, said)
        assert read_folder(sharded).tensors.keys() == {"b", "c"}
    for total in (True, "56", -1, 2**63, None, "9" * 60):
        set_about(sharded, {"total_size": total})
        where = sharded / "model.safetensors.index.json"
        said = f"{where}: total_size {str(total)[:40]} is no number of bytes"
        assert fault(read_folder, sharded) == said
    assert fault(check_about, "x", []) == "x: metadata is not a table"


def test_a_shard_that_holds_what_the_index_puts_elsewhere_is_said(sharded):
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    where = sharded / "model.safetensors.index.json"
    redirect(sharded, first)
    said = f"{where}: no shard holds ['c']"
    assert fault(read_folder, sharded) == said
    index = {"metadata": {}, "weight_map": {"b": second, "c": second}}
    where.write_text(json.dumps(index))
    assert fault(read_folder, sharded) == f"{where}: no shard holds ['b']"
    index["weight_map"] = {"b": second, "c": first}
    where.write_text(json.dumps(index))
    assert fault(read_folder, sharded) == f"{where}: 'b' is in {first}, the index says {second}"
    many = {f"{'x' * 90}{n}": first for n in range(7)} | {"b": first}
    where.write_text(json.dumps({"weight_map": many}))
    assert fault(read_folder, sharded) == f"{where}: no shard holds {['x' * 80] * 5}"


def test_sums_are_of_names_in_any_order_and_totals_are_compared():
    assert sum_up({"b": 2, "a": 1}) == sum_up({"a": 1, "b": 2}) == zlib.crc32(b"a 1\nb 2")
    tensor = SimpleNamespace(checksum=1, shape=(2, 3), dtype=torch.float16)
    tensors = {"a": tensor}
    good = {"zoo.crc32": sum_up({"a": 1}), "total_size": 12}
    check_sum("x", good, tensors)
    assert fault(check_sum, "x", good | {"total_size": 11}, tensors) == (
        "x: total_size 11; the shards hold 12 bytes"
    )
    assert fault(check_sum, "x", {"zoo.crc32": good["zoo.crc32"]}, tensors) == (
        "x: total_size None; the shards hold 12 bytes"
    )
    assert fault(check_sum, "x", good | {"zoo.crc32": 1}, tensors) == (
        "x: these are not the shards that it was written with. If another tool changed them, it "
        "should have dropped 'zoo.crc32' from the index"
    )


@pytest.mark.parametrize("ending", [".bin", ".pt", ".pth", ".ckpt"])
def test_a_pickle_without_weights_gets_a_hint(tmp_path, ending):
    assert hint(tmp_path) == " and no model.safetensors.index.json"
    for name in (f"b{ending}", f"a{ending}", "a.txt"):
        (tmp_path / name).write_text("")
    assert hint(tmp_path) == (
        f"; a{ending} is a pickle, which can run code when read. Only nanoGPT's ckpt.pt can be "
        "converted, with zoo convert --unpickle; for others, save as safetensors where they are "
        "trusted"
    )


def test_a_config_that_a_cut_off_write_left_is_taken_by_its_hash(tmp_path):
    digest = hashlib.sha256(b"{}").hexdigest()
    assert pending_config(tmp_path, digest) is None
    (tmp_path / "config.json.partial").write_bytes(b"{}")
    assert pending_config(tmp_path, digest) == b"{}"
    assert pending_config(tmp_path, None) is None
    assert pending_config(tmp_path, "0" * 64) is None


def test_a_write_finishes_what_an_earlier_one_left(tmp_path):
    sound(tmp_path)
    (tmp_path / "config.json").rename(tmp_path / "config.json.partial")
    assert read_folder(tmp_path).config == CONFIG
    (tmp_path / "tensors").mkdir()
    with pytest.raises(CheckpointError):
        write_folder(tmp_path, {}, {"a": ONES}, metadata={"a": 1})
    assert not (tmp_path / "config.json").exists()
    (tmp_path / "model.safetensors.partial").mkdir()
    with pytest.raises(CheckpointError, match="cannot write to"):
        write_folder(tmp_path, {}, {"a": ONES})
    assert (tmp_path / "config.json").is_file()
    assert read_folder(tmp_path).config == CONFIG


SPLITS = {
    "all in one": (100, [["a", "b", "c"]]),
    "just in one": (56, [["a", "b", "c"]]),
    "one too many": (55, [["a", "b"], ["c"]]),
    "the first two": (40, [["a", "b"], ["c"]]),
    "each larger than a shard": (1, [["a"], ["b"], ["c"]]),
    "the first alone": (39, [["a"], ["b", "c"]]),
}


@pytest.mark.parametrize("row", SPLITS)
def test_names_are_cut_into_shards(row):
    limit, expected = SPLITS[row]
    assert split({"a": torch.ones(8), "b": torch.ones(2), "c": ONES}, limit) == expected
    assert split({}, limit) == [[]]


def test_shards_do_not_take_names_that_are_there(tmp_path):
    assert shard_names(tmp_path, 1) == ["model.safetensors"]
    plain = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    assert shard_names(tmp_path, 3) == plain
    (tmp_path / plain[2]).symlink_to("nowhere")
    found = shard_names(tmp_path, 3)
    tag = found[0].split("-")[1]
    assert len(tag) == 8 and int(tag, 16) >= 0
    assert found == [name.replace("model-", f"model-{tag}-") for name in plain]
    assert shard_names(tmp_path, 3) != found
    assert shard_names(tmp_path, 1) == ["model.safetensors"]


def test_metadata_is_text():
    assert check_metadata({"a": "b"}) == {"a": "b"}
    said = "metadata 'a': 1 is not text; write str(value)"
    assert fault(check_metadata, {"a": 1}) == said
    assert fault(check_metadata, {1: "a"}) == "metadata 1: 'a' is not text; write str(value)"


def test_what_cannot_be_synchronised_is_named(tmp_path):
    synchronise(tmp_path)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        synchronise(tmp_path / "none")
    assert caught.value.filename == str(tmp_path / "none")
    with pytest.raises(OSError) as caught:  # noqa: PT011
        synchronise("/proc/self/mem")  # which has no disk to wait for
    assert (caught.value.strerror, caught.value.filename) == (
        "Invalid argument",
        "/proc/self/mem",
    )


def test_a_file_that_becomes_shorter_while_it_is_read_is_said(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    seen = []
    with open(tmp_path / "x", "rb", buffering=0) as stream:
        said = fault(
            pass_by, stream, memoryview(bytearray(5)), lambda m: seen.append(bytes(m)), "x"
        )
    assert said == "x is cut off: the file has become shorter" and seen == [b"abc"]


class Refuses(BaseHTTPRequestHandler):
    """A hub that has nothing, and writes down what it is asked."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(404)
        self.end_headers()

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine, and an environment that lets the network be asked."""
    for name in ("ZOO_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    server = HTTPServer(("127.0.0.1", 0), Refuses)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    constants = "huggingface_hub.constants."
    monkeypatch.setattr(constants + "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants + "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants + "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_network_is_asked_when_it_may_be_and_only_then(hub):
    assert "The network is off" in fault(resolve, "org/none", offline=True)
    assert hub.asked == []
    said = fault(resolve, "org/none")
    assert said.startswith("there is no folder 'org/none', and the hub did not give it: ")
    assert len(said.splitlines()) == 1 and hub.asked
    assert os.environ.get("ZOO_OFFLINE") is None
