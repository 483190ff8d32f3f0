"""Series in fixed point: what they leave out is bounded, and nothing less would do."""

from fractions import Fraction

import numpy as np
import pytest

from gradflow.claims.proofs.series import Series

BITS, COUNT, WIDTH = 40, 8, Fraction(3, 4)


def exact(a, b):
    """The product of two polynomials."""
    found = [Fraction(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            found[i + j] += x * y
    return found


def norm(terms):
    return sum((abs(x) * WIDTH**k for k, x in enumerate(terms)), Fraction(0))


def plus(a, b, sign=1):
    a, b = (x + [Fraction(0)] * (max(len(a), len(b)) - len(x)) for x in (a, b))
    return [x + sign * y for x, y in zip(a, b, strict=True)]


def drawn(seed):
    known = np.random.default_rng(seed).integers(-(2**BITS), 2**BITS, COUNT + 1).tolist()
    return Series(BITS, known), [Fraction(c, 2**BITS) for c in known]


EXPRESSIONS = {
    "product": (lambda x, y: x * y, exact),
    "sum": (lambda x, y: x + y, plus),
    "of both": (lambda x, y: x * y * x - y, lambda x, y: plus(exact(exact(x, y), x), y, -1)),
    "a third": (
        lambda x, y: x * Fraction(1, 3) + Fraction(1, 7),
        lambda x, y: plus([c / 3 for c in x], [Fraction(1, 7)]),
    ),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_what_is_left_out_is_bounded_closely(name):
    expression, truth = EXPRESSIONS[name]
    (x, terms_x), (y, terms_y) = drawn(1), drawn(2)
    series, true = expression(x, y), truth(terms_x, terms_y)
    kept = [Fraction(c, 2**BITS) for c in series.up_to(COUNT - 1)]
    off = norm(plus(true, kept, -1))
    norms, missing = series.norms(float(WIDTH) ** np.arange(COUNT + 1))
    assert 0 < off <= Fraction(missing) < 10 * off
    assert norm(kept) <= sum(map(Fraction, norms)) < norm(kept) * (1 + Fraction(1, 10**9))


def test_a_polynomial_is_all_there():
    series, terms = drawn(3)
    norms, missing = series.norms(float(WIDTH) ** np.arange(COUNT + 1))
    assert missing < 1e-299 and abs(float(norm(terms)) / norms.sum() - 1) < 1e-9
    assert series[COUNT + 5] == 0
