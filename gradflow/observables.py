r"""What is recorded on the way: pure functions of a state.

An observable is any function `State -> array`. Those here read what the coordinates know best: in
structural coordinates singular values and determinants are exact where the product's entries have
lost them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradflow._util.annotations import Checked
from gradflow._util.validate import whole
from gradflow.factorizations.base import Factors
from gradflow.linalg import spectrum
from gradflow.linalg.thin_svd import see_matrix, thin_svd
from gradflow.problems.base import AbstractProblem
from gradflow.problems.completion import AbstractCompletion
from gradflow.problems.sparse import SparseCompletion
from gradflow.state import State

Observable = Callable[[State], Any]


def loss(state: State) -> Float[Array, ""]:
    """The loss, with its convention and without a penalty."""
    return state.view.loss(state.y)


def penalty(state: State) -> Float[Array, ""]:
    """The objective's penalty, weight included; 0 if it has none."""
    return state.view.penalty(state.y)


def value(state: State) -> Float[Array, ""]:
    """The loss + penalty, which is what is minimised."""
    return state.view.value(state.y)


def gradient_norm(state: State) -> Float[Array, ""]:
    """Norm of the gradient in the (balanced) factors; its square is -d value/dt along the flow.

    Where it is 0 it has a kink, and 0 stands for its derivative.
    """
    return state.view.gradient_norm(state.y)


def test_error(state: State) -> Float[Array, ""]:
    """||W - truth||_F^2 / ||truth||_F^2; of the entries held out, where a problem has such.

    Raises:
      ValueError: if the problem has no truth.

    References:
      arora2019, Appendix D (reconstruction error).
    """
    if (held_out := _held_out(state)) is not None:
        found, wanted = held_out
        return jnp.sum((found - wanted) ** 2) / jnp.sum(wanted**2)
    truth = _truth(state)
    return jnp.sum((state.product - truth) ** 2) / jnp.sum(truth**2)


def mean_squared_error(state: State) -> Float[Array, ""]:
    """Mean over all entries of (W - truth)^2; over those held out, where a problem has such.

    References:
      zhao2022, Appendix A.1.
    """
    if (held_out := _held_out(state)) is not None:
        found, wanted = held_out
        return jnp.mean((found - wanted) ** 2)
    return jnp.mean((state.product - _truth(state)) ** 2)


def _held_out(state: State) -> tuple[Array, Array] | None:
    """The entries of W that are held out, and what they should be; None if there are none."""
    problem = state.problem
    if not isinstance(problem, SparseCompletion) or problem.held_out is None:
        return None
    indices, values = problem.held_out
    return state.view.entries(state.y, indices), values


def _truth(state: State) -> Array:
    if isinstance(state.problem, SparseCompletion):
        raise ValueError(
            "The problem holds no entry out; pass held_out=(indices, values) to it, or record no "
            "test error."
        )
    if state.problem.truth is None:
        raise ValueError(
            "The problem has no ground truth; pass truth=... to it, or record no test error."
        )
    return state.problem.truth


def product(state: State) -> Array:
    """The product W."""
    return state.product


def factors(state: State) -> Factors:
    """The factors W_1, ..., W_N."""
    return state.factors


def log_component_norms(state: State) -> Float[Array, " rank"]:
    """Logarithms of the norms of a CP tensor's components, in order; -inf where one is zero.

    Raises:
      ValueError: if the factorisation has no components.

    References:
      razin2021.
    """
    return state.view.log_component_norms(state.y)


def singular_values(state: State) -> Float[Array, " k"]:
    """Singular values in falling order.

    Raises:
      ValueError: if W is no matrix.
    """
    return state.singular_values


def effective_rank(state: State) -> Float[Array, ""]:
    """Effective rank; see `linalg.effective_rank`.

    Raises:
      ValueError: if W is no matrix.
    """
    see_matrix(state.problem.shape)
    return spectrum.effective_rank_of(state.view.relative_singular_values(state.y))


def log_abs_det(state: State) -> Float[Array, ""]:
    """Natural logarithm of |det W|; in structural coordinates exact also where it is -1e7.

    Raises:
      ValueError: if W is not square.
    """
    return _slogdet(state)[1]


