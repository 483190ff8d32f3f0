"""Numbers enclosed, and inequalities over boxes: a broken twin is refuted by a point inside."""

from fractions import Fraction

import mpmath
import pytest
import sympy
from mpmath import libmp

from gradflow.claims.proofs import prove_inequality
from gradflow.claims.proofs.interval import ends, entropy, hull, interval, iv, precision


def test_numbers_are_enclosed_and_the_precision_is_restored():
    before = iv.prec
    with pytest.raises(ZeroDivisionError), precision(200):
        assert iv.prec == 200
        raise ZeroDivisionError
    assert iv.prec == before
    third = interval(Fraction(1, 3))
    low, high = ends(third)
    with mpmath.workprec(100):
        assert 3 * low < 1 < 3 * high
    assert 2 in interval(sympy.sqrt(2)) ** 2 and interval(0.1).delta == 0
    both = ends(interval(Fraction(1, 3), 2))
    assert both[0] == low and both[1] == 2


def test_the_entropy_of_an_interval_has_all_its_values():
    for low, high in ((0.1, 0.2), (0.4, 0.7), (0.6, 0.9), (0.5, 0.5)):
        found = entropy(interval(low, high))
        for p in (low, (low + high) / 2, high):
            q = mpmath.mpf(p)
            assert -q * mpmath.log(q) - (1 - q) * mpmath.log(1 - q) in found
    assert ends(hull([interval(1), interval(3), interval(2)])) == (1, 3)


def f(x, y):
    return x**2 + y**2 - x * y


def gradient(x, y):
    return 2 * x - y, 2 * y - x


BOX = [(1, 2), (Fraction(-1, 3), 1)]


@pytest.mark.parametrize(
    ("offset", "slopes", "outcome"),
    [
        (Fraction(74, 100), None, "proved"),
        (Fraction(74, 100), gradient, "proved"),
        (Fraction(76, 100), None, "refuted"),
        (Fraction(76, 100), gradient, "refuted"),
        (Fraction(75, 100), None, "open"),  # attained at (1, 1/2): boxes do not come to an end
    ],
)
def test_a_bound_is_proved_and_a_larger_one_refuted(offset, slopes, outcome):
    found = prove_inequality(
        "f >= offset", lambda x, y: f(x, y) - interval(offset), BOX,
        gradient=slopes, max_boxes=3000,
    )  # fmt: skip
    assert found.outcome == outcome
    if outcome == "refuted":
        at = [float(word.split()[0]) for word in found.witness["at"]]
        assert f(*at) < offset


@pytest.mark.parametrize(
    "function",
    [
        lambda x: min(x, 0.4 - x),
        lambda x: max(0.4 - x, 0.2 * x),
        lambda x: interval(-1) if x > 0.5 else interval(1),
    ],
)
def test_nothing_hangs_on_a_comparison_that_is_not_certain(function):
    with pytest.raises(TypeError, match="not certain"):
        prove_inequality("", function, [(0, 1)])
    assert (interval(0, 1) > 0.5) is None  # elsewhere it is the reader's


def test_max_and_min_are_proved_by_the_size_of_the_difference():
    def least(x, shift):
        return (x + (shift - x) - abs(x - (shift - x))) / 2

    assert prove_inequality("", lambda x: least(x, 1.5), [(0.1, 1)]).outcome == "proved"
    assert prove_inequality("", lambda x: least(x, 0.4), [(0.1, 1)]).outcome == "refuted"


@pytest.mark.parametrize("slope", [-1, 0, 0.9, 1.1])
def test_the_gradient_of_another_function_is_noticed(slope):
    function, box = (lambda x: x - 0.5), [(0, 1)]
    with pytest.raises(ValueError, match="one of both is wrong"):
        prove_inequality("", function, box, gradient=lambda x: [interval(slope)])
    found = prove_inequality("", function, box, gradient=lambda x: [interval(1)])
    assert found.outcome == "refuted"


