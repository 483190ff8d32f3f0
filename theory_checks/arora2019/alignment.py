r"""Arora et al. 2019: Equations (39) and (41) of Appendix B, and Corollary 1.

With the signed singular values sigma_r of W, the proof of Lemma 2 sets

    H_rr' = 1 / (sigma_r'^2 - sigma_r^2) off the diagonal, 0 on it                  (30)
    G_rr' = sum_j (sigma_r^2)^((j-1)/N) (sigma_r'^2)^((N-j)/N)                      (38)
    F = H . G (entry-wise), said to be 1 / ((sigma_r^2)^(1/N) - (sigma_r'^2)^(1/N)) (39)

and Equation (41) is U^T (dU/dt) S - S V^T (dV/dt) = -I' . G . [U^T (gradient) V], where I' has
zeros on its diagonal and ones elsewhere.
"""

import dataclasses
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from gradflow.claims import (
    ByConstruction,
    Case,
    Confirmation,
    Convention,
    Corrected,
    Measured,
    Settings,
    claim,
    roundings,
)

from . import _proofs, _proofs_vectors
from ._frames import Frames, flows, lemma2_hypotheses
from .lemma2 import Formula, vector_case


def matrix_h(s: np.ndarray) -> np.ndarray:
    """Equation (30)."""
    off = ~np.eye(len(s), dtype=bool)
    h = np.zeros((len(s), len(s)))
    h[off] = 1 / (s[None, :] ** 2 - s[:, None] ** 2)[off]
    return h


def matrix_g(s: np.ndarray, depth: int) -> np.ndarray:
    """Equation (38), sum over j."""
    square = s**2
    return sum(
        (
            square[:, None] ** ((j - 1) / depth) * square[None, :] ** ((depth - j) / depth)
            for j in range(1, depth + 1)
        ),
        np.zeros((len(s), len(s))),
    )


def matrix_f(s: np.ndarray, depth: int, corrected: bool, root: float = 1.0) -> np.ndarray:
    """Equation (39); `corrected` exchanges the two terms, `root` multiplies the power."""
    power = (s**2) ** (root / depth)
    off = ~np.eye(len(s), dtype=bool)
    f = np.zeros((len(s), len(s)))
    f[off] = 1 / (power[:, None] - power[None, :])[off]
    return -f if corrected else f


_F39 = r"F = H\odot G,\ F_{rr'} = "


@claim(
    "arora2019.eq39",
    kind="identity",
    where="Appendix B.5, Equation (39)",
    statement=_F39 + r"((\sigma_r^2)^{1/N} - (\sigma_{r'}^2)^{1/N})^{-1},\ r\ne r'",
    control={"root": 1.1},
    control_text="exponents 1.1/N instead of 1/N",
    flaw="The two terms are exchanged: G is (sigma_r'^2 - sigma_r^2) / ((sigma_r'^2)^(1/N) - "
    "(sigma_r^2)^(1/N)) and H has the same numerator below; the main text has it right.",
    severity="misprint",
    survives="Lemma 2, which has the right order, and (41): its derivation uses (39) as printed "
    "and puts E where -E belongs, two slips that cancel.",
    corrected=Corrected(
        where="Appendix B.5, Equation (39), with the order of the terms of Lemma 2",
        statement=_F39 + r"((\sigma_{r'}^2)^{1/N} - (\sigma_r^2)^{1/N})^{-1},\ r\ne r'",
    ),
)
def eq39(settings: Settings, corrected: bool, root: float = 1.0) -> Iterator[Case]:
    """F of Equation (39) against H and G, and as the F of Equation (8) along flows."""
    yield dataclasses.replace(_proofs.eq39(corrected, root), size=100.0)
    s = np.array([2.0, 1.0])
    product = matrix_h(s) * matrix_g(s, 2)
    yield Case(
        name="sigma = (2, 1), N = 2",
        residual=[abs(product - matrix_f(s, 2, corrected, root)).max()],
        floor=roundings(1e-15),
        hypotheses={"distinct squares": ByConstruction("4 and 1")},
        size=2,
        witness=lambda at: {"sigma": [2.0, 1.0], "N": 2},
        confirm=lambda at: _confirm_f(corrected, root),
    )
    rng = np.random.default_rng([settings.seed, 39])
    for depth in range(1, 6):
        residual, floor, apart = [], [], []
        for _ in range(100 if settings.full else 20):
            s = rng.normal(size=rng.integers(2, 7))
            f = matrix_h(s) * matrix_g(s, depth)
            gaps = np.abs(np.diff(np.sort(s**2)))
            residual.append(np.max(np.abs(f - matrix_f(s, depth, corrected, root))) / abs(f).max())
            # (s^2)^(1/N) of small s is known to eps, relative to gaps of the same power.
            ends = np.sort((s**2) ** (1 / depth))
            spread = ends[-1] / np.min(np.diff(ends)) + np.max(s**2) / np.min(gaps)
            floor.append(1e-14 * spread)
            apart.append(np.min(gaps) / np.max(s**2))
        keep = np.array(floor) < 1e-8
        yield Case(
            name=f"random signed values, N = {depth}",
            residual=np.array(residual)[keep],
            floor=Convention(np.array(floor)[keep], "50 roundings, amplified by gaps of powers"),
            hypotheses={
                "distinct squares": Measured(float(np.min(np.array(apart)[keep])), above=0)
            },
            size=7,
        )
    if root == 1:
        formula = Formula("left", False, True, 1.0 if corrected else -1.0)
        for name, tight, coarse in flows(settings):
            if tight.s.shape[1] > 1:
                case = vector_case(f"{name}, along a flow", tight, coarse, formula)
                assert case is not None
                yield case


