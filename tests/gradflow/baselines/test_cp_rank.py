"""The CP rank as a bracket: known ranks, certificates by hand, both sides of a tolerance."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradflow as gf
from gradflow.baselines import cp_rank
from tests.gradflow.baselines.test_cp_als import low_rank, outer
from tests.helpers import refuses

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
BORDER = np.zeros((2, 2, 2))  # rank 3, border rank 2
BORDER[0, 0, 1] = BORDER[0, 1, 0] = BORDER[1, 0, 0] = 1


def identity(n):
    tensor = np.zeros((n, n, n))
    tensor[range(n), range(n), range(n)] = 1
    return tensor


def certify(w, found):
    """Both bounds, from what the result holds and the tensor alone."""
    allowance = found.tolerance * w.size
    assert found.lower <= found.upper
    assert [f.shape for f in found.factors] == [(n, found.upper) for n in w.shape]
    gap = np.linalg.norm(outer(found.factors) - w) if found.upper else np.linalg.norm(w)
    assert gap**2 < allowance
    np.testing.assert_allclose(found.residual, gap, atol=1e-13 * np.linalg.norm(w))
    if found.lower == 0:
        assert found.flattening is None
        return
    flat, fewer = found.flattening, found.lower - 1
    if flat.power == 0:
        columns = [k for k in range(w.ndim) if k not in flat.axes]
        rows = np.prod([w.shape[k] for k in flat.axes])
        values = np.linalg.svd(w.transpose(*flat.axes, *columns).reshape(rows, -1))[1]
        np.testing.assert_allclose(flat.singular_values, values, atol=1e-12 * values[0])
        assert flat.term_rank == flat.multiplicity == 1
    tail = flat.singular_values[fewer * flat.term_rank :]
    assert np.sum(tail**2) / flat.multiplicity > allowance * (1 - 1e-12)


KNOWN = {
    "rank 1": (low_rank((8, 8, 8), 1), 1e-6, 1),
    "rank 3": (low_rank((8, 8, 8), 3), 1e-6, 3),
    "order 4": (low_rank((4, 5, 3, 4), 3), 1e-8, 3),
    "above all axes": (low_rank((8, 8, 8), 11), 1e-6, 11),
    "border rank": (BORDER, 1e-4, 2),
    "border rank, nearer": (BORDER, 1e-6, 2),
    "identity": (identity(4), 1e-9, 4),
    "zero": (np.zeros((3, 4, 2)), 1e-9, 0),
    "matrix": (low_rank((6, 5), 3), 1e-12, 3),
    "axes of one": (low_rank((1, 6, 5), 3), 1e-9, 3),
}


@pytest.mark.parametrize("case", KNOWN)
def test_known_ranks_are_certain(case):
    w, tolerance, rank = KNOWN[case]
    found = cp_rank(w, tolerance, key=KEY)
    certify(w, found)
    assert found.certain and (found.lower, found.upper) == (rank, rank)


BOTH_SIDES = {  # the squared distances from fewer terms are known
    "identity": (identity(3), 1 / 27, 3, 2),
    "matrix": (np.diag([3.0, 2.0, 1.0]), 5 / 9, 2, 1),
    "zero": (np.ones((2, 2, 2)), 1.0, 1, 0),
}


@pytest.mark.parametrize("case", BOTH_SIDES)
def test_a_tolerance_a_little_smaller_changes_the_rank(case):
    w, exact, above, below = BOTH_SIDES[case]
    for tolerance, rank in ((exact * (1 - 1e-3), above), (exact * (1 + 1e-3), below)):
        found = cp_rank(w, tolerance, key=KEY)
        certify(w, found)
        assert (found.lower, found.upper) == (rank, rank)


def test_the_inequality_is_strict():
    found = cp_rank(np.ones((2, 2, 2)), 1.0, key=KEY)
    assert found.upper == 1


def test_noise_below_the_tolerance_is_not_seen_and_noise_above_is():
    w, noise = low_rank((6, 6, 6), 2), RNG.normal(size=(6, 6, 6))
    quiet = cp_rank(w + 1e-4 * noise, 1e-6, key=KEY)
    loud = cp_rank(w + 1e-2 * noise, 1e-6, key=KEY, starts=1, sweeps=20)
    certify(w + 1e-4 * noise, quiet)
    certify(w + 1e-2 * noise, loud)
    assert quiet.certain and quiet.upper == 2 < 6 <= loud.lower


@settings(max_examples=15)
@given(
    st.lists(st.integers(1, 3), min_size=2, max_size=4),
    st.integers(0, 3),
    st.sampled_from([1e-3, 0.3]),
    st.integers(0, 1000),
)
def test_the_bracket_is_one_and_its_certificates_hold(shape, rank, tolerance, seed):
    noise = 0.05 * np.random.default_rng(seed).normal(size=shape)
    w = noise + (low_rank(shape, rank, seed) if rank else 0)
    certify(w, cp_rank(w, tolerance, key=KEY, starts=2, sweeps=50))


def test_components_of_a_run_are_enough_without_any_start():
    w, rng = low_rank((8, 8, 8), 3), np.random.default_rng(0)
    terms = [rng.normal(size=(8, 3)) for _ in range(3)]  # those of w
    tiny = [1e-3 * rng.normal(size=(8, 20)) for _ in range(3)]
    halves = [terms[0] / 2, *terms[1:]]
    own = [np.concatenate(parts, 1) for parts in zip(halves, tiny, halves, strict=True)]
    found = cp_rank(w, 1e-8, key=KEY, starts=0, components=own)
    certify(w, found)
    assert found.certain and found.upper == 3
    without = cp_rank(w, 1e-8, key=KEY, starts=0)
    certify(w, without)
    assert without.upper == 64 and not without.certain  # a term for each fibre


def test_where_nothing_is_found_the_bracket_is_wide_and_right():
    w = RNG.normal(size=(4, 4, 4))
    found = cp_rank(w, 1e-4, key=KEY, starts=1, sweeps=1)
    certify(w, found)
    assert not found.certain


@pytest.mark.parametrize("exponent", [-200, 200])
def test_powers_of_two_change_no_rank(exponent):
    w = low_rank((3, 4, 3), 2)
    found = cp_rank(np.ldexp(w, exponent), 1e-6 * 4.0**exponent, key=KEY)
    same = cp_rank(w, 1e-6, key=KEY)
    assert found.lower == found.upper == same.upper == 2
    assert found.residual == np.ldexp(same.residual, exponent)


def test_a_tolerance_far_beyond_the_numbers():
    w = 1e-200 * low_rank((3, 3, 3), 2)
    assert cp_rank(w, 1.0, key=KEY).upper == 0
    tiny = cp_rank(1e200 * low_rank((2, 2, 2), 2), 1e-6, key=KEY, starts=1, sweeps=5)
    assert tiny.residual == 0 and tiny.lower <= tiny.upper == 4


OWN = [np.ones((n, 2)) for n in (2, 2, 3)]
REFUSED = {
    "tolerance": (lambda: cp_rank(BORDER, 0, key=KEY), "tolerance", "above 0"),
    "starts": (lambda: cp_rank(BORDER, 1e-3, key=KEY, starts=-1), "starts", "at least 0"),
    "sweeps": (lambda: cp_rank(BORDER, 1e-3, key=KEY, sweeps=0.5), "sweeps", "whole number"),
    "vector": (lambda: cp_rank(np.ones(3), 1e-3, key=KEY), "(3,)", "a matrix of one column"),
    "components": (
        lambda: cp_rank(BORDER, 1e-3, key=KEY, components=OWN), "(2, 2, 3)", "in order"),
    "no components": (
        lambda: cp_rank(BORDER, 1e-3, key=KEY, components=OWN[:1]), "(2, 2)", "one an axis"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)


def test_a_tensor_near_one_of_less_rank_on_which_most_starts_stall():
    truth = gf.synthetic.low_rank_tensor(jax.random.key(7), (8, 8, 8), 3)
    found = cp_rank(truth, 1e-6, key=KEY)
    assert found.certain and found.upper == 3
