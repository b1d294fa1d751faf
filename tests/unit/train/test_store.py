import hashlib
import json
import threading

import pytest
import torch
from safetensors.torch import load_file

from zoo.checkpoint import CheckpointError
from zoo.checkpoint.hashed import write_hashed
from zoo.checkpoint.safetensors import read_header
from zoo.train.manifest import MANIFEST, Manifest, read_tensors, write_tensors
from zoo.train.store import Store

TENSORS = {
    "model.w": torch.arange(6.0).view(2, 3).t(),  # not contiguous
    "model.low": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "model.seen": torch.tensor(7),
    "model.none": torch.empty(0, 4),
    "optimizer.w.step": torch.tensor(3.0),
    "generator.cpu": torch.arange(5, dtype=torch.uint8),
}
FACTS = {"step": 4, "facts": {"data": "sha256:é", "rate": 0.1 + 0.2, "none": None}}


def number(value):
    """Give a small state that differs from any other's."""
    return {"model.w": torch.full((3,), float(value))}, {"step": value}


def save(store, step, score=None, value=None):
    tensors, facts = number(step if value is None else value)
    return store.save(step, tensors, facts, score=score)


def value_of(found):
    facts, tensors = found
    assert facts["step"] == tensors["model.w"][0]
    return facts["step"]


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    store = Store(tmp_path / "run" / "checkpoints")
    assert store.save(4, TENSORS, FACTS) == store.path(4)
    facts, tensors = store.read()
    assert facts == FACTS == store.facts()
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor), name


def test_a_checkpoint_is_a_folder_that_other_tools_read(tmp_path):
    folder = Store(tmp_path).save(100, TENSORS, FACTS, score=0.5)
    assert folder == tmp_path / "step-00000100"
    assert sorted(p.name for p in folder.iterdir()) == [
        "manifest.json",
        "state.json",
        "state.safetensors",
    ]
    assert load_file(folder / "state.safetensors").keys() == TENSORS.keys()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["step"], manifest["score"], manifest["sharded"]) == (100, 0.5, False)
    assert manifest["files"] == {
        name: {
            "size": (folder / name).stat().st_size,
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        }
        for name in ("state.json", "state.safetensors")
    }


@pytest.mark.parametrize("limit", [1, 20, 30, 10**6])
def test_large_states_are_several_files(tmp_path, limit):
    sums = write_tensors(tmp_path, TENSORS, limit)
    assert (len(sums) > 1) == (limit < 10**6)
    files = {name: {"sha256": digest} for name, digest in sums.items()}
    found = read_tensors(tmp_path, Manifest(0, None, False, files))
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("keep", "saves", "steps", "best"),
    [
        (3, [], [], None),
        (2, [(1, None), (2, None), (3, None)], [2, 3], None),
        (1, [(1, None), (2, None)], [2], None),
        (2, [(1, 0.5), (2, 0.7), (3, 0.6)], [1, 2, 3], 1),
        (2, [(1, 0.5), (2, 0.7), (3, 0.6), (4, 0.4)], [3, 4], 4),
        (1, [(1, 0.5), (2, 0.5)], [1, 2], 1),
        (1, [(1, -INF), (2, 3.0), (3, NAN), (4, INF)], [2, 4], 2),
        (2, [(1, 0.5), (2, None), (3, None), (4, None)], [1, 3, 4], 1),
        (3, [(10, 0.1), (9, 0.5)], [9], 9),
        (3, [(5, 0.1), (6, 0.2), (5, 0.3)], [5], 5),
        (2, [(99999999, None), (100000000, None)], [99999999, 100000000], None),
    ],
    ids=[
        "nothing",
        "the newest",
        "one",
        "the best stays",
        "a new best",
        "the first of equals",
        "no number is never best",
        "without scores the best stays",
        "back to the past",
        "the same again",
        "nine digits",
    ],
)
def test_the_newest_and_the_best_stay(tmp_path, keep, saves, steps, best):
    store = Store(tmp_path, keep=keep)
    for step, score in saves:
        save(store, step, score)
    assert store.steps() == steps
    assert store.best() == best
    noted = tmp_path / "best.json"
    assert (json.loads(noted.read_text())["step"] if noted.exists() else None) == best
    assert len(list(tmp_path.iterdir())) == len(steps) + noted.exists()


