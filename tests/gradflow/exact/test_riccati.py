"""Lambda-balanced two-layer flows in closed form."""

import warnings

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow import exact
from tests.gradflow.exact.flows import TIMES, agree, all_entries, integrated
from tests.helpers import orthonormal

SEEN = ("loss", "gradient_norm", "singular_values", "product")


def start_of(sizes, balance, scale=0.3, seed=0):
    """W_1 at random, W_2 with W_2^T W_2 = W_1 W_1^T + balance I."""
    below, hidden, above = sizes
    rng = np.random.default_rng(seed)
    w1 = scale * rng.normal(size=(hidden, below))
    values, vectors = np.linalg.eigh(w1 @ w1.T + balance * np.eye(hidden))
    w2 = orthonormal(rng, above, hidden) @ (vectors * np.sqrt(values)) @ vectors.T
    return jnp.asarray(w1), jnp.asarray(w2)


def posed(sizes, seed=1):
    target = np.random.default_rng(seed).normal(size=(sizes[2], sizes[0]))
    return gf.Objective(all_entries(target), gf.MatrixProduct(sizes))


@pytest.mark.parametrize(
    ("sizes", "balance"),
    [((4, 2, 3), 0.7), ((3, 3, 3), 0.0), ((2, 3, 4), 1.5), ((3, 1, 1), -0.4), ((2, 2, 3), 0.01)],
)
def test_it_is_the_flow(sizes, balance):
    objective = posed(sizes)
    if sizes == (3, 1, 1):  # one neuron, whose balance may have any sign
        w = np.array([[0.5, -0.4, 0.2]])
        start = (jnp.asarray(w), jnp.asarray([[np.sqrt(np.sum(w**2) + balance)]]))
    else:
        start = start_of(sizes, balance)
    flow = integrated(objective, start, TIMES, SEEN)
    run = exact.riccati_flow(objective, start, TIMES, observe=SEEN)
    agree(run, flow)
    assert abs(float(run.stats["balance"]) - balance) < 1e-14
    late = exact.riccati_flow(objective, start, [1e4, 1e8, np.inf], observe=SEEN)
    u, s, vt = np.linalg.svd(np.asarray(objective.problem.target), full_matrices=False)
    s[sizes[1] :] = 0  # as much of the target as goes through the hidden layer
    for found in late["product"][2:]:
        np.testing.assert_allclose(found, (u * s) @ vt, atol=1e-12)
    assert np.all(np.isfinite(late["loss"])) and np.all(np.diff(late["loss"]) <= 1e-15)


def test_aligned_flows_are_a_case_of_it_and_tiny_starts_keep_their_digits():
    """Four modes from 1e-60: each has its logistic curve, however far the others have come."""
    rng, values = np.random.default_rng(3), np.array([3.0, 2.0, 1.0, 0.5])
    u, v = orthonormal(rng, 5, 4), orthonormal(rng, 4, 4)
    problem = all_entries((u * values) @ v.T)
    model = gf.MatrixProduct.of((5, 4), 2)
    start = model.balanced((u * [1e-60, 2e-60, 1e-60, 1e-60]) @ v.T)
    times = np.array([10.0, 22.0, 30.0, 60.0, 130.0, 150.0, 300.0, np.inf])
    run = exact.riccati_flow(gf.Objective(problem, model), start, times, observe=SEEN)
    wanted = [
        exact.singular_value_flow(times, a, s, 2)
        for a, s in zip([1e-60, 2e-60, 1e-60, 1e-60], values, strict=True)
    ]
    found = run["singular_values"][1:]
    np.testing.assert_allclose(found[1:], -np.sort(-np.stack(wanted, 1), axis=1)[1:], atol=1e-11)


