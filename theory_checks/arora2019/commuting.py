r"""Arora et al. 2019: the flow with commuting measurements in closed form (Appendix B.1).

The measurements A_1, ..., A_m are symmetric and commute, A_i = O^T D_i O with diagonal D_i. From
W_j(0) = alpha I the flow of depth N >= 3 stays diagonal in the frame of O, and with s(t) the
integral of the residuals r = A(W) - y from 0,

    d W_kk/dt = -N (W_kk^2)^((N-1)/N) (sum_i r_i D_i)_kk                                     (15)
    W(t) = alpha^N [I + (N-2) alpha^(N-2) sum_i s_i(t) D_i]^(-N/(N-2))                       (16)
    I - sum_i nu_i D_i = alpha^(-N) W^(-(N-2)/N), nu = -(N-2) alpha^(N-2) s(infinity)        (17)

The witness is the flow of the N factors, integrated together with s by scipy.
"""

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.stats import ortho_group

from gradflow.claims import (
    ByConstruction,
    Case,
    Confirmation,
    Corrected,
    Measured,
    Settings,
    claim,
    roundings,
)
from gradflow.claims.hypotheses import Met

from . import _proofs

TIMES = np.array([0.1, 0.3, 1.0, 3.0, 10.0, 30.0])


class CommutingFlow(NamedTuple):
    """A flow of N factors from alpha I under commuting measurements.

    Attributes:
      depth: N.
      alpha: the scale of the start.
      frame: O, orthogonal.
      diagonals: (m, d) the diagonals of the D_i.
      labels: (m,) y.
      w: (n, d, d) products at `TIMES`, in the original frame.
      velocity: (n, d, d) of the products, by the chain rule.
      s: (n, m) integrals of the residuals.
      factors: (n, N, d, d).
    """

    depth: int
    alpha: float
    frame: np.ndarray
    diagonals: np.ndarray
    labels: np.ndarray
    w: np.ndarray
    velocity: np.ndarray
    s: np.ndarray
    factors: np.ndarray

    @property
    def measurements(self) -> np.ndarray:
        """The A_i."""
        return np.array([self.frame.T @ np.diag(x) @ self.frame for x in self.diagonals])


