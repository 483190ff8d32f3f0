r"""Real Adam runs on a small completion problem, set beside the formulas for its motion.

A run is optax.adam on the factors, with the full gradient or with minibatches of observed entries
(drawn without replacement, scaled to be unbiased). After a burn-in of several memories 1/(1 - beta)
its motion over a window of iterations, divided by the learning rate, is compared with a formula's
mean over the same window. Windows average out the sampling noise of m, which Equation (14) takes an
expectation over; its bias stays.

Adam's model (15) is dW_j/dt = -D_j with D_j = g_j / sqrt(g_j^2 + s_j^2), entry by entry, and 0
where g_j is 0. In the product,

    corrected:        dW/dt = -sum_j A_j^T D_j B_j^T
    printed:          dW/dt = -sum_j (W^T W)^((N-j)/N) (L .* S_j) (W W^T)^((j-1)/N)
    order repaired:   dW/dt = -sum_j (W W^T)^((N-j)/N) (L .* S_j) (W^T W)^((j-1)/N)
    partial products: dW/dt = -sum_j A_j^T A_j (L .* S_j) B_j B_j^T

where L is the gradient in W and S_j = (g_j^2 + s_j^2)^(-1/2). The second is Theorem 1 with its
Kronecker products applied to a column-major vec; the last two undo its faults one by one and still
scale L instead of A_j L B_j. All but the first need square factors.
"""

import dataclasses
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradflow as gf

SHARE = 0.68
"""Of a right side, in the controls of approximations."""
FAR = "32% off; where 10% are allowed, an approximation fails from 30% on"

SIZE, OBSERVED = 6, 24
FORMULAS = ("corrected", "printed", "order repaired", "partial products")
POINTS = 8
"""How many points of a window a formula is averaged over."""


@dataclass(frozen=True)
class Setup:
    """An Adam run.

    Attributes:
      depth: N.
      rate: the learning rate alpha.
      betas: (beta_1, beta_2).
      batch: entries in a minibatch; None for full batches.
      weight: lambda of the ratio penalty; 0 for none.
      start: "balanced" (entries of std 0.4) or "gaussian" (the paper's entries, of std 1e-3).
      steps: iterations before the first window; None for 5 memories 1/(1 - max beta).
      window: iterations a window.
      windows: how many windows, one after the other.
      seed: of problem, start and batches.
      printed_penalty: whether the formulas but the first take Equation (12).
    """

    depth: int
    rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    batch: int | None = None
    weight: float = 0.0
    start: str = "balanced"
    steps: int | None = None
    window: int = 2000
    windows: int = 1
    seed: int = 0
    printed_penalty: bool = False

    @property
    def burn_in(self) -> int:
        """Iterations before the first window."""
        return round(5 / (1 - max(self.betas))) if self.steps is None else self.steps

    @property
    def objective(self) -> gf.Objective:
        """The problem: rank 2, 24 of 36 entries observed, the paper's loss."""
        problem = gf.synthetic.matrix_completion(
            jax.random.key(self.seed), (SIZE, SIZE), 2, OBSERVED, loss="sum", norm=float(SIZE)
        )
        penalty = gf.NuclearFrobeniusRatio(self.weight) if self.weight else None
        return gf.Objective(problem, gf.MatrixProduct.of((SIZE, SIZE), self.depth), penalty)

    @property
    def factors(self) -> tuple[jax.Array, ...]:
        """The start."""
        key, sizes = jax.random.key(100 + self.seed), (SIZE,) * (self.depth + 1)
        if self.start == "gaussian":
            return gf.factorizations.gaussian_factors(key, sizes, std=1e-3)
        return gf.factorizations.random_balanced(key, sizes, 0.4)


class Window(NamedTuple):
    """What a run did in a window, and what the formulas say, both as velocities.

    Attributes:
      time: learning rate times iterations, at the middle.
      loss: there.
      layers: each layer's velocity, W_1 first.
      model: the same by (15).
      product: the product's velocity.
      formulas: the same by each of `FORMULAS`.
      quadrature: relative error of the corrected formula's mean, from half the points.
      moving: the singular values' velocities u^T (dW/dt) v, with the frames of W in the middle.
      frames: U and V there.
      unbalancedness: relative, in the middle.
      noise: the median of s / |g| over the entries that move.
      turning: share of the factors' entries whose gradient changes sign within the window or the
        five memories before it, to the resolution of the recorded points.
      factors: W_1, ..., W_N in the middle.
    """

    time: float
    loss: float
    layers: tuple[np.ndarray, ...]
    model: tuple[np.ndarray, ...]
    product: np.ndarray
    formulas: dict[str, np.ndarray]
    quadrature: float
    moving: np.ndarray
    frames: tuple[np.ndarray, np.ndarray]
    unbalancedness: float
    noise: float
    turning: float
    factors: tuple[np.ndarray, ...]

    def error(self, formula: str = "corrected") -> float:
        """Relative error of a formula for the product's velocity, in Frobenius norm."""
        return distance(self.product, self.formulas[formula])

    def model_error(self) -> float:
        """Relative error of (15), over all layers."""
        return distance(
            np.concatenate([x.ravel() for x in self.layers]),
            np.concatenate([x.ravel() for x in self.model]),
        )