def _confirm_f(corrected: bool, root: float) -> Confirmation:
    one, two = Fraction(1), Fraction(2)
    h = 1 / (one**2 - two**2)
    power = root if root % 1 else int(root)
    g = one + two  # (sigma_r^2)^0 (sigma_r'^2)^(1/2) + (sigma_r^2)^(1/2) (sigma_r'^2)^0
    f = 1 / (two**power - one**power)
    f = -f if corrected else f
    return Confirmation(
        h * g != f,
        f"sigma = (2, 1), N = 2, entry (1, 2): H = 1/(1 - 4) = {h}, G = 1 + 2 = {g}, "
        f"H G = {h * g}; the formula gives {f}",
        (h * g, f),
    )


def alignment_gap(run: Frames, k: int, power: float) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of Equation (41) at a time, the left one from difference quotients.

    The left side does not change if signs of singular values and left vectors are turned together.
    """
    u, s, v = run.u[k], run.s[k], run.v[k]
    left = u.T @ run.du[k] * s[None, :] - s[:, None] * (v.T @ run.dv[k])
    weights = matrix_g(s, run.depth) ** power * ~np.eye(len(s), dtype=bool)
    return left, -weights * (u.T @ run.g[k] @ v)


@claim(
    "arora2019.eq41",
    kind="identity",
    where="Appendix B.6, Equation (41)",
    statement=r"U^\top\dot US - SV^\top\dot V = -\bar I\odot G\odot[U^\top\nabla\ell(W)V],\ "
    r"G_{rr'} = \sum_{j=1}^N (\sigma_r^2)^{\frac{j-1}N}(\sigma_{r'}^2)^{\frac{N-j}N}",
    control={"power": 1.1},
    control_text="G to the power 1.1",
)
def eq41(settings: Settings, power: float = 1.0) -> Iterator[Case]:
    """Difference quotients of both sides' vectors along flows of depths 1 to 5."""
    yield _proofs.eq41(power)
    for name, tight, coarse in flows(settings):
        residual, floor, change = [], [], 0.0
        for k in range(len(tight.times)):
            gaps = [
                np.linalg.norm(np.subtract(*alignment_gap(run, k, power)))
                for run in (tight, coarse)
            ]
            top = np.max(np.abs(tight.s[k]))
            push = np.linalg.norm(tight.g[k])
            scale = tight.depth * (top**2) ** (1 - 1 / tight.depth) * push
            error = top * (tight.du_error[k] + tight.dv_error[k])
            residual.append(gaps[0] / scale)
            change = max(change, abs(gaps[0] - gaps[1]) / scale)
            floor.append(error / scale + 1e-12 * tight.spread[k])
        if tight.s.shape[1] > 1:
            yield Case(
                name=name,
                residual=residual,
                floor=np.array(floor) + 2 * min(change, 1e-7),
                hypotheses=lemma2_hypotheses(tight),
                size=float(tight.w[0].size),
                witness=lambda k, run=tight: {"time": float(run.times[k])},
            )