def test_a_step_saved_again_takes_the_place_of_the_first(tmp_path):
    store = Store(tmp_path)
    for value in (5, 6, 7):
        folder = save(store, 5, value=value)
        assert value_of(store.read()) == value
        assert [p.name for p in tmp_path.iterdir()] == [folder.name]
    assert folder.name == "step-00000005-3"


def test_an_older_step_is_read_when_asked_for(tmp_path):
    store = Store(tmp_path)
    save(store, 1)
    save(store, 2)
    assert value_of(store.read(1)) == 1
    assert store.facts(1) == {"step": 1}


def cut(place):
    place.write_bytes(place.read_bytes()[:-1])


def flip(place):
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 4
    place.write_bytes(data)


def flip_last(place):
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.write_bytes(data)


def remove(place):
    place.unlink()


def another(place):
    place.with_name("more.safetensors").write_bytes(place.read_bytes())


def a_pipe(place):
    place.unlink()
    place.mkdir()


DAMAGES = [
    ("state.safetensors", cut, r"state.safetensors has \d+ bytes; its manifest says \d+"),
    ("state.safetensors", flip_last, "state.safetensors is damaged: its SHA-256 differs"),
    ("state.safetensors", flip, "state.safetensors"),
    ("state.safetensors", remove, "state.safetensors is missing"),
    ("state.safetensors", another, "more.safetensors is not in the manifest"),
    ("state.safetensors", a_pipe, "state.safetensors"),
    ("state.json", cut, r"state.json has \d+ bytes; its manifest says \d+"),
    ("state.json", flip, "state.json is damaged: its SHA-256 differs"),
    ("state.json", remove, "state.json is missing"),
    ("manifest.json", flip, "manifest.json"),
    ("manifest.json", remove, "manifest.json is missing"),
]


@pytest.mark.parametrize(
    ("file", "damage", "sentence"), DAMAGES, ids=[f"{f} {d.__name__}" for f, d, _ in DAMAGES]
)
def test_a_damaged_file_is_named_and_an_older_checkpoint_only_taken_when_asked_for(
    tmp_path, file, damage, sentence
):
    store = Store(tmp_path)
    for step in (1, 2, 3):
        save(store, step)
    damage(store.path(3) / file)
    before = contents(tmp_path)
    older = r"newest whole checkpoint before it is of step 2: .*fallback=True"
    with pytest.raises(CheckpointError, match=rf"cannot read step 3: .*{sentence}.*{older}"):
        store.read()
    assert value_of(store.read(fallback=True)) == 2
    assert value_of(store.read(1)) == 1
    assert contents(tmp_path) == before


def test_a_fallback_passes_over_all_that_is_damaged(tmp_path):
    store = Store(tmp_path)
    for step in (1, 2, 3):
        save(store, step)
    flip_last(store.path(3) / "state.safetensors")
    cut(store.path(2) / "state.json")
    with pytest.raises(CheckpointError, match=r"step 3: .* before it is of step 1"):
        store.read()
    assert value_of(store.read(fallback=True)) == 1
    remove(store.path(1) / "manifest.json")
    for fallback in (False, True):
        with pytest.raises(CheckpointError, match=r"step 3: .*No older checkpoint is whole"):
            store.read(fallback=fallback)


def test_a_run_that_fell_back_goes_on_from_there(tmp_path):
    store = Store(tmp_path)
    for step in (1, 2, 3):
        save(store, step, score=1.0 / step)
    flip(store.path(3) / "state.safetensors")
    assert value_of(store.read(fallback=True)) == 2
    save(store, 3, value=30)
    assert value_of(store.read()) == 30
    assert store.steps() == [1, 2, 3]


