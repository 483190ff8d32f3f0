r"""Woodworth et al. 2020: the flow of a diagonal network ends where a potential is least.

Along the whole flow beta = 2 alpha^2 sinh(X^T nu(t)) at D = 2, beta = alpha^D h_D(X^T nu) beyond,
with h_D(z) = (1 - z)^(-D/(D-2)) - (1 + z)^(-D/(D-2)). So the gradient of Q, which is
arcsinh(beta / (2 alpha^2)) or h_D^-1(beta / alpha^D), stays in the range of X^T: where X beta = y,
beta minimises Q.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Measured, Settings, claim

from ._diagonal import Run, follow, inverse_height, outside, problem

SIZES = ((2, 5), (3, 7))
ALPHAS = {2: (2.0, 0.3, 0.03), 3: (1.0, 0.3), 4: (1.0, 0.5), 5: (1.0,)}
"""By depth: from the kernel regime into the rich one."""


@cache
def runs(seed: int, depth: int, full: bool) -> tuple[Run, ...]:
    """Flows of one depth from all scales."""
    found = []
    for index, (data, size) in enumerate(SIZES if full or depth == 2 else SIZES[:1]):
        x, y = problem(np.random.default_rng([seed, 2020, index]), data, size)
        found += [follow(x, y, alpha, depth) for alpha in ALPHAS[depth]]
    return tuple(found)


def judged(run: Run, dual: np.ndarray, coarse: np.ndarray, scale: float) -> Iterator[Case]:
    """The dual along the way, and the end beside the least potential.

    Args:
      run: the flow.
      dual: the gradient of the potential at all records but the first, where beta = 0.
      coarse: the same of the coarser run.
      scale: the alpha whose potential the end is compared with.
    """
    hypotheses = {
        "gradient flow from w_+ = w_- = alpha": ByConstruction("its equations are integrated"),
        "the flow fits": Measured(run.misfit, below=1e-8),
    }
    size = np.linalg.norm(dual, axis=1, keepdims=True)
    error = np.abs(outside(run.x, dual) - outside(run.x, coarse)) / size
    yield Case(
        name=f"D = {run.depth}, {run.name}: on the way",
        residual=(outside(run.x, dual) / size).ravel(),
        floor=float(error.max()) + 1e-14,
        hypotheses=hypotheses,
        size=float(run.x.size),
        witness=lambda at: {
            "t": float(run.times[1 + at // run.x.shape[1]]), "entry": at % run.x.shape[1]
        },
    )  # fmt: skip
    objective = gf.Objective(
        gf.LeastSquares(run.x, run.y), gf.DiagonalNetwork(run.x.shape[1], run.depth)
    )
    least = gf.exact.minimum_potential(objective, objective.factorization.identity(scale))
    norm = float(np.linalg.norm(least.beta))
    left = run.misfit * float(np.linalg.norm(run.y) * np.linalg.norm(np.linalg.pinv(run.x), 2))
    lost = float(np.abs(run.beta[-1] - run.coarse[-1]).max())
    yield Case(
        name=f"D = {run.depth}, {run.name}: the end, minimum_potential",
        residual=(run.beta[-1] - least.beta) / norm,
        floor=(lost + 10 * left) / norm + 1e-12,
        hypotheses=hypotheses,
        size=float(run.x.size),
        witness=lambda at, beta=least.beta: {
            "entry": at, "flow": float(run.beta[-1, at]), "least potential": float(beta[at])
        },
        notes=f"||beta||_1 {np.abs(run.beta[-1]).sum():.4f}, ||beta||_2 "
        f"{np.linalg.norm(run.beta[-1]):.4f} at the end",
    )  # fmt: skip


@claim(
    "woodworth2020.q2",
    kind="identity",
    where="Theorem 1",
    statement=r"D = 2,\ w_\pm(0) = \alpha\mathbf 1 \Rightarrow \beta(t) = 2\alpha^2"
    r"\sinh(X^\top\nu(t));\ X\beta_\infty = y \Rightarrow \beta_\infty = \mathrm{arg}\min"
    r"_{X\beta = y} \sum_i \alpha^2 q\!\left(\frac{\beta_i}{\alpha^2}\right),\ "
    r"q(z) = 2 - \sqrt{4 + z^2} + z\,\mathrm{arcsinh}\,\frac z2",
    control={"two": 2.2},
    control_text="2.2 alpha^2 instead of 2 alpha^2",
)
def q2(settings: Settings, two: float = 2.0) -> Iterator[Case]:
    """Flows of the parameters, by SciPy, to a misfit of 1e-9."""
    for run in runs(settings.seed, 2, settings.full):
        dual, coarse = (
            np.arcsinh(beta[1:] / (two * run.alpha**2)) for beta in (run.beta, run.coarse)
        )
        yield from judged(run, dual, coarse, run.alpha * (two / 2) ** 0.5)


@claim(
    "woodworth2020.qd",
    kind="identity",
    where="the theorem on deeper diagonal networks",
    statement=r"D \ge 3,\ w_\pm(0) = \alpha\mathbf 1 \Rightarrow \beta(t) = \alpha^D "
    r"h_D(X^\top\nu(t)),\ h_D(z) = (1 - z)^{-\frac{D}{D-2}} - (1 + z)^{-\frac{D}{D-2}};\ "
    r"X\beta_\infty = y \Rightarrow \beta_\infty = \mathrm{arg}\min_{X\beta = y} \sum_i "
    r"\int_0^{\beta_i/\alpha^D} h_D^{-1}",
    control={"shift": 0.1},
    control_text="an exponent 0.1 larger; and an alpha 10 per cent larger in the potential",
)
def qd(settings: Settings, shift: float = 0.0) -> Iterator[Case]:
    """Depths 3 and 4, and in full 5, likewise."""
    for depth in (3, 4, 5) if settings.full else (3, 4):
        power = depth / (depth - 2) + shift
        for run in runs(settings.seed, depth, settings.full):
            dual, coarse = (
                inverse_height(beta[1:] / run.alpha**depth, power)
                for beta in (run.beta, run.coarse)
            )
            yield from judged(run, dual, coarse, run.alpha * (1 + shift))
