"""Runs that several tests here look at."""

import shutil

import pytest

from gradflow import sweeps
from tests.gradflow.sweeps.own import QUICK


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The quick grid with its flows, computed in this process; not to be changed."""
    out = tmp_path_factory.mktemp("done")
    report = sweeps.run("own.sweep", out=out, jobs=1, with_flow=True, **QUICK)
    return out, report


@pytest.fixture
def copy(done, tmp_path):
    """A copy of it, to be changed."""
    shutil.copytree(done[0], tmp_path / "out")
    return tmp_path / "out"
