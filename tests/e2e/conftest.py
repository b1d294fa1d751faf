"""Folders for the calls; every test here starts `python -m zoo` and reads what comes out."""

import shlex

import pytest

from e2e.models import write_all


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    write_all(place)
    return place


@pytest.fixture
def filled(models, tmp_path):
    """Put folders in the places that a call of the verb table leaves open."""
    names = {p.stem: str(p) for p in models.iterdir()} | {"out": str(tmp_path / "out")}
    return lambda line: [word.format(**names) for word in shlex.split(line)]
