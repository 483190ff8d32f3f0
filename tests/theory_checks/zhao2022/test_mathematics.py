"""The mathematics behind the claims of zhao2022, by independent computations."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.claims import Settings
from tests.helpers import central_gradient, chain
from theory_checks.zhao2022._rational import equal, instances, vec
from theory_checks.zhao2022._runs import FORMULAS, Setup, _run, velocities, windows
from theory_checks.zhao2022.balance import growing
from theory_checks.zhao2022.preconditioner import corrected_preconditioner, printed_preconditioner
from theory_checks.zhao2022.ratio_gradient import printed_gradient, ratio, ratio_gradient
from theory_checks.zhao2022.ratio_penalty import push
from theory_checks.zhao2022.study import figure, table, text


def test_rational_powers_are_those_of_floating_point():
    for made in list(instances(Settings(seed=3)))[::5]:
        w, n = np.array(made.w, float), made.depth
        values, vectors = np.linalg.eigh(w @ w.T)
        values = np.maximum(values, 0)
        values[values < 1e-12] = 0
        root = (vectors * values ** (1 / n)) @ vectors.T
        np.testing.assert_allclose(np.array(made.left(1), float), root, atol=1e-9)
        np.testing.assert_allclose(w, chain([np.array(f, float) for f in made.factors]), atol=1e-13)


def test_preconditioners_on_instances_against_the_layers_own_motion():
    off = []
    for made in instances(Settings(seed=4), square=True):
        moved = 0
        for j, s in enumerate(made.scalings, 1):
            moved = moved + made.above(j) @ (made.layer_gradient(j) * s) @ made.below(j)
        assert equal(corrected_preconditioner(made) @ vec(made.gradient), vec(moved))
        printed = printed_preconditioner(made) @ vec(made.gradient)
        off.append((made.depth, equal(printed, vec(moved))))
    assert all(same == (depth == 1) for depth, same in off)


@pytest.mark.parametrize("shape", [(2, 2), (3, 4)])
def test_gradient_of_the_ratio(shape):
    w = np.random.default_rng(5).normal(size=shape)
    # Fourth-order differences with step 1e-4: round-off 1e-12, curvature of order 10.
    expected = central_gradient(ratio, w)
    np.testing.assert_allclose(ratio_gradient(w), expected, atol=1e-9)
    np.testing.assert_allclose(gf.NuclearFrobeniusRatio(1.0).gradient(jnp.asarray(w)), expected,
                               atol=1e-9)  # fmt: skip
    assert np.linalg.norm(printed_gradient(w) - expected) > 0.1 * np.linalg.norm(expected)
    unit = w / np.linalg.norm(w)
    np.testing.assert_allclose(printed_gradient(unit), ratio_gradient(unit), atol=1e-13)


def test_equation_12_lacks_a_factor_of_its_first_term_alone():
    w = np.random.default_rng(6).normal(size=(3, 4))
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    norm = np.linalg.norm(s)
    lacks = (1 / norm - 1 / norm**2) * (u @ vt)
    np.testing.assert_allclose(ratio_gradient(w) - printed_gradient(w), lacks, atol=1e-14)


def test_the_penalty_conserves_the_nuclear_norm_at_depth_2():
    s = np.array([4.0, 3.0, 0.5])
    np.testing.assert_allclose(np.sum(push(s, 2)), 0.0, atol=1e-15)
    np.testing.assert_allclose(push(np.array([4.0, 3.0]), 2), [0.192, -0.192], atol=1e-15)


def test_full_batch_runs_are_those_of_run_descent():
    setup = Setup(depth=2, rate=1e-3, betas=(0.9, 0.99))
    path = _run(
        setup.objective, setup.factors, setup.rate, *setup.betas, jnp.asarray([30, 20]),
        jax.random.key(0), None,
    )  # fmt: skip
    run = gf.run_descent(
        setup.objective, setup.factors, optax.adam(1e-3, b1=0.9, b2=0.99, eps=1e-100), max_steps=50
    )
    for j in (1, 2):
        np.testing.assert_allclose(path[j - 1][-1], run.final[f"W_{j}"], rtol=1e-9)


def test_formulas_against_numpy_with_kronecker_products():
    setup = Setup(depth=3, rate=1.0, batch=4)
    factors = [np.asarray(f) for f in setup.factors]
    variance = gf.dynamics.sampled_variance(setup.objective, setup.factors, 4)
    found = velocities(setup.objective, setup.factors, variance)
    w = chain(factors)
    left, right = (np.linalg.eigh(x) for x in (w @ w.T, w.T @ w))

    def power(frame, k):
        return (frame[1] * np.maximum(frame[0], 0) ** (k / 3)) @ frame[1].T

    l = np.asarray(setup.objective.problem.gradient(jnp.asarray(w)))
    total = 0
    for j in (1, 2, 3):
        above, below = chain([np.eye(6), *factors[j:]]), chain([np.eye(6), *factors[: j - 1]])
        g = above.T @ l @ below.T
        s = (g**2 + np.asarray(variance[j - 1])) ** -0.5
        total -= np.kron(power(left, j - 1), power(right, 3 - j)) @ (l * s).ravel(order="F")
    printed = found.products[FORMULAS.index("printed")]
    # Powers of eigenvalues of the square lose half of the digits of the small ones.
    np.testing.assert_allclose(np.asarray(printed).ravel(order="F"), total, atol=1e-6)
    velocity = (
        gf.AdamFlow(variance)
        .prepared(setup.objective, setup.factors)
        .velocity(setup.objective, setup.factors)
    )
    moved = jax.jvp(setup.objective.product, (setup.factors,), (velocity,))[1]
    np.testing.assert_allclose(found.products[0], moved, atol=1e-12)


def test_sampling_noise_shrinks_with_the_window():
    short, long = (windows(Setup(1, 1e-8, batch=4, window=k))[0].error() for k in (100, 10000))
    assert long < 0.03 < short


def test_the_study_shows_what_it_says():
    rows = table(rates=(1e-6,), betas=((0.9, 0.999),))
    for row in rows:
        assert row.corrected < 0.1
        assert (row.printed < 0.1) == (row.depth == 1)
    assert len(text(rows).splitlines()) == 1 + len(rows)


@pytest.mark.slow
def test_the_figure_has_labels():
    made = figure(table(rates=(1e-6, 1e-5), betas=((0.9, 0.999),)))
    for ax in made.axes:
        assert ax.get_xlabel() and ax.get_xscale() == ax.get_yscale() == "log"


def test_the_bound_on_the_lost_balance_is_met_as_layers_get_long():
    # The drift over the bound, both exact: t (2 + t) n over t (2 (n + sqrt(n)) + t (n + 1)).
    for root in (3, 30, 300):
        n, stands, times = root**2, Fraction(0), (Fraction(1, 100), Fraction(1), Fraction(8))
        expected = [1 - (2 + t) * n / (2 * (n + root) + t * (n + 1)) for t in times]
        case = growing(root, stands, Fraction(1))
        np.testing.assert_allclose(case.slack, np.array(expected, float), rtol=0, atol=1e-12)
    assert max(case.slack) < 4e-3
    broken = growing(20, Fraction(1, 1000), Fraction(9, 10))
    assert max(broken.slack) < -0.05 and broken.confirm and broken.confirm(0).violated