def det_sign(state: State) -> Float[Array, ""]:
    """Sign of det W: -1, 0 or 1.

    Raises:
      ValueError: if W is not square.
    """
    return _slogdet(state)[0]


def _slogdet(state: State) -> tuple[Array, Array]:
    shape = tuple(state.problem.shape)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(
            f"a product of shape {shape} has no determinant; record singular_values instead."
        )
    return state.view.slogdet(state.y)


def unobserved_entries(state: State) -> Float[Array, " u"]:
    """The entries of W that no observation shows, in the order of their positions.

    Raises:
      ValueError: if the problem is no completion problem.
    """
    problem = state.problem
    if not isinstance(problem, AbstractCompletion):
        raise ValueError(
            f"{type(problem).__name__} lists no unobserved entries; record something else."
        )
    hidden = problem.mask.size - problem.observations
    where = jnp.nonzero(problem.mask.ravel() == 0, size=hidden)
    return state.product.ravel()[where]


def unbalancedness(state: State) -> Float[Array, ""]:
    """Unbalancedness of the factors, as their factorisation defines it.

    It is 0 in coordinates that hold balanced flows only.

    References:
      razin2020, Definition 3 (matrix products); razin2021 (CP tensors).
    """
    return state.view.unbalancedness(state.y)


def alignment(state: State) -> Float[Array, " 2"]:
    r"""Means of the on- and off-diagonal entries of |U^T gradient V|, W = U S V^T.

    Raises:
      ValueError: if W is no matrix.

    References:
      arora2019, Figure 3 and Corollary 1.
    """
    see_matrix(state.problem.shape)
    w = state.product
    u, _, vt = thin_svd(w)
    g = jnp.abs(u.T @ state.problem.gradient(w) @ vt.T)
    n = g.shape[0]
    on = jnp.sum(jnp.diagonal(g))
    return jnp.stack([on / n, (jnp.sum(g) - on) / max(n * n - n, 1)])


def learning_rate(state: State) -> Float[Array, ""]:
    """The learning rate of the iteration that comes next, of a descent that was given one.

    Raises:
      ValueError: in flows, and where the optimiser was made with its rate.
    """
    rate = getattr(state.view, "rate", None)
    if rate is None:
        raise ValueError(
            "There is no learning rate to record: flows have none, and an optimizer that was made "
            "with one does not tell it; give run_descent the function that makes it, such as "
            "optax.sgd, and learning_rate."
        )
    return rate


class _SchattenNorm(eqx.Module):
    p: float = eqx.field(static=True)

    def __call__(self, state: State) -> Float[Array, ""]:
        return spectrum.schatten_norm_of(state.singular_values, self.p)


class _DistanceFromRank(eqx.Module):
    rank: int = eqx.field(static=True)

    def __call__(self, state: State) -> Float[Array, ""]:
        return spectrum.distance_from_rank_of(state.singular_values, self.rank)


def schatten_norm(p: float) -> Observable:
    """The observable Schatten-p (quasi-)norm; see `linalg.schatten_norm`.

    Example:
      >>> import gradflow as gf
      >>> objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
      >>> start = gf.factorizations.identity_factors((2, 2, 2), 0.5)
      >>> flow = gf.solve_flow(
      ...     objective, start, horizon=1.0, observe={"nuclear norm": schatten_norm(1.0)}
      ... )
      >>> round(float(flow["nuclear norm"][0]), 6)
      1.0
    """
    return _SchattenNorm(p)


def distance_from_rank(rank: Checked[int]) -> Observable:
    """The observable distance from the matrices of at most the given rank.

    Raises:
      ValueError: if the rank is no whole number of at least 0.
    """
    return _DistanceFromRank(whole("rank", rank, least=0))


_BY_NAME: dict[str, Observable] = {
    f.__name__: f
    for f in (
        loss,
        penalty,
        value,
        gradient_norm,
        test_error,
        mean_squared_error,
        product,
        factors,
        log_component_norms,
        singular_values,
        effective_rank,
        log_abs_det,
        det_sign,
        unobserved_entries,
        unbalancedness,
        alignment,
        learning_rate,
    )
}

