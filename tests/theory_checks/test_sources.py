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


class Names(ast.NodeVisitor):
    """Where a generator binds its names, and what its inner functions take from it."""

    def __init__(self, outer):
        self.outer, self.loops = outer, 0
        self.bound, self.inner = {}, []
        for node in outer.body:
            self.visit(node)

    def visit_FunctionDef(self, node):
        self.inner.append(node)

    visit_Lambda = visit_FunctionDef

    def visit_For(self, node):
        self.loops += 1
        self.generic_visit(node)
        self.loops -= 1

    visit_While = visit_For

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Store):
            self.bound.setdefault(node.id, []).append((node.lineno, self.loops))


def is_name(node):
    return isinstance(node, ast.Name)


def bound_late(source):
    """Names that a case's function reads when it is called, and that have changed by then."""
    for outer in ast.walk(ast.parse(source)):
        if not isinstance(outer, ast.FunctionDef) or not any(
            isinstance(node, ast.Yield) for node in ast.walk(outer)
        ):
            continue
        names = Names(outer)
        for inner in names.inner:
            own = {arg.arg for n in ast.walk(inner) if isinstance(n, ast.arguments)
                   for arg in (*n.args, *n.kwonlyargs)}  # fmt: skip
            body = inner.body if isinstance(inner.body, list) else [inner.body]
            used = [n for part in body for n in ast.walk(part) if is_name(n)]
            own |= {n.id for n in used if isinstance(n.ctx, ast.Store)}
            for name in sorted({n.id for n in used} - own):
                places = names.bound.get(name, [])
                if any(loops or line > inner.lineno for line, loops in places):
                    yield f"line {inner.lineno}: {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_what_a_case_says_later_is_about_that_case(file):
    assert list(bound_late(file.read_text(encoding="utf-8"))) == []


def test_a_name_that_changes_before_it_is_read_is_noticed():
    loop = "def f():\n    for k in a:\n        yield Case(witness=lambda at: k)\n"
    later = "def f():\n    s = 1\n    yield Case(confirm=lambda at: s)\n    s = 2\n    yield s\n"
    kept = "def f():\n    for k in a:\n        yield Case(witness=lambda at, k=k: k)\n"
    assert list(bound_late(loop)) == ["line 3: k"]
    assert list(bound_late(later)) == ["line 3: s"]
    assert list(bound_late(kept)) == []
