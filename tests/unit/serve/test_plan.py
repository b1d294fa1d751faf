"""Plans: what words and files say is served, and what is wrong with those that say nothing."""

import os

import pytest

from zoo.serve.plan import ModelPlan, Plan, plan_of, read_plan


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Stand in a place with three folders and a file."""
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("no folder")
    monkeypatch.chdir(tmp_path)
    return {name: os.path.realpath(tmp_path / name) for name in ("one", "two", "three")}


WORDS = [
    (["gpt2=one"], {"gpt2": ({"1": "one"}, "1")}),
    (["gpt2=one", "bert=two"], {"gpt2": ({"1": "one"}, "1"), "bert": ({"1": "two"}, "1")}),
    (["gpt2=one", "gpt2@2=two"], {"gpt2": ({"1": "one", "2": "two"}, "1")}),
    (["gpt2@new=two", "gpt2=one"], {"gpt2": ({"new": "two", "1": "one"}, "new")}),
    (["a.b-c_D@v0.1=./one/"], {"a.b-c_D": ({"v0.1": "one"}, "v0.1")}),
    (
        ["a=one", "b=two", "a@2=one"],
        {"a": ({"1": "one", "2": "one"}, "1"), "b": ({"1": "two"}, "1")},
    ),
]


def plan(models, folders):
    return Plan(
        {
            name: ModelPlan({v: folders[f] for v, f in versions.items()}, default)
            for name, (versions, default) in models.items()
        }
    )


@pytest.mark.parametrize(("words", "models"), WORDS)
def test_words_name_models_versions_and_folders(folders, words, models):
    assert plan_of(words) == plan(models, folders)


BAD_WORDS = [
    ([], "no model is named; expected name=FOLDER"),
    (["gpt2"], "gpt2: expected name=FOLDER or name@version=FOLDER"),
    (["gpt2="], "gpt2=: expected name=FOLDER"),
    (["=one"], "'' is not a name; expected letters, digits"),
    (["gpt2@=one"], "'' is not a name"),
    (["gp t=one"], "'gp t' is not a name"),
    (["gpt/2=one"], "'gpt/2' is not a name"),
    (["gpt2@1@2=one"], "'1@2' is not a name"),
    (["größe=one"], "'größe' is not a name"),
    (["gpt2\n=one"], r"'gpt2\\n' is not a name"),
    (["g" * 101 + "=one"], "is not a name; expected letters, digits, . _ and -, at most 100"),
    (["gpt2=four"], "gpt2=four: four is not there; expected a checkpoint's folder"),
    (["gpt2=file"], "gpt2=file: file is a file; expected a checkpoint's folder"),
    (["gpt2=one", "gpt2=two"], "gpt2=two: version 1 of gpt2 .* as in gpt2@2=two"),
    (["g=one", "g@2=one", "g@2=two"], "g@2=two: version 2 of g .* as in g@3=two"),
]


@pytest.mark.parametrize(("words", "says"), BAD_WORDS, ids=range(len(BAD_WORDS)))
def test_words_that_mean_nothing_are_named(folders, words, says):
    with pytest.raises(ValueError, match=says):
        plan_of(words)


FILES = [
    (
        '[gpt2]\ndefault = "2"\n[gpt2.versions]\n1 = "one"\n2 = "two"\n'
        '[bert.versions]\n1 = "three"',
        {"gpt2": ({"1": "one", "2": "two"}, "2"), "bert": ({"1": "three"}, "1")},
    ),
    ('[gpt2.versions]\nb = "one"\na = "two"', {"gpt2": ({"b": "one", "a": "two"}, "b")}),
    ('["v0.1".versions]\n"2.5" = "one/../two"', {"v0.1": ({"2.5": "two"}, "2.5")}),
]


@pytest.mark.parametrize(("text", "models"), FILES, ids=["two models", "no default", "dots"])
def test_a_file_names_them_relative_to_itself(folders, tmp_path, monkeypatch, text, models):
    (tmp_path / "plan.toml").write_text(text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert read_plan("../plan.toml") == plan(models, folders)


def test_an_absolute_folder_stays(folders, tmp_path):
    (tmp_path / "plan.toml").write_text(f"[g.versions]\n1 = '{folders['one']}'")
    assert read_plan(tmp_path / "plan.toml") == plan({"g": ({"1": "one"}, "1")}, folders)


BAD_FILES = [
    ("", "names no model; expected a table for each"),
    ("[gpt2", "plan.toml: Expected"),
    ('gpt2 = "one"', r"\[gpt2\]: expected `default` and a table `versions`"),
    ("[gpt2]", r"\[gpt2\]: expected a table \[gpt2.versions\]"),
    ("[gpt2.versions]", r"\[gpt2\]: expected a table \[gpt2.versions\]"),
    ('[gpt2]\nversions = "one"', r"\[gpt2\]: expected a table"),
    ('[gpt2]\nfolder = "one"\n[gpt2.versions]\n1 = "one"', "`versions`, nothing else"),
    ("[gpt2.versions]\n1 = 7", "version 1 is 7; expected a folder's path"),
    ('[gpt2.versions]\n1 = "four"', "four is not there"),
    ('["gp t".versions]\n1 = "one"', "'gp t' is not a name"),
    ('[gpt2.versions]\n"1 " = "one"', "'1 ' is not a name"),
    (
        '[gpt2]\ndefault = "3"\n[gpt2.versions]\n1 = "one"',
        """default is '3'; expected one of "1\"""",
    ),
    ('[gpt2]\ndefault = 1\n[gpt2.versions]\n1 = "one"', """default is 1; expected one of "1\""""),
]


@pytest.mark.parametrize(("text", "says"), BAD_FILES, ids=range(len(BAD_FILES)))
def test_a_file_that_means_nothing_is_named(folders, tmp_path, text, says):
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(ValueError, match=says) as error:
        read_plan(tmp_path / "plan.toml")
    assert "plan.toml" in str(error.value)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"plan\.toml: No such file or directory; expected a plan"):
        read_plan(tmp_path / "plan.toml")
    (tmp_path / "plan.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"plan\.toml: 'utf-8' codec"):
        read_plan(tmp_path / "plan.toml")
