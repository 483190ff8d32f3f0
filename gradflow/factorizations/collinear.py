"""Terms of CP tensors that point the same way are one term."""

import jax.numpy as jnp
import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.validate import finite_array, positive
from gradflow.factorizations.base import Factors, FactorsLike
from gradflow.linalg.lengths import lengths_and_directions


def merge_collinear(factors: Checked[FactorsLike], tolerance: Checked[float] = 1e-8) -> Factors:
    r"""The same CP tensor with fewer terms: those that are collinear in all modes become one.

    Two vectors u, v are collinear if || u/||u|| -+ v/||v|| || <= tolerance; signs are kept. A term
    joins the largest one that it is collinear to in all modes. Terms that are zero are left out, as
    are sums of terms that cancel each other up to rounding.

    Args:
      factors: a factor (n, rank) an axis, as `CPTensor` has them.
      tolerance: above 0, below 1. W changes by at most the number of modes times this, relative to
        the norms of the terms that are merged.

    Returns:
      Factors of as many columns as terms are left, the largest first. Terms that nothing is merged
      with stay as they are.

    Raises:
      ValueError: on no factors, shapes that do not fit, or a tolerance out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> factors = jnp.array([[1.0, -1.0, 0.0]]), jnp.array([[2.0, 4.0, 5.0]])
      >>> [f.tolist() for f in merge_collinear(factors)]
      [[[-0.707...]], [[2.828...]]]
    """
    arrays = _checked(factors)
    bound = positive("tolerance", tolerance)
    if bound >= 1:
        raise ValueError(f"tolerance is {bound}, but it must be below 1; 1e-8 merges equal terms.")
    norms = np.stack([lengths_and_directions(f)[0] for f in arrays])
    terms = np.flatnonzero(np.all(norms > 0, axis=0))
    units = [f / np.where(norm > 0, norm, 1) for f, norm in zip(arrays, norms, strict=True)]
    logs = np.sum(np.log(np.where(norms > 0, norms, 1)), axis=0)
    left = terms[np.argsort(-logs[terms], kind="stable")]
    leaders, ratios = [], []
    while left.size:
        first = int(left[0])
        joins, signs = _collinear(units, first, left, bound)
        shares = signs * np.exp(logs[joins] - logs[first])
        total = np.sum(shares)
        if abs(total) > len(joins) * len(units) * np.finfo(arrays[0].dtype).eps:
            leaders.append(first)
            ratios.append(total)
        left = np.setdiff1d(left, joins, assume_unique=True)
        left = left[np.argsort(-logs[left], kind="stable")]
    ratio = np.array(ratios, arrays[0].dtype).reshape(len(leaders))
    largest_first = np.argsort(-logs[leaders] - np.log(np.abs(ratio)), kind="stable")
    kept, ratio = np.array(leaders, int)[largest_first], ratio[largest_first]
    scale = np.abs(ratio) ** (1 / len(arrays))
    return tuple(
        jnp.asarray(f[:, kept] * (scale * np.sign(ratio) if k == 0 else scale))
        for k, f in enumerate(arrays)
    )


def _checked(factors: FactorsLike) -> list[np.ndarray]:
    """Arrays of two axes with equally many columns."""
    arrays = [finite_array(f"factors[{k}]", f, ndim=2) for k, f in enumerate(factors)]
    if len(arrays) < 2 or len({f.shape[1] for f in arrays}) > 1:
        raise ValueError(
            f"The factors have shapes {[f.shape for f in arrays]}, but those of a CP tensor are two"
            " or more, (n, rank) each, with one rank; give one an axis."
        )
    return arrays


def _collinear(
    units: list[np.ndarray], first: int, others: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Those of `others` that are collinear to `first` in all modes, and the signs of the terms."""
    near, sign = np.ones(len(others), bool), np.ones(len(others))
    for unit in units:
        one, all_ = unit[:, [first]], unit[:, others]
        turned = np.where(one.T @ all_ < 0, -1.0, 1.0)[0]
        near &= np.linalg.norm(all_ * turned - one, axis=0) <= tolerance
        sign *= turned
    near[others == first] = True
    return others[near], sign[near]