Observe = Sequence[str] | Mapping[str, Observable]


_OWN = (
    "own functions are given with their names, all in one dictionary, such as "
    "{'loss': observables.loss, 'nuclear norm': observables.schatten_norm(1)}"
)


def resolve(observe: Checked[Observe]) -> tuple[tuple[str, Observable], ...]:
    """Turn names, or a mapping from names to functions of a state, into pairs.

    The loss is always among them.

    Raises:
      ValueError: if a name is unknown, cannot be stored, or is that of the loss or of the clock for
        something else; it lists the known ones.
    """
    if isinstance(observe, str):
        observe = (observe,)
    if isinstance(observe, Mapping):
        for name, function in observe.items():
            _check_name(name, function)
        pairs = tuple(observe.items())
    elif callable(observe):
        raise ValueError(f"{_OWN[0].upper()}{_OWN[1:]}, not {observe!r} alone.")
    else:
        unknown = [name for name in observe if name not in _BY_NAME]
        if unknown:
            raise ValueError(
                f"Unknown observable {unknown[0]!r}; known are "
                f"{', '.join(sorted(_BY_NAME))}; {_OWN}."
            )
        pairs = tuple((name, _BY_NAME[name]) for name in observe)
    return pairs if any(name == "loss" for name, _ in pairs) else (("loss", loss), *pairs)


def _check_name(name: Any, function: Any) -> None:
    """See that an own observable can be stored under its name, and hides nothing."""
    if (
        not isinstance(name, str)
        or not name.strip()
        or name != name.strip()
        or not (name.isprintable())
    ):
        raise ValueError(f"An observable's name must be a word, but it is {name!r}.")
    if bad := sorted(set("/:") & set(name)):
        raise ValueError(
            f"The observable {name!r} cannot be stored, for the {bad[0]!r} in its name; choose "
            "another."
        )
    if name == "." or name.startswith("_nc4_non_coord_"):
        raise ValueError(
            f"The observable {name!r} cannot be stored: files have a meaning of their own for that "
            "name; choose another."
        )
    if name == "time" or (name == "loss" and function is not loss):
        raise ValueError(
            f"{name!r} is always recorded, and an observable of your own cannot have its name; "
            f"call it 'own {name}' or the like."
        )
    if not callable(function):
        raise ValueError(
            f"The observable {name!r} must be a function of a State, not {function!r}."
        )


def check_entries(pairs: Sequence[tuple[str, Observable]], state: State) -> None:
    """See that the entries of a tuple, which get numbers, do not take another observable's name.

    And that of a matrix that is never formed nothing is asked that needs all of it.

    Args:
      pairs: names and functions.
      state: one that they will see. Nothing is evaluated.

    Raises:
      ValueError: if they do; it names both.
    """
    if isinstance(state.problem, SparseCompletion):
        for _, function in pairs:
            eqx.filter_eval_shape(function, state)
    names = {name for name, _ in pairs}
    for name, function in pairs:
        if not any(other.startswith(f"{name}_") for other in names):
            continue
        shapes = eqx.filter_eval_shape(function, state)
        count = len(shapes) if isinstance(shapes, tuple) else 0
        if taken := sorted(names & {f"{name}_{k}" for k in range(1, count + 1)}):
            raise ValueError(
                f"Two observables are called {taken[0]!r}: an entry of {name!r} and another one; "
                "rename one of them."
            )


def default_observables(problem: AbstractProblem) -> tuple[str, ...]:
    """Names recorded when nothing is asked: loss, spectrum, effective rank, test error if known."""
    names = ["loss", "gradient_norm"]
    if len(problem.shape) == 2:
        names += ["singular_values", "effective_rank"]
    if problem.truth is not None or getattr(problem, "held_out", None) is not None:
        names.append("test_error")
    if isinstance(problem, AbstractCompletion) and problem.mask.size <= 64:
        names.append("unobserved_entries")
    return tuple(names)
