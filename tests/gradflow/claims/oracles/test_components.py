"""Components of tensors along flows: adapters against the library, cases against known answers."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow.claims import Settings
from gradflow.claims.oracles import component_cases
from gradflow.claims.oracles.components import completions, follow, moving, spread
from theory_checks.razin2021.components import Components
from theory_checks.razin2022.components import LocalComponents

MODELS = {
    "CP": Components(gf.CPTensor((2, 3, 2), 2)),
    "binary tree": LocalComponents(gf.HierarchicalTensor((2, 2, 3), (2, 3))),
    "tree out of order": LocalComponents(gf.HierarchicalTensor((2, 2, 2), 2, ((2, 0), 1))),
}
EACH = pytest.mark.parametrize("components", MODELS.values(), ids=list(MODELS))


@EACH
def test_components_sum_to_the_tensor_at_each_node(components):
    factors = components.model.gaussian(jax.random.key(0), std=1.0)
    w = components.model.product(factors)
    for node, norms in enumerate(components.norms(factors)):
        parts = [n * components.tensor(factors, node, s) for s, n in enumerate(norms)]
        np.testing.assert_allclose(sum(parts), w, atol=1e-14)
        for s, part in enumerate(parts):
            alone = components.model.product(components.alone(factors, node, s))
            np.testing.assert_allclose(alone, part, atol=1e-14)


def test_vectors_of_local_components_are_the_librarys():
    components = MODELS["tree out of order"]
    factors = components.model.gaussian(jax.random.key(0), std=1.0)
    wanted = components.model.local_components(factors).values()
    for found, expected in zip(components.vectors(factors), wanted, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@EACH
def test_by_hand_is_the_product(components):
    factors = components.model.gaussian(jax.random.key(0), std=1.0)
    exact = components.by_hand(tuple(np.vectorize(mpmath.mpf, [object])(f) for f in factors))
    found = np.sort(exact.astype(float), axis=None)
    np.testing.assert_allclose(found, np.sort(components.model.product(factors), axis=None))


@EACH
def test_spread_is_the_unbalancedness(components):
    factors = components.model.gaussian(jax.random.key(1), std=1.0)
    problem = gf.LossFunction(components.model.shape, jnp.sum)
    objective = gf.Objective(problem, components.model)
    at = moving(components, objective, factors)
    assert spread(at) == pytest.approx(float(components.model.unbalancedness(factors)), rel=1e-14)


def test_a_component_of_numbers_moves_as_calculated():
    # W = x y with L = W: dx/dt = -y, dy/dt = -x, so c = |x y| changes by -(x^2 + y^2) if x y > 0.
    components = Components(gf.CPTensor((1, 1), 1))
    objective = gf.Objective(gf.LossFunction((1, 1), jnp.sum), components.model)
    factors = (jnp.array([[2.0]]), jnp.array([[3.0]]))
    (at,) = moving(components, objective, factors)
    assert (at.c.tolist(), at.speed.tolist(), at.gamma.tolist()) == ([6.0], [-13.0], [-1.0])
    assert at.squares.tolist() == [[4.0], [9.0]] and at.scale == 1.0


@pytest.mark.parametrize(
    ("cases", "right", "wrong"),
    [
        (component_cases.conserved, 2.0, 1.0),
        (component_cases.balanced_motion, False, True),
        (component_cases.motion, False, True),
        (component_cases.enclosed, 1.0, 0.0),
    ],
)
def test_what_is_printed_is_within_its_floor_and_its_control_is_not(cases, right, wrong):
    def excess(parameter):
        return max(np.max(case.violation / case.floors) for case in cases(_flows(), parameter))

    assert excess(right) <= 1 and excess(wrong) > 1e3


def _flows():
    if not FLOWS:
        problem = completions(Settings(), 3)["mean"]
        model = gf.HierarchicalTensor(problem.shape, 2, (0, 1, 2))
        FLOWS.extend(follow("order 3", problem, LocalComponents(model), 0, std=0.8))
    return FLOWS


FLOWS = []


@EACH
def test_fifty_digits(components):
    right, wrong = (
        component_cases.in_fifty_digits("x", components, [0], mean) for mean in (False, True)
    )
    assert np.max(right.violation) < 1e-45 and np.max(wrong.violation) > 1e-3
