"""The mutation tool's tables: survivors and rules, escapes, shards, what changed, the report."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # the tools are no package of the wheel

from tools.mutation import changed, escapes, plan, report, rooms, survivors, tell, work  # noqa: E402

DIFF = "- return x + eps\n+ return x - eps"


def lived(function="zoo.a.f", diff=DIFF, kind="operator", verdict="survived", **more):
    place = {"file": "src/zoo/a.py", "line": 3, "id": f"{function}#1", "computes": True}
    return {"function": function, "diff": diff, "kind": kind, "verdict": verdict} | place | more


def known(function="zoo.a.f", diff=DIFF, status="equivalent"):
    return survivors.Known(function=function, diff=diff, status=status, reason="because")


# survivors


def test_a_tracked_survivor_is_found_by_function_and_lines():
    rows = [lived(line=99), lived("zoo.a.g"), lived(diff="- a\n+ b")]
    survivors.mark(rows, [known()], [])
    assert [row.get("status") for row in rows] == ["equivalent", None, None]
    assert survivors.new(rows) == rows[1:]


def test_only_what_lives_is_marked():
    rows = [lived(verdict=verdict) for verdict in ("killed", "endless", "crash", "no tests")]
    survivors.mark(rows, [known()], [])
    assert ["status" in row for row in rows] == [False, False, False, True]


STALE = {
    "it survives": (lived(), {"zoo.a.f"}, True, ""),
    "it was killed": (lived(verdict="killed"), {"zoo.a.f"}, True, "no longer survives"),
    "it was killed, in a part": (lived(verdict="killed"), {"zoo.a.f"}, False, "no longer survives"),
    "it was not drawn": (lived("zoo.a.g"), {"zoo.a.f", "zoo.a.g"}, False, ""),
    "it is not made any more": (lived("zoo.a.g"), {"zoo.a.f"}, True, "no longer survives"),
    "its function is gone": (lived("zoo.a.g"), {"zoo.a.g"}, False, "is gone"),
}


@pytest.mark.parametrize("name", STALE)
def test_an_entry_without_a_survivor_is_to_be_removed(name):
    one, functions, whole, says = STALE[name]
    said = survivors.stale([one], [known()], functions, whole=whole)
    assert len(said) == bool(says)
    assert all(says in line for line in said)


def test_a_survivor_file_is_read_whatever_its_indentation(tmp_path):
    indented = DIFF.replace("+ return", "     +  return")
    text = f"[[survivor]]\nfunction = 'zoo.a.f'\ndiff = '''\n  {indented}\n'''\n"
    (tmp_path / "a.toml").write_text(text + "status = 'equivalent'\nrule = 'eps-of-nothing'\n")
    (entry,) = survivors.read_known("a", tmp_path)
    assert entry == survivors.Known(
        function="zoo.a.f", diff=DIFF, status="equivalent", reason="eps-of-nothing"
    )
    assert survivors.read_known("b", tmp_path) == []


@pytest.mark.parametrize("rest", ["status='fine'", "status='accepted'", "reason='x'"])
def test_an_entry_without_status_or_reason_is_refused(tmp_path, rest):
    text = f"[[survivor]]\nfunction = 'zoo.a.f'\ndiff = '- a'\n{rest}\n"
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ValueError, match=r"a\.toml entry 1: give status"):
        survivors.read_known("a", tmp_path)


def test_every_tracked_survivor_of_the_project_is_read():
    for file in sorted((ROOT / survivors.FOLDER).glob("*.toml")):
        entries = survivors.read_known(file.stem, file.parent)
        keys = [entry.key for entry in entries]
        assert len(set(keys)) == len(keys), file.name


RULED = {
    "a chunk's default": ("number", "chunk: int = 64,", "chunk: int = 65,", "size-of-a-piece"),
    "a chunk that is given": ("number", "f(x, chunk=64)", "f(x, chunk=65)", "size-of-a-piece"),
    "an eps": ("number", "eps: float = 1e-5,", "eps: float = 1.00001,", None),
    "a size that is no piece's": ("number", "width: int = 64,", "width: int = 65,", None),
    "a chunk dropped": ("argument", "f(x, chunk=64)", "f(x, )", None),
    "minus infinity": ("words", 'x = float("-inf")', 'x = float("-INF")', "case-of-infinity"),
    "infinity spoilt": ("words", 'x = float("-inf")', 'x = float("XX-infXX")', None),
    "a codec": (
        "words",
        'open(f, encoding="utf-8")',
        'open(f, encoding="UTF-8")',
        "case-of-a-codec",
    ),
    "a zip": ("flag", "zip(a, b, strict=True)", "zip(a, b, strict=False)", "zip-of-equals"),
    "a zip's side": ("argument", "zip(a, b, strict=True)", "zip(b, strict=True)", None),
    "keepdim": ("argument", "f(keepdim=False)", "f(keepdim=None)", "false-by-another-name"),
    "keepdim true": ("argument", "f(keepdim=True)", "f(keepdim=None)", None),
    "the first part": (
        "number",
        'x.split(".", 1)[0]',
        'x.split(".", 2)[0]',
        "split-takes-the-first",
    ),
    "the last part": ("number", 'x.split(".", 1)[1]', 'x.split(".", 2)[1]', None),
}


@pytest.mark.parametrize("name", RULED)
def test_a_rule_tells_what_no_test_can_see(name):
    kind, before, after, rule = RULED[name]
    rules = survivors.read_rules(ROOT / survivors.RULES)
    fitting = [one.name for one in rules if one.fits(kind, f"- {before}\n+ {after}")]
    assert fitting == [rule] * bool(rule)


def told(rows, stale=(), floor=95.0):
    return tell.told({"room": "a", "of": 9, "rows": rows}, floor, list(stale))


def test_a_new_survivor_fails_the_run_and_is_shown():
    text, good = told([lived(ran=7)])
    assert not good
    assert "zoo.a.f (src/zoo/a.py:3, operator): 7 tests ran and passed\n" + DIFF in text
    assert "tests/mutation/survivors/a.toml" in text


def test_a_run_without_survivors_passes_and_an_old_entry_fails_it():
    killed = [lived(verdict="killed")] * 100
    assert told(killed)[1]
    assert not told(killed, ["zoo.a.f is gone"])[1]


def test_a_score_below_the_floor_fails_even_where_each_survivor_is_accepted():
    rows = [lived(verdict="killed")] * 50 + [lived(status="accepted")] * 50
    text, good = told(rows)
    assert not good
    assert text.endswith("below the floor of 95 %")


# escapes

BODIES = {
    "plain": ("def f(x):\n    return x + 1", ""),
    "nothing to change": ("def f(self):\n    return self.x", escapes.NOTHING),
    "only an error": ("def f(x):\n    raise ValueError(f'{x + 1}')", escapes.NOTHING),
    "only the words of an f-string": ("def f(x):\n    return f'a {x}'", escapes.NOTHING),
    "what an f-string computes": ("def f(x):\n    return f'a {x + 1}'", ""),
    "len is left alone": ("def f(x):\n    return len(x)", escapes.NOTHING),
    "a default counts": ("def f(x=1):\n    return x", ""),
    "cached": ("@cache\ndef f(x):\n    y = x + 1\n    return y", escapes.HIDDEN),
    "a property that computes": ("@property\ndef f(x):\n    return x.a + x.b", escapes.HIDDEN),
    "a property that asks": ("@property\ndef f(x):\n    return g(x)", escapes.SHELL),
    "two decorators": ("@a\n@staticmethod\ndef f(x):\n    y = 1\n    return y", escapes.HIDDEN),
    "static": ("class C:\n    @staticmethod\n    def f(x):\n        return x + 1", ""),
    "a dataclass's method": ("@dataclass\nclass C:\n    def f(x):\n        return x + 1", ""),
    "under if": ("if A:\n    def f(x):\n        return x + 1", escapes.ELSEWHERE),
    "under try": (
        "try:\n    pass\nexcept E:\n    def f(x):\n        return -x + 1",
        escapes.ELSEWHERE,
    ),
    "a nested class": (
        "class A:\n    class B:\n        def f(x):\n            return 1",
        escapes.ELSEWHERE,
    ),
    "new": ("class A:\n    def __new__(c):\n        return g(c)", escapes.SPECIAL),
    "an enum's init": ("class A(Enum):\n    def __init__(c):\n        c.x = 1", escapes.SPECIAL),
    "hidden inside": (
        "def f(x):\n    @c\n    def g(y):\n        y += 1\n    return g(x)",
        escapes.HIDDEN,
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_why_a_function_has_no_mutants(name):
    text, reason = BODIES[name]
    found, expected = escapes.of_file("src/zoo/a.py", text)
    assert [escape.reason for escape in found] == [reason] * bool(reason)
    assert bool(expected) == (not reason or name == "hidden inside")


def test_nothing_that_computes_escapes_mutation(monkeypatch):
    """By the syntax tree; the night counts with mutmut's own generator."""
    monkeypatch.chdir(ROOT)
    table, _ = rooms.read()
    listed = escapes.read_listed()
    found = escapes.of_files([file for room in table.values() for file in room.files])
    hidden = [e.function for e in found if not e.explained(listed)]
    assert hidden == [], "no mutants: f = property(_f), or a line in tests/mutation/escapes.toml"
    assert sorted(set(listed) - {e.function for e in found}) == []