@pytest.mark.parametrize("file", ["manifest.json", "state.json"])
def test_no_flipped_bit_of_what_is_json_passes(tmp_path, file):
    store = Store(tmp_path)
    place = save(store, 3, score=0.25) / file
    whole = place.read_bytes()
    for i in range(0, len(whole), 3):
        place.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        if json_of(place) != json.loads(whole):  # a space that became another changes nothing
            with pytest.raises(CheckpointError, match=file):
                store.read()


def json_of(place):
    try:
        return json.loads(place.read_bytes())
    except ValueError:
        return None


def test_a_folder_of_another_step_is_refused(tmp_path):
    store = Store(tmp_path)
    save(store, 3).rename(tmp_path / "step-00000004")
    with pytest.raises(CheckpointError, match=r"manifest.json is of step 3, in the folder of .* 4"):
        store.read()


def test_a_score_that_cannot_be_read_is_no_reason_to_remove(tmp_path):
    store = Store(tmp_path, keep=1)
    save(store, 1, score=0.1)
    flip(store.path(1) / MANIFEST)
    save(store, 2, score=0.2)
    save(store, 3, score=0.3)
    assert store.steps() == [1, 2, 3]
    flip(store.path(1) / MANIFEST)  # and back
    assert store.best() == 1


def test_what_is_not_there_is_said(tmp_path):
    store = Store(tmp_path / "checkpoints")
    assert store.steps() == []
    store.clean()
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/checkpoints holds no checkpoint"):
        store.read()
    save(store, 1)
    save(store, 2)
    with pytest.raises(CheckpointError, match=r"holds no step 7; there are: 1, 2"):
        store.read(7)


def leave_behind(folder):
    """Make what killed writers leave: half a checkpoint, and one that is half removed."""
    for name in (".saving-00000009", ".old-step-00000001"):
        (folder / name / "inner").mkdir(parents=True)
        (folder / name / "state.safetensors").write_bytes(b"half")
        (folder / name / "inner" / "file").write_bytes(b"")
    (folder / ".saving-best.json").write_bytes(b'{"st')


@pytest.mark.parametrize("act", [Store.clean, lambda store: save(store, 9)], ids=["clean", "save"])
def test_what_dead_writers_left_is_not_read_and_goes(tmp_path, act):
    store = Store(tmp_path)
    save(store, 8)
    leave_behind(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    assert store.steps() == [8]
    assert value_of(store.read()) == 8
    act(store)
    there = {p.name for p in tmp_path.iterdir()}
    assert there == {"notes.txt", *(store.path(s).name for s in store.steps())}


def test_a_link_among_the_leftovers_is_not_followed(tmp_path):
    store = Store(tmp_path / "run")
    save(store, 8)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("stays")
    (tmp_path / "run" / ".old-step-00000001").symlink_to(tmp_path / "mine")
    store.clean()
    assert (tmp_path / "mine" / "file").read_text() == "stays"
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["step-00000008"]


def test_clean_removes_the_first_of_two_saves_of_a_step(tmp_path):
    store = Store(tmp_path)
    first = save(store, 5, value=1)
    second = first.with_name("step-00000005-2")
    save(Store(tmp_path / "other"), 5, value=2).rename(second)
    assert value_of(store.read()) == 2
    store.clean()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "step-00000005-2"]


