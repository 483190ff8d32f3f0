"""No public name means two things."""

import importlib
import pkgutil
from collections import defaultdict
from types import ModuleType

import gradflow


def rooms() -> list[ModuleType]:
    """The package, and what users import from it: packages, and modules that list names."""
    found = [gradflow]
    for one in pkgutil.iter_modules(gradflow.__path__, "gradflow."):
        if not one.name.rpartition(".")[2].startswith("_"):
            module = importlib.import_module(one.name)
            if hasattr(module, "__all__") or module is gradflow.observables:
                found.append(module)
    return found


def listed(room: ModuleType) -> list[str]:
    """The public names of a room."""
    own = [
        name
        for name, value in vars(room).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == room.__name__
    ]
    return list(getattr(room, "__all__", own))


def ambiguous(rooms: list[ModuleType]) -> dict[str, list[str]]:
    """Names of two things, with where those are; an observable may bear the name of what it records
    of a state, where that is a function of a matrix or of factors."""
    of_matrices = {"gradflow.linalg", "gradflow.factorizations"}
    places = defaultdict(dict)
    for room in rooms:
        for name in listed(room):
            value = getattr(room, name)
            if not isinstance(value, ModuleType):
                places[name].setdefault(id(value), room.__name__)
    found = {name: sorted(where.values()) for name, where in places.items() if len(where) > 1}
    return {
        name: where
        for name, where in found.items()
        if not (len(where) == 2 and set(where) & of_matrices and "gradflow.observables" in where)
    }


def test_no_public_name_means_two_things():
    there = rooms()
    assert {"gradflow", "gradflow.claims", "gradflow.sweeps", "gradflow.observables"} <= {
        room.__name__ for room in there
    }
    assert ambiguous(there) == {}


def test_a_second_meaning_is_found():
    other = ModuleType("gradflow.other")
    other.__all__ = ["Claim", "solve_flow"]
    other.Claim, other.solve_flow = object(), gradflow.solve_flow
    assert ambiguous([*rooms(), other]) == {"Claim": ["gradflow.claims", "gradflow.other"]}
