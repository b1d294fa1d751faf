"""No check leaves a trace, whatever the model does; and verdicts do not hang on the seed."""

import hashlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.utils.checkpoint

import integration.trace_models as models
from zoo.testing import CHECKS, check_model
from zoo.testing.guard import fingerprint, generators, settings

ROOT = Path(__file__).parents[2]
OURS = ("zoo", "torch", "benchmarks", "numpy", "sympy", "mpmath", "networkx", "pytest", "_pytest")
PATCHED = {  # where a check could leave a function of its own behind
    "torch": torch,
    "functional": torch.nn.functional,
    "Tensor": torch.Tensor,
    "Module": torch.nn.Module,
    "Function": torch.autograd.Function,
    "Optimizer": torch.optim.Optimizer,
    "scheduler": torch.optim.lr_scheduler.LRScheduler,
    "clipping": torch.nn.utils.clip_grad,
    "checkpoint": torch.utils.checkpoint,
    "random": random,
    "numpy.random": np.random,
}


def world(module, data):
    """Give all that a check could leave behind, as plain values by name."""
    hooks = vars(torch.nn.modules.module)
    found = {
        "module": fingerprint(module),
        "data": {name: said(x) for name, x in data.items()},
        "hooks": {k: len(x) for k, x in hooks.items() if k.startswith("_global_") and sized(x)},
        "modes": len(torch.overrides._get_current_function_mode_stack()),
        "dispatch": len(torch.utils._python_dispatch._get_current_dispatch_mode_stack()),
        "saved tensors": torch._C._autograd._top_saved_tensors_default_hooks(True) is None,
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "modules": {n for n in sys.modules if n.partition(".")[0] not in KNOWN},
        "path": list(sys.path),
        "environment": dict(os.environ),
        "files": sorted(map(str, Path.cwd().rglob("*"))),
        "temporary": sorted(map(str, Path(tempfile.gettempdir()).rglob("*"))),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "children": len(multiprocessing.active_children()),
        "warnings": list(warnings.filters),
        "tracing": (sys.gettrace(), sys.getprofile(), sys.excepthook),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)],
    }
    found |= {f"setting: {name}": value for name, value in settings().items()}
    found |= {f"generator: {name}": plain(state) for name, state in generators().items()}
    for name, place in PATCHED.items():
        # lazily imported submodules are torch's own business
        kept = {k: id(v) for k, v in vars(place).items() if callable(v)}
        found |= {f"patched: {name}": kept}
    return found


KNOWN = {*OURS, *sys.stdlib_module_names}


def sized(value):
    return hasattr(value, "__len__")


def said(tensor):
    digest = hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest()
    return digest, tensor.requires_grad, tensor.grad is None


def plain(state):
    """Give a generator's state as something that compares with ==."""
    if isinstance(state, torch.Tensor):
        return state.tolist()
    return [x.tolist() if isinstance(x, np.ndarray) else x for x in state]


def changes(before, after):
    """Name what is not as it was."""
    changed = [name for name in before if before[name] != after[name]]
    told = []
    for name in changed:
        if isinstance(before[name], dict):
            one, two = before[name], after[name]
            parts = [k for k in {**one, **two} if one.get(k, None) != two.get(k, None)]
            parts = [k for k in parts if k in one] if name.startswith("patched") else parts
            told += [f"{name}: {k}" for k in parts]
        elif isinstance(before[name], set):
            told += [f"{name}: {k}" for k in sorted(before[name] ^ after[name])]
        else:
            told.append(name)
    return told


@pytest.fixture(scope="module", autouse=True)
def imported():
    """Let torch import what it imports at first use."""
    for name in models.MODELS:
        _, spec = models.described(name)
        check_model(spec)


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


def first_forwards(name):
    """Count the forwards that come before the checks."""
    models.SEEN.clear()
    _, spec = models.described(name, "raises", after=10**9)
    models.SEEN.clear()
    check_model(spec, only=("forward",))
    return models.SEEN["calls"]


def left_behind(name, check, kind="", after=0):
    """Run one check on a model of the caller's; name what it left, and give its outcome."""
    module, spec = models.described(name, kind, after)
    data = models.MODELS[name][1]
    torch.manual_seed(11)
    torch.randn(3)
    random.seed(11)
    np.random.seed(11)
    models.SEEN.clear()
    before = world(module, data)
    report = check_model(spec, only=(check,))
    return changes(before, world(module, data)), report.outcomes[-1]


@pytest.mark.thinned(6)
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", models.MODELS)
def test_a_check_leaves_no_trace(name, check, place, capfd):
    left, outcome = left_behind(name, check)
    assert left == []
    assert outcome.status != "error", outcome.reason
    assert capfd.readouterr() == ("", "")


