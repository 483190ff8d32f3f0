"""Collinear terms of CP tensors become one: the tensor stays, signs count, zeros go."""

import jax.numpy as jnp
import numpy as np
import pytest

from gradflow.factorizations import merge_collinear
from tests.gradflow.factorizations.test_factorizations import cp_oracle
from tests.helpers import refuses

RNG = np.random.default_rng(0)
TERMS = tuple(RNG.normal(size=(n, 3)) for n in (4, 3, 5))


def joined(*parts):
    return tuple(np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True))


def scaled(factors, *scales):
    return tuple(f * s for f, s in zip(factors, scales, strict=True))


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (-1, -1, -1)])
def test_copies_of_all_lengths_and_signs_are_merged_into_the_same_tensor(signs):
    copies = joined(TERMS, scaled(TERMS, *(2.0 * s for s in signs)))
    merged = merge_collinear(copies)
    assert [f.shape for f in merged] == [(4, 3), (3, 3), (5, 3)]
    np.testing.assert_allclose(cp_oracle(merged), cp_oracle(copies), rtol=1e-12)


def test_terms_that_cancel_and_terms_of_zeros_are_left_out():
    opposite = scaled(TERMS, -1.0, 0.5, 2.0)
    assert [f.shape for f in merge_collinear(joined(TERMS, opposite))] == [(4, 0), (3, 0), (5, 0)]
    zero = (np.zeros((4, 1)), np.ones((3, 1)), np.ones((5, 1)))
    merged = merge_collinear(joined(zero, TERMS))
    np.testing.assert_allclose(cp_oracle(merged), cp_oracle(TERMS), rtol=1e-13)
    assert merged[0].shape == (4, 3)


def test_others_stay_as_they_are_the_largest_first():
    factors = scaled(TERMS, np.array([1e-3, 1.0, 1e3]), 1.0, 1.0)
    for found, given in zip(merge_collinear(factors), factors, strict=True):
        np.testing.assert_array_equal(found, given[:, ::-1])


def test_the_largest_after_the_merger_comes_first():
    one, other = (tuple(f[:, [k]] for f in TERMS) for k in (0, 1))
    large = np.prod([np.linalg.norm(f) for f in one]) / np.prod([np.linalg.norm(f) for f in other])
    together = joined(one, *[scaled(other, 0.6 * large, 1.0, 1.0)] * 2)
    np.testing.assert_allclose(
        np.prod([np.linalg.norm(f, axis=0) for f in merge_collinear(together)], axis=0),
        np.prod([np.linalg.norm(f) for f in one]) * np.array([1.2, 1.0]),
    )


def test_terms_that_share_all_directions_but_one_are_two():
    twin = (*TERMS[:2], RNG.normal(size=(5, 3)))
    assert merge_collinear(joined(TERMS, twin))[0].shape == (4, 6)


def test_the_tolerance_decides():
    near = (TERMS[0] + 1e-6 * np.roll(TERMS[0], 1, axis=0), *TERMS[1:])
    assert merge_collinear(joined(TERMS, near))[0].shape == (4, 6)
    assert merge_collinear(joined(TERMS, near), tolerance=1e-5)[0].shape == (4, 3)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_norms_do_not_overflow_or_underflow(scale):
    copies = scaled(joined(TERMS, TERMS), scale, scale, scale)
    assert merge_collinear(copies)[0].shape == (4, 3)


def test_matrices_and_float32():
    a = jnp.ones((3, 2), jnp.float32)
    merged = merge_collinear((a, a))
    assert [(f.shape, f.dtype) for f in merged] == [((3, 1), jnp.float32)] * 2


REFUSED = {
    "one factor": (lambda: merge_collinear((TERMS[0],)), "[(4, 3)]", "give one an axis"),
    "ranks": (lambda: merge_collinear((TERMS[0], TERMS[1][:, :2])), "(3, 2)", "one rank"),
    "vector": (lambda: merge_collinear((np.ones(3), np.ones(3))), "factors[0]", "reshape"),
    "not finite": (
        lambda: merge_collinear((np.full((2, 1), np.nan),) * 2), "factors[0][0, 0] is nan", "remove"
    ),
    "tolerance zero": (lambda: merge_collinear(TERMS, 0), "tolerance", "above 0"),
    "tolerance large": (lambda: merge_collinear(TERMS, 1.5), "tolerance is 1.5", "below 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)
