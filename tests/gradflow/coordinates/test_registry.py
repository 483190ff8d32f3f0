"""Names of coordinates come from one list; what cannot be made of it says the same."""

import re
from pathlib import Path
from typing import get_args

import pytest

import gradflow as gf
from gradflow.coordinates import COORDINATES
from gradflow.coordinates.registry import CoordinatesName
from gradflow.flow.options import FlowOptions

ROOT = Path(gf.__file__).parent
ASKED = re.compile(r"""coordinates=\\?["']([a-z]+)["']""")


def test_type_checkers_read_the_same_names():
    assert get_args(CoordinatesName) == ("auto", *COORDINATES)


def test_the_room_gives_out_the_classes():
    given = [getattr(gf.coordinates, name) for name in gf.coordinates.__all__]
    assert {one for one in given if hasattr(one, "name")} == set(COORDINATES.values())


def test_no_two_are_known_by_the_same_array():
    marks = [kind.mark for kind in COORDINATES.values()]
    assert len(set(marks)) == len(marks) and COORDINATES["factors"].mark == ""


def test_the_option_tells_of_each():
    told = str(FlowOptions.__doc__).partition("coordinates: ")[2].partition("horizon: ")[0]
    assert set(re.findall(r'"([a-z]+)"', told)) == {"auto", *COORDINATES}


def test_the_page_tells_of_each():
    page = (ROOT.parent / "docs" / "flows.md").read_text(encoding="utf-8")
    assert set(re.findall(r'^\| `"([a-z]+)"` \|', page, re.MULTILINE)) == set(COORDINATES)


def unknown(text: str) -> set[str]:
    return set(ASKED.findall(text)) - {"auto", *COORDINATES}


@pytest.mark.parametrize("folder", ["gradflow", "docs", "theory_checks", "experiments"])
def test_what_is_asked_for_is_there(folder):
    files = [f for kind in ("*.py", "*.md") for f in sorted((ROOT.parent / folder).rglob(kind))]
    assert (
        files and {str(f): found for f in files if (found := unknown(f.read_text("utf-8")))} == {}
    )


def test_a_name_that_is_not_there_is_found():
    assert unknown("use coordinates='polar', or coordinates=\"ldu\"") == {"polar"}
