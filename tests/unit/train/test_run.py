"""A run's parts put together: what is begun, each step, what is kept, and going on from there."""

import json
from dataclasses import replace

import pytest
import torch

from unit.train.lesson import config_of, write_pictures, write_rows
from zoo.data import DataError
from zoo.train.ema import EMA
from zoo.train.learner import Learner
from zoo.train.log import read_log
from zoo.train.loop import TrainingError
from zoo.train.optimizer import make_optimizer
from zoo.train.run import DTYPES, about_data, begin, follow, join, make_learner, rate_of, take
from zoo.train.schedule import learning_rate
from zoo.train.settings import as_table
from zoo.train.world import World


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    return {"text": write_rows(place, "text"), "pictures": write_pictures(place / "pictures")}


def begun(config, folder, fallback=False):
    folder.mkdir(exist_ok=True)
    return begin(config, folder, World(), fallback)


def never():
    return False


def after(steps):
    """Say so after so many questions."""
    asked = []

    def stop():
        asked.append(None)
        return len(asked) >= steps

    return stop


def state_of(run):
    """Copy all that the next step depends on, but for torch's own generator."""
    return {n: t.clone() for n, t in run.state.tensors().items() if not n.startswith("generator")}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def lines_of(folder):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(folder)]


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory):
    """Take the four steps of a run with averages, one after the other."""
    folder = tmp_path_factory.mktemp("whole")
    run = begun(config_of("gpt2", files["text"], train={"ema": 0.5}), folder)
    assert follow(run, never, True) is False
    run.loader.close()
    return run


def test_a_run_is_begun_at_step_0_with_all_that_its_record_says(files, tmp_path):
    config = config_of("gpt2", files["text"])
    run = begun(config, tmp_path)
    run.loader.close()
    assert (run.state.step, run.seen, run.note, run.store.steps()) == (0, 0, "", [])
    assert (run.config, run.folder) == (config, tmp_path)
    assert run.state.about == {"loader": run.loader.facts(), "seen": 0}
    record = json.loads((tmp_path / "run.json").read_text())
    assert record == run.record
    assert record["config"] == as_table(config)
    data = record["data"]
    assert data["version"] == run.course.rows.version
    assert (data["rows"], data["labels"], data["findings"]) == ({"train": 9, "valid": 3}, None, [])
    assert data["reference"]


def test_each_step_is_logged_and_every_third_and_the_last_are_kept(whole):
    lines = lines_of(whole.folder)
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [0, 1, 2, 3]
    rates = [rate_of(whole.config, step) for step in range(4)]
    assert [line["rate"] for line in steps] == rates
    assert [line["count"] for line in steps] == [32, 64, 96, 128]  # 4 windows of 8 a step
    assert {line["unit"] for line in steps} == {"tokens"}
    keys = ["step", "loss", "rate", "norm", "count", "unit"]  # and no step was skipped
    assert [[*line] for line in steps] == [keys] * 4
    assert [line["step"] for line in lines if "valid" in line] == [1, 3]
    assert (whole.state.step, whole.seen, whole.store.steps()) == (4, 128, [3, 4])
    assert whole.state.about["seen"] == 128


def test_a_step_is_that_of_a_loop_by_hand(files, whole, tmp_path):
    """The rows of the step, its seed and its rate: the learner alone gives the same weights."""
    run = begun(whole.config, tmp_path)
    losses = []
    for step in range(4):
        share = next(run.loader)
        torch.manual_seed(step)  # what was drawn before does not matter
        result, rate = take(run, share)
        assert rate == rate_of(run.config, step)
        losses.append(result.loss)
    run.loader.close()
    assert losses == [line["loss"] for line in lines_of(whole.folder) if "loss" in line]
    run.state.step = 4
    assert same(state_of(run), state_of(whole))


@pytest.mark.parametrize("stopped", [1, 3])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(files, whole, tmp_path, stopped):
    run = begun(whole.config, tmp_path)
    assert follow(run, after(stopped), True) is True
    run.loader.close()
    assert run.state.step == stopped
    assert run.store.steps() == [stopped]
    run = begun(whole.config, tmp_path)
    assert run.note == f"going on from step {stopped}"
    assert (run.state.step, run.seen) == (stopped, 32 * stopped)
    assert follow(run, never, True) is False
    run.loader.close()
    assert same(state_of(run), state_of(whole))
    assert lines_of(tmp_path) == lines_of(whole.folder)
    assert run.seen == 128


