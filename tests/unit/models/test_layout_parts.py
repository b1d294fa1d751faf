"""What reading any foreign layout takes: files, sizes off tensors, and a model made of them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from zoo.checkpoint import CheckpointError
from zoo.keymap import KeyTable, Rename, Stack, Tied, affine
from zoo.models.layouts.assemble import (
    assemble,
    check_said,
    depth_of,
    opened,
    read_tensors,
    side_of,
    size_of,
)

HERE = Path("some/folder")
ONES = torch.ones(2, 3)


def said_by(function, *arguments, **options):
    with pytest.raises(CheckpointError) as caught:
        function(*arguments, **options)
    return str(caught.value)


def test_the_first_file_that_is_there_is_read(tmp_path):
    files = ("a.safetensors", "b.safetensors", "c.bin", "d.bin")
    torch.save({"state_dict": {"module.d": ONES}}, tmp_path / "d.bin")
    assert [*read_tensors(tmp_path, files, unpickle=True)] == ["d"]
    torch.save({"c": ONES}, tmp_path / "c.bin")
    assert [*read_tensors(tmp_path, files, unpickle=True)] == ["c"]
    assert said_by(read_tensors, tmp_path, files, unpickle=False) == (
        f"{tmp_path / 'c.bin'} is a pickle; reading one is off by default. Only tensors and plain "
        "values would be taken from it: pass --unpickle (unpickle=True) if you trust it"
    )
    save_file({"b": ONES, "size": torch.tensor(3)}, tmp_path / "b.safetensors")
    found = read_tensors(tmp_path, files, unpickle=False)
    assert found.keys() == {"b", "size"} and torch.equal(found["b"], ONES)
    (tmp_path / "a.safetensors").mkdir()
    assert read_tensors(tmp_path, files, unpickle=False).keys() == {"b", "size"}


def test_a_folder_without_any_of_the_files_says_which(tmp_path):
    assert said_by(read_tensors, tmp_path, ("a.safetensors", "b.bin"), unpickle=True) == (
        f"{tmp_path} holds none of a.safetensors, b.bin"
    )


def test_a_pickle_gives_what_it_holds_and_its_faults_name_it(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "a.bin")
    assert opened(tmp_path / "a.bin", unpickle=True) == {"epoch": 3}
    torch.save({"a": "text"}, tmp_path / "a.bin")
    assert said_by(read_tensors, tmp_path, ("a.bin",), unpickle=True) == (
        f"{tmp_path / 'a.bin'} is not a table of floating point tensors"
    )


def test_a_size_is_that_of_the_tensor():
    tensors = {"w": ONES}
    assert size_of(HERE, tensors, "w", 2) == (2, 3)
    for name, axes in (("w", 1), ("w", 3), ("v", 2)):
        said = f"{HERE}: {name} is missing, empty or has not {axes} axes"
        assert said_by(size_of, HERE, tensors, name, axes) == said


def test_blocks_are_counted_and_none_may_be_left_out():
    tensors = {f"a.{n}.w": ONES for n in (0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9)}
    assert depth_of(HERE, tensors | {"b.5.w": ONES, "a.11.v": ONES}, "a.{}.w") == 11
    assert depth_of(HERE, tensors, "b.{}.w") == 0
    del tensors["a.4.w"]
    said = f"{HERE}: 10 of a.{{}}.w, and the last has number 10"
    assert said_by(depth_of, HERE, tensors, "a.{}.w") == said
    said = f"{HERE}: 1 of a.{{}}.w, and the last has number 1"
    assert said_by(depth_of, HERE, {"a.1.w": ONES}, "a.{}.w") == said


def test_a_config_that_says_other_sizes_is_told_all_of_them():
    held = {"depth": 2, "width": 12, "heads": 3}
    check_said(HERE, {}, held)
    check_said(HERE, {"depth": 2, "width": None, "more": 7}, held)
    assert said_by(check_said, HERE, {"depth": 3, "width": 12, "heads": "3"}, held) == (
        f"{HERE}: the config says depth 3, the weights hold 2; heads '3', the weights hold 3"
    )


def test_the_side_of_a_square_is_whole():
    assert [side_of(HERE, n * n) for n in (1, 2, 3, 14, 1001)] == [1, 2, 3, 14, 1001]
    for count in (2, 3, 5, 8, 195, 197):
        assert said_by(side_of, HERE, count) == (
            f"{HERE}: {count} positions are no square grid; the config must say the image's size"
        )


class Small(nn.Module):
    """A body, a head that is tied to it or not, and something that is tied by hand."""

    def __init__(self, config, head):
        super().__init__()
        self.body = nn.Linear(3, 4, bias=False)
        self.qkv = nn.Linear(2, 6, bias=False)
        self.head = nn.Linear(3, 4) if head else None
        self.config, self.tied = config, 0

    def tie(self):
        self.tied += 1


KEYS = KeyTable(
    prefix="",
    body=(
        Rename("b.w", "body.weight", transpose=True),
        Stack(("q", "k", "v"), "qkv.weight"),
        Rename("extra", "extra"),
    ),
    heads={"h": affine("top", "head"), "t": (Tied("top.weight", "body.weight"),), None: ()},
)
PARTS = {
    "b.w": torch.arange(12.0).view(3, 4),
    **{name: torch.full((2, 2), float(i)) for i, name in enumerate("qkv")},
}
TOP = {"top.weight": torch.ones(4, 3), "top.bias": torch.zeros(4)}


@pytest.mark.parametrize("head", ["h", None])
def test_a_model_is_made_of_the_tensors_that_its_head_needs(head):
    tensors = PARTS | (TOP if head else {})
    model = assemble(HERE, Small, "config", head, KEYS, tensors | {"extra": ONES})
    assert (model.config, model.tied, model.training) == ("config", 1, False)
    parameters = dict(model.named_parameters())
    expected = {
        "body.weight": PARTS["b.w"].T,
        "qkv.weight": torch.cat([PARTS[name] for name in "qkv"]),
    }
    if head:
        expected |= {"head.weight": TOP["top.weight"], "head.bias": TOP["top.bias"]}
    assert parameters.keys() == expected.keys()
    for name, parameter in parameters.items():
        assert torch.equal(parameter, expected[name])
        assert parameter.is_contiguous() and parameter.requires_grad and not parameter.is_meta


def test_all_that_does_not_fit_is_said_at_once_in_order():
    tensors = PARTS | {"b.w": torch.zeros(3, 5), "k": torch.zeros(1, 2), "z": ONES, "y": ONES}
    assert said_by(assemble, HERE, Small, None, "h", KEYS, tensors) == (
        f"{HERE}: body.weight is (5, 3), expected (4, 3); head.bias is missing; "
        "head.weight is missing; qkv.weight is (5, 2), expected (6, 2); y is unexpected; "
        "z is unexpected"
    )


def test_of_many_faults_the_first_twelve_are_said():
    tensors = PARTS | {f"x{n:02}": ONES for n in range(13)}
    said = "; ".join(f"x{n:02} is unexpected" for n in range(12))
    assert said_by(assemble, HERE, Small, None, None, KEYS, tensors) == f"{HERE}: {said}"
