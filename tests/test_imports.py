"""The house: data flows one way, engines know no paper, papers are indifferent to their place."""

import ast
import importlib
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.imports import circle, imports, modules

ROOMS = (
    "_util", "linalg", "ode", "problems", "factorizations", "synthetic", "penalties", "factored",
    "objective", "columns", "spreading", "start", "state", "observables", "options", "dynamics",
    "coordinates", "trajectory", "resuming", "optimizers", "flow", "descent", "exact", "baselines",
    "plotting", "saddles", "conjectures", "claims",
    "sweeps", "catalogue", "kept_help", "listing", "commands", "shell_completion", "cli",
    "__main__",
)  # fmt: skip
"""What stands below comes first: nothing imports what comes later."""


def library():
    return [found for found in imports("gradflow") if not found.typing]


def within():
    return [
        found
        for found in library()
        if found.target.startswith("gradflow.") and found.importer != "gradflow"
    ]


def papers():
    return [*imports("theory_checks"), *imports("experiments")]


def room(module):
    return module.split(".")[1]


def said(found):
    return [f"{one.importer}, line {one.line}, imports {one.target}" for one in found]


def test_the_list_of_rooms_is_that_of_the_library():
    assert {room(name) for name in modules("gradflow") if name != "gradflow"} == set(ROOMS)


def test_no_file_imports_itself_through_others():
    arrows = defaultdict(set)
    for found in within():
        arrows[found.importer].add(found.target)
    assert circle(arrows) == []


def test_no_room_imports_what_stands_above_it():
    place = {name: k for k, name in enumerate(ROOMS)}
    up = [one for one in within() if place[room(one.target)] > place[room(one.importer)]]
    assert said(up) == []


def test_a_room_is_entered_by_names_that_it_gives_out():
    """A module that begins with _ is its room's own; `_util` is everybody's."""
    private = [
        one
        for one in within()
        if room(one.target) != room(one.importer)
        and any(part.startswith("_") for part in one.target.split(".")[2:])
    ]
    assert said(private) == []


def private_names(name: str, source: str) -> list[str]:
    """Names that begin with _ and that a file takes from another of the library."""
    return [
        f"{name} imports {one.name} of {node.module}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gradflow.")
        for one in node.names
        if one.name.startswith("_") and f"{node.module}.{one.name}" not in modules("gradflow")
    ]


def test_a_file_keeps_its_private_names():
    every = modules("gradflow").items()
    taken = [one for name, path in every for one in private_names(name, path.read_text("utf-8"))]
    assert taken == []


def test_a_private_name_that_is_taken_is_found():
    source = "from gradflow._util import validate\nfrom gradflow.problems.base import _weight, a"
    assert private_names("b", source) == ["b imports _weight of gradflow.problems.base"]


def test_the_library_knows_no_paper_and_no_test():
    outside = ("theory_checks", "experiments", "tests", "benchmarks")
    known = [one for one in imports("gradflow") if one.target.split(".")[0] in outside]
    assert said(known) == []
    names = {paper.split(".")[1] for kind in outside[:2] for paper in modules(kind) if "." in paper}
    quoted = re.compile(rf"""["'](theory_checks|experiments)\.({"|".join(sorted(names))})""")
    for name, path in modules("gradflow").items():
        assert not quoted.search(path.read_text(encoding="utf-8")), name


@pytest.mark.parametrize(("one", "other"), [("claims", "sweeps"), ("sweeps", "claims")])
def test_the_engines_do_not_know_each_other(one, other):
    known = [
        found for found in within() if (room(found.importer), room(found.target)) == (one, other)
    ]
    assert said(known) == []


def test_the_library_imports_names_from_where_they_are_defined():
    whole = [
        one for one in library() if one.target == "gradflow" and one.importer != "gradflow.cli"
    ]
    assert said(whole) == []
    files = {name: path for name, path in modules("gradflow").items() if path.stem != "__init__"}
    known = {name: only_imported(path.read_text("utf-8")) for name, path in files.items()}
    every = {**modules("gradflow"), **modules("theory_checks"), **modules("experiments")}
    assert [one for name, path in every.items() for one in second_hand(name, path, known)] == []


def only_imported(source: str) -> set[str]:
    """Names that a file has from others alone."""
    nodes = list(ast.walk(ast.parse(source)))
    own = {node.id for node in nodes if isinstance(node, ast.Name)
           and isinstance(node.ctx, ast.Store)}  # fmt: skip
    own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return {
        one.asname or one.name
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for one in node.names
    } - own


def second_hand(name: str, path: Path, known: dict[str, set[str]]) -> list[str]:
    """What a file takes from files that have it from others."""
    return [
        f"{name} imports {one.name} of {node.module}"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        for one in node.names
        if one.name in known.get(node.module or "", ())
    ]


def test_a_name_at_second_hand_is_found(tmp_path):
    known = {"gradflow.b": only_imported("from gradflow.a import x, y\nz = 1\ny = x")}
    (tmp_path / "c.py").write_text("from gradflow.b import x, y, z")
    assert second_hand("c", tmp_path / "c.py", known) == ["c imports x of gradflow.b"]


@pytest.mark.parametrize("name", [name for name, path in modules("gradflow").items()
                                  if path.stem == "__init__"])  # fmt: skip
def test_a_room_has_what_it_gives_out(name):
    room = importlib.import_module(name)
    assert [each for each in getattr(room, "__all__", ()) if not hasattr(room, each)] == []


def test_a_trajectory_draws_nothing():
    drawing = ("gradflow.plotting", "matplotlib", "plotly")
    known = [
        one
        for one in imports("gradflow")
        if one.importer == "gradflow.trajectory" and one.target.startswith(drawing)
    ]
    assert said(known) == []


def test_papers_import_the_library_absolutely_and_each_other_relatively():
    by_name = [
        one
        for one in papers()
        if not one.relative and one.target.split(".")[0] in ("theory_checks", "experiments")
    ]
    up = [one for one in papers() if one.relative and one.target.startswith("gradflow")]
    assert said(by_name) == said(up) == []


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circle({"a": {"b"}, "b": {"c", "d"}, "d": {"b"}}) == ["b", "d", "b"]
