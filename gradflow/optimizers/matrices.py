"""Rules that know a factor is a matrix: by its polar factor, or by both its covariances."""

import functools
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from gradflow._util.annotations import Checked
from gradflow.linalg.products import product
from gradflow.linalg.spectral_map import spectral_map
from gradflow.linalg.symmetric_power import symmetric_power
from gradflow.optimizers._rate import Rate, checked, decaying, descend
from gradflow.optimizers._rules import averaged

Polar = Literal["newton_schulz", "exact"]
_NEWTON_SCHULZ = (3.4445, -4.775, 2.0315)
_STEPS = 5


class _MuonState(NamedTuple):
    mean: Any


class _ShampooState(NamedTuple):
    covariances: Any


def muon(
    learning_rate: Checked[Rate],
    momentum: Checked[float] = 0.95,
    nesterov: bool = True,
    weight_decay: Checked[float] = 0.1,
    eps: Checked[float] = 1e-7,
    polar: Checked[Polar] = "newton_schulz",
) -> optax.GradientTransformation:
    r"""Muon: f <- f - rate (sqrt(max(1, m / n)) O(u) + weight_decay f) for a matrix f of m x n.

        b_t = momentum b_{t-1} + (1 - momentum) g,
        u = momentum b_t + (1 - momentum) g, or b_t without Nesterov's step,

    and O(u) brings all singular values of u near 1: five of Newton and Schulz' iterations with
    Jordan's coefficients leave them between 0.68 and 1.2, where they were above 1/400 of
    max(||u||_F, eps); smaller ones come out smaller. PyTorch does these in bfloat16, and here they
    have the precision of f. optax corrects b_t for its start, and takes a factor's transpose for
    the matrix. `polar="exact"` is the polar factor itself, by an SVD, where singular values up to
    max(m, n) eps of the largest are rounding and count as 0: steepest descent in the spectral norm,
    whose flow is `gradflow.dynamics.SpectralFlow`.

    Args:
      learning_rate: the rate, above 0.
      momentum: what is kept of the mean of the gradient, in [0, 1).
      nesterov: whether to look ahead.
      weight_decay: at least 0; by default PyTorch's 0.1, which moves where W ends: 0 leaves it
        away.
      eps: the least norm that u is divided by, above 0.
      polar: "newton_schulz", or "exact".

    Returns:
      The transformation, for matrices only; its update needs the parameters where there is a
      decay.

    Raises:
      ValueError: if a number is out of its range, or a parameter is no matrix.

    Example:
      >>> import jax.numpy as jnp
      >>> rule = muon(0.1, weight_decay=0.0, polar="exact")
      >>> g = (jnp.array([[3.0, 0.0], [0.0, -0.1]]),)
      >>> rule.update(g, rule.init(g))[0][0].round(3).tolist()
      [[-0.1, 0.0], [0.0, 0.1]]

    References:
      Jordan et al. 2024; Bernstein and Newhouse 2024, Old Optimizer, New Norm.
    """
    eps, momentum = checked(eps, momentum=momentum)
    if polar not in ("newton_schulz", "exact"):
        raise ValueError(f"polar must be 'newton_schulz' or 'exact', but it is {polar!r}.")
    rule = _scale_by_muon(momentum, bool(nesterov), eps, polar)
    return descend(learning_rate, rule, *decaying(weight_decay))


def shampoo(
    learning_rate: Checked[Rate], eps: Checked[float] = 1e-4, weight_decay: Checked[float] = 0.0
) -> optax.GradientTransformation:
    r"""Shampoo: f <- f - rate L_t^(-1/4) g R_t^(-1/4) for a matrix f, over all steps so far.

        L_t = eps I + sum_s g_s g_s^T,    R_t = eps I + sum_s g_s^T g_s

    An array with k axes has a covariance for each, to the power -1/(2k): a vector the whole
    matrix of Adagrad. Roots are taken in each iteration, by eigenvalues; those below rounding next
    to the largest count as rounding. As eps falls, the first step tends to the rate times the
    polar factor of -g, which is `muon`'s.

    Args:
      learning_rate: the rate, above 0.
      eps: what the covariances begin with, above 0.
      weight_decay: how much of f is added to its gradient, at least 0.

    Returns:
      The transformation.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> rule, g = shampoo(0.1, eps=1e-12), (jnp.array([[3.0, 0.0], [0.0, -0.1]]),)
      >>> rule.update(g, rule.init(g))[0][0].round(6).tolist()
      [[-0.1, 0.0], [0.0, 0.1]]

    References:
      Gupta, Koren and Singer 2018, Algorithms 1 and 2.
    """
    (eps,) = checked(eps)
    return descend(learning_rate, *decaying(weight_decay), _scale_by_shampoo(eps))


