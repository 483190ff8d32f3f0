"""Problems with a second right-hand side in NumPy, and SciPy's solution of it."""

import numpy as np
import scipy.integrate
import scipy.linalg

import gradflow as gf
from gradflow.observables import resolve
from tests.helpers import chain

TIMES = np.array([0.3, 1.0, 2.5, 6.0])


def draw(shapes, seed, scale=0.6):
    rng = np.random.default_rng(seed)
    return tuple(scale * rng.normal(size=shape) for shape in shapes)


def pull_back_matrices(factors, g):
    result = []
    for j in range(len(factors)):
        after = chain(factors[j + 1 :]) if j + 1 < len(factors) else np.eye(g.shape[0])
        before = chain(factors[:j]) if j else np.eye(g.shape[1])
        result.append(after.T @ g @ before.T)
    return result


def pull_back_tensor(factors, g):
    a, b, c = factors
    return [
        np.einsum("abc,br,cr->ar", g, b, c),
        np.einsum("abc,ar,cr->br", g, a, c),
        np.einsum("abc,ar,br->cr", g, a, b),
    ]


def tensor_of(factors):
    return np.einsum("ar,br,cr->abc", *factors)


def by_scipy(gradient, product, pull_back, start, times, loss=None):
    """Products at the times; with `loss`, the time at which that function of W crosses zero."""
    cuts = np.cumsum([f.size for f in start])[:-1]

    def unpack(y):
        return [part.reshape(f.shape) for part, f in zip(np.split(y, cuts), start, strict=True)]

    def field(t, y):
        factors = unpack(y)
        return -np.concatenate([p.ravel() for p in pull_back(factors, gradient(product(factors)))])

    events = None if loss is None else [lambda t, y: loss(product(unpack(y)))]
    solution = scipy.integrate.solve_ivp(
        field, (0, times[-1]), np.concatenate([f.ravel() for f in start]), method="DOP853",
        t_eval=times, rtol=1e-12, atol=1e-14, events=events,
    )  # fmt: skip
    if loss is not None:
        return solution.t_events[0][0]
    return np.array([product(unpack(y)) for y in solution.y.T])


def completion_case(shape, sizes, seen, seed):
    rng = np.random.default_rng(seed)
    cells = rng.permutation(np.argwhere(np.ones(shape)))[:seen]
    values = rng.normal(size=seen)
    mask, target = np.zeros(shape), np.zeros(shape)
    mask[tuple(cells.T)], target[tuple(cells.T)] = 1, values
    model = gf.MatrixProduct(sizes)
    return (
        gf.Objective(gf.MatrixCompletion(shape, cells, values), model),
        (lambda w: mask * (w - target), chain, pull_back_matrices),
        draw(model.factor_shapes, seed + 1),
    )


def sensing_case():
    rng = np.random.default_rng(2)
    a, y = rng.normal(size=(5, 3, 2)), rng.normal(size=5)
    model = gf.MatrixProduct((2, 5, 4, 3))
    return (
        gf.Objective(gf.MatrixSensing(a, y, loss="mean"), model),
        (
            lambda w: 2 / 5 * sum((np.sum(m * w) - b) * m for m, b in zip(a, y, strict=True)),
            chain,
            pull_back_matrices,
        ),
        draw(model.factor_shapes, 3),
    )


def regression_case(sizes):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    model = gf.MatrixProduct(sizes)
    return (
        gf.Objective(gf.LeastSquares(x, y, loss="sum"), model),
        (lambda w: 2 * x.T @ (x @ w - y), chain, pull_back_matrices),
        draw(model.factor_shapes, 5),
    )


def tensor_case():
    rng = np.random.default_rng(6)
    shape = (3, 2, 2)
    cells = rng.permutation(np.argwhere(np.ones(shape)))[:9]
    values = rng.normal(size=9)
    mask, target = np.zeros(shape), np.zeros(shape)
    mask[tuple(cells.T)], target[tuple(cells.T)] = 1, values
    model = gf.CPTensor(shape, 2)
    return (
        gf.Objective(gf.TensorCompletion(shape, cells, values), model),
        (lambda w: mask * (w - target), tensor_of, pull_back_tensor),
        draw(model.factor_shapes, 7),
    )


CASES = {
    "rectangular completion": lambda: completion_case((3, 4), (4, 3, 3), 8, 0),
    "rank-1 completion, depth 3": lambda: completion_case((3, 3), (3, 1, 1, 3), 6, 10),
    "sensing, wide hidden sizes": sensing_case,
    "regression, depth 1": lambda: regression_case((2, 3)),
    "regression, depth 2": lambda: regression_case((2, 2, 3)),
    "tensor": tensor_case,
}
TRACED = []


def traced_product(state):
    """The product; Python comes by only where a program is traced."""
    TRACED.append(None)
    return state.product


# One set of observables and one number of records for all that follows: programs are shared.
NAMES = ("singular_values", "log_abs_det", "det_sign", "unobserved_entries", "gradient_norm")
EVERYTHING = {**dict(resolve(NAMES)), "product": traced_product}


def blowup_objective(depth, cell=(0, 0), values=(1.0, 0.7, 0.2)):
    seen = [at for at in np.ndindex(2, 2) if at != cell]
    return gf.Objective(
        gf.MatrixCompletion((2, 2), seen, values), gf.MatrixProduct.of((2, 2), depth)
    )


GENERIC = 1e-3 * np.array([[1.0, 0.3], [-0.2, 0.8]])
SCALED = 1e-2 * np.eye(2)
