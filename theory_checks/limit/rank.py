r"""The vanishing start of U U^T: of a convex loss the rank can fail to rise at the last jump only.

A jump ends in a local minimum of U -> f(U U^T) with one column more. If its columns are dependent,
that is the least f of all positive semidefinite matrices, so nothing follows. The statement on
local minima is Burer and Monteiro's; what it says of the path is ours.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares

from gradflow.claims import Best, ByConstruction, Case, Measured, Settings, claim
from gradflow.claims.proofs import Proof, Words, chain, prove_identity

from ..li2021._problems import Posed, drawn

DEPENDENT = 1e-4
"""Columns are dependent whose smallest singular value is less than that of the largest."""


class Minimum(NamedTuple):
    """A local minimum with so many columns."""

    posed: Posed
    u: np.ndarray

    @property
    def gradient(self) -> np.ndarray:
        """Of f, there."""
        return self.posed.gradient(self.u @ self.u.T)

    @property
    def dependence(self) -> float:
        """The smallest singular value of the columns, relative to the largest."""
        values = np.linalg.svd(self.u, compute_uv=False)
        return float(values[-1] / values[0])

    @property
    def share(self) -> float:
        """How far below 0 the gradient's least eigenvalue is, relative to that at W = 0."""
        scale = np.linalg.norm(self.posed.gradient(0 * self.gradient), 2)
        return max(0.0, -float(np.linalg.eigvalsh(self.gradient)[0]) / float(scale))


@cache
def minima(seed: int, count: int, columns: int | None) -> list[Minimum]:
    """Local minima of random sensing problems that no W >= 0 fits, by SciPy; some columns."""
    found, rng = [], np.random.default_rng([seed, 328, columns or 0])
    while len(found) < count:
        size, number = ((3, 6), (4, 9))[len(found) % 2]
        posed = drawn(rng, size, number)
        shape = (size, columns or size)

        def residual(y: Any, posed: Posed = posed, shape: tuple[int, int] = shape) -> Any:
            now = y.reshape(shape)
            return posed.residual(now @ now.T)

        def slopes(y: Any, posed: Posed = posed, shape: tuple[int, int] = shape) -> Any:
            return 2 * (posed.measurements @ y.reshape(shape)).reshape(len(posed.labels), -1)

        jac: Any = slopes
        at = least_squares(
            residual, rng.normal(size=shape).ravel(), jac, xtol=1e-15, ftol=1e-15, gtol=1e-15,
            max_nfev=4000,
        )  # fmt: skip
        made = Minimum(posed, at.x.reshape(shape))
        if at.cost > 1e-3 and (columns or made.dependence < DEPENDENT):
            found.append(made)
    return found


def proof(dependent: bool) -> Proof:
    """U = [V, z] up to a rotation from the right; z = 0 where the columns are dependent."""
    v, z, x, g = Words.named("V", "z", "x", "G")
    last = Words({}) if dependent else z
    before, after = v @ v.T + last @ last.T, v @ v.T + (last + x) @ (last + x).T
    return chain(
        "dependent columns at a local minimum: the least of all W >= 0",
        prove_identity("moving the last column by e x adds e^2 x x^T", after - before, x @ x.T),
        prove_identity("<G, U U^T> = tr U^T G U, where G U = 0", v.T @ g @ v,
                       rules=((g @ v, Words({})),)),
        cites=(
            "f(W + e^2 x x^T) >= f(W) for small e and any x gives x^T G x >= 0: G >= 0",
            "a convex f has f(W') >= f(W) + <G, W' - W>, and <G, W'> >= 0 for G, W' >= 0",
            "where f is least on W >= 0, -grad f has no eigenvalue above 0",
        ),
    )  # fmt: skip


@claim(
    "limit.rank",
    kind="inequality",
    where="ours; Burer and Monteiro's condition, for the path of saddles",
    statement=r"f \text{ convex},\ U \text{ a local minimum of } f(UU^\top),\ U q = 0 \neq q "
    r"\Rightarrow \nabla f(UU^\top) \succeq 0,\ UU^\top \in \mathrm{argmin}_{W \succeq 0} f(W)"
    r";\quad \text{so the rank can fail to rise at the last jump only}",
    control={"dependent": False},
    control_text="columns that are not dependent: one column",
    best=(Best("", "", "none", "It says that eigenvalues are not negative and where f is least."),),
)
def rank(settings: Settings, dependent: bool = True) -> Iterator[Case]:
    """A proof; and minima that SciPy finds for data that no W >= 0 fits."""
    yield Case(
        "every local minimum", proof=proof(dependent), whole=True, size=16,
        hypotheses={"f is convex and smooth": ByConstruction("any such f")},
    )  # fmt: skip
    count = 20 if settings.full else 6
    for k, made in enumerate(minima(settings.seed, count, None if dependent else 1)):
        slope = float(np.linalg.norm(made.gradient @ made.u) / np.linalg.norm(made.gradient))
        yield Case(
            name=f"problem {k}, {made.u.shape[0]}x{made.u.shape[1]}",
            slack=-made.share,
            # Where columns are dependent f is flat to fourth order: so is what its search leaves.
            floor=slope + (made.dependence**2 if made.dependence < DEPENDENT else 0.0),
            hypotheses={
                "f is convex": ByConstruction("a sum of squares"),
                "U is stationary": Measured(slope, below=1e-6),
                "columns are dependent": Measured(made.dependence, below=DEPENDENT)
                if dependent
                else ByConstruction("broken on purpose"),
            },
            size=float(made.u.size),
            notes=f"rank {int(np.sum(np.linalg.svd(made.u, compute_uv=False) > 1e-3))}",
        )  # fmt: skip