def test_a_gradient_saves_boxes():
    def boxes(slopes):
        found = prove_inequality("f", lambda x, y: f(x, y) - 0.74, BOX, gradient=slopes)
        return int(found.steps[0].split()[0])

    assert boxes(gradient) < boxes(None)


def test_a_point_that_is_given_is_looked_at_first():
    found = prove_inequality("x >= 2", lambda x: x - 2, [(1, 3)], points=[(Fraction(5, 4),)])
    assert found.witness == {"at": ["1.25"], "value": "at most -0.75"}


@pytest.mark.parametrize("point", [-1, Fraction(1, 3) - Fraction(1, 10**40), 3])
def test_a_point_outside_the_box_refutes_nothing(point):
    with pytest.raises(ValueError, match="is not seen to lie"):
        prove_inequality("x >= 0", lambda x: x, [(Fraction(1, 3), 2)], points=[(point,)])


@pytest.mark.parametrize("slopes", [None, lambda x: (iv.mpf(1),)])
@pytest.mark.parametrize(
    ("box", "least"),
    [
        ((Fraction(1, 11), 1), Fraction(1, 11)),
        ((Fraction(1, 11), Fraction(1, 11)), Fraction(1, 11)),
        ((Fraction(1, 7), Fraction(1, 7) + Fraction(1, 10**30)), Fraction(1, 7)),
        ((sympy.sqrt(2) / 3, 1), sympy.sqrt(2) / 3),
        ((sympy.sqrt(2) / 3, sympy.sqrt(2) / 3), sympy.sqrt(2) / 3),
    ],
)
def test_what_holds_on_the_box_is_not_refuted_by_a_rounded_end(box, least, slopes):
    with precision(200):
        least = interval(least)

    def outcome(offset):
        def gap(x):
            with precision(200):
                return x - least + offset

        return prove_inequality("x", gap, [box], gradient=slopes, max_boxes=200).outcome

    assert outcome(0) == "open"  # with equality at the lower end
    assert outcome(interval(Fraction(1, 1000))) == "proved"
    assert outcome(-interval(Fraction(1, 10**12))) == "refuted"


def test_the_middle_of_numbers_with_more_bits_than_the_arithmetic_is_in_the_box():
    with mpmath.workprec(200):
        low = 1 + mpmath.ldexp(3, -100)
        high = low + mpmath.ldexp(1, -120)
    loose = lambda x: x - low + (x - x)  # noqa: E731  whose bound on the box is below 0
    assert prove_inequality("x >= low", loose, [(low, high)], max_boxes=9).outcome == "open"
    found = prove_inequality("x >= high", lambda x: x - high, [(low, high)], bits=300)
    assert found.outcome == "refuted"


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((0, mpmath.inf), "finite"),
        ((-mpmath.inf, 1), "finite"),
        ((float("nan"), 1), "finite"),
        ((1, 0), "lower end first"),
        ((Fraction(1, 3) + Fraction(1, 10**30), Fraction(1, 3)), "not seen to be at most"),
    ],
)
def test_a_box_is_finite_and_not_empty(box, said):
    with pytest.raises(ValueError, match=said):
        prove_inequality("x >= 5", lambda x: x - 5, [box])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: mpmath.iv.exp(x) + x,  # its own arithmetic and precision
        lambda x: float(mpmath.mpf(ends(x)[0])),
        lambda x: mpmath.iv.mpf(-2) ** 0.5 + x,
    ],
)
def test_a_function_that_leaves_the_interval_arithmetic_is_refused(function):
    with pytest.raises(TypeError, match="no interval: compute with"):
        prove_inequality("a function", function, [(0, 1)])


def test_what_is_no_number_on_a_box_is_not_proved():
    nan = libmp.fnan
    found = prove_inequality("x", lambda x: iv.make_mpf((nan, nan)), [(0, 1)], max_boxes=50)
    assert found.outcome == "open"
