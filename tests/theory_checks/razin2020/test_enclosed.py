"""Enclosed flows: an independent integrator's solutions are inside, a twin's are not."""

import dataclasses
import itertools
from fractions import Fraction

import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow.claims.oracles import taylor
from gradflow.claims.proofs import enclose_flow
from gradflow.claims.proofs.interval import interval, precision
from theory_checks.razin2020 import _enclosed
from theory_checks.razin2020._fields import Mirrored, Whole, det, factors, times, turned

FLOWS = (*_enclosed.FLOWS, *_enclosed.PERTURBED_FLOWS)
QUICK = [FLOWS[k] for k in (1, 4, 7, 9, -1)]  # each of the equations once
STEPS = 12
titles = [flow.title for flow in FLOWS]
quick = [flow.title for flow in QUICK]


def all_factors(flow):
    """W_1, ..., W_N at time 0, in 66 digits."""
    with mpmath.workprec(taylor.BITS + 40):
        exact = [mpmath.mpf(Fraction(x).numerator) / Fraction(x).denominator for x in flow.start]
        found = [mpmath.matrix(rows) for rows in factors(exact)]
        if not isinstance(flow.of, Mirrored):
            return found
        if flow.of.depth == 3:
            first, middle = found[0] / mpmath.sqrt(2), found[1]
            return [first, middle, first.T]
        return [*found, *(w.T for w in reversed(found))]


def beginning(flow, of=None):
    """An enclosure of W after some steps, and when."""
    *_, last = itertools.islice(enclose_flow((of or flow.of).velocities, flow.start), STEPS)
    with precision(128):
        return flow.of.product(last.end), last.time + last.width


def followed(flow, time):
    """W at a time, by the other integrator."""
    problem = gf.synthetic.norm_blowup(*map(float, flow.of.observed))
    return taylor.follow_factors(
        problem, all_factors(flow), None, 130, stop_time=float(time)
    ).product


@pytest.mark.parametrize("flow", QUICK, ids=quick)
def test_another_integrator_ends_inside_and_a_twin_does_not(flow):
    found, time = beginning(flow)
    true = followed(flow, time)
    assert float(time) > 0.5 and Fraction(float(time)) == time
    with mpmath.workprec(200):
        for i in range(2):
            for j in range(2):
                assert true[i, j] in found[i][j]
                assert found[i][j].delta < mpmath.mpf(10) ** -28
    z, z2, eps = flow.of.observed
    twin = type(flow.of)(flow.of.depth, (z, z2, eps + Fraction(1, 2**80)))
    with mpmath.workprec(200):
        assert true[1, 1] not in beginning(flow, twin)[0][1][1]


def test_half_of_the_factors_are_enough():
    flow = FLOWS[2]
    x, time = flow.start, Fraction(3)
    whole = (*x, x[0], x[2], x[1], x[3])
    *_, half = enclose_flow(flow.of.velocities, x, end=time)
    *_, full = enclose_flow(Whole(2, flow.of.observed).velocities, whole, end=time)
    with precision(128):
        one, two = factors(full.end)
        for a, b in zip(half.end, full.end[:4], strict=True):
            assert (a - b).delta < 1e-25 and 0 in a - b
        for row, other in zip(two, turned(one), strict=True):
            assert all(0 in a - b for a, b in zip(row, other, strict=True))


@pytest.mark.parametrize("flow", FLOWS, ids=titles)
def test_starts_are_balanced_and_have_the_determinant_asked_for(flow):
    ws = [np.array(w.tolist(), dtype=object) for w in all_factors(flow)]
    with mpmath.workprec(200):
        for low, high in zip(ws[:-1], ws[1:], strict=True):
            assert np.max(np.abs(high.T @ high - low @ low.T)) < mpmath.mpf(10) ** -50
        exact = flow.of.product([Fraction(x) for x in flow.start])
        product = ws[0]
        for w in ws[1:]:
            product = w @ product
        assert np.max(np.abs(product - np.array(exact, dtype=object))) < mpmath.mpf(10) ** -50
    z, z2, _ = flow.of.observed
    assert det(exact) * z * z2 > 0 and det(exact) == flow.of.determinant(flow.start)


@pytest.mark.parametrize("flow", FLOWS, ids=titles)
def test_names_have_the_right_matrix(flow):
    (a, b), (c, d) = flow.of.product([Fraction(x) for x in flow.start])
    named = {
        "I/1024": (Fraction(1, 1024), 0, 0, Fraction(1, 1024)),
        "I/2": (Fraction(1, 2), 0, 0, Fraction(1, 2)),
        "I/8": (Fraction(1, 8), 0, 0, Fraction(1, 8)),
        "I/4": (Fraction(1, 4), 0, 0, Fraction(1, 4)),
        "diag(1, 1/4)": (1, 0, 0, Fraction(1, 4)),
        "diag(1, 1/16)": (1, 0, 0, Fraction(1, 16)),
        "((256, 1), (1, 1 + 1/256))": (256, 1, 1, 1 + Fraction(1, 256)),
        "((25, 1), (1, 1/25 + 1/4096))": (25, 1, 1, Fraction(1, 25) + Fraction(1, 4096)),
        "((9, 7), (7, 9))/16": tuple(Fraction(k, 16) for k in (9, 7, 7, 9)),
    }
    text = flow.name.removeprefix("W(0) = ").split(", epsilon")[0].split(", z =")[0]
    if text in named:
        assert (a, b, c, d) == named[text]
    elif flow is FLOWS[4]:
        u, v = (
            [[Fraction(x, n) for x in row] for row in rows]
            for n, rows in ((13, ((12, 5), (-5, 12))), (5, ((3, 4), (-4, 3))))
        )
        middle = [[Fraction(1), 0], [0, Fraction(1, 4)]]
        assert [[a, b], [c, d]] == times(times(u, middle), v)
    else:
        assert flow is FLOWS[3] and b == c


def test_at_least_eight_flows_end_below_the_loss():
    ends = [_enclosed.last_loss(flow) for flow in FLOWS]
    assert sum(loss <= 5e-3 for loss in ends) == len(FLOWS) == 15
    assert {flow.of.depth for flow in FLOWS} == {2, 3, 4}
    begin = [float((_enclosed.ends_of(flow)[0].s ** 2 / 2).a) for flow in FLOWS]
    assert sum(loss > 0.4 for loss in begin) == 13  # the other two begin below


def test_a_bound_that_is_broken_at_one_time_is_found_and_confirmed():
    flow = FLOWS[2]
    good = _enclosed.enclosed_case(flow, lambda at: (at.norm, interval(1)))
    assert all(bool(gap > 0) for gap in good.slack)
    bad = _enclosed.enclosed_case(flow, lambda at: (at.second, interval(Fraction(1, 100))))
    (gap,) = bad.slack
    assert gap < 0 and bad.confirm(0).violated and bad.confirm(0).compared == (gap,)
    undecided = dataclasses.replace(bad, slack=[interval(-1, 1)])
    assert undecided.violation[0] > 0  # never taken for kept
