"""A process alone, and what is wrong with an environment; processes that meet: integration."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from unit.models.tiny import tiny
from zoo.train.meet import (
    WorldError,
    check_device,
    check_mode,
    check_shard,
    meet,
    read_environment,
)
from zoo.train.world import Inside, World, blocks_of, fingerprint, has_unread

WHOLE = {
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, None), ({"HOME": "/"}, None), (WHOLE, (3, 8, 1))],
    ids=["nothing", "something-else", "torchrun"],
)
def test_an_environment_tells_the_place(environment, expected):
    assert read_environment(environment) == expected


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"RANK": None}, "has WORLD_SIZE=8, LOCAL_RANK=1, .* and lacks RANK; start with torchrun"),
        ({"WORLD_SIZE": None, "MASTER_PORT": None}, "lacks WORLD_SIZE, MASTER_PORT;"),
        ({"RANK": "two"}, "are 'two', '8', '1'; expected whole numbers"),
        ({"LOCAL_RANK": "-1"}, "are '3', '8', '-1'; expected whole numbers"),
        ({"RANK": "8"}, "RANK=8, WORLD_SIZE=8, LOCAL_RANK=1: expected LOCAL_RANK <= RANK < WORLD"),
        ({"LOCAL_RANK": "4"}, "RANK=3, WORLD_SIZE=8, LOCAL_RANK=4: expected"),
    ],
    ids=["no-rank", "two-absent", "a-word", "negative", "rank-too-large", "local-too-large"],
)
def test_a_bad_environment_is_told(change, says):
    environment = {n: x for n, x in (WHOLE | change).items() if x is not None}
    with pytest.raises(WorldError, match=says):
        read_environment(environment)


def test_the_last_place_and_the_only_local_one_are_places():
    assert read_environment(WHOLE | {"RANK": "7", "LOCAL_RANK": "7"}) == (7, 8, 7)
    assert read_environment(WHOLE | {"RANK": "0", "LOCAL_RANK": "0"}) == (0, 8, 0)


@pytest.mark.parametrize(
    ("mode", "size", "says"),
    [
        ("dp", 1, r"mode 'dp'; expected one of \('alone', 'ddp', 'fsdp'\)"),
        ("alone", 2, "2 processes were started and the mode is 'alone'"),
    ],
    ids=["unknown", "alone-in-company"],
)
def test_a_mode_that_does_not_fit_is_told(mode, size, says):
    with pytest.raises(WorldError, match=says):
        check_mode(mode, size)


@pytest.mark.parametrize(("mode", "size"), [("alone", 1), ("ddp", 1), ("ddp", 2), ("fsdp", 1)])
def test_a_mode_that_fits_passes(mode, size):
    check_mode(mode, size)


@pytest.mark.parametrize(("device", "local"), [("cuda", 99), ("cuda:99", 0)])
def test_a_card_that_is_not_there_is_told(device, local):
    says = f"device '{device}': local rank {local} needs card 99 and this machine shows"
    with pytest.raises(WorldError, match=says):
        check_device(device, local)


def test_a_processor_is_always_there():
    assert check_device("cpu", 3) == CPU


@pytest.mark.parametrize(("shard", "expected"), [(None, 6), (1, 1), (3, 3), (6, 6)])
def test_shares_are_split_over_a_divisor_of_the_processes(shard, expected):
    assert check_shard(shard, 6) == expected


@pytest.mark.parametrize("shard", [0, -1, 4, 12])
def test_another_number_of_shares_is_told(shard):
    with pytest.raises(WorldError, match=f"shard {shard}; expected a divisor of the 6 processes"):
        check_shard(shard, 6)


def test_processes_meet_on_a_known_kind_of_device():
    with pytest.raises(WorldError, match=r"device mps: processes can share work on \['cpu', 'cuda"):
        meet(0, 1, torch.device("mps"), found=False, timeout=1.0)


@pytest.mark.parametrize("mode", ["alone", "ddp"])
def test_one_process_needs_no_others(mode):
    with World.from_environment(mode, dtype=torch.bfloat16) as world:
        assert (world.rank, world.size, world.mode, world.device) == (0, 1, "alone", CPU)
        assert world.dtype == torch.bfloat16
        assert not dist.is_initialized()


def test_a_world_without_arguments_is_a_process_alone():
    world = World()
    assert (world.rank, world.size, world.mode, world.device) == (0, 1, "alone", CPU)
    assert world.dtype is None


def test_a_process_alone_changes_nothing():
    world, module, x = World(), nn.Linear(3, 2), torch.tensor([2, 5])
    assert world.wrap(module) is module
    assert torch.equal(world.total(x), x)
    assert [world.agree(flag) for flag in (True, False)] == [True, False]
    with world.syncing(module, last=False):
        module(torch.ones(1, 3)).sum().backward()
    before = module.weight.grad.clone()
    world.after_backward(module)
    assert torch.equal(module.weight.grad, before)
    world.barrier()
    world.close()


def test_alone_a_sum_has_no_graph():
    x = torch.ones((), requires_grad=True)
    assert not World().total(2 * x).requires_grad


def test_alone_gradients_are_clipped_as_torch_clips():
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    for module in (ours, theirs):
        for parameter in module.parameters():
            parameter.grad = torch.arange(parameter.numel()).view(parameter.shape).float()
    norm = World().clip(ours.parameters(), 0.5)
    assert norm == float(nn.utils.clip_grad_norm_(theirs.parameters(), 0.5))
    assert torch.equal(ours.weight.grad, theirs.weight.grad)


def test_a_function_of_a_model_runs_inside():
    found = Inside(nn.Linear(3, 2))(lambda model, x, by: model(x) * by, torch.ones(4, 3), by=0)
    assert torch.equal(found, torch.zeros(4, 2))


def test_blocks_are_those_of_all_stacks():
    model = tiny("clip", "match")
    assert blocks_of(model) == [*model.image.blocks, *model.text.blocks]


def test_whole_gives_parameters_and_buffers_under_their_names():
    model = nn.BatchNorm1d(3)
    found = World().whole(model)
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], x) for name, x in model.state_dict().items())
    assert not any(x.requires_grad for x in found.values())


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int8], ids=str
)
def test_a_fingerprint_tells_one_bit(dtype):
    model = nn.Module()
    model.x = nn.Parameter(torch.arange(6).view(2, 3).to(dtype), requires_grad=False)
    model.y = nn.Parameter(torch.ones(()), requires_grad=False)
    first = fingerprint(model)
    assert first == fingerprint(model)
    assert 0 <= first < 2**63
    model.x[1, 2] += 1
    assert fingerprint(model) != first


def test_a_fingerprint_knows_the_order_of_parameters():
    one, other = nn.ParameterList([torch.ones(2), torch.zeros(2)]), nn.ParameterList()
    other.extend([torch.zeros(2), torch.ones(2)])
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    ("unread", "trained", "expected"),
    [((), True, False), (("bias",), True, True), (("bias",), False, False)],
)
def test_ddp_looks_for_what_a_model_leaves_unread_and_trains(unread, trained, expected):
    model = nn.Linear(3, 2)
    model.unread = unread
    model.bias.requires_grad_(trained)
    assert has_unread(Inside(model)) is expected


class Small(nn.Module):
    """Two blocks and a scalar, which FSDP2 leaves whole."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(3, 5), nn.Linear(5, 2)])
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.blocks[1](self.blocks[0](x).relu()) * self.scale

    def stacks(self):
        return ["blocks"]


