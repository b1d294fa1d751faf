"""A run that was killed and went on is the run that was not: the same bits, in fresh processes."""

import contextlib
import json
import os
import random
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from integration.forks import Forks
from integration.lessons import FAMILIES, OTHERS, WRITERS, config_of, table_of
from zoo import load
from zoo.data import DataError
from zoo.train.lock import Lock
from zoo.train.log import read_log
from zoo.train.run import train

pytestmark = pytest.mark.subproc
STEPS, EVERY = 12, 5


@pytest.fixture(scope="module")
def forks():
    process = Forks()
    yield process
    process.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    for family in FAMILIES:
        WRITERS[family](place / family)
    return place


def bits(run):
    """Give everything that must be the same: weights, averages, optimizer, losses, metrics."""
    newest = max((run / "checkpoints").glob("step-*"))
    tensors = {}
    for file in sorted(newest.glob("*.safetensors")):
        tensors |= load_file(file)
    kept = {name: t for name, t in tensors.items() if not name.startswith("generator.")}
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(run)]
    weights = (run / "model" / "model.safetensors").read_bytes()
    metrics = json.loads((run / "model" / "metrics.json").read_text())
    return kept, lines, weights, metrics


def assert_same(one, other):
    tensors, lines, weights, metrics = bits(one)
    others, other_lines, other_weights, other_metrics = bits(other)
    assert tensors.keys() == others.keys() and len(tensors) > 30
    different = [name for name in tensors if not torch.equal(tensors[name], others[name])]
    assert different == []
    assert lines == other_lines
    assert weights == other_weights
    assert metrics == other_metrics


def left_behind(run):
    """Give names that only a writer that died leaves."""
    hidden = [str(p) for p in run.rglob(".*")]
    return hidden + [str(p) for p in run.rglob("*.partial")]


@pytest.mark.thinned(5)
@pytest.mark.parametrize("family", FAMILIES)
def test_killed_and_resumed_is_not_killed(tmp_path, files, forks, family):
    config = table_of(family, files / family, steps=STEPS, every=EVERY)
    assert forks.run(config, tmp_path / "whole") == (0, '{"step": 12, "stopped": false}')
    assert forks.run(config, tmp_path / "cut", kill=8)[0] == -signal.SIGKILL
    newest = max((tmp_path / "cut" / "checkpoints").glob("step-*"))
    assert newest.name == "step-00000005"  # three steps are lost, and taken again
    assert forks.run(config, tmp_path / "cut") == (0, '{"step": 12, "stopped": false}')
    assert_same(tmp_path / "whole", tmp_path / "cut")
    assert left_behind(tmp_path / "cut") == []
    assert load(tmp_path / "cut" / "model").report.fresh == ()


def kill_at_random_moments(forks, config, whole, out, moments, seed):
    """Kill a run again and again until it has ended by itself; give how many kills it took."""
    dice = random.Random(seed)
    forks.run(config, whole)
    began = time.monotonic()
    forks.run(config, out / "timed")  # what is read for the first time is slow
    span = time.monotonic() - began
    killed = 0
    for number in range(moments):
        run = out / str(number)
        for _ in range(3):
            pid = forks.start(config, run)
            time.sleep(dice.uniform(0, span))
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(pid, signal.SIGKILL)
            code, said = forks.end()
            assert code in (0, -signal.SIGKILL), said
            killed += code != 0
        code, said = forks.run(config, run)
        assert code == 0, said
        assert_same(whole, run)
        assert left_behind(run) == []
    return killed


def test_killed_at_random_moments_nothing_is_lost(tmp_path, files, forks):
    config = table_of("gpt2", files / "gpt2", steps=30, every=4)
    assert kill_at_random_moments(forks, config, tmp_path / "whole", tmp_path, 1, seed=1) >= 1


@pytest.mark.scheduled
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("family", FAMILIES)
def test_killed_at_two_hundred_moments_nothing_is_lost(tmp_path, files, forks, family):
    config = table_of(family, files / family, steps=30, every=4)
    kill_at_random_moments(forks, config, tmp_path / "whole", tmp_path, 17, seed=2)


