"""run.json: a run goes on with what it was begun with; everything else is told."""

import json

import pytest
import torch

from zoo.config import ConfigError
from zoo.train.config import RunConfig
from zoo.train.record import (
    FORMAT,
    check_config,
    check_data,
    known_data,
    read_record,
    versions,
    write_json,
    write_record,
)
from zoo.train.settings import from_table

ONE = RunConfig()
OTHER = from_table(RunConfig, {"train": {"batch": 7, "seed": 3}, "keep": {"every": 9}})


def test_a_new_folder_may_hold_a_run(tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / ".run.json.1234.partial").touch()
    check_config(tmp_path, ONE)
    assert read_record(tmp_path) is None


def test_a_folder_with_something_else_may_not(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(
        ConfigError, match=r"holds thesis\.tex and no run\.json: it is no run; give"
    ):
        check_config(tmp_path, ONE)


def test_another_config_is_told_key_by_key(tmp_path):
    write_record(tmp_path, ONE)
    check_config(tmp_path, ONE)
    said = r"train\.batch was 32 and is 7, train\.seed was 0 and is 3\. Give the same"
    with pytest.raises(ConfigError, match=said):
        check_config(tmp_path, OTHER)


def test_a_run_of_before_a_key_existed_goes_on(tmp_path):
    record = write_record(tmp_path, OTHER)
    del record["config"]["data"]["together"], record["config"]["lora"]
    write_json(tmp_path / "run.json", record)
    check_config(tmp_path, OTHER)
    with pytest.raises(ConfigError, match=r"train\.batch was 7 and is 32"):
        check_config(tmp_path, ONE)


def test_other_data_are_told(tmp_path):
    write_record(tmp_path, ONE)
    check_data(tmp_path, "sha256:1")  # nothing is known yet
    write_record(tmp_path, ONE, {"version": "sha256:1", "rows": {"train": 2}})
    check_data(tmp_path, "sha256:1")
    with pytest.raises(ConfigError, match="learnt from data sha256:1, and these are sha256:2"):
        check_data(tmp_path, "sha256:2")


def test_what_was_noted_of_the_data_is_kept_for_these_data_alone(tmp_path):
    assert known_data(tmp_path, "sha256:1") is None
    data = {"version": "sha256:1", "rows": {"train": 2}}
    write_record(tmp_path, ONE, data)
    write_record(tmp_path, ONE)  # the run goes on
    assert known_data(tmp_path, "sha256:1") == data
    assert known_data(tmp_path, "sha256:2") is None


def test_versions_are_those_of_the_beginning(tmp_path):
    first = write_record(tmp_path, ONE)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record == first and record["format"] == FORMAT
    record["versions"]["torch"] = "2.0"
    write_json(tmp_path / "run.json", record)
    assert write_record(tmp_path, ONE)["versions"]["torch"] == "2.0"


def test_what_rounding_depends_on_is_told():
    found = versions()
    assert found.keys() == {"zoo", "torch", "python", "machine", "cpu", "threads"}
    assert found["cpu"] == torch.backends.cpu.get_cpu_capability()
    assert found["threads"] == torch.get_num_threads()


BROKEN = {
    "cut short": ('{"format": "zoo ru', "cannot be read"),
    "another format": ('{"format": "zoo run 9"}', "expected format 'zoo run 1'"),
    "a list": ("[]", "is not a run's"),
    "no text": (b"\xff\xfe\x00", "cannot be read"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_record_is_told(tmp_path, how):
    content, said = BROKEN[how]
    place = tmp_path / "run.json"
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=said):
        check_config(tmp_path, ONE)


def test_json_that_cannot_be_written_leaves_the_old_and_no_rest(tmp_path):
    place = tmp_path / "a.json"
    write_json(place, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(place, {"a": float("nan")})
    assert json.loads(place.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
