"""Checkpoints against damage and crashes, at length: each mutant, each moment of a write."""

from pathlib import Path

import pytest

from unit.checkpoint.fuzz import fuzz
from unit.checkpoint.hostile import CONFIG, TENSORS
from zoo.checkpoint import CheckpointError, write_folder


@pytest.mark.scheduled
@pytest.mark.parametrize("seed", range(2, 12))
def test_damage_by_chance_is_refused_or_harmless_10_000_times(tmp_path, seed):
    refused, slowest = fuzz(tmp_path / "base", tmp_path, 1000, seed=seed)
    assert refused > 600 and slowest < 1


CUTS = """
import itertools, os, shutil, sys
from pathlib import Path
root, tests, kind = Path(sys.argv[1]), *sys.argv[2:]
sys.path.insert(0, tests)
from unit.checkpoint.fuzz import same
from unit.checkpoint.hostile import TENSORS, read_all
from zoo.checkpoint import CheckpointError, write_folder

left = None  # so many changes on disk are made yet; the next one is the end

def watch(event, args):
    global left
    changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir") or (
        event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    )
    if left is None or not changes:
        return
    left -= 1
    if left == -1 and kind == "crash":
        os._exit(9)
    if left == -1:
        raise OSError(28, "No space left on device")

sys.addaudithook(watch)

def write(folder, number, limit):
    tensors = {name: tensor + number for name, tensor in TENSORS.items()}
    write_folder(folder, {"number": number}, tensors, max_shard_bytes=limit)

def cut_write(folder, number, limit, at):
    # Tell whether a write was cut off at its change number `at`.
    global left
    if kind == "crash":
        child = os.fork()
        if not child:
            left = at
            write(folder, number, limit)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = at
    try:
        write(folder, number, limit)
    except CheckpointError as error:
        assert "cannot write" in str(error) and "No space left" in str(error), error
        return True
    finally:
        left = None
    return False

def held(folder):
    # Give the number of the checkpoint that the folder holds, which must be whole.
    if not folder.exists():
        return None
    config, tensors = read_all(folder)
    number = config["number"]
    assert same(tensors, {name: tensor + number for name, tensor in TENSORS.items()})
    return number

def copy(folder, to):
    shutil.rmtree(to, ignore_errors=True)
    if folder.exists():
        shutil.copytree(folder, to)
    return to

cases = 0
LIMITS = (10**9, 60)
for first, second, third in itertools.product((None, *LIMITS), LIMITS, LIMITS):
    shutil.rmtree(root / "one", ignore_errors=True)
    if first is not None:
        write(root / "one", 1, first)
    old = held(root / "one")
    for at in itertools.count():
        two = copy(root / "one", root / "two")
        cut = cut_write(two, 2, second, at)
        now = held(two)
        assert now in ((old, 2) if cut else (2,)), (first, second, at, now)
        cases += 1
        again = range(at % 3, 99, 3) if third == first else ()
        for then in again:
            three = copy(two, root / "three")
            cut_again = cut_write(three, 3, third, then)
            assert held(three) in ((now, 3) if cut_again else (3,)), (old, at, then)
            cases += 1
            if not cut_again:
                break
        if not cut:
            break
    write(two, 4, third)
    assert held(two) == 4 and not [p for p in two.iterdir() if "partial" in p.name]
print(cases)
"""


@pytest.mark.thinned(3)
@pytest.mark.subproc
@pytest.mark.parametrize("kind", ["crash", "full-disk"])
def test_a_write_cut_at_any_change_leaves_the_old_or_the_new(tmp_path, run_python, kind):
    """Cut a write at each change that it makes on disk, and the one after it as well."""
    tests = str(Path(__file__).parents[1])
    cases = run_python(CUTS, str(tmp_path), tests, kind)
    assert int(cases) > 300


def test_metadata_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="metadata 'step': 1 is not text; write str"):
        write_folder(tmp_path / "model", CONFIG, TENSORS, metadata={"step": 1})