@pytest.fixture(scope="module")
def one():
    """Give a world of one process that shares all the same."""
    with World.from_environment("fsdp") as world:
        yield world
    assert not dist.is_initialized()


def pair(world):
    """Make a model twice, alone and wrapped, and rows for it."""
    torch.manual_seed(5)
    plain, model = Small(), Small()
    model.load_state_dict(plain.state_dict())
    return plain, model, world.wrap(Inside(model), blocks_of(model)), torch.randn(4, 3)


def loss_of(model, x):
    return model(x).square().sum()


def whole(x):
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def gradients(model):
    return {n: None if p.grad is None else whole(p.grad) for n, p in model.named_parameters()}


def test_one_process_may_share(one):
    assert (one.rank, one.size, one.mode, one.device) == (0, 1, "fsdp", CPU)
    assert one.mesh.mesh_dim_names == ("shard",)


def test_all_but_scalars_is_shared_under_its_names(one):
    plain, model, _, _ = pair(one)
    shared = {n: hasattr(p, "placements") for n, p in model.named_parameters()}
    assert shared == {n: p.dim() > 0 for n, p in plain.named_parameters()}
    assert all(torch.equal(x, plain.state_dict()[n]) for n, x in one.whole(model).items())


def test_a_shared_model_has_the_gradients_of_a_plain_one(one):
    plain, model, wrapped, x = pair(one)
    loss_of(plain, x).backward()
    wrapped(loss_of, x).backward()
    one.after_backward(wrapped)
    expected = gradients(plain)
    torch.testing.assert_close(gradients(model), expected)


