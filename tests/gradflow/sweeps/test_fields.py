"""Values of a grid's fields, from Python, are those that the command line makes of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from gradflow import sweeps
from gradflow.sweeps.fields import changed
from tests.gradflow.sweeps.own import OWN


@dataclass(frozen=True)
class Grid:
    rates: tuple[float, ...] = (0.1,)
    shapes: tuple[tuple[int, int], ...] = ((2, 3),)
    size: int = 10
    norm: float = 1.0
    stop: float | None = None
    kind: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ("adam",)
    deep: bool = False


@pytest.mark.parametrize(
    "field, given, made",
    [
        ("rates", [1, 0.5], (1.0, 0.5)),
        ("rates", np.array([1, 2]), (1.0, 2.0)),
        ("shapes", [[1, 2], (3, np.int64(4))], ((1, 2), (3, 4))),
        ("size", np.int64(3), 3),
        ("norm", 2, 2.0),
        ("norm", np.float32(0.5), 0.5),
        ("stop", 1, 1.0),
        ("stop", None, None),
        ("kind", "b", "b"),
        ("names", ["gd", "adam"], ("gd", "adam")),
        ("deep", True, True),
    ],
)
def test_values_become_those_of_the_command_line(field, given, made):
    found = getattr(changed(Grid(), {field: given}), field)
    assert repr(found) == repr(made)


@pytest.mark.parametrize(
    "field, given, words",
    [
        ("rates", 0.1, r"rates must be several values, such as \(0.1,\), but it is 0.1"),
        ("rates", "0.1", "rates must be several values"),
        ("rates", ["0.1"], "rates must be a number, but it is '0.1'"),
        ("shapes", [(1, 2, 3)], "shapes must be 2 values"),
        ("size", 2.5, "size must be a whole number"),
        ("size", True, "size must be a whole number"),
        ("norm", "12", "norm must be a number"),
        ("norm", True, "norm must be a number"),
        ("stop", "x", "stop must be float | None"),
        ("kind", "c", "kind must be one of 'a', 'b'"),
        ("names", "gd", r"names must be several values, such as \('gd',\)"),
        ("deep", 1, "deep must be True or False"),
    ],
)
def test_other_types_are_refused_with_what_fits(field, given, words):
    with pytest.raises(ValueError, match=words.replace("|", r"\|")):
        changed(Grid(), {field: given})


def test_a_whole_number_finds_the_cell_of_the_float(tmp_path):
    options = {"scale": "quick", "out": tmp_path, "module": OWN, "seeds": (0,)}
    sweeps.run("own.sweep", **options, rates=(1.0,), jobs=1, show=False)
    found = sweeps.load("own.sweep", **options, rates=[1])
    assert (len(found), found.missing) == (1, 0)
    assert repr(found).startswith("Results(own.sweep, 1 cells, 0 missing")
    assert len(sweeps.load("own.sweep", **options, rates=[2])) == 0


def test_what_a_lazy_package_has_is_listed():
    import gradflow as gf

    for package in (gf.plotting, gf.claims, gf.sweeps):
        assert dir(package) == sorted(package.__all__)
        assert all(hasattr(package, name) for name in dir(package))


def test_the_table_keeps_a_field_that_is_called_as_a_column_of_its_own():
    import xarray as xr

    from gradflow.sweeps import Item, Results

    @dataclass(frozen=True)
    class Baseline:
        method: str

    items = [Item(Baseline(method)) for method in ("OptSpace", "nuclear norm")]
    data = [xr.Dataset({"final_error": k}) for k in (1.0, 2.0)]
    found = Results(sweeps.find("razin2020.fig1"), None, items, data, 0)
    assert found.table["cell_method"].tolist() == ["OptSpace", "nuclear norm"]
    assert found.table["method"].tolist() == ["own", "own"]
    one = found.only(lambda item: item.cell.method == "OptSpace")
    assert one.table["final_error"].tolist() == [1.0]