def test_terminated_it_saves_and_goes_on(tmp_path, files, forks):
    config = table_of(
        "gpt2", files / "gpt2", steps=400, every=300, keep={"log": 1, "evaluate": 400}
    )
    pid = forks.start(config, tmp_path / "run")
    while not (tmp_path / "run" / "log.jsonl").exists():
        time.sleep(0.01)
    os.kill(pid, signal.SIGTERM)
    code, said = forks.end()
    outcome = json.loads(said)
    assert code == 0 and outcome["stopped"] and outcome["step"] < 400
    newest = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert newest.name == f"step-{outcome['step']:08}"


def test_a_second_trainer_is_told_of_the_first(tmp_path, files, forks):
    (tmp_path / "run").mkdir()
    with Lock(tmp_path / "run" / "lock"):
        code, said = forks.run(table_of("gpt2", files / "gpt2"), tmp_path / "run")
    assert code == 2
    assert said.startswith("LockedError: ") and f"process {os.getpid()} on " in said
    assert os.listdir(tmp_path / "run") == ["lock"]


CHANGED = {
    "the config": ({"train": {"batch": 4}}, "train.batch was 6 and is 4"),
    "the sizes": ({"model": {"config": {"width": 20}}}, "model.config.width was 16 and is 20"),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_run_goes_on_as_it_was_begun(tmp_path, files, forks, what):
    sections, said = CHANGED[what]
    out = tmp_path / "run"
    assert forks.run(table_of("gpt2", files / "gpt2"), out, kill=6)[0] == -signal.SIGKILL
    code, told = forks.run(table_of("gpt2", files / "gpt2", **sections), out)
    assert code == 2
    assert said in told


def test_rows_that_changed_are_told(tmp_path, forks):
    WRITERS["gpt2"](tmp_path / "texts")
    config = table_of("gpt2", tmp_path / "texts")
    assert forks.run(config, tmp_path / "run", kill=6)[0] == -signal.SIGKILL
    (tmp_path / "texts" / "99.txt").write_text("One more text that was not there before.")
    code, said = forks.run(config, tmp_path / "run")
    assert code == 2 and "the files have changed" in said


def test_a_damaged_checkpoint_is_told_and_an_older_one_taken_only_when_asked(
    tmp_path, files, forks
):
    config = table_of("gpt2", files / "gpt2", steps=STEPS, every=4)
    whole, out = tmp_path / "whole", tmp_path / "run"
    forks.run(config, whole)
    forks.run(config, out, kill=9)
    newest = max((out / "checkpoints").glob("step-*"))
    file = next(newest.glob("*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    code, said = forks.run(config, out)
    assert code == 2
    assert said.startswith("CheckpointError") and file.name in said and "step 4" in said
    assert forks.run(config, out, fallback=True)[0] == 0
    assert_same(whole, out)


def test_a_number_that_is_not_finite_stops_the_run_and_is_named(tmp_path, files):
    config = config_of("vit", files / "vit", optimizer={"rate": 1e30, "warmup": 0})
    with pytest.raises(Exception, match=r"step \d+: the loss is .* First: ") as stopped:
        train(config, tmp_path / "run", quiet=True)
    assert type(stopped.value).__name__ == "TrainingError"
    fault = json.loads((tmp_path / "run" / "fault.json").read_text())
    assert fault["fault"]["module"] and len(fault["rows"]) == 6
    assert str(fault["step"]) in str(stopped.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_do_not_depend_on_what_ran_before(tmp_path, files, family):
    """Global generators, spent or not, change no step."""
    config = config_of(family, files / family, steps=3)
    for number in range(2):
        torch.manual_seed(number)
        train(config, tmp_path / str(number), quiet=True)
    assert_same(tmp_path / "0", tmp_path / "1")


def test_a_run_does_not_start_on_rows_that_leak_unless_told_to(tmp_path, files):
    for split in ("train", "valid"):
        (tmp_path / "texts" / split).mkdir(parents=True)
        for file in sorted((files / "gpt2").glob("*.txt"))[:: 1 if split == "train" else 7]:
            (tmp_path / "texts" / split / file.name).write_bytes(file.read_bytes())
    checked = config_of("gpt2", tmp_path / "texts", steps=3, data={"check": True})
    with pytest.raises(
        DataError, match=r"not fit to learn from: duplicates: 100\.0% of .*data\.check=false"
    ):
        train(checked, tmp_path / "checked", quiet=True)
    assert not (tmp_path / "checked" / "checkpoints").exists()
    told = config_of("gpt2", tmp_path / "texts", steps=3)
    assert train(told, tmp_path / "told", quiet=True).step == 3


BAD = {
    "no file": (lambda place: place / "none", "is not there"),
    "an empty file": (lambda place: written(place / "a.txt", b""), "empty"),
    "not UTF-8": (lambda place: written(place / "a.txt", b"caf\xe9 " * 9), "UTF-8"),
    "cut parquet": (lambda place: written(place / "a.parquet", b"PAR1\x00\x00"), "parquet"),
    "another column": (lambda place: written(place / "a.csv", b"body\nhello\n"), "text"),
    "a broken line": (lambda place: written(place / "a.jsonl", b'{"text": "a"}\n{"te'), "line 2"),
}


def written(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("what", BAD)
def test_bad_files_are_told_and_leave_no_run_that_could_be_taken_for_one(tmp_path, what):
    make, said = BAD[what]
    config = config_of("gpt2", make(tmp_path))
    with pytest.raises(DataError, match=f"(?i){said}"):
        train(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "model").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_adapters_are_learnt_resumed_and_merged(tmp_path, files, forks):
    """A base trained a little, then adapters on it, killed on the way."""
    base = table_of("gpt2", files / "gpt2", steps=8)
    assert forks.run(base, tmp_path / "base")[0] == 0
    lora = {"rank": 3, "alpha": 6.0, "targets": ["*.attn.qkv", "*.mlp.up"]}
    model = {"base": str(tmp_path / "base" / "model"), "family": None, "config": {}}
    config = table_of("gpt2", files / "gpt2", steps=STEPS, every=EVERY, lora=lora, model=model)
    config["model"]["config"] = {}
    assert forks.run(config, tmp_path / "whole")[0] == 0
    assert forks.run(config, tmp_path / "cut", kill=8)[0] == -signal.SIGKILL
    assert forks.run(config, tmp_path / "cut")[0] == 0
    assert_same(tmp_path / "whole", tmp_path / "cut")
    before, after = (load(tmp_path / n / "model").state_dict() for n in ("base", "whole"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        f"blocks.{i}.{part}.weight" for i in range(2) for part in ("attn.qkv", "mlp.up")
    }
    held = {p.name for p in (tmp_path / "whole" / "model" / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= held


def test_of_one_book_the_end_is_kept_back(tmp_path, files):
    texts = [file.read_text() for file in sorted((files / "gpt2").glob("*.txt"))]
    (tmp_path / "book.txt").write_text("\n\n".join(texts))
    outcome = train(config_of("gpt2", tmp_path / "book.txt", steps=3), tmp_path / "run", quiet=True)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["data"]["rows"] == {"train": 1, "valid": 1}
    assert outcome.metrics["loss"] > 0


@pytest.mark.thinned(3)
@pytest.mark.parametrize("what", OTHERS)
def test_every_other_head_learns_from_rows_of_its_kind(tmp_path, what):
    family, write = OTHERS[what]
    head = what.split()[0]
    write(tmp_path / "rows")
    config = config_of(family, tmp_path / "rows", steps=6, model={"head": head})
    outcome = train(config, tmp_path / "run", quiet=True)
    assert outcome.step == 6
    model = load(tmp_path / "run" / "model", head=head)
    assert model.head_name == head and model.report.fresh == ()
    losses = [line["loss"] for line in read_log(tmp_path / "run") if "loss" in line]
    assert len(losses) == 6 and all(0 < loss < 20 for loss in losses)
    if head in ("sequence", "token", "image"):
        assert len(model.config.labels) == model.config.classes > 1


def test_pictures_are_mixed_and_labels_smoothed(tmp_path, files):
    config = config_of(
        "vit",
        files / "vit",
        steps=4,
        data={"mixup": 0.4, "cutmix": 1.0},
        train={"smoothing": 0.1, "micros": 2},
    )
    assert train(config, tmp_path / "run", quiet=True).step == 4


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_keep_weights_in_thirty_two(tmp_path, files, dtype):
    config = config_of("gpt2", files / "gpt2", steps=4, train={"dtype": dtype})
    train(config, tmp_path / "run", quiet=True)
    weights = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