@pytest.mark.parametrize(
    ("tensors", "facts", "sentence"),
    [
        ({"w": torch.zeros(2, dtype=torch.complex64)}, {}, "step 4 is not saved: w is torch.compl"),
        ({"\ud800": torch.zeros(2)}, {}, "a tensor cannot be called"),
        ({}, {"loss": NAN}, "not plain JSON"),
        ({}, {"what": {1, 2}}, "not plain JSON"),
    ],
    ids=["dtype", "name", "nan", "set"],
)
def test_what_cannot_be_saved_is_refused_and_leaves_nothing(tmp_path, tensors, facts, sentence):
    store = Store(tmp_path)
    save(store, 3)
    before = contents(tmp_path)
    with pytest.raises(CheckpointError, match=sentence):
        store.save(4, tensors, facts)
    assert contents(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000003"]


def test_nothing_to_keep_is_refused(tmp_path):
    with pytest.raises(ValueError, match="keep is 0; at least the newest"):
        Store(tmp_path, keep=0)


class Pair:
    """Two processes of a run, played by two threads that really wait for each other."""

    mode = "fsdp"

    def __init__(self, rank, barrier, flags):
        self.rank, self.barrier, self.flags = rank, barrier, flags

    def agree(self, flag):
        self.flags[self.rank] = flag
        self.barrier.wait(10)
        result = any(self.flags)
        self.barrier.wait(10)
        return result


def both(act):
    """Run `act(world)` in two threads; give what each returned or raised."""
    barrier, flags, results = threading.Barrier(2), [False, False], [None, None]

    def run(rank):
        try:
            results[rank] = act(Pair(rank, barrier, flags))
        except CheckpointError as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def write_half(rank):
    def write(folder, tensors):
        held = {name: t.tensor_split(2)[rank] for name, t in tensors.items()}
        write_hashed(folder / f"half{rank}.safetensors", held)

    return write


def read_halves(folder, into):
    halves = [read_header(folder, f"half{rank}.safetensors")[0] for rank in range(2)]
    for name, tensor in into.items():
        tensor.copy_(torch.cat([half[name].read() for half in halves]))


def room(facts):
    return {"model.w": torch.zeros(3)}


def save_halves(folder):
    tensors, facts = number(6)
    return lambda world: Store(folder, world=world).save(
        6, tensors, facts, write=write_half(world.rank)
    )


def test_two_processes_write_and_read_their_shares(tmp_path):
    folder = tmp_path / "step-00000006"
    assert both(save_halves(tmp_path)) == [folder, folder]
    assert sorted(p.name for p in folder.glob("*.safetensors")) == [
        "half0.safetensors",
        "half1.safetensors",
    ]
    found = both(lambda world: Store(tmp_path, world=world).read(into=room, read=read_halves))
    assert [value_of(one) for one in found] == [6, 6]
    # one process alone reads shares as well
    assert value_of(Store(tmp_path).read(into=room, read=read_halves)) == 6


def test_shares_without_a_reader_are_refused(tmp_path):
    both(save_halves(tmp_path))
    with pytest.raises(CheckpointError, match=r"step-00000006 is sharded.*give read="):
        Store(tmp_path).read()


@pytest.mark.parametrize("bad", [0, 1])
def test_when_one_process_cannot_write_both_are_told_and_nothing_is_left(tmp_path, bad):
    save(Store(tmp_path), 3)

    def act(world):
        write = write_half(world.rank)
        if world.rank == bad:

            def write(folder, tensors):
                raise OSError(28, "No space left on device", str(folder / "half"))

        tensors, facts = number(6)
        return Store(tmp_path, world=world).save(6, tensors, facts, write=write)

    said = [str(error) for error in both(act)]
    assert "step 6 is not saved" in said[bad] and "No space left on device" in said[bad]
    assert said[1 - bad] == "step 6 is not saved: another process says why"
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000003"]


def test_when_the_first_process_finds_damage_both_fall_back_or_are_told(tmp_path):
    for value in (5, 6):
        tensors, facts = number(value)
        both(
            lambda world, tensors=tensors, facts=facts: Store(tmp_path, world=world).save(
                facts["step"], tensors, facts, write=write_half(world.rank)
            )
        )
    flip_last(tmp_path / "step-00000006" / "half1.safetensors")
    said = both(lambda world: Store(tmp_path, world=world).read(into=room, read=read_halves))
    assert "half1.safetensors is damaged" in str(said[0])
    assert all("of step 5" in str(error) for error in said)
    found = both(
        lambda world: Store(tmp_path, world=world).read(into=room, read=read_halves, fallback=True)
    )
    assert [value_of(one) for one in found] == [5, 5]


def test_a_writer_may_put_only_safetensors_into_the_folder(tmp_path):
    def write(folder, tensors):
        (folder / ".metadata").write_bytes(b"a pickle, perhaps")

    with pytest.raises(CheckpointError, match=r"\.metadata: a writer may put only"):
        Store(tmp_path).save(1, {}, {}, write=write)
    assert list(tmp_path.iterdir()) == []
