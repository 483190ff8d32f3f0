"""Checks of user input: what counts as a number, and what is refused."""

import decimal

import jax.numpy as jnp
import numpy as np
import pytest

from gradflow._util.validate import (
    entry_indices,
    finite_array,
    observed_values,
    positive,
    real,
    seed_of,
    shape_of,
    whole,
)

NUMBERS = {
    "int": 2,
    "float": 2.0,
    "NumPy's float": np.float64(2),
    "NumPy's single": np.float32(2),
    "NumPy's int": np.int8(2),
    "an array without axes": np.array(2.0),
    "JAX's": jnp.asarray(2.0),
    "JAX's half": jnp.asarray(2, jnp.bfloat16),
    "a decimal": decimal.Decimal(2),
}
NO_NUMBERS = {
    "text": "2",
    "bytes": b"2",
    "true": True,
    "NumPy's true": np.True_,
    "an array of truth": np.array(True),
    "JAX's true": jnp.asarray(True),
    "an array with an axis": np.array([2.0]),
    "JAX's array with an axis": jnp.ones(1),
    "a list": [2.0],
    "none": None,
    "not a number": np.nan,
    "complex": 2 + 0j,
    "NumPy's complex": np.complex128(2),
    "a masked number": np.ma.array(2.0, mask=True),
    "an array of text": np.array("2"),
    "beyond float": 10**400,
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_number_is_one_of_any_library(kind):
    value = NUMBERS[kind]
    assert (real(value), positive("x", value), whole("x", value)) == (2.0, 2.0, 2)
    assert shape_of("x", (value,)) == (2,)


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_is_no_number_is_refused_by_its_value(kind):
    value = NO_NUMBERS[kind]
    for check in (positive, whole, seed_of, lambda name, x: shape_of(name, (x,))):
        with pytest.raises(ValueError, match="x must"):
            check("x", value)


def test_whole_numbers_have_bounds():
    assert whole("x", 2**63 - 1) == 2**63 - 1
    assert seed_of("x", 0) == 0
    for call, words in (
        (lambda: whole("x", 10**30), "at most 9223372036854775807, but it is 10{30}"),
        (lambda: whole("x", 1e300), "at most"),
        (lambda: whole("x", 0), "at least 1"),
        (lambda: whole("x", 2.5), "whole number"),
        (lambda: seed_of("x", -1), "at least 0, but it is -1"),
        (lambda: seed_of("x", 2**31), "at most 2147483647"),
        (lambda: shape_of("x", (2, 10**30)), "positive integers"),
        (lambda: shape_of("x", "22"), "positive integers"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


ROWS = [[0, 1], [2, 0]]
COLUMNS = (np.array([0, 2]), np.array([1, 0]))


@pytest.mark.parametrize(
    "indices",
    [
        ROWS,
        tuple(map(tuple, ROWS)),
        np.array(ROWS),
        jnp.asarray(ROWS),
        COLUMNS,
        tuple(map(jnp.asarray, COLUMNS)),
    ],
    ids=["lists", "tuples", "array", "JAX's array", "nonzero", "JAX's nonzero"],
)
def test_positions_are_rows_or_what_nonzero_gives(indices):
    assert entry_indices(indices, (3, 4), 2).tolist() == ROWS


def test_positions_that_can_be_read_in_two_ways_are_refused():
    for indices, words in (
        (list(COLUMNS), "may be rows or columns; give rows as one array"),
        (np.array([[0, 2, 1], [1, 0, 1]]), "its transpose"),
        ((np.array([0, 1]), np.array([0])), r"arrays of \[2, 1\] positions"),
    ):
        with pytest.raises(ValueError, match=words):
            entry_indices(indices, (3, 4), 3 if len(indices[0]) == 3 else 2)


def test_masked_values_are_unobserved():
    masked = np.ma.array([5, 6, 7], mask=[False, True, False])
    for indices in ([[0, 0], [1, 1], [2, 2]], (np.arange(3), np.arange(3))):
        where, values = observed_values(indices, masked, 2)
        assert entry_indices(where, (3, 3), 2).tolist() == [[0, 0], [2, 2]]
        assert values.tolist() == [5.0, 7.0]


def test_a_masked_value_may_be_no_number_but_others_may_not():
    hidden = np.ma.masked_invalid([np.nan, 1.0])
    assert observed_values([[0, 0], [1, 1]], hidden, 2)[1].tolist() == [1.0]
    half = np.ma.array([np.nan, 1.0, 2.0], mask=[False, False, True])
    with pytest.raises(ValueError, match=r"values\[0\] is nan"):
        observed_values([[0, 0], [1, 1], [2, 2]], half, 2)


def test_masked_arrays_are_refused_where_each_number_is_wanted():
    masked = np.ma.array([[1.0, 2.0]], mask=[[True, False]])
    with pytest.raises(ValueError, match=r"start has 1 masked entries.*filled"):
        finite_array("start", masked)
    with pytest.raises(ValueError, match="indices has 1 masked"):
        entry_indices(np.ma.array(ROWS, mask=[[0, 0], [0, 1]]), (3, 4), 2)
    assert finite_array("start", np.ma.array([1.0], mask=[False])).tolist() == [1.0]


def test_a_whole_number_beyond_float_is_refused():
    with pytest.raises(ValueError, match="values must hold real numbers, but it holds 1000"):
        finite_array("values", [10**400, 1])
