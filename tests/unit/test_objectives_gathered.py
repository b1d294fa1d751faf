"""What processes share, exactly: here each is a thread with a default group of its own."""

import threading

import pytest
import torch
import torch.distributed as dist
from torch.testing._internal.distributed import multi_threaded_pg as threads

from zoo import ops
from zoo.objectives import Gather, gather, pair_loss

SIZES = [1, 2, 3]


def together(size, act):
    """Run `act(rank)` in so many threads; give what they give.

    torch's own tests of collectives run so. A thread that fails ends the others, which would wait.
    """
    found, store = [None] * size, dist.HashStore()

    def one(rank):
        try:
            dist.init_process_group("threaded", rank=rank, world_size=size, store=store)
            found[rank] = act(rank)
        except BaseException as error:
            found[rank] = error
            threads.ProcessLocalGroup.exception_handle(error)

    threads._install_threaded_pg()
    torch._C._distributed_c10d._set_thread_isolation_mode(True)
    try:
        started = [threading.Thread(target=one, args=(rank,), daemon=True) for rank in range(size)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join(60)
    finally:
        torch._C._distributed_c10d._set_thread_isolation_mode(False)
        threads._uninstall_threaded_pg()
        threads.ProcessLocalGroup.reset()
    for error in found:
        if isinstance(error, BaseException):
            raise error
    return found


def vectors(rows):
    """Make images and texts of length one, a fresh leaf each."""
    generator = torch.Generator().manual_seed(rows)
    drawn = torch.randn(2, rows, 5, generator=generator, dtype=torch.float64)
    return [ops.normalize(x).detach().requires_grad_() for x in drawn]


@pytest.mark.parametrize("size", SIZES)
def test_a_row_gets_the_gradients_of_all_processes(size):
    def act(rank):
        x = torch.full((2, 3), float(rank + 1), requires_grad=True)
        y = Gather.apply(x)
        factors = (rank + 1) * torch.arange(y.numel()).view_as(y)
        (y * factors).sum().backward()
        return y.detach(), x.grad

    ranks = torch.arange(1.0, size + 1)
    for rank, (rows, gradient) in enumerate(together(size, act)):
        assert torch.equal(rows, ranks.repeat_interleave(2)[:, None].expand(-1, 3))
        own = torch.arange(6.0).view(2, 3) + 6 * rank
        assert torch.equal(gradient, own * ranks.sum())


@pytest.mark.parametrize("bias", [None, -1.5], ids=["softmax", "sigmoid"])
@pytest.mark.parametrize("size", SIZES)
def test_the_mean_over_processes_is_the_loss_of_all_rows_with_its_gradients(size, bias):
    scale = torch.tensor(3.0, dtype=torch.float64)
    shift = None if bias is None else torch.tensor(bias, dtype=torch.float64)
    sides = vectors(2 * size)
    whole = pair_loss(*sides, scale, shift)
    whole.backward()

    def act(rank):
        mine = [x.detach()[2 * rank : 2 * rank + 2].requires_grad_() for x in sides]
        loss = pair_loss(*mine, scale, shift)
        loss.backward()
        return loss.detach(), [x.grad / size for x in mine]

    found = together(size, act)
    losses = torch.stack([loss for loss, _ in found])
    torch.testing.assert_close(losses.mean(), whole.detach(), rtol=1e-12, atol=1e-12)
    for side, x in enumerate(sides):
        gathered = torch.cat([gradients[side] for _, gradients in found])
        torch.testing.assert_close(gathered, x.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [[2, 3], [3, 3, 2], [5, 2, 5]], ids=str)
def test_processes_with_other_numbers_of_rows_refuse_alike(rows):
    """Each has five columns: it is rows that are counted."""

    def act(rank):
        with pytest.raises(ValueError, match="processes hold") as caught:
            gather(torch.ones(rows[rank], 5))
        return str(caught.value)

    words = f"processes hold {rows} rows; give each as many, or drop the last batch"
    assert together(len(rows), act) == [words] * len(rows)


def test_processes_with_as_many_rows_gather_them():
    def act(rank):
        return gather(torch.full((3, 2), float(rank)))

    for found in together(2, act):
        assert found.tolist() == [[0.0, 0.0]] * 3 + [[1.0, 1.0]] * 3
