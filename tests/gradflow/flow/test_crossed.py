"""Coordinates, starts and factorisations crossed, with default solvers: right, or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.coordinates import COORDINATES
from gradflow.factorizations import nearest_balanced
from tests.helpers import product_by_scipy

HORIZON, RTOL = 6.0, 1e-8
PROBLEM = gf.synthetic.norm_blowup()
LINE = gf.LeastSquares([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]], [1.0, -0.5])
TENSOR = gf.TensorCompletion((2, 2, 2), [[0, 0, 0], [1, 1, 1], [0, 1, 0]], [1.0, -1.0, 0.5])
GENERIC = jnp.array([[0.3, 0.1], [-0.05, 0.2]])


def matrix_starts(model):
    """Products and factors from which a depth-N product starts."""
    unbalanced = model.gaussian(jax.random.key(3), product_std=0.3)
    return {
        "alpha I": model.identity(0.1),
        "rank one": model.balanced(jnp.array([[0.2, 0.1], [0.4, 0.2]])),
        "zero row": model.balanced(jnp.diag(jnp.array([0.3, 0.0]))),
        "repeated values": model.balanced(0.2 * jnp.array([[0.6, -0.8], [0.8, 0.6]])),
        "near values": model.balanced(jnp.diag(jnp.array([0.3, 0.3 * (1 + 1e-9)]))),
        "generic": model.balanced(GENERIC),
        "negative determinant": model.balanced(GENERIC[::-1]),
        "tiny": model.balanced(1e-4 * GENERIC),
        "unbalanced": unbalanced,
        "nearest balanced": nearest_balanced(unbalanced),
    }


def other_starts():
    """name -> (objective, start) of factorisations that are no product of matrices."""
    symmetric = gf.SymmetricProduct(2, 2)
    found = {}
    for depth in (2, 3):
        network = gf.DiagonalNetwork(3, depth)
        found[f"diagonal network of depth {depth}"] = (
            gf.Objective(LINE, network), network.identity(0.1),
        )  # fmt: skip
    cp, tree = gf.CPTensor((2, 2, 2), 3), gf.HierarchicalTensor((2, 2, 2), 2)
    return found | {
        "symmetric": (gf.Objective(PROBLEM, symmetric), symmetric.gaussian(
            jax.random.key(0), std=0.3)),
        "symmetric alpha I": (gf.Objective(PROBLEM, symmetric), symmetric.identity(0.1)),
        "tensor": (gf.Objective(TENSOR, cp), cp.gaussian(jax.random.key(1), std=0.5)),
        "balanced tensor": (gf.Objective(TENSOR, cp), cp.random_balanced(jax.random.key(2), 0.3)),
        "hierarchical tensor": (gf.Objective(TENSOR, tree), tree.gaussian(
            jax.random.key(3), std=0.6)),
    }  # fmt: skip


def assert_right(name, objective, start, **asked):
    flow = gf.solve_flow(objective, start, horizon=HORIZON, rtol=RTOL, observe=["product"], **asked)
    assert flow.outcome is gf.Outcome.REACHED_HORIZON, (name, flow.outcome, dict(flow.stats))
    wanted = product_by_scipy(objective, start, HORIZON)
    error = np.linalg.norm(flow["product"][-1] - wanted) / np.linalg.norm(wanted)
    assert error < 100 * RTOL, (name, error, dict(flow.stats))
    return flow


@pytest.mark.parametrize("coordinates", ["auto", *COORDINATES])
@pytest.mark.parametrize("depth", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_products_of_matrices(depth, coordinates):
    model = gf.MatrixProduct.of((2, 2), depth)
    objective, held = gf.Objective(PROBLEM, model), []
    for name, start in matrix_starts(model).items():
        kind = COORDINATES.get(coordinates)
        reason = kind and kind.refusal(objective, gf.GradientFlow(), start)
        if reason:
            with pytest.raises(ValueError, match="cannot hold this start"):
                gf.solve_flow(objective, start, horizon=HORIZON, coordinates=coordinates)
            continue
        held.append(name)
        assert_right(name, objective, start, coordinates=coordinates)
    distinct = {"generic", "negative determinant", "tiny", "nearest balanced"}
    everything = set(matrix_starts(model))
    balanced = everything - ({"unbalanced"} if depth > 1 else set())
    assert (
        set(held)
        == {
            "auto": everything,
            "factors": everything,
            "product": balanced - ({"rank one", "zero row"} if depth > 2 else set()),
            "singular": distinct | {"near values"} if depth > 1 else set(),
            "logdet": balanced - {"zero row"} if depth > 1 else set(),
            "ldu": balanced - {"zero row"} if depth > 1 else set(),
            "logpolar": set(),
            "logparameters": set(),
            "logcolumns": everything if depth == 2 else set(),
        }[coordinates]
    )


@pytest.mark.parametrize("name", other_starts())
def test_other_factorisations(name):
    objective, start = other_starts()[name]
    flow = assert_right(name, objective, start)
    assert flow.stats["coordinates"] == "factors"
    others = set(COORDINATES) - {"factors"}
    if isinstance(objective.factorization, gf.CPTensor):
        assert_right(name, objective, start, coordinates="logpolar")
        others -= {"logpolar"}
    if name == "diagonal network of depth 2":
        assert_right(name, objective, start, coordinates="logparameters")
        others -= {"logparameters"}
    if isinstance(objective.factorization, gf.SymmetricProduct):
        assert_right(name, objective, start, coordinates="logcolumns")
        others -= {"logcolumns"}
    for coordinates in others:
        with pytest.raises(ValueError, match="cannot hold this start"):
            gf.solve_flow(objective, start, horizon=HORIZON, coordinates=coordinates)
