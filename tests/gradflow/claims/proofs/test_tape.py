"""Fields on tapes: series in fixed point, and bounds of what they leave out."""

from fractions import Fraction

import numpy as np
import pytest

from gradflow.claims.proofs.tape import Tape, scaled

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
    return known, [Fraction(c, 2**BITS) for c in known]


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
    tape = Tape(lambda v: [expression(*v), 0], 2)
    found = tape.expand([x, y], BITS, COUNT, 0)
    norms, missing = tape.norms(found, BITS, float(WIDTH) ** np.arange(COUNT + 1))
    place = tape.rates[0]
    kept = [Fraction(c, 2**BITS) for c in found[place]]
    true = truth(terms_x, terms_y)
    off = norm(plus(true, kept, -1))
    assert len(kept) == COUNT and 0 < off <= Fraction(missing[place]) < 10 * off
    size = sum(map(Fraction, norms[place]))
    assert norm(kept) <= size < norm(kept) * (1 + Fraction(1, 10**9))


def test_terms_of_a_solution_are_found():
    # x' = x, in units of 2: x = e^(2t)
    tape = Tape(lambda v: [v[0]], 1)
    found = tape.expand([[2**BITS]], BITS, 5, 1)[0]
    assert [round(c / 2**BITS, 9) for c in found] == [
        1,
        2,
        2,
        1.333333333,
        0.666666667,
        0.266666667,
    ]


@pytest.mark.parametrize(
    "field",
    [
        lambda v: [v[0] if v[0] else 1],
        lambda v: [v[0] if v[0] == 1 else 1],
        lambda v: [v[0] if v[0] != 1 else 1],
        lambda v: [max(v[0], 0)],
    ],
)
def test_a_field_with_a_branch_is_not_taken_for_one_of_its_branches(field):
    with pytest.raises(TypeError, match=r"hang on|not supported"):
        Tape(field, 1)


def test_the_same_operation_is_done_once():
    tape = Tape(lambda v: [v[0] * v[1] - 1, v[1] * v[0] - 1], 2)
    assert tape.rates[0] == tape.rates[1] and len(tape.rules) == 4


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_tape_does_on_other_numbers_what_the_field_does(name):
    field = EXPRESSIONS[name][0]
    x, y = Fraction(3, 8), Fraction(-7, 5)
    assert Tape(lambda v: [field(*v), 2], 2)([x, y]) == [field(x, y), 2]


def test_terms_beyond_float64_are_scaled_before_they_are_converted():
    bits, small = 900, [0, 1, -(2**900), 3**500]
    for terms in (small, [*small, 7**500, -(2**1900)]):  # without and with an overflow
        for c, found in zip(terms, scaled(terms, bits).tolist(), strict=True):
            true = Fraction(c, 2**bits)
            assert abs(Fraction(found) - true) <= abs(true) / 2**52
    assert scaled([2**2000, -(2**3000)], bits).tolist() == [np.inf, -np.inf]
