"""Save with a fault at one call after another: LD_PRELOAD=faults.so python faults.py FOLDER JOBS

Jobs are JSON: [case, kinds of fault, at how many calls]. Torch is imported once; each fault then
happens to a forked child, and this process looks at what is left. Prints a JSON line a job: its
calls, how many faults of which kind met which call, and what did not hold.
"""

import ctypes
import errno
import gc
import json
import os
import re
import shutil
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from zoo.checkpoint import CheckpointError, read_folder, write_folder
from zoo.checkpoint.hashed import write_hashed
from zoo.checkpoint.safetensors import read_header
from zoo.train import make_optimizer
from zoo.train.state import TrainState
from zoo.train.store import Store

SHIM = ctypes.CDLL(None)
SHIM.faults_log.restype = ctypes.c_char_p
KILL, TORN, FAIL, SHORT, FULL = range(5)

GROWS = ("create", "write", "mkdir")
CHANGES = (*GROWS, "fsync", "rename", "unlink", "rmdir", "truncate")
NAMES = ("create", "open", "opendir", "mkdir", "rename", "unlink", "rmdir")
ANY = (*CHANGES, "open", "opendir", "read", "close")
KINDS = {  # name -> what the shim does, with which error, at which calls
    "killed": (KILL, 0, CHANGES),
    "torn": (TORN, 0, ("write",)),
    "no space": (FAIL, errno.ENOSPC, GROWS),
    "bad disk": (FAIL, errno.EIO, ANY),
    "not allowed": (FAIL, errno.EACCES, NAMES),
    "short": (SHORT, 0, ("write",)),
    "full": (FULL, errno.ENOSPC, GROWS),
}
KILLS = ("killed", "torn")


def made(age):
    """Give what a run holds after `age` steps: facts and tensors."""
    torch.manual_seed(7)
    net = nn.Linear(2, 3, bias=False)
    optimizer = make_optimizer(net, 0.1)
    for _ in range(age):
        optimizer.zero_grad()
        net(torch.rand(4, 2)).square().sum().backward()
        optimizer.step()
    state = TrainState(net, optimizer, step=age, facts={"age": age})
    return state.facts(), {name: tensor.clone() for name, tensor in state.tensors().items()}


HELD = [made(age) for age in range(7)]


def age_of(facts, tensors):
    """Tell whose bits these are, all of them."""
    age = facts["facts"]["age"]
    theirs, bits = HELD[age]
    same = json.loads(json.dumps(theirs)) == facts and bits.keys() == tensors.keys()
    return age if same and all(torch.equal(t, bits[n]) for n, t in tensors.items()) else "nobody's"


def in_two_files(folder, tensors):
    """Write as a sharded run would: by a writer that the store does not know."""
    names = sorted(tensors)
    write_hashed(folder / "one.safetensors", {n: tensors[n] for n in names[::2]})
    write_hashed(folder / "two.safetensors", {n: tensors[n] for n in names[1::2]})


def read_two_files(folder, into):
    for file in ("one", "two"):
        for name, tensor in read_header(folder, f"{file}.safetensors")[0].items():
            into[name].copy_(tensor.read())


def room(facts):
    return {name: torch.zeros_like(tensor) for name, tensor in HELD[1][1].items()}


@dataclass(frozen=True)
class Case:
    """Saves before the fault and those that it happens in: (step, age, score) each."""

    before: tuple
    saves: tuple
    keep: int = 2
    sharded: bool = False

    def store(self, folder):
        return Store(folder / "checkpoints", keep=self.keep)

    def save(self, folder, step, age, score=None):
        facts, tensors = HELD[age]
        write = in_two_files if self.sharded else None
        self.store(folder).save(step, tensors, facts, score=score, write=write)

    def prepare(self, folder):
        for save in self.before:
            self.save(folder, *save)

    def act(self, folder):
        for save in self.saves:
            self.save(folder, *save)
            yield

    def newest(self, folder):
        """Give the age that a reader gets, None when nothing is there, or what is wrong."""
        store = self.store(folder)
        if not store.steps():
            return None
        return age_of(*store.read(into=room, read=read_two_files))

    def allowed(self, done):
        """Give the ages that may be newest once `done` saves were finished."""
        line = [self.before[-1][1] if self.before else None, *(age for _, age, _ in self.saves)]
        return line[done : done + 2]

    def others(self, folder):
        """Read all that is there: a reader may ask for any."""
        store = self.store(folder)
        for step in store.steps():
            store.check(step)

    def untouched(self, folder):
        """Give the bytes of the checkpoint before the fault, unless the first save may end it."""
        if not self.before or self.before[-1][0] >= self.saves[0][0] or self.keep == 1:
            return {}
        there = self.store(folder).path(self.before[-1][0])
        return {p.name: p.read_bytes() for p in there.iterdir()}

    def go_on(self, folder, odd):
        """Clean up, or save: nothing that the fault left behind may stay."""
        store = self.store(folder)
        if odd:
            store.clean()
        else:
            self.save(folder, 99, 6, 0.5)
        there = {p.name for p in store.folder.iterdir()} if store.folder.exists() else set()
        strange = {n for n in there if not re.fullmatch(r"step-\d{8}(-\d+)?|best\.json", n)}
        if strange or len(there - {"best.json"}) != len(store.steps()):
            return f"left behind: {sorted(there)}"
        if not odd and (len(store.steps()) > self.keep or store.best() != 99):
            return f"not rotated: {sorted(there)}, best {store.best()}"
        best = store.folder / "best.json"
        noted = json.loads(best.read_text())["step"] if best.exists() else None
        return "" if noted == store.best() else f"best.json says {noted}, not {store.best()}"