def _scale_by_muon(
    momentum: float, nesterov: bool, eps: float, polar: Polar
) -> optax.GradientTransformation:
    """Along a mean of the gradient with its singular values brought near 1."""

    def init(params: Any) -> _MuonState:
        for leaf in jax.tree.leaves(params):
            if jnp.ndim(leaf) != 2:
                raise ValueError(
                    f"muon is for matrices, but a parameter has shape {jnp.shape(leaf)}; take "
                    "gradflow.optimizers.shampoo, which is for arrays of any number of axes."
                )
        return _MuonState(jax.tree.map(jnp.zeros_like, params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, _MuonState]:
        del params
        mean = averaged(momentum, state.mean, updates)
        ahead = averaged(momentum, mean, updates) if nesterov else mean
        make = _polar_factor if polar == "exact" else functools.partial(_orthogonal, eps=eps)
        moved = jax.tree.map(lambda u: math.sqrt(max(1, u.shape[0] / u.shape[1])) * make(u), ahead)
        return moved, _MuonState(mean)

    return optax.GradientTransformation(init, update)


def _polar_factor(u: Float[Array, "m n"]) -> Float[Array, "m n"]:
    """U V^T over the singular values that are not rounding."""
    null = max(u.shape) * float(jnp.finfo(u.dtype).eps)
    return spectral_map(lambda s: ((1.0, 0.0),), u, 0, null)


def _orthogonal(u: Float[Array, "m n"], eps: float) -> Float[Array, "m n"]:
    """Newton and Schulz' iterations, as Muon has them."""
    a, b, c = _NEWTON_SCHULZ
    x = u.T if u.shape[0] > u.shape[1] else u
    square = jnp.sum(x * x)
    low = square > eps**2  # the root has no derivative at 0
    x = x / jnp.where(low, jnp.sqrt(jnp.where(low, square, 1.0)), eps)

    def bring_near(_: Any, x: Array) -> Array:
        gram = product(x, x.T)
        return a * x + product(b * gram + product(c * gram, gram), x)

    x = jax.lax.fori_loop(0, _STEPS, bring_near, x)
    return x.T if u.shape[0] > u.shape[1] else x


def _scale_by_shampoo(eps: float) -> optax.GradientTransformation:
    """By roots of the covariances of the gradient along each of its axes."""

    def init(params: Any) -> _ShampooState:
        def first(f: Array) -> tuple[Array, ...]:
            return tuple(eps * jnp.eye(n, dtype=f.dtype) for n in jnp.shape(f))

        return _ShampooState([first(leaf) for leaf in jax.tree.leaves(params)])

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        gradients, structure = jax.tree.flatten(updates)
        moved, kept = [], []
        for gradient, before in zip(gradients, state.covariances, strict=True):
            now = tuple(c + _covariance(gradient, k) for k, c in enumerate(before))
            for k, covariance in enumerate(now):
                root = symmetric_power(covariance, -1 / (2 * len(now)))
                gradient = jnp.moveaxis(jnp.tensordot(root, gradient, axes=(1, k)), 0, k)
            moved.append(gradient)
            kept.append(now)
        return jax.tree.unflatten(structure, moved), _ShampooState(kept)

    return optax.GradientTransformation(init, update)


def _covariance(gradient: Array, axis: int) -> Float[Array, "n n"]:
    """Of the slices along an axis."""
    rows = jnp.moveaxis(gradient, axis, 0).reshape(gradient.shape[axis], -1)
    return product(rows, rows.T)