def test_every_file_is_in_a_room_or_excluded_with_a_reason():
    table, excluded = rooms.read(root=ROOT)
    assert rooms.homeless(table, excluded, ROOT) == []
    assert all(reason.strip() for reason in excluded.values())
    files = [file for room in table.values() for file in room.files]
    assert len(files) == len(set(files))
    for room in table.values():
        assert all((ROOT / test).exists() for test in room.tests), room.name


# shards


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_shards_share_all_functions_and_no_two_have_one(number):
    weighed = {f"f{i}": float(i % 7 + 1) for i in range(50)}
    parts = plan.parts(weighed, number)
    assert sorted(name for part in parts for name in part) == sorted(weighed)
    loads = [sum(weighed[name] for name in part) for part in parts]
    assert max(loads) - min(loads) <= max(weighed.values())
    assert parts == plan.parts(dict(reversed(weighed.items())), number)


@pytest.mark.parametrize(
    ("shards", "most", "nights"), [(5, 16, 1), (16, 16, 1), (17, 16, 2), (50, 16, 4)]
)
def test_all_nights_together_run_every_shard_once(shards, most, nights):
    every = [{"shard": i} for i in range(shards)]
    runs = [plan.tonight(every, most, 700000 + day) for day in range(nights)]
    assert sorted(s["shard"] for run, _, _ in runs for s in run) == list(range(shards))
    assert {n for _, _, n in runs} == {nights}
    assert max(len(run) for run, _, _ in runs) <= most


