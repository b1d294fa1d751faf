"""What each check says, whole: every finding of a scene with its words, rows and numbers."""

import json
from pathlib import Path

import pytest

from unit.data.scenes import SCENES, lengths
from zoo.data.check import CHECKS

SAID = json.loads((Path(__file__).parent / "findings.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("scene", SCENES)
def test_all_that_is_found_is_said(tmp_path, scene):
    report = SCENES[scene](tmp_path)
    text = json.dumps(report.as_dict()).replace(str(tmp_path), "FOLDER")
    assert json.loads(text, parse_float=lambda digits: round(float(digits), 9)) == SAID[scene]


def test_every_check_has_a_scene_and_asks_something():
    found = {row["check"] for report in SAID.values() for row in report["findings"]}
    assert SAID.keys() == SCENES.keys() and found == CHECKS.keys()
    assert all(check.asks.endswith("?") for check in CHECKS.values())


def test_a_report_is_a_text_for_people(tmp_path):
    assert lengths(tmp_path).text().splitlines() == [
        "6 rows of labelled_text (train 6)",
        "warning  lengths: 2 rows (33.3%) with an empty text: drop them",
        "         r1",
        "         r4",
        "warning  lengths: 2 rows of more than 100,000 letters; half of all have at most 11: is a "
        "quote or a line's end missing?",
        "         r3: 100,001 letters",
        "         r5: 100,002 letters",
        "sound: 0 errors, 2 warnings, 0 notes from 8 checks",
    ]
    lines = SCENES["splits"](tmp_path).text().splitlines()
    assert lines[0] == "63 rows of labelled_text (train 40, valid 20, test 3)"
    assert lines[-1] == "not sound: 1 error, 2 warnings, 0 notes from 8 checks"
