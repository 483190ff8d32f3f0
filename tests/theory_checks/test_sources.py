"""What the sources of the claims must not hide: hypotheses and floors that nobody measured."""

import ast
from pathlib import Path

import pytest

import theory_checks
from gradflow.claims import oracles

FILES = [
    file
    for package in (theory_checks, oracles)
    for file in sorted(Path(package.__file__).parent.rglob("*.py"))
]


def calls(file):
    """The keywords of all calls in a file, by name."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield from node.keywords


def hidden(file):
    """Lines with a hypothesis that is the word True, or with a floor that is a number."""
    for word in calls(file):
        if word.arg == "hypotheses":
            for part in ast.walk(word.value):
                values = part.values if isinstance(part, ast.Dict) else []
                yield from (v.lineno for v in values if getattr(v, "value", None) is True)
        if word.arg == "floor" and isinstance(word.value, ast.Constant) and word.value.value != 0:
            yield word.value.lineno


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_hypotheses_and_floors_are_measured_or_say_that_they_are_not(file):
    assert list(hidden(file)) == []


def test_the_test_would_notice(tmp_path):
    file = tmp_path / "own.py"
    file.write_text('Case("x", floor=1e-9, hypotheses={"a": b, "c": True})\nCase("y", floor=0.0)')
    assert list(hidden(file)) == [1, 1]
