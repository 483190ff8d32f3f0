"""Counterexamples as scripts: each failing claim has one, and it needs numpy at most."""

import builtins
import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from gradflow.claims import registered
from tests.theory_checks.verdicts import VERDICTS

ROOT = Path(__file__).resolve().parents[2]
FAILING = [id for id, verdict in VERDICTS.items() if verdict == "fails"]
FILES = sorted(ROOT.glob("theory_checks/*/counterexamples/*.py"))
ALLOWED = {"numpy", "fractions", "decimal", "math"}
WITHOUT_TWIN = {("wang2024", f"thm1_{side}.py") for side in ("norm", "erank", "irank")}
"""What is corrected there is a hypothesis that the flow does not meet."""


def run(source):
    """Run a script where nothing but numpy and the standard library's arithmetic is known."""

    def imported(name, *rest):
        if name.partition(".")[0] not in ALLOWED:
            raise ImportError(f"{name} is not there")
        return __import__(name, *rest)

    scope = {"__name__": "__main__", "__builtins__": {**vars(builtins), "__import__": imported}}
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(source, "counterexample", "exec"), scope)
    return printed.getvalue()


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_a_counterexample_runs_with_numpy_alone(file):
    source = file.read_text(encoding="utf-8")
    printed = run(source)
    assert printed.strip() and re.search(r"^ *assert ", source, re.MULTILINE)
    code = [line for line in source.splitlines() if line.strip() and line.strip()[0] not in '#"']
    assert len(code) <= 30
    assert file.parts[-3::2] in WITHOUT_TWIN or re.search("corrected", source, re.IGNORECASE)


def test_every_script_belongs_to_a_claim_that_fails():
    texts = {registered()[id].script for id in FAILING}
    assert len(texts) == len(FILES) == len(FAILING) == 34
    assert {path.read_text(encoding="utf-8") for path in FILES} == texts
    assert registered()["zhao2022.eq12.corrected"].script == ""


@pytest.mark.parametrize("name", ["gradflow", "jax.numpy", "scipy"])
def test_a_script_cannot_import_more(name):
    with pytest.raises(ImportError, match="is not there"):
        run(f"import {name}")
