"""One process, DDP and FSDP2 (gloo, CPU) take the same steps, and go on from each other's files.

Processes start twice for all of it: four that save, and two that do the rest.
"""

import functools
import json

import pytest
import torch
from safetensors.torch import load_file

from integration import world_child
from integration.learning import CASES, OTHERS, curve
from integration.processes import environment, run
from zoo.train.world import World

CHILD = "integration.world_child"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give the folder of what four processes did, then one, then two."""
    folder = tmp_path_factory.mktemp("world")
    run(folder, CHILD, f"four({str(folder)!r})", world=4)
    world_child.begin(folder, World(), "alone-gpt2", write=None)
    run(folder, CHILD, f"two({str(folder)!r})", world=2)
    return folder


@pytest.fixture(scope="module")
def said(folder):
    """Give what each of the two processes said."""
    return [json.loads((folder / f"said{rank}.json").read_text()) for rank in range(2)]


@functools.cache
def curve_alone(case, dtype):
    return curve(World(), case, dtype, 1)


@pytest.mark.thinned(12)
@pytest.mark.subproc
@pytest.mark.parametrize("micros", [1, 2])
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
@pytest.mark.parametrize("case", CASES)
def test_two_processes_take_the_steps_of_one(folder, case, mode, micros):
    alone = curve_alone(case, torch.float64)
    two = load_file(folder / f"{mode}-{case}-{torch.float64}-{micros}.safetensors")
    assert two.keys() == alone.keys()
    for name, expected in alone.items():
        torch.testing.assert_close(two[name], expected, rtol=1e-12, atol=1e-12, msg=name)


@pytest.mark.subproc
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
@pytest.mark.parametrize("case", CASES)
def test_in_float32_they_differ_by_no_more_than_rounding_does(folder, case, mode):
    exact, alone = (curve_alone(case, t)["curve"] for t in (torch.float64, torch.float32))
    two = load_file(folder / f"{mode}-{case}-{torch.float32}-1.safetensors")["curve"]
    # another order of sums may cost some times what rounding itself costs one process
    rounding = (alone - exact).norm() + torch.finfo(torch.float32).eps * exact.norm()
    assert (two - exact).norm() <= 4 * rounding


# who saved, in what mode two go on
RESUMED = [
    ("four-gpt2", "fsdp2"),
    ("four-gpt2", "ddp2"),
    ("hybrid-clip", "fsdp2"),
    ("hybrid-clip", "ddp2"),
    ("alone-gpt2", "fsdp2"),
    ("alone-gpt2", "ddp2"),
    ("four-gpt2", "alone1"),
    ("hybrid-clip", "alone1"),
    ("ddp-gpt2", "alone1"),
    ("four-gpt2", "fsdp1"),
    ("ddp-gpt2", "fsdp1"),
]


def one_goes_on(folder, name, who):
    """Go on in this process, where two did not."""
    if who == "alone1":
        world_child.go_on(folder, World(), name)
    if who == "fsdp1":
        with World.from_environment("fsdp") as world:
            world_child.go_on(folder, world, name)


@pytest.mark.subproc
@pytest.mark.parametrize(("name", "who"), RESUMED)
def test_a_run_goes_on_with_other_processes(folder, name, who):
    one_goes_on(folder, name, who)
    saved = load_file(folder / f"{name}-saved.safetensors")
    read = load_file(folder / f"{name}-{who}-read.safetensors")
    assert read.keys() == saved.keys()
    assert [n for n in saved if not torch.equal(read[n], saved[n])] == []
    went = load_file(folder / f"{name}-{who}-rest.safetensors")["curve"]
    expected = load_file(folder / f"{name}-rest.safetensors")["curve"]
    torch.testing.assert_close(went, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.subproc
def test_shares_are_safetensors_and_json_and_nothing_else(folder):
    files = {path.name for path in (folder / "four-gpt2" / "step-00000002").iterdir()}
    shards = {f"shard-{i + 1:05}-model-00001-of-00001.safetensors" for i in range(4)}
    assert files == shards | {"state.json", "manifest.json"}


@pytest.mark.subproc
@pytest.mark.parametrize(("name", "processes"), [("all", 4), ("half", 2)])
def test_each_process_holds_its_share_of_each_block(folder, name, processes):
    """A quarter of every parameter; with hybrid sharding, two copies of halves."""
    held = [json.loads((folder / f"shares{rank}.json").read_text())[name] for rank in range(4)]
    parts, wholes, groups = zip(*held, strict=True)
    assert sum(parts) * processes == 4 * wholes[0]
    assert max(parts) <= 1.1 * wholes[0] / processes  # rows do not always divide
    assert groups[0] == ["", *(f"model.blocks.{number}" for number in range(3))]


SAID = [  # what each process says in both modes
    ("totals", [[3, 1], [3, 2]]),
    ("agreement", [[True, False]] * 2),
    ("quiet", [True] * 2),
    ("published", [1, 0]),
    ("not_finite", [["nan", "inf"]] * 2),
    ("gentle", [[True, 0.5]] * 2),
    ("judged", [[]] * 2),
    ("recomputed", [True] * 2),
    ("idle", [["bias"]] * 2),
]


@pytest.mark.subproc
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
@pytest.mark.parametrize(("what", "expected"), SAID, ids=[what for what, _ in SAID])
def test_processes_agree(said, mode, what, expected):
    assert [words[f"{what}-{mode}"] for words in said] == expected


@pytest.mark.subproc
def test_gradients_of_scalars_are_averaged_by_hand(said):
    assert [words["scalars-fsdp"] for words in said] == [[1.5, None]] * 2


@pytest.mark.subproc
def test_weights_stay_in_float32_beside_bfloat16_products(said):
    for words in said:
        seen, kept, wider, moved = words["low_precision-fsdp"]
        assert (seen, kept, wider) == (["torch.bfloat16"], ["torch.float32"], True)
        assert 0 < moved < 2**-7  # bfloat16 rounds by up to 2**-9; a loss is a mean of many


@pytest.mark.subproc
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_other_weights_in_one_process_are_refused(said, mode):
    for words in said:
        assert words[f"other_seeds-{mode}"].startswith("processes [1] hold other weights than")


@pytest.mark.subproc
def test_all_are_told_when_one_cannot_write(said):
    for words in said:
        assert words["unwritable"].startswith("cannot write FOLDER: process 1: [Errno 27]")


@pytest.mark.subproc
@pytest.mark.parametrize("agent", ["True", ""], ids=["torchrun", "by-hand"])
def test_a_world_that_never_meets_says_so(run_python, agent):
    said = run_python(
        """
        import os
        import torch.distributed as dist
        from zoo.train.world import World, WorldError

        store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        if os.environ["TORCHELASTIC_USE_AGENT_STORE"]:
            os.environ["MASTER_PORT"] = str(store.port)
        try:
            World.from_environment("ddp", timeout=1.0)
        except WorldError as error:
            print(error)
        """,
        **environment(0, 2, 0) | {"TORCHELASTIC_USE_AGENT_STORE": agent},
    )
    assert said.startswith("rank 0 did not meet all 2 processes at 127.0.0.1:")
    assert "within 1 s: start them all, with the same MASTER_ADDR and MASTER_PORT" in said


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    run(folder, CHILD, f"long({str(folder)!r})", world=4, seconds=1800.0)
    return folder


LONG = [f"long-{mode}-{case}" for mode in ("fsdp", "ddp", "hybrid") for case in CASES | OTHERS]
LONG += [f"compiled-{mode}-{case}" for mode in ("fsdp", "ddp") for case in ("gpt2", "clip")]


@pytest.mark.subproc
@pytest.mark.scheduled
@pytest.mark.parametrize("name", LONG)
def test_four_processes_take_the_steps_of_one(long, name):
    alone = curve_alone(name.split("-", 2)[2], torch.float64)
    four = load_file(long / f"{name}.safetensors")
    for weight, expected in alone.items():
        torch.testing.assert_close(four[weight], expected, rtol=1e-12, atol=1e-12, msg=weight)