@pytest.mark.thinned(6)
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", models.MODELS)
def test_a_check_leaves_no_trace_of_a_model_that_raises_in_the_middle(name, check, place, before):
    models.SEEN.clear()
    left, _ = left_behind(name, check, "raises", after=before[name] + 2)
    assert left == []


@pytest.fixture(scope="module")
def before():
    return {name: first_forwards(name) for name in models.MODELS}


@pytest.mark.thinned(3)
@pytest.mark.parametrize("check", CHECKS)
def test_a_check_leaves_no_trace_of_a_model_that_changes_settings(check, place):
    left, _ = left_behind("convolutions", check, "meddles")
    assert left == []


class Waiting:
    """A thread that waits until it is removed."""

    def __init__(self):
        self.event = threading.Event()
        self.thread = threading.Thread(target=self.event.wait, name="left", daemon=True)
        self.thread.start()

    def remove(self):
        self.event.set()
        self.thread.join()


class Undone:
    """What was done, and how it is undone."""

    def __init__(self, do, undo):
        do()
        self.remove = undo


def patched():
    relu = torch.nn.functional.relu
    return Undone(
        lambda: setattr(torch.nn.functional, "relu", lambda x: x),
        lambda: setattr(torch.nn.functional, "relu", relu),
    )


TRACES = {
    "module": lambda module, data: module.head.weight.data.add_(1),
    "data: labels": lambda module, data: data["labels"].add_(1),
    "hooks: _global_forward_hooks": lambda module, data: (
        torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    ),
    "modules: left_behind": lambda module, data: Undone(
        lambda: sys.modules.__setitem__("left_behind", sys),
        lambda: sys.modules.__delitem__("left_behind"),
    ),
    "environment: LEFT_BEHIND": lambda module, data: Undone(
        lambda: os.environ.__setitem__("LEFT_BEHIND", "1"),
        lambda: os.environ.__delitem__("LEFT_BEHIND"),
    ),
    "files": lambda module, data: Path("left.txt").write_text(""),
    "temporary": lambda module, data: Path(tempfile.mkdtemp(), "left").touch(),
    "threads": lambda module, data: Waiting(),
    "patched: functional: relu": lambda module, data: patched(),
    "setting: grad mode": lambda module, data: Undone(
        lambda: torch.set_grad_enabled(False), lambda: torch.set_grad_enabled(True)
    ),
    "generator: torch": lambda module, data: torch.randn(1),
    "generator: python": lambda module, data: random.random(),
    "generator: numpy": lambda module, data: np.random.rand(),
    "warnings": lambda module, data: warnings.simplefilter("ignore"),
}


@pytest.mark.parametrize("trace", TRACES)
def test_a_trace_would_be_seen(trace, place):
    """The tests above can fail."""
    module, _ = models.described("convolutions")
    data = {name: x.clone() for name, x in models.MODELS["convolutions"][1].items()}
    before = world(module, data)
    with warnings.catch_warnings():
        left = TRACES[trace](module, data)
        try:
            assert changes(before, world(module, data)) == [trace]
        finally:
            getattr(left, "remove", str)()


SEEDS = range(5)


def verdicts(spec, seed, tier):
    """Give what each check says of a model: the severities and the kinds of its findings."""
    report = check_model(spec, tier=tier, seed=seed)
    return {
        outcome.check: (outcome.status == "error", {(f.severity, f.kind) for f in outcome.findings})
        for outcome in report.outcomes
    }


def disagreeing(specs, seeds, tier):
    """Give the pairs of model and check whose verdict hangs on the seed, and how many there are."""
    wrong, count = [], 0
    for name, spec in specs.items():
        runs = [verdicts(spec, seed, tier) for seed in seeds]
        every = sorted({check for run in runs for check in run})
        count += len(every)
        said = {check: [run.get(check) for run in runs] for check in every}
        wrong += [(name, c, said[c]) for c in every if any(x != said[c][0] for x in said[c])]
    return wrong, count


def dozen():
    """Give bugs and sound models of the development half."""
    sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel
    from benchmarks.testers.corpus import cases, sound

    every = [*sound("dev")[:6], *cases("dev")[::20][:6]]
    return {case.id: case.spec(declared=True) for case in every}


def test_two_seeds_give_the_same_verdicts():
    specs = {name: models.described(name)[1] for name in models.MODELS}
    wrong, count = disagreeing(specs, SEEDS[:2], "quick")
    assert count >= 90
    assert wrong == []


@pytest.mark.scheduled
def test_five_seeds_give_the_same_verdicts_for_99_of_100_pairs():
    wrong, count = disagreeing(dozen(), SEEDS, "full")
    assert count >= 400
    assert len(wrong) <= 0.01 * count, wrong