class HandWritten(Case):
    """A loop's own save_state, over and over into one folder."""

    def save(self, folder, step, age, score=None):
        write_folder(folder / "state", *HELD[age])

    def newest(self, folder):
        if not (folder / "state").exists():
            return None
        found = read_folder(folder / "state")
        return age_of(found.config, {n: t.read() for n, t in found.tensors.items()})

    def others(self, folder):
        pass

    def untouched(self, folder):
        return {}

    def go_on(self, folder, odd):
        self.save(folder, 0, 6)
        there = sorted(p.name for p in (folder / "state").iterdir())
        return "" if there == ["config.json", "model.safetensors"] else f"left behind: {there}"


CASES = {
    "first save": Case((), ((1, 1, 3.0),)),
    "second save": Case(((1, 1, 3.0),), ((2, 2, 2.0),)),
    "overwrite": Case(((1, 1, 3.0),), ((1, 2, 2.0),)),
    "overwrite without a score": Case(((1, 1, None), (2, 2, None)), ((2, 3, None),)),
    "rotation": Case(((1, 1, 3.0), (2, 2, 5.0), (3, 3, 4.0)), ((4, 4, 2.0),)),
    "rotation, one stays": Case(((1, 1, None),), ((2, 2, None),), keep=1),
    "the past again": Case(((1, 1, 3.0), (2, 2, 2.0), (3, 3, 1.0)), ((2, 4, 5.0),), keep=3),
    "sharded": Case(((1, 1, 3.0), (2, 2, 2.0)), ((2, 3, 1.0),), sharded=True),
    "run": Case(((1, 1, 3.0),), ((2, 2, 4.0), (3, 3, 2.0), (4, 4, 5.0), (5, 5, 1.0))),
    "by hand, first": HandWritten((), ((0, 1, None),)),
    "by hand, again": HandWritten(((0, 1, None),), ((0, 2, None),)),
}


def set_faults(folder, at=-1, kind=KILL, error=0):
    SHIM.faults_set(str(folder).encode(), at, kind, error)


def calls_of(case, base, folder):
    """Give the calls of a case that nothing happens to, in their order."""
    shutil.copytree(base, folder)
    set_faults(folder)
    for _ in case.act(folder):
        pass
    calls = [line.split(" ") for line in SHIM.faults_log().decode().splitlines()]
    shutil.rmtree(folder)
    return calls


def meet_fault(case, folder, at, kind, error):
    """Let a child save with a fault; give how many saves it finished, and what it said."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        set_faults(folder, at, kind, error)
        try:
            for _ in case.act(folder):
                os.write(into, b"+")
            os.write(into, b"done")
        except CheckpointError as fault:
            os.write(into, b"CheckpointError " + str(fault).encode())
        except BaseException as fault:
            os.write(into, repr(fault).encode())
        finally:
            os._exit(0)
    os.close(into)
    with open(out, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    done = len(said) - len(said.lstrip("+"))
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return done, "killed" if killed else said[done:]


def what_is_wrong(case, folder, kind, error, done, said, before):
    """Say what does not hold after a fault; nothing when all does."""
    if (said == "killed") != (kind in (KILL, TORN)):
        return f"the child said {said!r}"
    if said.startswith("CheckpointError"):
        if str(folder) not in said or os.strerror(error) not in said:
            return f"the error does not say where and why: {said}"
    elif said not in ("killed", "done"):
        return f"another error: {said}"
    try:
        found = case.newest(folder)
        if found not in (case.allowed(done)[-1:] if said == "done" else case.allowed(done)):
            return f"read {found}, expected one of {case.allowed(done)} after {said}"
        case.others(folder)
        if not done and before != case.untouched(folder):
            return "the checkpoint before is not what it was"
        return case.go_on(folder, odd=len(said + str(folder)) % 2)
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"


def run(folder, name, kinds, first):
    """Let a case meet its faults, one after another."""
    case = CASES[name]
    folder.mkdir()
    base = folder / "base"
    base.mkdir()
    set_faults(base)  # no waiting for the disk
    case.prepare(base)
    before = case.untouched(base)
    calls = calls_of(case, base, folder / "calm")
    points, wrong = Counter(), []
    for word in kinds:
        kind, error, where = KINDS[word]
        for at, (call, path, *_) in enumerate(calls[:first]):
            if call not in where:
                continue
            place = folder / f"{word.replace(' ', '-')}-{at}"
            shutil.copytree(base, place)
            done, said = meet_fault(case, place, at, kind, error)
            set_faults(place)
            fault = what_is_wrong(case, place, kind, error, done, said, before)
            points[f"{word}, {call}"] += 1
            if fault:
                wrong.append(f"{word} at {at}, {call} {Path(path).name}: {fault}")
            shutil.rmtree(place)
    return {"case": name, "calls": calls, "points": points, "wrong": wrong}


if __name__ == "__main__":
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # a forked child need not walk torch's heap
    for i, (name, kinds, first) in enumerate(json.loads(sys.argv[2])):
        print(json.dumps(run(Path(sys.argv[1]) / str(i), name, kinds, first)), flush=True)