def vector_velocity(
    w: np.ndarray, dw: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """U, V and their velocities from W and dW/dt, as eigenvectors of W W^T and W^T W.

    An eigenvector x of a symmetric matrix M with the simple eigenvalue m moves by
    (M - m) dx = -(dM - dm) x and x^T dx = 0: a bordered linear system in dx and dm. Signs of the
    vectors agree, w v = s u with s > 0.
    """
    count = min(w.shape)
    u, _, vt = np.linalg.svd(w, full_matrices=False)
    v = vt.T
    slopes = []
    for matrix, change, frame in (
        (w @ w.T, dw @ w.T + w @ dw.T, u),
        (w.T @ w, dw.T @ w + w.T @ dw, v),
    ):
        slope = np.zeros_like(frame)
        for r in range(count):
            x = frame[:, r : r + 1]
            m = float((x.T @ matrix @ x)[0, 0])
            system = np.block([[matrix - m * np.eye(len(x)), -x], [x.T, np.zeros((1, 1))]])
            right = np.concatenate([-change @ x, np.zeros((1, 1))])
            slope[:, r] = np.linalg.solve(system, right)[:-1, 0]
        slopes.append(slope)
    return u, v, slopes[0], slopes[1]


def product_velocity(w: np.ndarray, gradient: np.ndarray, depth: int) -> np.ndarray:
    """dW/dt by the chain rule from balanced factors of any matrix."""
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    root = np.diag(s ** (1 / depth))
    factors = [w] if depth == 1 else [root @ vt, *[root] * (depth - 2), u @ root]
    total = np.zeros_like(w)
    for j in range(depth):
        above, below = np.eye(w.shape[0]), np.eye(w.shape[1])
        for factor in factors[:j]:
            below = factor @ below
        for factor in reversed(factors[j + 1 :]):
            above = above @ factor
        total -= above @ above.T @ gradient @ below.T @ below
    return total


def stationary_gradients(w: np.ndarray, depth: int, both: bool) -> tuple[np.ndarray, float]:
    """All gradients for which dU/dt = 0 and (if `both`) dV/dt = 0: a basis, and their distinctness.

    Any matrix is the gradient at W of an analytic loss, |W' - C|^2 / 2 with C = W - gradient.

    Returns:
      (n, d, d') an orthonormal basis of the null space of gradient -> (dU/dt, dV/dt), and the
      smallest singular value of that map that is not zero, relative to the largest.
    """
    columns = []
    for place in np.ndindex(*w.shape):
        gradient = np.zeros_like(w)
        gradient[place] = 1.0
        *_, du, dv = vector_velocity(w, product_velocity(w, gradient, depth))
        columns.append(np.concatenate([du.ravel(), dv.ravel()]) if both else du.ravel())
    _, s, vt = np.linalg.svd(np.array(columns).T)
    rank = int(np.sum(s > 1e-9 * s[0])) if s.size and s[0] > 0 else 0
    return vt[rank:].reshape(-1, *w.shape), float(s[rank - 1] / s[0])


@claim(
    "arora2019.cor1",
    kind="limit",
    where="Corollary 1",
    statement=r"N\ge2,\ \dot U = 0,\ \dot V = 0 \Rightarrow U^\top\nabla\ell(W)V "
    r"\text{ is diagonal; } U, V \text{ hold singular vectors of } \nabla\ell(W)",
    control={"both": False},
    control_text="only the left singular vectors stationary",
)
def cor1(settings: Settings, both: bool = True) -> Iterator[Case]:
    """All gradients that leave the vectors of a given W in place; and flows, quantitatively.

    By Equation (41) the off-diagonal part of U^T (gradient) V is at most
    |U^T (dU/dt) S - S V^T (dV/dt)| / min G: the slower the vectors, the closer to diagonal.
    """
    yield _proofs_vectors.cor1(both)
    rng = np.random.default_rng([settings.seed, 1])
    shapes = [(2, 2), (2, 3), (4, 2), (3, 3)] + [(5, 5), (3, 6), (6, 4)] * settings.full
    for shape in shapes:
        for depth in (2, 3, 4, 5):
            w = rng.normal(size=shape)
            w *= 10 ** rng.uniform(-1, 1)
            s = np.linalg.svd(w, compute_uv=False)
            gaps = np.append(s[:-1] - s[1:], s[-1]) / s[0]
            if np.min(gaps) < 1e-2:
                continue
            basis, least = stationary_gradients(w, depth, both)
            u, _, vt = np.linalg.svd(w, full_matrices=False)
            core = u.T @ basis @ vt.T
            off = core * ~np.eye(len(s), dtype=bool)
            back = u @ (core - off) @ vt
            yield Case(
                name=f"{shape[0]}x{shape[1]}, depth {depth}: {len(basis)} independent gradients",
                residual=[np.max(np.abs(off)), np.max(np.abs(back - basis))],
                floor=roundings(
                    1e-13 / np.min(gaps) ** 2 / least, "amplified by gaps of the values"
                ),
                hypotheses={
                    "singular values distinct and not zero": Measured(float(np.min(gaps)), above=0),
                    "depth at least 2": Measured(depth, above=1),
                    "some gradient is not zero": Measured(len(basis), above=0),
                },
                size=float(w.size),
                witness=lambda k, w=w, basis=basis: {"W": w.tolist(), "basis": basis.tolist()},
            )
    for name, tight, _ in flows(settings):
        if tight.depth < 2 or tight.s.shape[1] < 2:
            continue
        slack, floor, share = [], [], []
        for k in range(len(tight.times)):
            left, _ = alignment_gap(tight, k, 1.0)
            core = tight.u[k].T @ tight.g[k] @ tight.v[k]
            off = np.linalg.norm(core * ~np.eye(len(core), dtype=bool))
            bound = np.linalg.norm(left) / np.min(matrix_g(tight.s[k], tight.depth))
            error = np.max(np.abs(tight.s[k])) * (tight.du_error[k] + tight.dv_error[k])
            error /= np.min(matrix_g(tight.s[k], tight.depth))
            slack.append((bound - off) / (bound + off))
            floor.append(2 * error / (bound + off) + 1e-10 * tight.spread[k])
            share.append(off / np.linalg.norm(core))
        yield Case(
            name=f"{name}, along a flow",
            slack=slack,
            floor=floor,
            hypotheses=lemma2_hypotheses(tight)
            | {"depth at least 2": Measured(tight.depth, above=1)},
            size=float(tight.w[0].size),
            notes=f"off-diagonal share of U^T (gradient) V from {share[0]:.3f} to {share[-1]:.3f}",
        )