def test_a_run_that_is_stopped_at_its_last_step_has_ended(files, tmp_path):
    config = config_of("gpt2", files["text"], train={"steps": 1}, optimizer={"warmup": 0})
    run = begun(config, tmp_path)
    assert follow(run, lambda: True, True) is False
    run.loader.close()
    assert run.store.steps() == [1]


def test_a_damaged_step_is_passed_over_where_that_is_allowed(files, tmp_path):
    config = config_of("gpt2", files["text"], keep={"every": 1, "keep": 3})
    run = begun(config, tmp_path)
    follow(run, after(2), True)
    run.loader.close()
    (newest,) = (tmp_path / "checkpoints").glob("step-*2")
    for path in newest.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Exception, match="step"):
        begun(config, tmp_path)
    run = begun(config, tmp_path, fallback=True)
    run.loader.close()
    assert (run.note, run.state.step) == ("step 2 is damaged: going on from step 1", 1)


def test_a_rate_is_the_schedules(files):
    config = config_of("gpt2", "x", optimizer={"shape": "linear", "floor": 0.25, "rate": 0.5})
    for step in range(4):
        wanted = learning_rate(step, peak=0.5, warmup=2, total=4, shape="linear", floor=0.25)
        assert rate_of(config, step) == wanted
    assert rate_of(config, 3) != rate_of(config_of("gpt2", "x", optimizer={"rate": 0.5}), 3)


OPTIMIZER = {
    "rate": 0.25, "decay": 0.3, "beta1": 0.7, "beta2": 0.8, "eps": 1e-3, "clip": 0.125,
    "layer_decay": 0.5, "frozen": ["positions.*"],
}  # fmt: skip


def test_a_learner_is_made_as_the_config_says(files, tmp_path):
    config = config_of(
        "gpt2",
        files["text"],
        optimizer=OPTIMIZER,
        train={"ema": 0.75, "smoothing": 0.1, "dtype": "bfloat16"},
        model={"recompute": True},
    )
    run = begun(config, tmp_path)
    run.loader.close()
    learner, model = run.learner, run.learner.model
    assert isinstance(learner, Learner) and isinstance(learner.ema, EMA)
    assert (learner.clip, learner.dtype, learner.name) == (0.125, torch.bfloat16, "lm")
    assert learner.options == {"smoothing": 0.1}
    assert (model.recompute, model.training) == (True, True)
    assert not model.positions.weight.requires_grad and model.tokens.weight.requires_grad
    wanted = make_optimizer(
        model, 0.25, decay=0.3, betas=(0.7, 0.8), eps=1e-3, layer_decay=0.5
    ).param_groups
    found = learner.optimizer.param_groups
    keys = [key for key in wanted[0] if key != "params"]
    assert [[g[k] for k in keys] for g in found] == [[g[k] for k in keys] for g in wanted]
    assert [len(g["params"]) for g in found] == [len(g["params"]) for g in wanted]
    assert learner.ema.decay == 0.75


def test_without_more_said_a_learner_has_no_averages_and_no_adapters(files, tmp_path):
    run = begun(config_of("gpt2", files["text"]), tmp_path)
    run.loader.close()
    assert (run.learner.ema, run.learner.scaler, run.learner.dtype) == (None, None, torch.float32)
    assert run.learner.options.get("smoothing", 0.0) == 0.0
    assert not any(".up" in n and "mlp" not in n for n, _ in run.learner.model.named_parameters())
    plain = make_learner(replace(run.config), run.course, run.world)
    assert plain.model is run.course.model


def test_a_model_is_trained_on_the_device_of_its_world(files, tmp_path):
    run = begun(config_of("gpt2", files["text"]), tmp_path)
    run.loader.close()
    learner = make_learner(run.config, run.course, World(device=torch.device("meta")))
    assert {p.device.type for p in learner.model.parameters()} == {"meta"}


