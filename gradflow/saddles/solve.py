r"""`gradflow.saddle_path`: what is asked for, checked and handed to the solver that fits."""

import json
from typing import Any

import numpy as np

from gradflow._util.annotations import Checked
from gradflow._util.provenance import describe, fingerprint, provenance
from gradflow._util.validate import positive, require_float64, whole
from gradflow.columns import columns_of
from gradflow.factorizations.diagonal_network import DiagonalNetwork
from gradflow.factorizations.matrix_product import MatrixProduct
from gradflow.objective import Objective
from gradflow.problems.base import AbstractQuadraticProblem
from gradflow.problems.entrywise import HuberCompletion, LogisticCompletion
from gradflow.problems.sensing import HuberSensing
from gradflow.saddles.column_path import column_path
from gradflow.saddles.diagonal_path import diagonal_path
from gradflow.saddles.path import SaddlePath
from gradflow.saddles.product_path import product_path
from gradflow.start import as_factors

_CONVEX = (AbstractQuadraticProblem, HuberCompletion, LogisticCompletion, HuberSensing)


def saddle_path(
    objective: Checked[Objective],
    start: Checked[Any],
    *,
    max_jumps: Checked[int] = 100,
    tie: Checked[float] = 1e-6,
    convex: Checked[bool | None] = None,
    constants: Checked[bool] = True,
) -> SaddlePath:
    r"""The limit of gradient flows from a start that vanishes: from saddle to saddle.

    The starts are alpha^(1/degree) times the factors given, so that their products scale like
    alpha, and alpha -> 0. W stays close to a saddle W_k for a time that grows with 1/alpha, then
    jumps to the next. No alpha is chosen: the path gives the saddles, the times of the jumps up to
    terms that vanish, and how fast these vanish.

    Where powers of alpha alone do not say what happens (a tie, a start that lacks the direction
    that grows fastest, several problems in one, ...) the path ends there, and its `outcome` and
    `reason` say why. Those are no errors: see `SaddlePath.determined`.

    Args:
      objective: a problem with a `SymmetricProduct`, a `MatrixProduct` of depth 2 or more or, if
        its loss is quadratic, a `DiagonalNetwork` of any depth; no penalty.
      start: its factors, float64, of size 1; or W itself, for balanced factors of it. Those of a
        matrix product of depth 3 and more must be balanced.
      max_jumps: where to stop at the latest.
      tie: events whose times differ by less, relatively, count as one.
      convex: whether the loss is a convex function of W; None: as known of the library's problems,
        False for others.
      constants: of diagonal networks: whether to follow the ways between saddles, which saddles and
        `taus` do without, and which take nearly all of the time. Without them `offsets` are NaN.

    Raises:
      ValueError: on another factorisation, a penalty, float32, a start of another shape, or one of
        depth 3 and more that is not balanced.

    Example:
      >>> import numpy as np, gradflow as gf
      >>> problem = gf.MatrixCompletion((2, 2), list(np.ndindex(2, 2)), [2.0, 0.0, 0.0, 1.0])
      >>> path = gf.saddle_path(gf.Objective(problem, gf.SymmetricProduct(2, 2)), (np.eye(2),))
      >>> path.ranks.tolist(), path.taus.round(4).tolist()
      ([0, 1, 2], [0.125, 0.25])
      >>> path.times(1e-20).round(3).tolist()
      [5.733, 11.293]

    References:
      Li, Luo and Lyu 2021; Pesme and Flammarion 2023.
    """
    _check(objective)
    factors = as_factors(objective, start)
    require_float64("A path of saddles", problem=objective.problem, start=factors)
    if not any(np.any(np.asarray(factor)) for factor in factors):
        raise ValueError(
            "All factors of the start are 0, and a flow from 0 stays at 0; give others."
        )
    most, tie = whole("max_jumps", max_jumps, 0), positive("tie", tie)
    known = isinstance(objective.problem, _CONVEX) if convex is None else bool(convex)
    config = {
        "kind": "saddle path",
        "objective": describe(objective),
        "data_sha256": fingerprint(objective.problem),
        "max_jumps": most,
        "tie": tie,
        "convex": known,
        **({} if constants else {"constants": False}),
        **provenance(),
    }
    plain = json.loads(json.dumps(config, default=str))
    columns = columns_of(objective)
    if _deep(objective):
        return product_path(objective, factors, convex=known, most=most, tie=tie, config=plain)
    if columns is None:
        return diagonal_path(
            objective, factors, most=most, tie=tie, constants=bool(constants), config=plain
        )
    return column_path(columns, factors, convex=known, most=most, tie=tie, config=plain)


def _check(objective: Any) -> None:
    if not isinstance(objective, Objective):
        raise ValueError(f"objective must be a gradflow.Objective, but it is {objective!r}.")
    if objective.penalty is not None:
        raise ValueError(
            "A path of saddles has no penalty, but the objective has a "
            f"{type(objective.penalty).__name__}; use gradflow.solve_flow from a small start."
        )
    diagonal = isinstance(objective.factorization, DiagonalNetwork)
    if columns_of(objective) is None and not diagonal and not _deep(objective):
        raise ValueError(
            "A path of saddles is known for SymmetricProduct, MatrixProduct of depth 2 and more, "
            f"and DiagonalNetwork, but not for {objective.factorization!r}; use "
            "gradflow.solve_flow from small starts."
        )


def _deep(objective: Objective) -> bool:
    model = objective.factorization
    return isinstance(model, MatrixProduct) and model.depth > 2
