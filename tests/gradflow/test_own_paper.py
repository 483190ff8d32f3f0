"""A paper of one's own: two folders under `GRADFLOW_PAPERS`, as docs/claims.md says; no edit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
FILES = re.findall(r"```python\n# (papers/[\w/]+\.py)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def gradflow(tmp_path_factory):
    """The command, called in a folder with the page's files."""
    folder = tmp_path_factory.mktemp("own")
    for name, source in FILES:
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(source, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GRADFLOW_PAPERS": str(folder / "papers")}

    def call(words, papers=environment["GRADFLOW_PAPERS"]):
        return subprocess.run(
            [sys.executable, "-m", "gradflow.cli", *words.split()], cwd=folder,
            env={**environment, "GRADFLOW_PAPERS": papers}, capture_output=True, text=True,
        )  # fmt: skip

    call.folder = folder
    return call


def test_the_page_has_a_package_of_each_kind():
    kinds = [name.split("/")[1] for name, _ in FILES]
    assert kinds == ["theory_checks", "experiments"]


def test_it_is_listed(gradflow):
    ran = gradflow("list")
    assert ran.returncode == 0, ran.stderr
    assert "mine2026.eq1" in ran.stdout and "mine2026.fig1" in ran.stdout
    # The last of its kind: papers stand in order of their years.
    assert ran.stdout.index("wang2024.irank_pr") < ran.stdout.index("mine2026.eq1")


def test_its_claims_are_checked_and_are_in_the_summary(gradflow):
    ran = gradflow("check mine2026 --json ledger.json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    summary = gradflow.folder / "summary.md"
    summary.write_text("<!-- verdicts: begin -->\n<!-- verdicts: end -->\n")
    ran = gradflow("report --ledger ledger.json --summary summary.md")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "| We 2026 | 1 | 1 | 0 |" in summary.read_text()


def test_its_experiments_run_in_workers(gradflow):
    ran = gradflow("run mine2026.fig1 --jobs 2")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 cells done" in ran.stdout and "yes" in ran.stdout
    assert (gradflow.folder / "results/experiments/mine2026.fig1.png").stat().st_size > 5_000


@pytest.mark.parametrize("command", ["list", "check", "report", "status"])
def test_a_folder_without_papers_is_misuse(gradflow, command):
    ran = gradflow(command, papers="nowhere")
    assert ran.returncode == 2
    assert ran.stderr.startswith("gradflow: GRADFLOW_PAPERS names nowhere, which has no folder")
