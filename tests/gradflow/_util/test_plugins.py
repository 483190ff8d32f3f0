"""Papers are found where they stand, whatever else has the names of their folders."""

import pickle
import sys
from types import ModuleType

import pytest

from gradflow._util import plugins
from gradflow.sweeps import find

KINDS = ("theory_checks", "experiments")


def write(folder, text=""):
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(text)


@pytest.fixture
def fresh(monkeypatch):
    """No package of papers has been imported."""
    for name in list(sys.modules):
        if name.removeprefix("gradflow.papers.").partition(".")[0] in KINDS:
            monkeypatch.delitem(sys.modules, name)
    yield
    for name in list(sys.modules):
        if name.removeprefix("gradflow.papers.").partition(".")[0] in KINDS:
            sys.modules.pop(name)


def test_in_a_checkout_papers_have_the_names_that_import_gives_them():
    found = plugins.papers("theory_checks")
    names = [f"theory_checks.{paper}" for paper in ("arora2019", "razin2020", "razin2021")]
    assert [module.__name__ for module in found if module.__name__ in names] == names


@pytest.mark.parametrize("imported", [True, False])
def test_a_package_of_the_same_name_stays_its_owners(imported, fresh, tmp_path, monkeypatch):
    write(tmp_path / "experiments", "MINE = 1")
    monkeypatch.syspath_prepend(tmp_path)
    if imported:
        assert __import__("experiments").MINE == 1
    parent = plugins._folder("experiments")
    assert parent.__name__ == "gradflow.papers.experiments"
    assert __import__("experiments").MINE == 1
    assert "wang2024" in plugins._names(parent)


def test_a_module_made_by_hand_is_somebody_elses(fresh, monkeypatch):
    monkeypatch.setitem(sys.modules, "experiments", ModuleType("experiments"))
    assert plugins._folder("experiments").__name__ == "gradflow.papers.experiments"


def test_a_cell_is_unpickled_under_the_name_that_papers_have_here():
    experiment = find("wang2024.fig1")
    cell = experiment.cells(experiment.grid("quick", "paper"))[0]
    # Protocol 0 is text, so that the name can be changed to what it is in an installed package.
    here = pickle.dumps(cell, protocol=0)
    there = here.replace(b"experiments.wang2024", b"gradflow.papers.experiments.wang2024")
    assert there != here
    assert plugins.unpickle(there) == plugins.unpickle(here) == cell


def test_what_is_no_papers_is_unpickled_as_always():
    assert plugins.unpickle(pickle.dumps((find, {"a": 1}))) == (find, {"a": 1})


def test_a_folder_without_papers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match="which has no folder theory_checks or experiments"):
        plugins.papers("theory_checks")


def test_two_papers_of_one_name_are_refused(fresh, tmp_path, monkeypatch):
    write(tmp_path / "theory_checks" / "wang2024")
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match=r"there are two papers wang2024, in .*; give one another"):
        plugins.papers("theory_checks")
