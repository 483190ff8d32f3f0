"""Enclosures of numbers hold them, and what cannot be enclosed for certain is refused."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy

from gradflow.claims.proofs.interval import ends, exact, interval, iv, middle, precision

ROOT, CUBE = sympy.sqrt(2), sympy.cbrt(2)
NUMBERS = [
    ROOT / 3, ROOT * sympy.Rational(99, 100), 1 / ROOT, ROOT**-3 / 7, CUBE, CUBE**-2 / 3,
    sympy.pi / 3, sympy.E, sympy.exp(sympy.Rational(1, 3)), sympy.log(3) / 7, 2**ROOT,
    sympy.sqrt(ROOT - 1) * sympy.pi - sympy.E**ROOT / 5, sympy.log(sympy.pi + ROOT) ** 2,
]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS, ids=str)
@pytest.mark.parametrize("bits", [30, 53, 128, 300])
def test_an_exact_number_is_in_its_narrow_enclosure(number, bits):
    with precision(bits):
        low, high = ends(interval(number))
    with mpmath.workprec(bits + 100):
        true = mpmath.mpf(number.evalf(bits // 3 + 30)._mpf_)
        assert low < true < high and high - low < abs(true) * mpmath.mpf(2) ** (8 - bits)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (sympy.Float("0.1"), "a rounded number: give a sympy.Rational"),
        (ROOT + sympy.Float("0.1"), "a rounded number"),
        (sympy.Symbol("x") + 1, "an unknown: put in a number"),
        (sympy.EulerGamma, "not made of"),
        (sympy.oo, "not made of"),
        (sympy.I, "not made of"),
        (mpmath.pi, "sympy.pi"),  # at the precision of the moment, rounded
        ("0.1", "give a whole number"),
        (None, "give a whole number"),
    ],
)
def test_any_other_number_is_refused_with_a_remedy(number, said):
    with pytest.raises(TypeError, match=said):
        interval(number)


@pytest.mark.parametrize("number", [sympy.cbrt(-2), sympy.sqrt(1 - ROOT), sympy.log(1 - ROOT)])
def test_what_is_not_real_is_refused(number):
    with pytest.raises((TypeError, ValueError)):
        interval(number)


@pytest.mark.parametrize(
    "kind", [np.int8, np.int64, np.uint64, np.float16, np.float32, np.float64, np.longdouble]
)
def test_scalars_of_numpy_are_taken_exactly(kind):
    number = kind(7) / kind(5) if issubclass(kind, np.floating) else kind(7)
    with precision(80):
        low, high = ends(interval(number))
    whole = issubclass(kind, np.integer)
    true = Fraction(int(number)) if whole else Fraction(*number.as_integer_ratio())
    assert low == high and exact(low) == exact(number) == true


def test_ends_are_in_order():
    with pytest.raises(ValueError, match="give the lower end first"):
        interval(2, Fraction(1, 3))


def test_a_middle_is_inside_whatever_the_ends():
    narrow = mpmath.mpf(2) ** -200
    with mpmath.workprec(300):
        low, high = 1 + narrow, 1 + 3 * narrow
    low_, high_ = ends(middle(iv.mpf([low, high])))
    assert low <= low_ == high_ <= high
    for sides in ((0, mpmath.inf), (-mpmath.inf, mpmath.inf), (1, mpmath.inf)):
        with pytest.raises(ValueError, match="no middle"):
            middle(iv.mpf(list(sides)))


MISSED = [
    ("exp", 53, 3973240027261425, -61),
    ("exp", 64, 10143156886611218401, -63),
    ("exp", 128, 77953660861687910611279072524262561297, -136),
    ("log", 64, 9659901907266439985, -64),
]


@pytest.mark.parametrize(("name", "bits", "digits", "exponent"), MISSED)
def test_what_mpmath_rounds_to_the_wrong_side_is_enclosed(name, bits, digits, exponent):
    with mpmath.workprec(bits + 100):
        x = mpmath.ldexp(digits, exponent)
        true = getattr(mpmath, name)(x)
    before, mpmath.iv.prec = mpmath.iv.prec, bits
    try:
        missed = getattr(mpmath.iv, name)(mpmath.iv.mpf(x))
    finally:
        mpmath.iv.prec = before
    assert not inside(true, missed)  # the broken twin
    with precision(bits):
        assert inside(true, getattr(iv, name)(iv.mpf(x)))


def inside(true, found):
    low, high = ends(found)
    return low <= true <= high


def test_functions_are_rounded_outward_narrowly_and_exact_where_they_are_whole():
    rng = np.random.default_rng(0)
    for x in rng.uniform(0.01, 30, 300):
        for name, f in (("exp", iv.exp), ("log", iv.log), ("power", lambda y: y**0.3)):
            low, high = ends(f(iv.mpf(x)))
            with mpmath.workprec(150):
                true = x ** mpmath.mpf(0.3) if name == "power" else getattr(mpmath, name)(x)
                assert low < true < high
                assert high - low <= abs(true) * mpmath.mpf(2) ** -51
    assert ends(iv.exp(iv.mpf(0))) == (1, 1) and ends(iv.log(iv.mpf(1))) == (0, 0)
    assert ends(iv.log(iv.mpf([0, 1]))) == (-mpmath.inf, 0) and ends(iv.mpf(4) ** 0.5) == (2, 2)
    assert ends(iv.mpf([-2, 1]) ** 2) == (0, 4) and ends(2 ** iv.mpf(3)) == (8, 8)
    with pytest.raises(ValueError, match="negative"):
        iv.mpf(-2) ** 0.5