def test_adapters_are_learnt_alone(files, tmp_path):
    config = config_of("gpt2", files["text"], lora={"rank": 2})
    run = begun(config, tmp_path)
    run.loader.close()
    learnt = {name for name, p in run.learner.model.named_parameters() if p.requires_grad}
    assert learnt == {"blocks.0.attn.qkv.down", "blocks.0.attn.qkv.up"}


def test_dtypes_are_those_of_their_names():
    assert {name: str(dtype) for name, dtype in DTYPES.items()} == {
        name: f"torch.{name}" for name in ("float32", "bfloat16", "float16")
    }


def test_bad_rows_are_refused_where_the_config_asks_and_known_ones_not_looked_at(tmp_path):
    path = write_rows(tmp_path / "files", "text")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, *(x.replace('"train"', '"valid"') for x in lines)]))
    folder = tmp_path / "run"
    run = begun(config_of("gpt2", path), folder)
    run.loader.close()
    checked = config_of("gpt2", path, data={"check": True})
    with pytest.raises(DataError, match=r"^the rows are not fit to learn from: \w+: .*data.check="):
        about_data(checked, tmp_path, run.course)
    assert about_data(checked, folder, run.course) == run.record["data"]


def test_sound_rows_have_their_findings_noted(tmp_path):
    path = write_rows(tmp_path, "labelled_text")
    config = config_of("bert", path, model={"head": "sequence"}, data={"check": True})
    run = begun(config_of("bert", path, model={"head": "sequence"}), tmp_path / "run")
    run.loader.close()
    found = about_data(config, tmp_path, run.course)
    assert found["labels"] == ["cat", "dog", "rain", "uncle"]
    assert all(isinstance(text, str) for text in found["findings"])


def test_a_number_that_is_not_finite_stops_a_run_and_says_where(files, tmp_path):
    """The first block's weight is infinite: the fault, its step and rows are in a file too."""
    run = begun(config_of("vit", files["pictures"], train={"micros": 2}), tmp_path)
    with torch.no_grad():
        run.learner.model.blocks[0].mlp.up.weight[0, 0] = torch.inf
    share = next(run.loader)
    with pytest.raises(TrainingError) as stopped:
        take(run, share)
    run.loader.close()
    record = json.loads((tmp_path / "fault.json").read_text())
    names = share.names()
    assert record["step"] == 0 and record["rate"] == rate_of(run.config, 0)
    assert record["rows"] == names[:2] and len(names) == 4
    assert record["fault"]["module"] == "blocks.0.mlp.up"
    said = str(stopped.value)
    assert said.startswith(f"step 0: {record['error']}. First: ")
    assert (
        f"The batch: {names[0]}, {names[1]} ({tmp_path / 'fault.json'}). No checkpoint was" in said
    )
    assert said.endswith(f"with a lower optimizer.rate ({record['rate']:.2e} here) or sound rows")


def test_a_fault_names_four_rows_and_the_checkpoint_that_is_sound(files, tmp_path):
    """The loss itself is not finite: the batch of the step, all of it, is in the file."""
    config = config_of("vit", files["pictures"], train={"batch": 7}, keep={"every": 1})
    run = begun(config, tmp_path)
    follow(run, after(1), True)
    share = next(run.loader)
    with torch.no_grad():
        run.learner.model.head.weight.fill_(torch.nan)
    with pytest.raises(TrainingError) as stopped:
        take(run, share)
    run.loader.close()
    names = share.names()
    assert json.loads((tmp_path / "fault.json").read_text())["rows"] == names and len(names) == 7
    said = str(stopped.value)
    assert f"The batch: {', '.join(names[:4])} and 3 more (" in said
    assert "). The checkpoint of step 1 is as it was: begin anew, in another --out, with a" in said
    assert said.startswith("step 1: ")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_process_alone_joins_nobody(dtype):
    with join(config_of("gpt2", "x", train={"dtype": dtype})) as world:
        assert (world.rank, world.size, world.mode, str(world.device)) == (0, 1, "alone", "cpu")
        assert world.dtype == (torch.bfloat16 if dtype == "bfloat16" else None)
