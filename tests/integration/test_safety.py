"""Loaders in a fresh process under an audit hook: no code, no class, no file from outside."""

import pytest

from unit.checkpoint.hostile import TENSORS, read_all, sound

pytestmark = pytest.mark.subproc


def make_cache(root, revision="0123456789abcdef0123456789abcdef01234567"):
    """Lay out one model as huggingface_hub does."""
    cache = root / "hub" / "models--org--name"
    snapshot = cache / "snapshots" / revision
    sound(snapshot)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(revision)
    return snapshot


def test_a_cached_name_is_found_without_the_network(tmp_path, run_python):
    snapshot = make_cache(tmp_path)
    found = run_python(
        """
        import sys
        sys.addaudithook(lambda event, args: event == "socket.connect" and sys.exit("network"))
        from zoo.checkpoint import read_folder, resolve
        path = resolve("org/name")
        print(path, len(read_folder(path).tensors))
        """,
        HF_HOME=str(tmp_path),
        ZOO_OFFLINE="1",
        HF_HUB_OFFLINE="0",
    )
    assert found.split() == [str(snapshot), str(len(TENSORS))]
    assert read_all(snapshot)


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
        import os, pickle, sys
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
        torch.save(good, root + "/x.pt")
        print(read_nanogpt(root + "/x.pt")[0], os.path.exists(root + "/made"))
        """,
        str(tmp_path),
    )
    expected = "evil class not-nano list texts numbers integers bytes bytes bytes bytes"
    assert found.strip() == expected + " {'n_layer': 1} False"