def test_a_general_start_of_1e_minus_20_is_that_of_80_digits():
    """At random, not aligned: the formula itself, in mpmath."""
    sizes = (3, 2, 2)
    objective, scale = posed(sizes, 4), 1e-20
    w = scale * np.random.default_rng(7).normal(size=(2, 3))
    start = objective.factorization.balanced(w)
    times = [5.0, 12.0, 25.0, 60.0, 200.0]
    run = exact.riccati_flow(objective, start, times, observe=("product",))
    target = np.asarray(objective.problem.target)
    f = np.block([[np.zeros((3, 3)), target.T], [target, np.zeros((2, 2))]])
    q = np.concatenate([np.asarray(start[0]).T, np.asarray(start[1])])
    assert abs(run.stats["balance"]) < 1e-15 * scale
    with mpmath.workdps(250):
        values, vectors = mpmath.eigsy(mpmath.matrix(f.tolist()))
        y = vectors.T * mpmath.matrix(q.tolist())
        for t, found in zip(times, run["product"][1:], strict=True):
            grown = [mpmath.e ** (x * t) for x in values]
            d = mpmath.diag([(g**2 - 1) / x / 2 if abs(x) > 1e-50 else t
                             for g, x in zip(grown, values, strict=True)])  # fmt: skip
            inner = mpmath.eye(2) + y.T * d * y
            z = vectors * mpmath.diag(grown) * y
            gram = np.array((z * inner**-1 * z.T).tolist(), float)
            np.testing.assert_allclose(found, gram[3:, :3], atol=1e-11)


def test_what_it_does_not_take_is_refused():
    objective = posed((3, 2, 3))
    w1, w2 = start_of((3, 2, 3), 0.5)
    deep = gf.Objective(objective.problem, gf.MatrixProduct((3, 2, 2, 3)))
    eyes = gf.factorizations.identity_factors((3, 2, 2, 3), 0.1)
    some = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    near = gf.Objective(all_entries(np.diag([1.0, 1.0 + 1e-8])), gf.MatrixProduct((2, 1, 2)))
    one = (jnp.array([[0.3, 0.2]]), jnp.array([[0.3], [0.2]]))
    early = exact.riccati_flow(near, one, [1e3])
    assert early["loss"][-1] == pytest.approx(0.5, rel=1e-6)
    cases = [
        ((near, one, [np.inf]), r"differ by 1e-08 .* times up to 2e\+07"),
        ((objective, (w1, w2 * np.array([2.0, 1.0])), [1.0]), "no multiple of the identity"),
        ((deep, eyes, [1.0]), "depth 3"),
        ((some, 0.1 * np.eye(2), [1.0]), "1 of 4 are not"),
        ((objective, (w1, w2), [-1.0]), "from 0 on"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            exact.riccati_flow(*arguments)


@pytest.mark.parametrize("hidden", [1, 3])
def test_rounding_of_a_start_without_a_mode_is_told(hidden):
    """An exact flow stays along the second pair, at a loss of 5; rounding takes it to the first."""
    rng = np.random.default_rng(0)
    u, v = orthonormal(rng, 3, 3), orthonormal(rng, 3, 3)

    def run(values, start):
        model = gf.MatrixProduct((3, hidden, 3))
        objective = gf.Objective(all_entries((u * values) @ v.T), model)
        if hidden == 3:
            return exact.riccati_flow(objective, start, [1.0, 3.0, 1e3, np.inf])
        s = np.linalg.svd(start)
        factors = 0.1 * s[2][:1], 0.1 * s[0][:, :1]
        return exact.riccati_flow(objective, factors, [1.0, 3.0, 1e3, np.inf])

    along = 0.01 * np.outer(u[:, 1], v[:, 1])
    with pytest.warns(RuntimeWarning, match=r"from the time (3|1000) on rounding may"):
        told = run([3.0, 2.0, 1.0], along)
    assert told["loss"][2] == pytest.approx(5.0, rel=1e-4) and told["loss"][-1] < 3.0
    assert "rounding" in told.stats["warnings"][0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if hidden == 1:
            run([1.0, 3.0, 2.0], along)  # it has the first pair
        run([1.0, 1.0, 1.0], 0.01 * u @ v.T if hidden == 3 else along)  # all grow alike
        run([3.0, 2.0, 1.0], 0.01 * rng.normal(size=(3, 3)))
