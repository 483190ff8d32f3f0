"""A file is one concept, a function fits a screen: what can be counted of that."""

import ast
import statistics
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("gradflow", "theory_checks", "experiments", "tests", "benchmarks", "docs")
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
}
LINES = {name: len(source.splitlines()) for name, source in SOURCES.items()}


def test_no_file_has_more_than_400_lines():
    assert {name: lines for name, lines in LINES.items() if lines > 400} == {}


def test_the_median_file_has_less_than_180_lines():
    assert statistics.median(LINES.values()) < 180


def test_no_function_has_more_than_80_lines():
    long = {
        f"{name}: {node.name}": lines
        for name, source in SOURCES.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and (lines := node.end_lineno - node.lineno + 1) > 80
    }
    assert long == {}
