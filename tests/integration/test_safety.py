"""Loaders in a fresh process under an audit hook: no code, no class, no file from outside."""

from pathlib import Path

import pytest

from unit.checkpoint.hostile import TENSORS, read_all
from unit.checkpoint.test_hub import make_cache

pytestmark = pytest.mark.subproc


@pytest.mark.thinned(3)
@pytest.mark.parametrize("name", ["org/name", "org/none"])
@pytest.mark.parametrize("variable", ["ZOO_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_a_name_is_looked_up_without_the_network(tmp_path, run_python, name, variable):
    snapshot = make_cache(tmp_path / "hub")
    off = {"ZOO_OFFLINE": "0", "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}
    found = run_python(
        """
        import os, sys
        def watch(event, args):
            if event.startswith("socket."):
                os.write(2, event.encode())
                os._exit(3)
        sys.addaudithook(watch)
        from zoo.checkpoint import CheckpointError, read_folder, resolve
        try:
            path = resolve(sys.argv[1], offline=False)
            print(path, len(read_folder(path).tensors))
        except CheckpointError:
            print("refused")
        """,
        name,
        HF_HOME=str(tmp_path),
        **off | {variable: "1"},
    )
    assert found.split() == (
        [str(snapshot), str(len(TENSORS))] if name == "org/name" else ["refused"]
    )
    assert read_all(snapshot)


def test_without_the_hub_package_its_name_is_said(tmp_path, run_python):
    """A module that is None in sys.modules cannot be imported, as if it were not installed."""
    run_python(
        """
        import sys
        from importlib.machinery import PathFinder
        class Without:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] != "huggingface_hub":
                    return PathFinder.find_spec(name, path, target)
        sys.meta_path[:] = [f for f in sys.meta_path if f is not PathFinder] + [Without()]
        from zoo.checkpoint import CheckpointError, resolve
        try:
            resolve("org/name")
        except CheckpointError as error:
            assert 'pip install "zoo[hub]"' in str(error), error
        else:
            raise AssertionError
        """
    )


def test_no_hostile_folder_makes_the_reader_look_outside(tmp_path, run_python):
    """Each named row is read under a hook that sees every file opened, class found, code run."""
    tests = str(Path(__file__).parents[1])
    found = run_python(
        """
        import json, os, sys
        from pathlib import Path
        root, tests = Path(sys.argv[1]).resolve(), sys.argv[2]
        sys.path.insert(0, tests)
        from unit.checkpoint.hostile import ROWS, read_all, sound
        from unit.checkpoint.shards import SHARD_ROWS
        from zoo.checkpoint import CheckpointError
        bad, inside = [], None
        def watch(event, args):
            if inside is None:
                return
            if event.startswith(("pickle", "exec", "compile", "import", "os.system", "subprocess",
                                 "socket", "marshal", "ctypes", "os.exec", "os.fork")):
                bad.append([inside, event, str(args[0])])
            if event in ("open", "os.listdir", "os.scandir") and not isinstance(args[0], int):
                opened = os.path.realpath(os.fsdecode(args[0]))
                if opened != inside and not opened.startswith(inside + os.sep):
                    bad.append([inside, event, opened])
        def attempt(folder):
            global inside
            inside = str(folder)
            try:
                read_all(folder)
            except CheckpointError:
                return 1
            finally:
                inside = None
            return 0
        attempt(sound(root / "model"))  # what is imported late is imported now
        sys.addaudithook(watch)
        refused = 0
        for rows, limit in ((ROWS, 10**9), (SHARD_ROWS, 60)):
            for name, (damage, _) in rows.items():
                folder = sound(root / name / "model", max_shard_bytes=limit)
                damage(folder)
                refused += attempt(folder)
        print(json.dumps([bad, refused == len(ROWS) + len(SHARD_ROWS)]))
        """,
        str(tmp_path),
        tests,
    )
    assert found.strip() == "[[], true]"


def test_no_reader_unpickles_runs_code_or_looks_outside(tmp_path, run_python):
    """Every loader runs under an audit hook that sees each file opened and each class unpickled."""
    found = run_python(
        """
        import json, os, sys
        from pathlib import Path
        import torch
        import zoo
        import zoo.checkpoint, zoo.models.convert, zoo.tokenizers
        root = Path(sys.argv[1])
        model = zoo.GPT2(zoo.GPT2Config(vocab=260, context=8, width=8, depth=1, heads=2))
        model.save_pretrained(root / "model")
        train = zoo.tokenizers.Tokenizer.train
        train(["a few words"] * 9, kind="bpe", vocab=260).save(root / "model")
        (root / "model" / "pytorch_model.bin").write_bytes(b"cposix\\nsystem\\n(S'true'\\ntR.")
        evil = (root / "model" / "pytorch_model.bin").read_bytes()
        (root / "ckpt.pt").write_bytes(evil)
        zoo.load(root / "model"), zoo.tokenizers.Tokenizer.from_folder(root / "model")  # imports

        seen = []
        def watch(event, args):
            if event.startswith(("pickle", "exec", "os.system", "subprocess", "socket", "marshal")):
                seen.append(event)
            if event == "open" and isinstance(args[0], str):
                seen.append(os.path.realpath(args[0]))
        sys.addaudithook(watch)
        zoo.load(root / "model")
        zoo.GPT2.from_pretrained(root / "model")
        zoo.checkpoint.read_folder(root / "model")
        zoo.tokenizers.Tokenizer.from_folder(root / "model")
        try:
            zoo.models.convert.convert(root / "none.pt", root / "out")
        except zoo.checkpoint.CheckpointError:
            pass
        try:
            zoo.models.convert.convert(root / "ckpt.pt", root / "out")
        except zoo.checkpoint.CheckpointError as error:
            assert "--unpickle" in str(error)
        inside = os.path.realpath(root / "model")
        print(json.dumps(sorted({s for s in seen if not s.startswith(inside)})))
        """,
        str(tmp_path),
    )
    assert found.strip() == "[]"


def test_the_converter_takes_nothing_but_tensors_from_a_pickle(tmp_path, run_python):
    found = run_python(
        """
        import os, pickle, sys, zipfile
        import torch
        from zoo.checkpoint import CheckpointError
        from zoo.checkpoint.pickles import read_nanogpt
        root = sys.argv[1]

        class Evil:
            def __reduce__(self):
                return os.mkdir, (root + "/made",)

        class Plain:
            pass

        good = {"model": {"w": torch.zeros(2)}, "model_args": {"n_layer": 1}}
        rows = {
            "evil": good | {"optimizer": Evil()},
            "class": {"model": {"w": Plain()}, "model_args": {}},
            "not-nano": {"w": torch.zeros(2)},
            "list": [1],
            "texts": good | {"model_args": {"n_layer": "1"}},
            "numbers": good | {"model": {"w": 1}},
            "integers": good | {"model": {"w": torch.zeros(2, dtype=torch.long)}},
            "unfolding": good | {"model": {"w": torch.zeros(1).expand(10**9)}},
            "sparse": good | {"model": {"w": torch.eye(2).to_sparse()}},
            "meta": good | {"model": {"w": torch.zeros(2, device="meta")}},
            "twice": good | {"model": {"w": torch.zeros(2), "_orig_mod.w": torch.zeros(2)}},
            "none": good | {"model_args": None},
        }
        for name, content in rows.items():
            torch.save(content, root + "/x.pt")
            try:
                read_nanogpt(root + "/x.pt")
            except CheckpointError as error:
                print(name, end=" ")
        cut = open(root + "/x.pt", "rb").read()[:300]
        for data in (b"", b"x" * 100, pickle.dumps(Evil()), cut):
            open(root + "/x.pt", "wb").write(data)
            try:
                read_nanogpt(root + "/x.pt")
            except CheckpointError:
                print("bytes", end=" ")
        torch.save(good, root + "/y.pt", _use_new_zipfile_serialization=False)
        torch.save(good, root + "/z.pt")
        with zipfile.ZipFile(root + "/z.pt") as old, zipfile.ZipFile(
            root + "/x.pt", "w", zipfile.ZIP_DEFLATED
        ) as new:
            for entry in old.infolist():
                new.writestr(entry.filename, old.read(entry))
        for name in ("x.pt", "y.pt", "none.pt", "."):
            try:
                read_nanogpt(os.path.join(root, name))
            except CheckpointError as error:
                print("file", end=" ")
        good["model"] = {"_orig_mod.w": torch.zeros(2), "v": torch.nn.Parameter(torch.ones(3, 2).T)}
        torch.save(good, root + "/x.pt")
        print(*read_nanogpt(root + "/x.pt")[1], end=" ")
        print(read_nanogpt(root + "/x.pt")[0], os.path.exists(root + "/made"))
        """,
        str(tmp_path),
    )
    expected = "evil class not-nano list texts numbers integers unfolding sparse meta twice none"
    expected += " bytes bytes bytes bytes file file file file w v"
    assert found.strip() == expected + " {'n_layer': 1} False"
