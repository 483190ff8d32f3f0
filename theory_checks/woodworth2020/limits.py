r"""Woodworth et al. 2020: the two limits of the least potential, with their rates.

For alpha to infinity the interpolant of least potential tends to that of least l2 norm, for alpha
to 0 to that of least l1 norm. On a problem where the latter is unique with as many entries as data,
and its dual nu has |x_i^T nu| < 1 at all others, these are of the order alpha^(2 (1 - |x_i^T nu|))
at D = 2 and alpha^D at D >= 3 (ours; powers like these are in Matt and Stoger 2025). The
1/ln(1/alpha) of D = 2 is the worst case over problems: over those with one datum x = (1, 1 - kappa)
the largest excess of the l1 norm, times ln(1/alpha), tends to W(1/e)/2 = 0.1392, W being Lambert's
function.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, no_type_check

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import lambertw

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Measured, Settings, claim
from gradflow.claims.hypotheses import Met

from ._diagonal import height, inverse_height, outside, problem

LARGE = (16.0, 64.0, 256.0)
"""The alpha^D."""
SMALL = {2: (1e-10, 1e-20, 1e-40), 3: (1e-5, 1e-6, 1e-7), 4: (1e-3, 1e-4, 1e-5)}
"""By depth."""
WORST = (1e-15, 1e-30, 1e-60, 1e-120)
CONSTANT = float(lambertw(np.exp(-1.0)).real) / 2


class Sparse(NamedTuple):
    """A problem with one interpolant of least l1 norm.

    Attributes:
      x: inputs.
      y: targets.
      beta: the interpolant.
      slopes: x_i^T nu, of absolute value 1 where beta is not 0.
    """

    x: np.ndarray
    y: np.ndarray
    beta: np.ndarray
    slopes: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """Where beta is not 0."""
        return np.abs(self.beta) > 1e-9

    @property
    def rest(self) -> float:
        """The largest |x_i^T nu| elsewhere."""
        return float(np.abs(self.slopes[~self.seen]).max())


@cache
def sparse(seed: int, index: int) -> Sparse:
    """A problem of the class, away from its borders."""
    rng = np.random.default_rng([seed, 2021, index])
    while True:
        x, y = problem(rng, 2, 5)
        least = gf.exact.minimum_l1_norm(gf.LeastSquares(x, y))
        found = Sparse(x, y, least.beta, x.T @ least.dual)
        if (
            found.seen.sum() == 2
            and found.rest < 0.85
            and np.abs(least.beta[found.seen]).min() > 0.1
        ):
            return found


def dual(beta: np.ndarray, alpha: float, depth: int) -> np.ndarray:
    """The gradient of the potential."""
    if depth == 2:
        return np.arcsinh(beta / (2 * alpha**2))
    return inverse_height(beta / alpha**depth, depth / (depth - 2))


def small_start(given: Sparse, alpha: float, depth: int) -> np.ndarray:
    """The least potential near the least l1 norm: the others' entries from those of the support.

    The gradient on the support gives nu, that gives the other entries, and these change what the
    support has to fit, by a little: a few rounds are enough.
    """
    seen, beta = given.seen, given.beta
    for _ in range(10):
        eta = given.x.T @ np.linalg.solve(given.x[:, seen].T, dual(beta, alpha, depth)[seen])
        if depth == 2:
            others = 2 * alpha**2 * np.sinh(eta)
        else:
            others = alpha**depth * height(np.clip(eta, -0.999, 0.999), depth / (depth - 2))
        left = given.y - given.x[:, ~seen] @ others[~seen]
        beta = np.where(seen, 0.0, others)
        beta[seen] = np.linalg.solve(given.x[:, seen], left)
    return beta


@no_type_check  # called thousands of times
def excess(alpha: float, kappa: float) -> float:
    """Of the l1 norm, at D = 2 with the one datum beta_1 + (1 - kappa) beta_2 = 1."""

    def second(first: float) -> float:
        return float(2 * alpha**2 * np.sinh((1 - kappa) * np.arcsinh(first / (2 * alpha**2))))

    first: Any = brentq(lambda b: b + (1 - kappa) * second(b) - 1, 0.0, 1.0, xtol=1e-15)
    return kappa * second(first)


@cache
def worst() -> np.ndarray:
    """The largest excess over kappa, times ln(1/alpha), for each of `WORST`."""
    found = []
    for alpha in WORST:
        size = np.log(1 / alpha)
        best = minimize_scalar(
            lambda c, alpha=alpha, size=size: -size * excess(alpha, c / size), (0.5, 0.7)
        )
        found.append(-best.fun)
    return np.array(found)


@claim(
    "woodworth2020.limits",
    kind="limit",
    where="the theorem on how large and how small alpha has to be; the powers are ours",
    statement=r"\beta_\alpha = \mathrm{arg}\min_{X\beta = y} Q_\alpha:\quad "
    r"\|\beta_\alpha - \beta_{\ell_2}\| \asymp \alpha^{-2D}\ (\alpha \to \infty);\quad "
    r"\beta_{\alpha,i} \asymp \alpha^{2(1 - |x_i^\top\nu^*|)}\ (D = 2),\ \alpha^D\ (D \ge 3) "
    r"\text{ off the support of } \beta_{\ell_1};\quad \sup_\kappa\, (\|\beta_\alpha\|_1 - "
    r"\|\beta_{\ell_1}\|_1)\ln\tfrac1\alpha \to \tfrac12 W(\tfrac1e) \text{ for } x = (1, 1-\kappa)"
    r"\ (\alpha \to 0)",
    control={"shift": 0.1},
    control_text="exponents 0.1 larger, a constant 10 per cent larger",
    resolution=1e-3,
)
def limits(settings: Settings, shift: float = 0.0) -> Iterator[Case]:
    """Orders from neighbouring alphas; the change from pair to pair bounds what is left."""
    for index in range(3 if settings.full else 1):
        given = sparse(settings.seed, index)
        one: dict[str, Met] = {
            "one least l1 norm: |x_i^T nu| < 1 elsewhere": Measured(given.rest, below=0.9)
        }
        for depth in (2, 3) if settings.quick else (2, 3, 4):
            far, near = (find(settings.seed, index, depth) for find in (large, small))
            power = 2 * (1 - given.rest) if depth == 2 else depth
            size = given.x.size
            yield _case(f"D = {depth}, large alpha", far, shift - 2 * depth, size, {})
            yield _case(f"D = {depth}, small alpha", near, shift + power, size, one)
    yield _worst_case(shift)


class Seen(NamedTuple):
    """Least potentials at several scales.

    Attributes:
      scales: alpha.
      errors: distances from the limit, of all entries or of one.
      outside: how far the gradients are from the range of X^T, at most.
      misfit: ||X beta - y||, at most.
    """

    scales: tuple[float, ...]
    errors: list[float]
    outside: float
    misfit: float


def _seen(
    given: Sparse, depth: int, scales: tuple[float, ...], end: np.ndarray, found: list
) -> Seen:
    """What there is to say of least potentials."""
    slopes = [dual(beta, alpha, depth) for beta, alpha in zip(found, scales, strict=True)]
    gaps = [np.linalg.norm(outside(given.x, s)) / np.linalg.norm(s) for s in slopes]
    misfit = max(float(np.linalg.norm(given.x @ beta - given.y)) for beta in found)
    errors = [float(np.linalg.norm(beta - end)) for beta in found]
    return Seen(scales, errors, float(max(gaps)), misfit)


@cache
def large(seed: int, index: int, depth: int) -> Seen:
    """Least potentials of the library at large scales, beside the least l2 norm."""
    given = sparse(seed, index)
    objective = gf.Objective(
        gf.LeastSquares(given.x, given.y), gf.DiagonalNetwork(given.x.shape[1], depth)
    )
    scales = tuple(size ** (1 / depth) for size in LARGE)
    found = [
        gf.exact.minimum_potential(objective, objective.factorization.identity(alpha)).beta
        for alpha in scales
    ]
    return _seen(given, depth, scales, np.linalg.pinv(given.x) @ given.y, found)


@cache
def small(seed: int, index: int, depth: int) -> Seen:
    """At small ones: the largest entry off the support of the least l1 norm."""
    given = sparse(seed, index)
    at = int(np.argmax(np.where(given.seen, 0.0, np.abs(given.slopes))))
    found = [small_start(given, alpha, depth) for alpha in SMALL[depth]]
    seen = _seen(given, depth, SMALL[depth], given.beta, found)
    return seen._replace(errors=[abs(float(beta[at])) for beta in found])


def _case(name: str, seen: Seen, expected: float, size: int, more: dict[str, Met]) -> Case:
    """The order of what was seen."""
    orders = np.diff(np.log(seen.errors)) / np.diff(np.log(seen.scales))
    # A distance is a difference of numbers of order 1; an entry has its own digits.
    lost = 10 * (seen.outside + 1e-16) / (1.0 if more else seen.errors[-1])
    return Case(
        name=name,
        residual=float(orders[-1]) - expected,
        floor=float(abs(orders[1] - orders[0])) / 3 + lost,
        hypotheses={
            "least potential: its gradient is in the range of X^T": Measured(
                seen.outside, below=1e-9
            ),
            "X beta = y": Measured(seen.misfit, below=1e-12),
            **more,
        },
        size=float(size),
        notes=f"{seen.errors[-1]:.2g} from the limit at alpha = {seen.scales[-1]:.3g}",
    )


def _worst_case(shift: float) -> Case:
    """The constant of the worst case, extrapolated in 1/ln(1/alpha), which halves."""
    rows = [worst()]
    for k in range(1, len(WORST)):
        rows.append((2**k * rows[-1][1:] - rows[-1][:-1]) / (2**k - 1))
    return Case(
        name="D = 2, the worst of the problems with x = (1, 1 - kappa)",
        residual=rows[-1][0] - CONSTANT * (1 + shift),
        floor=float(abs(rows[-1][0] - rows[-2][1])) + 1e-9,
        hypotheses={"least potential": ByConstruction("a root of its gradient's equation")},
        size=2.0,
        notes="largest excess times ln(1/alpha): "
        + ", ".join(f"{x:.5f} at {a:g}" for x, a in zip(rows[0], WORST, strict=True)),
    )
