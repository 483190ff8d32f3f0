r"""Cases for formulas of the singular values' motion, shared by the papers that print one.

The formula d sigma_r/dt = -N (sigma_r^2)^power <gradient, u_r v_r^T> is compared with difference
quotients of signed singular values that are followed along the exact flow: the flow itself is the
witness, not another formula.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

from gradflow.claims.definition import Case, Confirmation, Settings
from gradflow.claims.hypotheses import Measured, Met
from gradflow.claims.oracles import differences
from gradflow.claims.oracles import flows as runs
from gradflow.claims.oracles.high_precision import DIGITS, precise, product_velocity, show, svd
from gradflow.factorizations import random_balanced
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.linalg.analytic_svd import follow_svd
from gradflow.objective import Objective
from gradflow.problems import MatrixCompletion
from gradflow.synthetic import matrix_completion, norm_blowup

Power = Callable[[int], float]
"""From the depth to the exponent of sigma^2."""


class Motion(NamedTuple):
    """Singular values of a clustered run and how they move, values in falling size.

    Attributes:
      found: the run; its products are dropped where they are large.
      s: (clusters, k) signed singular values at the middle times.
      slope: (clusters, k) their difference quotients.
      error: (clusters, k) the quotients' errors.
      along: (clusters, k) u_r^T gradient v_r.
      chain: (clusters, k) u_r^T (dW/dt) v_r with dW/dt by the chain rule, or None.
      push: (clusters,) spectral norms of the gradient.
      changes: how many signed singular values end with the other sign, None where they are too
        many to follow from one cluster to the next.
    """

    found: differences.Clusters
    s: np.ndarray
    slope: np.ndarray
    error: np.ndarray
    along: np.ndarray
    chain: np.ndarray | None
    push: np.ndarray
    changes: int | None


def motion(found: differences.Clusters) -> Motion:
    """Follow the singular values through each cluster and take their difference quotients."""
    rows: list[tuple[np.ndarray, ...]] = []
    for k, t in enumerate(found.times):
        path = follow_svd(found.product[k])
        order = np.argsort(-np.abs(path.s[3]))
        u, s, v = path.u[3][:, order], path.s[:, order], path.v[3][:, order]
        slope = differences.derivative(s, t * found.width)
        along = np.einsum("ir,ir->r", u, found.gradient[k] @ v)
        chain = along if found.velocity is None else np.einsum("ir,ir->r", u, found.velocity[k] @ v)
        push = np.asarray(np.linalg.norm(found.gradient[k], 2))
        rows.append((s[3], slope.value, slope.error, along, chain, push))
    s, slope, error, along, chain, push = (np.array(column) for column in zip(*rows, strict=True))
    small = found.product.shape[-1] <= 10
    changes = _sign_changes(found.product.reshape(-1, *found.product.shape[2:])) if small else None
    if not small:
        found = found._replace(product=found.product[:, 3:4], velocity=None)
    chains = chain if "velocity" in found.flow.observables else None
    return Motion(found, s, slope, error, along, chains, push, changes)


def small_cases(settings: Settings, loss: Any, power: Power, factor: float) -> Iterator[Case]:
    """2x2, depth 1 to 4; from depth 2 on in coordinates exact to a vanishing loss."""
    for depth in (1, 2, 3, 4):
        motions = [
            _small_run(settings.full, loss, depth, *at) for at in ((1e-10, 2e-3), (1e-8, 4e-3))
        ]
        yield dynamics_case(f"2x2, depth {depth}", depth, motions, power, factor)


@cache
def _small_run(full: bool, loss: Any, depth: int, rtol: float, width: float) -> Motion:
    problem = norm_blowup()
    problem = MatrixCompletion((2, 2), problem.indices, problem.values, loss=loss)
    start = jnp.array([[0.1, 0.03], [-0.02, 0.08]])
    objective = Objective(problem, MatrixProduct.of((2, 2), depth))
    if depth == 1:
        found = differences.record_clusters(
            objective, start, np.geomspace(0.01, 3.0, 24), rtol=rtol, width=width / 2
        )
    else:
        found = differences.record_clusters(
            objective,
            start,
            np.geomspace(0.01, 1e5, 28 if full else 14),
            coordinates="logdet",
            rtol=rtol,
            width=width,
        )
    return motion(found)


def large_cases(
    settings: Settings, loss: Any, power: Power, factor: float, depths: tuple[int, ...]
) -> Iterator[Case]:
    """100 x 100, rank 5, 2000 observed entries, balanced start with entries of std 1e-3."""
    for depth in depths:
        motions = [
            _large_run(settings.seed, loss, depth, *at) for at in ((1e-10, 2e-4), (1e-8, 4e-4))
        ]
        yield dynamics_case(f"100x100, depth {depth}", depth, motions, power, factor)


@cache
def _large_run(seed: int, loss: Any, depth: int, rtol: float, width: float) -> Motion:
    key = jax.random.key(seed)
    problem = matrix_completion(key, (100, 100), 5, 2000, loss=loss)
    model = MatrixProduct.of((100, 100), depth)
    start = random_balanced(jax.random.fold_in(key, 1), model.sizes, 1e-3)
    objective = Objective(problem, model)
    centres = rise_times(problem, depth)
    return motion(differences.record_clusters(objective, start, centres, rtol=rtol, width=width))


def rise_times(problem: MatrixCompletion, depth: int) -> np.ndarray:
    """Times when singular values are on their way: from 0.1 to 4 times the first rise."""
    w = 1e-3 * np.sqrt(problem.shape[0])
    top = 2 * problem.weight * float(np.linalg.norm(np.asarray(problem.target), 2))
    if depth == 1:
        rise = 1 / (2 * problem.weight)
    elif depth == 2:
        rise = np.log(top / w) / (2 * top)
    else:
        power = 2 / depth - 1
        rise = w**power / (-power * depth * top)
    return rise * np.array([0.1, 0.4, 0.8, 1.1, 1.6, 2.5, 4.0])


def ratings_case(power: Power, factor: float, settings: Settings) -> Case:
    """Depth 2 on the real 943 x 1682 ratings, full-dimensional."""
    found = _ratings_run(settings.seed, settings.full)
    return dynamics_case("MovieLens 100K 943x1682, depth 2", 2, [found], power, factor)


@cache
def _ratings_run(seed: int, full: bool) -> Motion:
    problem = runs.movielens()
    model = MatrixProduct.of(problem.shape, 2)
    start = random_balanced(jax.random.key(seed), model.sizes, 1e-3)
    centres = (0.004, 0.009) if full else (0.006,)
    objective = Objective(problem, model)
    return motion(differences.record_clusters(objective, start, centres, rtol=1e-6, width=5e-4))


def dynamics_case(
    name: str, depth: int, motions: Sequence[Motion], power: Power, factor: float
) -> Case:
    """Difference quotients of followed singular values against the formula, at every cluster.

    The floor adds up the quotient's error, what the flow's unbalancedness (round-off and the
    solver's error) does to the formula to first order, and, with a second run of twice the spacing
    at a looser tolerance, twice the largest change of a gap.
    """
    exponent = power(depth)

    def formula(m: Motion) -> np.ndarray:
        return -factor * depth * (m.s**2) ** exponent * m.along

    def gaps(m: Motion) -> np.ndarray:
        return (m.slope - formula(m)) * np.where(m.s < 0, -1.0, 1.0)

    first = motions[0]
    found = first.found
    printed, gap = formula(first), gaps(first)
    scale = np.max(np.abs(printed), axis=1, keepdims=True)
    error = first.error
    if depth > 1:
        top = np.max(np.abs(first.s), axis=1) ** (2 - 2 / depth)
        error = error + (depth**2 * found.drift * top * first.push)[:, None]
    error = error / scale
    for other in motions[1:]:
        error = error + 2 * np.max(np.abs(gap - gaps(other)) / scale)
    loss = found.flow["loss"]
    notes = [
        f"loss {loss[0]:.3g} to {loss[-1]:.3g}",
        f"largest singular value to {np.max(np.abs(first.s)):.3g}",
        f"largest residual {np.max(np.abs(gap) / scale):.1e}",
    ]
    if first.chain is not None:
        notes.append(f"chain rule agrees to {np.max(np.abs(first.chain - printed) / scale):.1e}")
        notes.append(f"relative unbalancedness at most {found.drift:.1e}")
    signs = "not followed between clusters" if first.changes is None else first.changes
    notes.append(f"sign changes: {signs}")
    hypotheses: dict[str, Met] = {
        "the loss never rises": Measured(float(np.max(np.diff(loss)) / loss[0]), below=1e-12),
        "balanced start": runs.balanced_start(found.flow),
    }
    shape = found.product.shape[-2:]
    if depth > 1 and first.changes is not None:
        hypotheses["no singular value changes sign (depth at least 2)"] = Measured(
            first.changes, below=1
        )
    elif first.changes is not None:
        hypotheses["a signed singular value crosses zero (depth 1)"] = Measured(
            first.changes, above=0
        )
    values = first.s.shape[1]
    return Case(
        name=name,
        residual=(np.abs(gap) / scale).ravel(),
        floor=error.ravel(),
        hypotheses=hypotheses,
        size=float(shape[0] * shape[1]),
        witness=lambda at: {"time": float(found.times[at // values])},
        confirm=_by_chain_rule(first, depth, exponent, factor) if shape == (2, 2) else None,
        notes="; ".join(notes),
    )


def _by_chain_rule(
    first: Motion, depth: int, exponent: float, factor: float
) -> Callable[[int], Confirmation]:
    """The formula at a cluster's middle against the chain rule, in mpmath."""
    found, values = first.found, first.s.shape[1]

    def confirm(at: int) -> Confirmation:
        k = at // values
        with mpmath.workdps(DIGITS):
            w, grad = precise(found.product[k, 3]), precise(found.gradient[k])
            u, s, v = svd(w)
            moved = u.T * product_velocity(w, grad, depth) * v
            along = u.T * grad * v
            off = [
                abs(
                    moved[r, r] + factor * depth * (s[r] ** 2) ** mpmath.mpf(exponent) * along[r, r]
                )
                for r in range(len(s))
            ]
            r = int(np.argmax([float(x) for x in off]))
            return Confirmation(
                bool(off[r] > mpmath.mpf(10) ** -20),
                f"at W = {show(found.product[k, 3])} with gradient {show(found.gradient[k])}, "
                f"depth {depth}: the chain rule gives {mpmath.nstr(moved[r, r], 20)} for the "
                f"singular value {mpmath.nstr(s[r], 12)}, off the formula by "
                f"{mpmath.nstr(off[r], 12)}",
            )

    return confirm


def _sign_changes(path: np.ndarray) -> int:
    """How many signed singular values end with the other sign."""
    s = follow_svd(path).s
    return int(np.sum(np.sign(s[0]) * np.sign(s[-1]) < 0))
