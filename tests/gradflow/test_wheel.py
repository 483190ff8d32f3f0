"""The wheel: one import name, all files, and papers that are found wherever a command runs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = (
    "LICENSE", "gradflow/py.typed", "gradflow/ode/rkc3.npz", "gradflow/plotting/explorer.html",
    "gradflow/plotting/explorer.js", "gradflow/plotting/explorer_panels.js",
    "gradflow/plotting/explorer_picture.js",
    "gradflow/plotting/paper.mplstyle", "gradflow/claims/report/page.css",
    "gradflow/claims/report/page.js",
)  # fmt: skip


def build(kind, folder):
    """Have hatchling build, without a network; the wheel that comes of it."""
    call = f"import hatchling.build as b; b.build_{kind}({str(folder)!r})"
    subprocess.run([sys.executable, "-c", call], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """The wheel as pip unpacks it."""
    folder = tmp_path_factory.mktemp("site")
    wheel.extractall(folder)
    return folder


@pytest.fixture
def hostile(tmp_path):
    """A folder whose owner has packages of the papers' names."""
    for name in ("theory_checks", "experiments"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = True\n")
        (tmp_path / name / "wang2024.py").write_text("raise RuntimeError('not yours to import')\n")
    return tmp_path


def python(*words, at, path):
    """Run Python from a folder, with `path` before everything that is installed."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    ran = subprocess.run(
        [sys.executable, *words], cwd=at, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_it_brings_one_import_name(wheel):
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"gradflow"}


def test_it_brings_every_module_and_file_of_data(wheel):
    names = {name.removeprefix("gradflow/papers/") for name in wheel.namelist()}
    names = {name.rpartition("/licenses/")[2] for name in names}
    modules = {
        path.relative_to(ROOT).as_posix()
        for folder in ("gradflow", "theory_checks", "experiments")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert names >= modules | set(DATA)
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


def test_an_editable_install_is_a_path_and_no_copy(tmp_path):
    names = build("editable", tmp_path).namelist()
    assert [name for name in names if ".dist-info/" not in name] == ["_gradflow.pth"]


def test_importing_gradflow_brings_no_jax(site, hostile):
    look = "import sys, gradflow; print(gradflow.__file__, 'jax' in sys.modules)"
    found = python("-c", look, at=hostile, path=site).split()
    assert found == [str(site / "gradflow" / "__init__.py"), "False"]


@pytest.mark.parametrize("place", ["wheel", "checkout"])
def test_papers_are_found_beside_packages_of_their_names(place, site, hostile):
    path = site if place == "wheel" else ROOT
    printed = python("-m", "gradflow.cli", "list", at=hostile, path=path)
    assert all(id in printed for id in ("arora2019.fig1", "zhao2022.table2", "razin2020.eq51"))


OWN = """
import experiments  # their own

if __name__ == "__main__":
    import gradflow as gf

    report = gf.sweeps.run("wang2024.fig1", scale="quick", jobs=2, show=False)
    print(report.done, report.failures, experiments.MINE)
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", ["wheel", "checkout"])
def test_workers_know_the_papers_beside_packages_of_their_names(place, site, hostile):
    path = site if place == "wheel" else ROOT
    (hostile / "own.py").write_text(OWN)
    assert python("own.py", at=hostile, path=path) == "10 {} True\n"
    for words in ("check razin2020.eq51", "run wang2024.fig1 --quick", "status",
                  "compare wang2024.fig1 --quick", "plot wang2024.fig1 --quick",
                  "check razin2020.eq51 --json a.json", "report --ledger a.json"):  # fmt: skip
        python("-m", "gradflow.cli", *words.split(), at=hostile, path=path)
    results = hostile / "results"
    assert "razin2020.eq51" in (results / "theorems.html").read_text(encoding="utf-8")
    assert (results / "experiments" / "wang2024.fig1-quick.png").stat().st_size > 10_000