def test_what_is_not_the_last_piece_waits(one):
    plain, model, wrapped, x = pair(one)
    with one.syncing(wrapped, last=False):
        wrapped(loss_of, x[:1]).backward()
    assert gradients(model)["blocks.0.weight"] is None
    with one.syncing(wrapped, last=True):
        wrapped(loss_of, x[1:]).backward()
    loss_of(plain, x).backward()
    torch.testing.assert_close(gradients(model), gradients(plain))


@pytest.mark.parametrize("most", [0.5, 1e6], ids=["less", "more"])
def test_shares_are_clipped_by_the_norm_of_the_whole(one, most):
    plain, model, wrapped, x = pair(one)
    loss_of(plain, x).backward()
    wrapped(loss_of, x).backward()
    norm = one.clip(iter(list(model.parameters())), most)
    expected = nn.utils.clip_grad_norm_(plain.parameters(), most)
    assert norm == pytest.approx(float(expected), rel=1e-6)
    torch.testing.assert_close(gradients(model), gradients(plain))


def test_a_norm_at_the_limit_changes_nothing(one):
    _, model, wrapped, x = pair(one)
    wrapped(loss_of, x).backward()
    norm = one.clip(model.parameters(), 1e6)
    before = gradients(model)
    assert one.clip(model.parameters(), norm) == norm
    assert all(torch.equal(x, before[n]) for n, x in gradients(model).items())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")], ids=str)
def test_a_norm_that_is_not_finite_is_given(one, bad):
    _, model, wrapped, x = pair(one)
    wrapped(loss_of, x).backward()
    model.scale.grad.fill_(bad)
    assert str(one.clip(model.parameters(), 1.0)) == str(bad)


def test_no_gradients_have_no_norm(one):
    assert one.clip(pair(one)[1].parameters(), 1.0) == 0.0


def test_a_model_that_was_only_judged_is_taken_apart(one):
    _, model, wrapped, x = pair(one)
    before = list(model.parameters())
    with torch.no_grad():
        wrapped(loss_of, x)
    assert all(a is b for a, b in zip(model.parameters(), before, strict=True))
    wrapped(loss_of, x).backward()
    assert all(p.grad is not None for p in before)


def test_products_are_in_the_worlds_dtype_and_weights_are_not(one):
    world = World(size=1, mode="fsdp", dtype=torch.bfloat16, mesh=one.mesh)
    _, model, wrapped, x = pair(world)
    seen = wrapped(lambda model, x: (x, model.blocks[0](x)), x)
    assert [y.dtype for y in seen] == [torch.bfloat16] * 2
    wrapped(loss_of, x).backward()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {g.dtype for g in gradients(model).values()} == {torch.float32}
