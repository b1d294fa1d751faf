"""A mutant is one edit: the other bytes stay, and what cannot be edited is refused in words."""

from pathlib import Path

import pytest

from zoo.pyramid.mutate import MutateError, diff, mutant_from_edit, mutants_of, mutated
from zoo.pyramid.mutate.find import files_of
from zoo.pyramid.mutate.mutant import brief, module_name, source_hash
from zoo.pyramid.mutate.source import Source

TEXT = "def f(x):\n    y = x + 1\n    return (\n        y\n    )\n"


def written(tmp_path, text, name="m.py"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_an_edit_by_hand_knows_its_place(tmp_path):
    path = written(tmp_path, TEXT)
    made = mutant_from_edit(path, "    y = x + 1\n", "    y = x + 2\n", "another sum")
    assert (made.first, made.last, made.function, made.scope) == (2, 2, "f", (1, 5))
    assert mutated(made).decode() == TEXT.replace("1", "2")
    assert made.says == "another sum"
    assert path.read_text() == TEXT


def test_an_edit_in_a_long_statement_has_all_its_lines(tmp_path):
    made = mutant_from_edit(written(tmp_path, TEXT), "        y\n", "        x\n", "x")
    assert (made.first, made.last) == (3, 5)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("nothing of this", "x", "0 times; it must occur exactly once"),
        ("x", "y", "2 times"),
        ("x + 1", "x + 1", "changes nothing"),
        ("x + 1", "x +", "makes no Python"),
    ],
)
def test_an_edit_that_cannot_be_is_refused(tmp_path, old, new, said):
    path = written(tmp_path, TEXT)
    with pytest.raises(MutateError, match=said):
        mutant_from_edit(path, old, new, "")


FILES = {
    "windows lines": b"def f(x):\r\n    s = '\xc3\xa4'\r\n    return x < 2\r\n",
    "a byte order mark": b"\xef\xbb\xbfdef f(x):\n    s = '\xc3\xa4'; return x < 2\n",
    "latin-1": b"# coding: latin-1\ndef f(x):\n    s = '\xe4'; return x < 2\n",
    "no last newline": b"def f(x):\n    s = '\xc3\xa4'; return x < 2",
}


@pytest.mark.parametrize("what", FILES)
def test_every_other_byte_stays(tmp_path, what):
    path = written(tmp_path, FILES[what])
    made = mutants_of(path, only=["comparison-moved"])
    expected = [FILES[what].replace(b"x < 2", b"(x %s 2)" % sign) for sign in (b"<=", b">")]
    assert [mutated(m) for m in made] == expected
    assert all(diff(m).count("@@") == 2 for m in made)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"def f(:\n", r"m\.py:1: this is no Python"),
        (b"# coding: utf-8\n\xff\n", "cannot be read as Python"),
        (b"# coding: nonsense\n", "cannot be read as Python"),
        (b"x = 1\0\n", "no Python"),
    ],
    ids=["syntax", "bytes", "coding", "null"],
)
def test_a_file_that_is_no_python_is_named(tmp_path, data, said):
    with pytest.raises(MutateError, match=said):
        mutants_of(written(tmp_path, data))


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(MutateError, match="No such file"):
        mutants_of(tmp_path / "absent.py")


def test_an_unknown_operator_is_named_with_those_that_there_are(tmp_path):
    with pytest.raises(MutateError, match=r"no operator or family 'scales'; there are .*residual"):
        mutants_of(written(tmp_path, TEXT), only=["scales"])


def test_only_takes_names_and_families(tmp_path):
    path = written(tmp_path, "def f(a, b):\n    x = a + self.f(a)\n    return a < b\n")
    assert {m.family for m in mutants_of(path, only=["residual"])} == {"residual"}
    assert {m.operator for m in mutants_of(path, only=["residual-l"])} == {"residual-lost"}


def test_ids_stay_when_another_function_changes(tmp_path):
    one = "def g(a):\n    return a\n\n\ndef f(a, b):\n    return a < b\n"
    other = "def g(a):\n    return a <= 2\n\n\n\ndef f(a, b):\n    return a < b\n"
    ids = [m.id for m in mutants_of(written(tmp_path, one))]
    later = [m.id for m in mutants_of(written(tmp_path, other)) if ":f:" in m.id]
    assert ids == later == ["m:f:comparison-moved:1", "m:f:comparison-moved:2"]


def test_a_module_has_the_name_that_it_is_imported_by(tmp_path):
    for name in ("pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/m.py", "alone.py"):
        written(tmp_path, "", name)
    names = [module_name(p) for p in sorted(tmp_path.rglob("*.py"))]
    assert names == ["alone", "pkg", "pkg.sub", "pkg.sub.m"]


def test_files_are_found_by_path_folder_and_dotted_name(tmp_path):
    for name in ("src/pkg/__init__.py", "src/pkg/a.py", "src/pkg/b.py"):
        written(tmp_path, "x = 1\n", name)
    folder = tmp_path / "src" / "pkg"
    assert files_of(["src/pkg/a.py", "pkg.b", "pkg.a"], tmp_path) == [
        folder / "a.py", folder / "b.py",
    ]  # fmt: skip
    assert files_of(["src"], tmp_path) == [folder / n for n in ("__init__.py", "a.py", "b.py")]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent.py", "there is no file absent.py"),
        ("no.such.module", "there is no file or module no.such.module"),
        ("empty", "a folder without a Python file"),
        ("math", "no Python file of its own|there is no file or module math"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, name, said):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MutateError, match=said):
        files_of([name], tmp_path)


def test_the_hash_is_of_what_the_file_holds(tmp_path):
    one = source_hash(written(tmp_path, "x = 1\n"))
    assert one == source_hash(written(tmp_path, "x = 1\n", "other.py"))
    assert one != source_hash(written(tmp_path, "x = 2\n", "other.py"))


def test_code_in_a_sentence_is_one_line_of_a_length():
    assert brief("f(\n    a,\n    b)") == "f( a, b)"
    assert len(brief("x" * 100)) == 60


def test_a_decorated_function_keeps_its_place(tmp_path):
    path = written(tmp_path, "class A:\n    @staticmethod\n    def f(a):\n        return a < 1\n")
    source = Source(path)
    assert source.scope_at(4) == ("A.f", (3, 4))
    assert source.class_lines(4) == (1, 4)
    assert source.class_lines(9) is None
    assert isinstance(path, Path)