def follow(
    depth: int,
    alpha: float,
    frame: np.ndarray,
    diagonals: np.ndarray,
    labels: np.ndarray,
    rtol: float,
) -> CommutingFlow:
    """Integrate all factors and s, nothing being assumed about symmetry or diagonals."""
    d, m = len(frame), len(diagonals)
    a = np.array([frame.T @ np.diag(x) @ frame for x in diagonals])

    def rates(state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        factors = state[:-m].reshape(depth, d, d)
        above, below = [np.eye(d)], [np.eye(d)]
        for j in range(depth):
            below.append(factors[j] @ below[-1])
            above.append(above[-1] @ factors[depth - 1 - j])
        residual = np.einsum("kij,ij->k", a, below[-1]) - labels
        push = np.einsum("k,kij->ij", residual, a)
        sides = [(above[depth - 1 - j], below[j]) for j in range(depth)]
        slope = np.array([-left.T @ push @ right.T for left, right in sides])
        moved = sum(
            (left @ part @ right for (left, right), part in zip(sides, slope, strict=True)),
            np.zeros((d, d)),
        )
        return slope, residual, moved

    def field(t: float, state: np.ndarray) -> np.ndarray:
        slope, residual, _ = rates(state)
        return np.concatenate([slope.ravel(), residual])

    start = np.concatenate([np.tile((alpha * np.eye(d)).ravel(), depth), np.zeros(m)])
    found = solve_ivp(
        field, (0, TIMES[-1]), start, "DOP853", t_eval=TIMES, rtol=rtol, atol=1e-3 * rtol
    )
    factors = found.y[:-m].T.reshape(-1, depth, d, d)
    w = np.array([np.linalg.multi_dot([np.eye(d), *f[::-1], np.eye(d)]) for f in factors])
    velocity = np.array([rates(state)[2] for state in found.y.T])
    return CommutingFlow(
        depth, alpha, frame, diagonals, labels, w, velocity, found.y[-m:].T, factors
    )


@cache
def _flows(settings: Settings) -> list[tuple[CommutingFlow, CommutingFlow]]:
    rng = np.random.default_rng([settings.seed, 16])
    found = []
    for depth in (3, 4, 5, 6):
        for d, m, alpha in [(3, 2, 0.6), (2, 1, 0.3)] + [(4, 2, 0.8), (4, 1, 1.2)] * settings.full:
            frame = ortho_group.rvs(d, random_state=rng)
            diagonals = rng.integers(-2, 3, size=(m, d)) + 0.5 * np.eye(m, d)
            labels = diagonals @ rng.uniform(0.1, 1.0, size=d)
            found.append(
                tuple(
                    follow(depth, alpha, frame, diagonals, labels, rtol) for rtol in (1e-12, 1e-10)
                )
            )
    return found


def commuting_hypotheses(a: np.ndarray) -> dict[str, Met]:
    """Symmetric, commuting, linearly independent measurements."""
    size = float(np.max(np.abs(a))) ** 2
    brackets = [np.max(np.abs(x @ y - y @ x)) for x in a for y in a]
    return {
        "symmetric measurements": Measured(
            float(np.max(np.abs(a - np.swapaxes(a, 1, 2))) / np.max(np.abs(a))), below=1e-12
        ),
        "commuting measurements": Measured(float(max(brackets)) / size, below=1e-12),
        "linearly independent measurements": Measured(
            float(np.divide(*np.linalg.svd(a.reshape(len(a), -1), compute_uv=False)[[-1, 0]])),
            above=1e-10,
        ),
    }


def formula16(run: CommutingFlow, shift: float = 0) -> np.ndarray:
    """Equation (16) at all times, the diagonals only; `shift` changes the exponent of alpha."""
    n = run.depth
    inner = 1 + (n - 2) * run.alpha ** (n - 2 + shift) * (run.s @ run.diagonals)
    inner = np.where(inner > 0, inner, np.nan)
    return run.alpha**n * inner ** (-n / (n - 2))


@claim(
    "arora2019.eq16",
    kind="identity",
    where="Appendix B.1, Equations (15) and (16)",
    statement=r"\tilde W(t) = \alpha^N[I_d + (N-2)\alpha^{N-2}\tilde{\mathcal A}^\dagger(s(t))]"
    r"^{-\frac N{N-2}},\ \dot{\tilde W}_{kk} = -N(\tilde W_{kk}^2)^{\frac{N-1}N}"
    r"\tilde{\mathcal A}^\dagger_{kk}(r(t)),\ N\ge3",
    control={"shift": 0.1},
    control_text="alpha^(N-1.9) instead of alpha^(N-2) inside the bracket",
)
def eq16(settings: Settings, shift: float = 0) -> Iterator[Case]:
    """Whole matrices, turned into the frame of O: off-diagonal entries must vanish."""
    yield _proofs.eq16(shift)
    for tight, coarse in _flows(settings):
        turned, other = (run.frame @ run.w @ run.frame.T for run in (tight, coarse))
        eye = np.eye(len(tight.frame))
        printed = np.nan_to_num(formula16(tight, shift), nan=1e3)
        gap = np.abs(turned - printed[:, :, None] * eye).max(axis=(1, 2))
        n, diagonal = tight.depth, np.einsum("tkk->tk", turned)
        residual = diagonal @ tight.diagonals.T - tight.labels
        rate = -n * (diagonal**2) ** ((n - 1) / n) * (residual @ tight.diagonals)
        moved = tight.frame @ tight.velocity @ tight.frame.T
        slow = np.abs(moved - rate[:, :, None] * eye).max(axis=(1, 2))
        size, sizes = np.abs(turned).max(), np.abs(turned).max(axis=(1, 2))
        change = np.abs(turned - other).max(axis=(1, 2))
        error = change + 10 * np.abs(formula16(tight) - formula16(coarse)).max(axis=1)
        # What (15) would be for the largest entry; its relative error is that of W times 2 - 2/N.
        push = np.abs(residual) @ np.abs(tight.diagonals)
        speed = n * sizes ** (2 - 2 / n) * push.max(axis=1)
        case = {
            "hypotheses": commuting_hypotheses(tight.measurements)
            | {
                "N >= 3": Measured(n, above=2),
                "start alpha I": ByConstruction("the integrator starts there"),
            },
            "size": float(eye.size),
            "witness": lambda k: {"time": float(TIMES[k])},
        }
        name = f"{len(eye)}x{len(eye)}, {len(tight.labels)} measurements, depth {n}"
        yield Case(
            name=f"{name}, (16)", residual=gap / size, floor=2 * error / size + 1e-11, **case
        )
        least = np.abs(residual).max(axis=1)
        on = least > 1e-6  # Later, the residual itself is round-off.
        terms = np.abs(tight.labels).max() + sizes * np.abs(tight.diagonals).sum()
        floor = 10 * change / sizes + 1e-11 + 1e-14 * terms / np.maximum(least, 1e-6)
        if not np.any(on):
            continue
        yield Case(name=f"{name}, (15)", residual=(slow / speed)[on], floor=floor[on], **case)


@claim(
    "arora2019.eq17",
    kind="identity",
    where="Appendix B.1, Equation (17)",
    statement=r"I_d - \tilde{\mathcal A}^\dagger(\nu_\infty) = "
    r"\alpha^{-N}[\tilde W_\infty]^{-\frac{N-2}N}",
    control={"shift": 0.1},
    control_text="alpha^(0.1-N) instead of alpha^(-N)",
    flaw="Solving W = alpha^N [...]^(-N/(N-2)) for the bracket gives alpha^(N-2) in front, not "
    "alpha^(-N); only that the right side is positive definite is used afterwards.",
    severity="misprint",
    survives="All of Theorem 2: the proof takes from (17) only that its right side is positive "
    "definite, and goes on from the limit of (16), which is right.",
    corrected=Corrected(
        where="Appendix B.1, Equation (17), with the power of alpha that (16) gives",
        statement=r"I_d - \tilde{\mathcal A}^\dagger(\nu_\infty) = "
        r"\alpha^{N-2}[\tilde W_\infty]^{-\frac{N-2}N}",
        control={"shift": 0.1},
        control_text="alpha^(N-1.9) instead of alpha^(N-2)",
    ),
)
def eq17(settings: Settings, corrected: bool, shift: float = 0) -> Iterator[Case]:
    """A flow that stands still, exactly; and flows of depths 3 to 6 with s(t) for s(infinity).

    Equation (16) at a finite t is (17) with nu(t) = -(N-2) alpha^(N-2) s(t), so any time will do.
    """
    yield dataclasses.replace(_proofs.eq17(corrected, shift), size=100.0)

    def exponent(n: int) -> float:
        return (n - 2 if corrected else -n) + shift

    alpha, power = Fraction(1, 2), exponent(3)
    # W = alpha^3, so its power -(N-2)/N = -1/3 is 1 / alpha.
    right = alpha**power / alpha
    yield Case(
        name="1x1, A = 1, y = 1/8, alpha = 1/2, N = 3",
        residual=[abs(float(1 - right))],
        floor=roundings(1e-15),
        hypotheses={"the start fits, so W = 1/8 and nu = 0": alpha**3 - Fraction(1, 8) == 0},
        size=1,
        witness=lambda at: {"left": 1, "right": str(right)},
        confirm=lambda at: Confirmation(
            right != 1,
            "d = m = 1, A = 1, y = 1/8, alpha = 1/2, N = 3: W(0) = 1/8 fits, so W = 1/8 for ever, "
            f"r = s = nu = 0. Left side 1; right side (1/2)^({power}) (1/8)^(-1/3) = {right}",
            (1, right),
        ),
    )
    for tight, coarse in _flows(settings):
        n, alpha = tight.depth, tight.alpha
        sides, errors = [], []
        for run in (tight, coarse):
            left = 1 + (n - 2) * alpha ** (n - 2) * (run.s @ run.diagonals)
            w = np.einsum("tkk->tk", run.frame @ run.w @ run.frame.T)
            sides.append(left - alpha ** exponent(n) * w ** (-(n - 2) / n))
            errors.append(left)
        scale = np.abs(errors[0]).max(axis=1)
        change = np.abs(sides[0] - sides[1]).max(axis=1)
        yield Case(
            name=f"{len(tight.frame)}x{len(tight.frame)}, depth {n}, along a flow",
            residual=np.abs(sides[0]).max(axis=1) / scale,
            floor=np.minimum((2 * change + 1e-11) / scale + 1e-11, 1e-7),
            hypotheses=commuting_hypotheses(tight.measurements) | {"N >= 3": Measured(n, above=2)},
            size=float(tight.frame.size),
            witness=lambda k: {"time": float(TIMES[k])},
        )
