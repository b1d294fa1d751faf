"""A subject is a model with what its folder holds; what a task needs and it lacks is said."""

import shutil

import pytest
import torch

from unit.evaluate.subjects import embedder, filler, matcher, row, seer, sorter, speaker
from zoo.checkpoint import CheckpointError
from zoo.evaluate.judges import judge
from zoo.evaluate.subject import Subject, SubjectError
from zoo.images import ImageError
from zoo.tokenizers import TokenizerError

MAKERS = {"speaker": speaker, "filler": filler, "sorter": sorter, "seer": seer, "matcher": matcher}
ROWS = {
    "speaker": row("a", "text", text="the cat sat under the house"),
    "filler": row("a", "fill", text="the [MASK] sat", answers=["cat"]),
    "sorter": row("a", "label", text="the cat sat"),
}


def written(subject, folder):
    """Write a subject as a folder."""
    subject.model.save_pretrained(folder)
    if subject.tokenizer is not None:
        subject.tokenizer.save(folder)
    if subject.processor is not None:
        subject.processor.save(folder)
    return folder


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_folder_gives_the_model_and_what_lies_beside_it(tmp_path, name, dtype):
    made = MAKERS[name]()
    opened = Subject.open(written(made, tmp_path), dtype)
    assert opened.folder == tmp_path
    assert {p.dtype for p in opened.model.parameters()} == {dtype}
    assert not opened.model.training
    for mine, theirs in zip(opened.model.parameters(), made.model.parameters(), strict=True):
        assert torch.equal(mine, theirs.to(dtype))
    assert (opened.tokenizer is None) == (made.tokenizer is None)
    assert (opened.processor is None) == (made.processor is None)
    assert opened.processor == made.processor
    if made.tokenizer is not None:
        assert opened.tokenizer.encode("the cat") == made.tokenizer.encode("the cat")


@pytest.mark.parametrize("name", ROWS)
def test_an_opened_subject_answers_as_the_one_that_was_written(tmp_path, name):
    made = MAKERS[name]()
    opened = Subject.open(written(made, tmp_path), torch.float64)
    assert judge([ROWS[name]], opened, ".") == judge([ROWS[name]], made, ".")
    narrow = Subject.open(str(tmp_path))
    assert next(narrow.model.parameters()).dtype == torch.float32
    (found,), (wanted,) = judge([ROWS[name]], narrow, "."), judge([ROWS[name]], made, ".")
    assert found.answer == wanted.answer
    assert found.value == pytest.approx(wanted.value, rel=1e-4)


@pytest.mark.parametrize(
    ("file", "error"),
    [("tokenizer.json", TokenizerError), ("preprocessor_config.json", ImageError)],
)
def test_a_damaged_file_is_an_error_and_a_missing_one_is_none(tmp_path, file, error):
    folder = written(matcher(), tmp_path / "a")
    (folder / file).unlink()
    opened = Subject.open(folder)
    assert (opened.tokenizer is None) == (file == "tokenizer.json")
    assert (opened.processor is None) == (file != "tokenizer.json")
    (folder / file).write_text("{")
    with pytest.raises(error, match=file):
        Subject.open(folder)


def test_a_published_vocabulary_is_found_too(tmp_path):
    folder = written(filler(), tmp_path)
    words = Subject.open(folder).tokenizer.backend.get_vocab()
    (folder / "tokenizer.json").unlink()
    names = sorted(words, key=words.get)
    (folder / "vocab.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    assert Subject.open(folder).tokenizer.mask_id == filler().tokenizer.mask_id


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        Subject.open(tmp_path / "nowhere")


def test_a_subject_says_what_it_is():
    assert str(filler()) == "of-no-folder (a BERT with head 'masked_lm')"


# --- what tasks need

PICTURE = {"image": "a.png", "captions": ["a", "b"], "answer": "a"}
NEEDS = {
    "choice of a BERT": (
        filler,
        "choice",
        "a GPT-2 with head 'lm'",
        "a BERT with head 'masked_lm'",
    ),
    "text of a classifier": (
        lambda: sorter("gpt2"),
        "text",
        "a GPT-2 with head 'lm'",
        "a GPT-2 with head 'sequence'",
    ),
    "fill of an embedder": (
        embedder,
        "fill",
        "a BERT with head 'masked_lm'",
        "a BERT with head None",
    ),
    "closer of a GPT-2": (speaker, "closer", "a BERT;", "a GPT-2 with head 'lm'"),
    "label of a language model": (
        speaker,
        "label",
        "a BERT with head 'sequence' or a GPT-2 with head 'sequence'",
        "a GPT-2 with head 'lm'",
    ),
    "caption of a ViT": (seer, "caption", "a CLIP with head 'match'", "a ViT with head 'image'"),
    "picture of a ViT": (seer, "picture", "a CLIP with head 'match'", "a ViT with head 'image'"),
    "retrieve of a BERT": (
        filler,
        "retrieve",
        "a CLIP with head 'match'",
        "a BERT with head 'masked_lm'",
    ),
}


@pytest.mark.parametrize("case", NEEDS)
def test_a_task_says_which_model_it_needs(case):
    make, task, needed, held = NEEDS[case]
    sentence = f"^task '{task}' needs {needed}.* of-no-folder holds {held}$"
    with pytest.raises(SubjectError, match=sentence):
        judge([row("a", task, text="sun")], make(), ".")


@pytest.mark.parametrize("image", [True, False])
def test_labels_of_pictures_need_a_model_that_sees(image):
    fields = {"image": "a.png"} if image else {"text": "sun"}
    other = filler() if image else seer()
    wanted = "a ViT with head 'image' or a CLIP with" if image else "a BERT with head 'sequence'"
    with pytest.raises(SubjectError, match=f"'label' needs {wanted}"):
        judge([row("a", "label", **fields)], other, ".")


SPOKEN, SEEN = ("tokenizer", "tokenizer.json"), ("processor", "preprocessor_config.json")
MAIL, SCAN = {"text": "sun"}, {"image": "a.png"}
PARTS = [
    ("choice", speaker, SPOKEN, {}),
    ("text", speaker, SPOKEN, {}),
    ("fill", filler, SPOKEN, {}),
    ("closer", embedder, SPOKEN, {}),
    ("label", sorter, SPOKEN, MAIL),
    ("label", lambda: sorter("gpt2"), SPOKEN, MAIL),
    ("label", seer, SEEN, SCAN),
    *((task, matcher, part, {}) for task in ("caption", "picture", "retrieve")
      for part in (SPOKEN, SEEN)),
]  # fmt: skip


@pytest.mark.parametrize(("task", "make", "part", "fields"), PARTS)
def test_a_task_says_which_file_it_lacks(task, make, part, fields):
    whole, (name, file) = make(), part
    held = {"model": whole.model, "tokenizer": whole.tokenizer, "processor": whole.processor}
    poor = Subject(folder=whole.folder, **held | {name: None})
    sentence = f"^task '{task}' needs a {name}; of-no-folder has none: put the {file} there"
    with pytest.raises(SubjectError, match=sentence):
        judge([row("a", task, **fields)], poor, ".")


def test_a_config_is_still_read_by_its_own_door(tmp_path):
    """A folder without a model is no subject, whatever lies beside it."""
    folder = written(seer(), tmp_path / "a")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        Subject.open(folder)
    shutil.rmtree(folder)