def distance(found: np.ndarray, formula: np.ndarray) -> float:
    """|found - formula| relative to the larger of the two."""
    scale = max(float(np.linalg.norm(found)), float(np.linalg.norm(formula)))
    return float(np.linalg.norm(found - formula)) / scale


@cache
def windows(setup: Setup) -> tuple[Window, ...]:
    """Run Adam and compare, window by window."""
    objective, stride = setup.objective, max(setup.window // POINTS, 1)
    burns = 4
    burn = max(-(-setup.burn_in // burns), 1)
    marks = [burn] * burns + [stride] * (POINTS * setup.windows)
    path = _run(
        objective, setup.factors, setup.rate, *setup.betas, jnp.asarray(marks),
        jax.random.key(1000 + setup.seed), setup.batch,
    )  # fmt: skip
    plain = gf.Objective(objective.problem, objective.factorization)
    entries = OBSERVED if setup.batch is None else setup.batch

    def everywhere(values: tuple[jax.Array, ...], printed: bool) -> Velocities:
        spread = gf.dynamics.sampled_variance(plain, values, entries)
        return velocities(objective, values, spread, printed)

    fields = jax.vmap(lambda values: everywhere(values, setup.printed_penalty))(path)
    path, fields = jax.tree.map(np.asarray, (path, fields))
    gradients = [np.sign(g) for g in fields.gradient]
    made = []
    elapsed = burn * burns * setup.rate
    for k in range(setup.windows):
        first, last = burns + k * POINTS, burns + (k + 1) * POINTS
        middle = (first + last) // 2
        span = POINTS * stride * setup.rate

        def mean(x: np.ndarray, first: int = first, last: int = last) -> np.ndarray:
            inner = np.sum(x[first + 1 : last], axis=0)
            return (inner + (x[first] + x[last]) / 2) / (last - first)

        def coarser(x: np.ndarray, first: int = first, last: int = last) -> np.ndarray:
            inner = np.sum(x[first + 2 : last : 2], axis=0)
            return 2 * (inner + (x[first] + x[last]) / 2) / (last - first)

        def moved(x: np.ndarray, first: int = first, last: int = last, span: float = span):
            return (x[last] - x[first]) / span

        now = tuple(f[middle] for f in path)
        products = np.asarray(jax.vmap(objective.product)(path))
        u, _, vt = np.linalg.svd(products[middle], full_matrices=False)
        signs = [s[max(first - burns, 1) : last + 1] for s in gradients]
        turning = np.concatenate([(s.max(0) != s.min(0)).ravel() for s in signs])
        spread = np.concatenate([np.sqrt(s[middle]).ravel() for s in fields.variance])
        size = np.concatenate([np.abs(g[middle]).ravel() for g in fields.gradient])
        made.append(Window(
            time=elapsed + (k + 0.5) * span,
            loss=float(objective.problem.loss(jnp.asarray(products[middle]))),
            layers=tuple(moved(f) for f in path),
            model=tuple(mean(f) for f in fields.layers),
            product=moved(products),
            quadrature=distance(mean(fields.products[0]), coarser(fields.products[0])),
            formulas={name: mean(x) for name, x in zip(FORMULAS, fields.products, strict=True)},
            moving=np.einsum("ir,ij,rj->r", u, moved(products), vt),
            frames=(u, vt.T),
            unbalancedness=_unbalancedness(now),
            noise=float(np.median((spread / np.where(size > 0, size, 1.0))[size > 0])),
            turning=float(np.mean(turning)),
            factors=now,
        ))  # fmt: skip
    return tuple(made)


def _unbalancedness(factors: tuple[np.ndarray, ...]) -> float:
    if len(factors) == 1:
        return 0.0
    return float(gf.factorizations.relative_unbalancedness(tuple(map(jnp.asarray, factors))))


@partial(jax.jit, static_argnames=("batch",))
def _run(objective, factors, rate, beta1, beta2, marks, key, batch):
    """The factors at the start and after each of the marks' numbers of iterations."""
    problem, model = objective.problem, objective.factorization
    optimizer = optax.adam(rate, b1=beta1, b2=beta2, eps=1e-100)
    count = problem.observations

    def gradient(values, key):
        if batch is None:
            return objective.gradient(values)
        w, partial_products = model.forward(values)
        chosen = jnp.argsort(jax.random.uniform(key, (count,)))[:batch]
        share = jnp.zeros(count).at[chosen].set(count / batch)
        weights = (
            jnp.zeros(problem.shape).at[problem.indices[:, 0], problem.indices[:, 1]].set(share)
        )
        whole = weights * problem.gradient(w)
        if objective.penalty is not None:
            whole = whole + objective.penalty.gradient(w)
        return model.pullback(values, partial_products, whole)

    def step(_, carry):
        values, state, key = carry
        key, now = jax.random.split(key)
        change, state = optimizer.update(gradient(values, now), state)
        return jax.tree.map(jnp.add, values, change), state, key

    def to_mark(carry, mark):
        carry = jax.lax.fori_loop(0, mark, step, carry)
        return carry, carry[0]

    _, path = jax.lax.scan(to_mark, (factors, optimizer.init(factors), key), marks)
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), factors, path)


class Velocities(NamedTuple):
    """Formulas at one point: g_j, s_j^2, -D_j and the product's velocities, as in `FORMULAS`."""

    gradient: tuple[jax.Array, ...]
    variance: tuple[jax.Array, ...]
    layers: tuple[jax.Array, ...]
    products: tuple[jax.Array, ...]


@partial(jax.jit, static_argnames=("printed_penalty",))
def velocities(
    objective: gf.Objective,
    factors: tuple[jax.Array, ...],
    variance: tuple[jax.Array, ...],
    printed_penalty: bool = False,
) -> Velocities:
    """All formulas of the module's docstring at given factors.

    Args:
      objective: of the run.
      factors: W_1, ..., W_N, square.
      variance: s_j^2.
      printed_penalty: take Equation (12) for the penalty's gradient where L stands.

    Returns:
      Gradients, variances and velocities.
    """
    problem, model = objective.problem, objective.factorization
    if not isinstance(model, gf.MatrixProduct):
        raise ValueError(f"The formulas are for matrix products, not for {model!r}.")
    n = model.depth
    gradient = objective.gradient(factors)
    roots = [jnp.sqrt(g**2 + v) for g, v in zip(gradient, variance, strict=True)]
    scale = [jnp.where(r > 0, 1 / jnp.where(r > 0, r, 1.0), 0.0) for r in roots]
    layers = tuple(-g * s for g, s in zip(gradient, scale, strict=True))
    above, below = model.neighbours(factors)
    w = model.product(factors)
    whole = problem.gradient(w)
    if isinstance(objective.penalty, gf.penalties.AbstractSpectralPenalty):
        if printed_penalty:
            u, sigma, vt = jnp.linalg.svd(w)
            norm = jnp.linalg.norm(sigma)
            push = (u @ vt - jnp.sum(sigma) / norm * w) / norm**2
            whole = whole + objective.penalty.weight * push
        else:
            whole = whole + objective.penalty.gradient(w)
    u, sigma, vt = jnp.linalg.svd(w)

    def power(frame: jax.Array, k: int) -> jax.Array:
        return jnp.eye(len(w)) if k == 0 else (frame * sigma ** (2 * k / n)) @ frame.T

    left = [power(u, k) for k in range(n)]
    right = [power(vt.T, k) for k in range(n)]
    scaled = [whole * s for s in scale]
    layer = range(n)
    terms = (
        [above[j] @ layers[j] @ below[j] for j in layer],
        [-right[n - 1 - j] @ scaled[j] @ left[j] for j in layer],
        [-left[n - 1 - j] @ scaled[j] @ right[j] for j in layer],
        [-above[j] @ above[j].T @ scaled[j] @ below[j].T @ below[j] for j in layer],
    )
    products = tuple(jnp.sum(jnp.stack(parts), axis=0) for parts in terms)
    return Velocities(gradient, variance, layers, products)


def with_(setup: Setup, **changes: object) -> Setup:
    """A setup with some fields changed."""
    return dataclasses.replace(setup, **changes)  # pyright: ignore[reportArgumentType]
