"""The rules of docs/architecture.md that a reader would otherwise have to check by hand."""

import ast
import functools
import importlib
from pathlib import Path

import pytest

import zoo

SOURCE = Path(zoo.__file__).parent
TESTS = Path(__file__).parents[1]
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST = 380  # lines; about what one reads in one sitting

# room -> floor; a file may have a floor of its own
FLOORS = {
    "ops": 0,
    "keymap": 0,
    "config": 0,
    "tokenizers": 0,
    "images": 0,
    "testing": 0,
    "pyramid": 0,
    "ops.table": 1,
    "ops.table_fused": 1,
    "ops.table_products": 1,
    "ops.table_vision": 1,
    "testing.reference": 2,
    "nn": 1,
    "objectives": 1,
    "checkpoint": 1,
    "models": 2,
    "data": 2,
    "generate": 3,
    "evaluate": 4,
    "train": 5,
    "tasks": 5,
    "report": 5,
    "serve": 6,
    "cli": 7,
}
OUTSIDE = {"__init__", "__main__"}  # the package's own door

# mutmut leaves the body of a decorated function alone, so nothing that computes is decorated
COMPUTES = (
    *("ops", "nn", "models", "data", "checkpoint"),
    *("generate", "evaluate", "train", "testing", "pyramid"),
)
HARMLESS = {"staticmethod", "classmethod", "overload", "abstractmethod"}


def place(file):
    """Give the dotted name of a file without `zoo`."""
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__") or "__init__"


def floor(name):
    """Give the floor of a dotted name: its own, or its room's."""
    return FLOORS[name] if name in FLOORS else FLOORS[name.split(".")[0]]


MODULES = {place(file) for file in FILES}
tree_of = functools.cache(lambda file: ast.parse(file.read_text()))  # several rules read a file


def statements(node):
    """Yield every statement, wherever it stands; ast.walk would enter each expression too."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, name, ()) if not isinstance(node, ast.expr) else ():
            yield inner
            yield from statements(inner)


def zoo_imports(file):
    """Yield the dotted names of zoo that a file imports, wherever in the file."""
    for node in statements(tree_of(file)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{file}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("zoo.") and name != "zoo.__version__":
                yield name.removeprefix("zoo.")


def as_module(name):
    """Cut an imported name down to the file that it comes from."""
    while name not in MODULES and "." in name:
        name = name.rpartition(".")[0]
    return name


def test_stairs_go_one_way():
    wrong = []
    for file in FILES:
        here = place(file)
        if here in OUTSIDE:
            continue
        for name in map(as_module, zoo_imports(file)):
            same_room = name.split(".")[0] == here.split(".")[0]
            allowed = floor(name) <= floor(here) if same_room else floor(name) < floor(here)
            if not allowed:
                wrong.append(f"{here} imports {name}")
    assert wrong == []


def test_the_kit_knows_no_zoo():
    for file in FILES:
        if place(file).startswith("testing") and place(file) != "testing.reference":
            assert all(n.startswith("testing") for n in zoo_imports(file)), place(file)


def test_a_file_is_one_sitting_long():
    lines = {place(file): len(file.read_text().splitlines()) for file in FILES}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def decorated_bodies(tree):
    """Yield functions with a decorator that hides a body of more than one call from mutation."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list:
            names = [ast.unparse(d) for d in node.decorator_list]
            body = [s for s in node.body if not isinstance(getattr(s, "value", None), ast.Constant)]
            thin = len(body) <= 1 and all(isinstance(s, ast.Return | ast.Expr) for s in body)
            if not thin and not (len(names) == 1 and names[0] in HARMLESS):
                yield f"{node.name} under {names}"


def test_nothing_that_computes_hides_behind_a_decorator():
    rooms = [file for file in FILES if place(file).startswith(COMPUTES)]
    assert {place(f): found for f in rooms if (found := list(decorated_bodies(tree_of(f))))} == {}


def test_a_hidden_body_is_seen():
    assert list(decorated_bodies(ast.parse("@cache\ndef f(x):\n    y = x + 1\n    return y")))
    assert not list(decorated_bodies(ast.parse("@property\ndef f(x):\n    return g(x)")))


def test_every_room_has_a_floor():
    for file in FILES:
        if place(file) not in OUTSIDE:
            assert floor(place(file)) in range(8)


def test_exports_are_sorted_and_there():
    for file in FILES:
        for node in tree_of(file).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                assert len(set(names)) == len(names), place(file)


# they write suites of other people, with a flake or a rerun in them
PLANTERS = {"test_architecture.py", "test_flake.py"}


def test_no_test_is_run_again_until_it_passes():
    files = [file for file in TESTS.rglob("*.py") if file.name not in PLANTERS]
    texts = {str(file.relative_to(TESTS)): file.read_text() for file in files}
    assert [n for n, text in texts.items() if "mark.flaky" in text or "reruns=" in text] == []


@pytest.mark.subproc
def test_importing_zoo_loads_nothing_heavy(run_python):
    script = """
    import sys, time
    start = time.process_time()
    import zoo
    spent = time.process_time() - start
    heavy = {"torch", "numpy", "tokenizers", "safetensors", "zoo.models"} & sys.modules.keys()
    assert not heavy, heavy
    assert spent < 0.1, spent
    print(zoo.__version__, "GPT2" in dir(zoo))
    """
    assert run_python(script).split() == [zoo.__version__, "True"]


LAZY = ("zoo", "zoo.data", "zoo.train")  # packages that import a public name when it is asked for


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_is_there(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    # a file of a public name's name would take its place once it is imported
    files = {place(f).rpartition(".")[2] for f in FILES if f"zoo.{place(f)}".startswith(package)}
    own = {name for name in files if f"{package}.{name}" in map("zoo.{}".format, MODULES)}
    assert not own & set(module.__all__)


def test_a_name_that_is_not_public_is_told():
    with pytest.raises(AttributeError, match="module 'zoo' has no attribute 'GPT5'"):
        _ = zoo.GPT5