def test_a_shard_that_is_none_is_refused():
    table, _ = rooms.read(root=ROOT)
    for shard in ("0/2", "3/2", "x", "1"):
        with pytest.raises(ValueError, match="such as 2/5"):
            plan.part_of(table["keymap"], shard, plan.UNKNOWN)


def test_the_count_of_mutants_is_near():
    text = "def f(x):\n    y = g(x, 2)\n    return y + 1 if y < 3 else not x"
    # y = None; 4 of g's arguments; 2, 1 and 3; +; <; both branches; not
    assert plan.count(ast.parse(text)) == 13


# what changed

BEFORE = '''A = 1


def f(x):
    """Say."""
    return x + A


class C:
    b = 2

    def m(self):
        return 3
'''
CHANGES = {
    "nothing": (BEFORE, set()),
    "a new docstring": (BEFORE.replace("Say.", "Tell."), set()),
    "layout": (BEFORE.replace("x + A", "(x  +  A)"), set()),
    "a line above": ("import os\n" + BEFORE, set()),
    "a function": (BEFORE.replace("x + A", "x - A"), {"zoo.a.f"}),
    "a method": (BEFORE.replace("return 3", "return 4"), {"zoo.a.C.m"}),
    "a constant": (BEFORE.replace("A = 1", "A = 2"), {"zoo.a.f", "zoo.a.C.m"}),
    "a field": (BEFORE.replace("b = 2", "b = 5"), {"zoo.a.f", "zoo.a.C.m"}),
    "a new function": (BEFORE + "\n\ndef g():\n    return 1\n", {"zoo.a.g"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_is_told_by_the_syntax_tree(name):
    after, names = CHANGES[name]
    assert changed.changed_functions("src/zoo/a.py", BEFORE, after) == names


def test_all_of_a_new_file_has_changed():
    assert changed.changed_functions("src/zoo/a.py", None, BEFORE) == {"zoo.a.f", "zoo.a.C.m"}


def test_what_does_not_fit_in_the_time_is_drawn():
    fixed, each = {"a": 50.0, "b": 50.0, "c": 50.0}, {"a": 1.0, "b": 1.0, "c": 1.0}
    fit = changed.fit
    assert fit({"a": 10, "b": 5}, fixed, each, 600.0) == {"a": 10, "b": 5}
    assert fit({"a": 1000, "b": 100}, fixed, each, 320.0) == {"a": 200, "b": 20}
    assert fit({"a": 3, "b": 2, "c": 1}, fixed, each, 170.0) == {"a": 3, "b": 2, "c": 0}


# the report


def record(rows, room="a", **more):
    base = {"room": room, "of": 100, "date": "2026-01-02", "commit": "abc", "minutes": 1.0}
    return base | {"fixed": 30.0, "sampled": 0, "rows": rows} | more


def test_shards_are_joined_and_the_newer_run_of_a_mutant_counts():
    old = record([lived(id="m1"), lived(id="m2")], date="2026-01-01")
    new = record([lived(id="m1", verdict="killed"), lived(id="m3", verdict="killed")])
    found = report.scores(report.merged([new, old]))["a"]
    assert (found["run"], found["killed"], found["survivors"]) == (3, 2, 1)
    assert (found["date"], found["minutes"], found["sampled"]) == ("2026-01-02", 2.0, False)


def test_a_whole_run_is_not_mixed_with_a_sample():
    rooms_ = report.merged(
        [record([lived()], sampled=1), record([lived(id="m", verdict="killed")])]
    )
    assert [row["id"] for row in rooms_["a"]["rows"]] == ["m"]


def test_the_summary_has_a_row_a_room_and_the_survivors():
    merged = report.merged([record([lived(), lived(id="k", verdict="killed")])])
    text = report.summary(merged, report.scores(merged))
    assert "| a | 100 | 2 | 1 | 50.0 % [9.5, 90.5] | 50.0 % [9.5, 90.5] | 0 | 2026-01-02 |" in text
    assert "1 survivors are not explained" in text
    assert DIFF in text


def test_a_file_that_is_no_record_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"room": "a"}')
    with pytest.raises(ValueError, match="record 1 of 1 is not a record"):
        report.read([tmp_path])


def test_costs_are_kept_by_file_where_enough_was_run():
    rows = [lived(seconds=2.0) for _ in range(10)] + [lived(seconds=0.5, file="src/zoo/b.py")]
    kept = report.costs([record(rows)], {"z": {"fixed": 1.0, "each": 1.0, "files": {}}})
    assert kept["a"] == {"fixed": 30.0, "each": 1.864, "files": {"src/zoo/a.py": 2.0}}
    assert list(kept) == ["a", "z"]


# what lived, again


class Made:
    """A mutant as `lived` asks about it."""

    def __init__(self, function, diff):
        self.function, self.changes = function, diff

    def diff(self):
        return self.changes


def test_what_lived_is_found_again_by_function_and_lines():
    rows = [lived(), lived("zoo.a.g", verdict="endless"), lived("zoo.a.h", verdict="killed")]
    made = [Made(f"zoo.a.{name}", diff) for name in "fgh" for diff in (DIFF, "- a\n+ b")]
    found = work.lived(record(rows), made)
    assert [(m.function, m.changes) for m in found] == [("zoo.a.f", DIFF), ("zoo.a.g", DIFF)]


def test_what_was_killed_stays_and_what_is_no_mutant_any_more_goes():
    rows = [lived(id="k", verdict="killed"), lived(id="f"), lived(id="gone")]
    newer = {
        "room": "a",
        "date": "2026-01-03",
        "minutes": 0.5,
        "rows": [lived(id="f2", verdict="killed")],
    }
    joined = work.again(record(rows, sampled=3), newer)
    assert [(row["id"], row["verdict"]) for row in joined["rows"]] == [
        ("k", "killed"),
        ("f2", "killed"),
    ]
    assert (joined["sampled"], joined["of"], joined["minutes"]) == (3, 100, 1.5)
    assert joined["date"] == "2026-01-03"
