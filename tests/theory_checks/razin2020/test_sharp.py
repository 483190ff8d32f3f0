"""The best constants of razin2020's lemmas, found again by other means: optimisers and examples."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import minimize

from gradflow.claims.proofs.interval import interval
from theory_checks.razin2020 import _best, _proofs_flows, _proofs_sharp
from theory_checks.razin2020._proofs import Point
from theory_checks.razin2020.sharp_lemmas import parameter

ALMOST = Fraction(99, 100)
PAIRS = {
    "entry": (_proofs_sharp.entry, Fraction(101, 100)),
    "entry of Theorem 2": (_proofs_sharp.entry_of_theorem2, ALMOST),
    "largest value": (_proofs_sharp.largest_value, Fraction(101, 100)),
    "Frobenius norm": (_proofs_sharp.frobenius, ALMOST),
    "nearby": (_proofs_sharp.nearby, ALMOST),
    "entropy": (_proofs_sharp.entropy, ALMOST),
    "drift": (lambda share: _proofs_sharp.drift(share, _proofs_flows._logistic), ALMOST),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_best_constant_is_proved_and_refuted_one_per_cent_beyond(name):
    prove, beyond = PAIRS[name]
    assert prove(Fraction(1)).outcome == "proved"
    assert prove(beyond).outcome == "refuted"


def least(what, s, rng):
    """The least of `what(W)` over det W >= 0 at a distance s of the solutions, by an optimiser."""

    def w_of(x):
        off = s * x[:3] / np.linalg.norm(x[:3])
        b, c, d = 1 + off[0], 1 + off[1], off[2]
        return np.array([[(b * c + x[3] ** 2) / d, b], [c, d]])

    found = np.inf
    for _ in range(40):
        run = minimize(lambda x: what(w_of(x)), rng.normal(size=4), method="Nelder-Mead",
                       options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000})  # fmt: skip
        found = min(found, run.fun)
    return found


@pytest.mark.parametrize("s", [0.2, 0.6, 0.9, 0.97])
def test_no_matrix_has_a_smaller_entry_or_value_than_the_infima(s):
    rng = np.random.default_rng(3)
    entry = float(_proofs_sharp.infimum_of_entry(interval(s)).mid)
    assert least(lambda w: abs(w[0, 0]), s, rng) == pytest.approx(entry, rel=1e-5)
    t = parameter(np.array([s]))[0]
    value = 1 / t - t**3
    for power in (0.5, 1.0, 2.0, 100.0):  # rank one: the same for every Schatten (quasi-)norm

        def norm(w, power=power):
            return np.sum(np.linalg.svd(w, compute_uv=False) ** power) ** (1 / power)

        found = least(norm, s, rng)
        assert found == pytest.approx(value, rel=1e-5)


def test_the_constant_of_33_is_the_largest_distance_from_1_over_s():
    s = np.linspace(1e-3, 1, 1000)
    t = parameter(s)
    gap = 1 / s - 1 / t + t**3
    assert np.all(np.diff(gap) > -1e-12) and gap[-1] == pytest.approx(0.353016, abs=1e-6)
    assert "0.35302" in _best.LEM19[2].best


def test_for_all_norms_together_b_is_at_least_what_is_said():
    k = np.sqrt(2) - 1
    x = k**2 / (2 + k**2)  # where 2 x^2 + k^2 (1-x)^2 is least
    w = np.array([[0, 1 - x], [1 - x, k * (1 - x)]])
    w[0, 0] = w.sum()
    assert np.linalg.det(w) == pytest.approx(0, abs=1e-12)
    root = np.sqrt(2 * x**2 + w[1, 1] ** 2)
    assert (
        1 / root == pytest.approx(np.sqrt(3.5 + 2 * np.sqrt(2))) == pytest.approx(2.5156, abs=1e-4)
    )


def test_for_all_norms_together_that_b_is_enough_as_far_as_was_searched():
    """||W|| is at least 0 and |w_11| A less the other entries, A = ||E_11|| at most 1, theirs."""

    def missing(x):
        w12, w21, w22 = 1 - x[0], 1 - x[1], x[2]
        w11 = (w12 * w21 + x[3] ** 2) / w22
        a, root = 1 / (1 + np.exp(-np.clip(x[4], -50, 50))), np.linalg.norm(x[:3])
        others = abs(w12) + abs(w21) + abs(w22)
        return -min(a / root, a * (1 / root - abs(w11)) + others)

    rng = np.random.default_rng(1)
    most = 0.0
    for _ in range(60):
        at = rng.normal(size=5) * [0.3, 0.3, 0.4, 0.1, 3]
        run = minimize(missing, at, method="Nelder-Mead",
                       options={"maxiter": 6000, "xatol": 1e-10, "fatol": 1e-12})  # fmt: skip
        most = max(most, -run.fun)
    assert most == pytest.approx(np.sqrt(3.5 + 2 * np.sqrt(2)), rel=1e-6)


@pytest.mark.parametrize(("z", "z2"), [(1.0, 1.0), (3.0, 1.0), (0.5, 4.0)])
def test_theorem_2s_last_terms_are_approached_for_every_z(z, z2):
    small = Point(((Fraction(1, 10**6), 0), (0, Fraction(1, 10**6))), (z, z2, 0))
    least = z * z2 / np.hypot(z, z2)
    assert float((z * z2 / small.s - small.norm).mid) == pytest.approx(least, rel=1e-5)
    # The smaller observation's entry nearly vanishes: s is nearly that, and w_11 nearly 0.
    tiny = 1e-5
    corner = np.sqrt(tiny) / 10
    entries = (z, z2 * tiny) if z >= z2 else (z * tiny, z2)
    w11 = entries[0] * entries[1] / corner
    s = np.hypot(min(z, z2) * (1 - tiny), corner)
    assert s < min(z, z2)
    assert z * z2 / s - w11 == pytest.approx(max(z, z2), rel=0.05)


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_the_share_of_proposition_5_is_approached_by_equal_layers(depth):
    b, ends = 1.0, []
    for w in (0.1, 0.03, 0.01):
        theta = np.full(depth, w)
        others = np.array([[w ** (depth - 2) * (i != j) for j in range(depth)]
                           for i in range(depth)])  # fmt: skip
        slope = np.full(depth, w ** (depth - 1))
        hessian = np.outer(slope, slope) + (w**depth - b) * others
        v = theta / np.linalg.norm(theta)
        r = np.linalg.norm(theta)
        ends.append(-v @ hessian @ v / (depth * r ** (depth - 2) * (2 * r**depth + b)))
    best = (depth - 1) * depth ** (-depth / 2)
    assert ends == sorted(ends) and ends[-1] < best
    assert ends[-1] == pytest.approx(best, rel=1e-2)


def test_the_entropys_constant_is_its_maximum():
    p = np.linspace(1e-6, 1 - 1e-9, 2_000_001)
    top = np.max((-p * np.log(p) - (1 - p) * np.log1p(-p)) / np.sqrt(p))
    low, high = (float(end) for end in (_proofs_sharp.largest_share().a,
                                        _proofs_sharp.largest_share().b))  # fmt: skip
    assert low < top < high and top == pytest.approx(1.12489, abs=5e-6)


def test_the_upper_bound_of_components_with_less_epsilon_holds_as_far_as_was_searched():
    """razin2021 and razin2022: by convexity all lengths but one are the least or the largest."""
    low = 10 ** np.linspace(-9, 4, 300)[:, None]
    between = np.linspace(0, 1, 60)[None, :]
    for count in range(2, 9):
        best = count ** (-1 / (count - 1))
        shares = []
        for k in range(1, count):
            a, b, c = low, low + 1, low + between
            logs = k * np.log(a) + (count - 1 - k) * np.log(b) + np.log(c)
            inverse = k / a + (count - 1 - k) / b + 1 / c
            mean = np.exp((logs + np.log(inverse / count)) / (count - 1))
            shares.append(np.max(mean - np.exp(logs / count)))
        assert max(shares) <= best + 1e-9
        ends = (1e-200,) + (1.0,) * (count - 1)  # which needs all of it
        total = sum(np.prod(part) for part in itertools.combinations(ends, count - 1))
        reached = (total / count) ** (1 / (count - 1)) - np.prod(ends) ** (1 / count)
        assert reached == pytest.approx(best, rel=1e-9)
