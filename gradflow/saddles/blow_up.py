r"""What is small of a balanced product of depth N >= 3, while the saddle beside it stands still.

W = W_k + alpha Z. In time T = alpha^(1-2/N) t, with M = -G_k on null space x null space,

    dZ/dT = sum_j (Z Z^T)^((N-j)/N) M (Z^T Z)^((j-1)/N),

which is homogeneous and blows up: along one singular pair of M s^-(1-2/N) falls at the rate
(N - 2) sigma. At first Z is held as balanced layers, Z = L_N ... L_1. Once the largest singular
value s is far above the rest, x = ln s takes the place of time: with e = u^T M v

    du/dx = (M v - e u) / (N e),    dv/dx = (M^T u - e v) / (N e),    dT/dx = s^-(1-2/N) / (N e),

and the rest, carried parallel along u and v, grows for the time that is left. So u and v tend to
the first singular pair of M, like exp(-p x) with p = (sigma_1 - sigma_2) / (N sigma_1).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.integrate import DOP853, solve_ivp

from gradflow.linalg.spectrum import polar_factor_on_host

APART = 1e4
"""Ratio of layers from which on one singular value is far above others; errors are its square."""
_GROWN = 1e10
"""How much layers may grow before two singular values count as blowing up together."""
_SHRUNK = 1e-6
"""How much they may shrink before they count as vanishing."""
_CLOSE = 1e-7
"""Misalignment at which the way to a singular pair is closed by a rotation."""
_NEAR = 0.1
"""Misalignment up to which that is right to its square."""
_LEAST, _LONG, _FARTHEST = 30.0, 200.0, 2000.0
"""How far in x it is followed: at least, where another pair may have been taken, and at most."""
_STRIDE = 20.0
"""Between two looks at it."""

Layers = list[np.ndarray]
"""L_1, ..., L_N, of which L_1 acts first."""


class BlowUp(NamedTuple):
    """How Z blew up.

    Attributes:
      time: T.
      left: (m,) u.
      right: (n,) v.
      rate: u^T M v.
      frames: (m, m-1), (n, n-1) bases of what is orthogonal to u and to v.
      rest: layers of what is left of Z, in these.
      log_misalignment: ln of C, u and v being C s^-power off where the largest singular value of
        Z is s.
      power: p.
      top: whether u and v are the first pair of M; if not, Z has nothing of that, to rounding.
    """

    time: float
    left: Float[np.ndarray, " m"]
    right: Float[np.ndarray, " n"]
    rate: float
    frames: tuple[np.ndarray, np.ndarray]
    rest: Layers
    log_misalignment: float
    power: float
    top: bool


def layers_of(z: Float[np.ndarray, "m n"], depth: int, rank: int | None = None) -> Layers:
    """Balanced layers of a matrix, as wide as its rank, which is what it is to rounding."""
    u, s, vt = np.linalg.svd(z, full_matrices=False)
    if rank is None:
        rank = int(np.sum(s > 1e-12 * np.max(s, initial=0.0)))
    return _layers(u[:, :rank], s[:rank] ** (1 / depth), vt[:rank].T, depth)


def _layers(u: np.ndarray, d: np.ndarray, v: np.ndarray, depth: int) -> Layers:
    return [d[:, None] * v.T, *[np.diag(d)] * (depth - 2), u * d]


def turned(layers: Layers, left: np.ndarray, right: np.ndarray) -> Layers:
    """Layers of left Z right^T."""
    return [layers[0] @ right.T, *layers[1:-1], left @ layers[-1]]


def singular(layers: Layers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U, d, V with Z = U diag(d^N) V^T: each d to the relative accuracy it has in the layers."""
    u, d, v = np.linalg.svd(layers[-1], full_matrices=False)
    v = v.T
    for layer in layers[-2::-1]:
        turned_back = (v.T @ layer) / d[:, None]
        v = polar_factor_on_host(turned_back.T)  # rows are orthonormal but for rounding
    return u, d, v


def velocity(layers: Layers, m: np.ndarray) -> Layers:
    """dL_j/dT = (L_N ... L_{j+1})^T M (L_{j-1} ... L_1)^T."""
    after, found = m, []
    before = [layers[0]]
    for layer in layers[1:-1]:
        before.append(layer @ before[-1])
    for j in range(len(layers) - 1, 0, -1):
        found.append(after @ before[j - 1].T)
        after = layers[j].T @ after
    return [after, *found[::-1]][: len(layers)]


def _flat(*arrays: np.ndarray) -> np.ndarray:
    return np.concatenate([a.ravel() for a in arrays])


def _shaped(y: np.ndarray, like: list[np.ndarray]) -> list[np.ndarray]:
    ends = np.cumsum([a.size for a in like])[:-1]
    return [part.reshape(a.shape) for part, a in zip(np.split(y, ends), like, strict=True)]


def blow_up(layers: Layers, m: Float[np.ndarray, "m n"], rtol: float = 1e-12) -> BlowUp | str:
    """Follow Z until it blows up.

    Args:
      layers: of Z.
      m: M.
      rtol: of both parts of the way.

    Returns:
      How it did; or "tie" where two singular values do so together, rates are hardly apart, or
      the solver does not tell them apart; "stuck" where Z vanishes.
    """
    first = _separated(layers, m, rtol)
    if isinstance(first, str):
        return first
    time, layers = first
    return _aligned(time, layers, m, rtol)


def _separated(layers: Layers, m: np.ndarray, rtol: float) -> tuple[float, Layers] | str:
    """Layers when one singular value is far above the others, and when that is."""
    depth, size = len(layers), float(np.linalg.norm(layers[-1]))

    def field(_: float, y: np.ndarray) -> np.ndarray:
        at = _shaped(y[1:], layers)
        slow = float(np.linalg.norm(at[-1])) ** (2 - depth)
        return np.concatenate([[slow], slow * _flat(*velocity(at, m))])

    y = np.concatenate([[0.0], _flat(*layers)])
    solver = DOP853(field, 0.0, y, np.inf, rtol=rtol, atol=1e-3 * rtol * size)
    while True:
        solver.step()
        if solver.status == "failed":
            return "tie"
        at = _shaped(solver.y[1:], layers)
        u, d, v = singular(at)
        grown = d[0] / size
        ratio = d[0] / d[1] if len(d) > 1 else grown
        if grown < _SHRUNK:
            return "stuck"
        if ratio > APART and u[:, 0] @ m @ v[:, 0] > 0:
            return float(solver.y[0]), _layers(u, d, v, depth)
        if grown > _GROWN:
            return "tie"


def _complement(u: np.ndarray, some: np.ndarray) -> np.ndarray:
    """A basis of what is orthogonal to u, the first of which are `some`."""
    whole = np.linalg.qr(np.column_stack([u, some]), mode="complete")[0]
    whole[:, 1 : 1 + some.shape[1]] = some
    return whole[:, 1:]


def _aligned(time: float, layers: Layers, m: np.ndarray, rtol: float) -> BlowUp | str:
    """The rest of the way: u and v turn, and what is left of Z beside them."""
    depth, power = len(layers), 1 - 2 / len(layers)
    u, d, v = (layers[-1] / np.linalg.norm(layers[-1], axis=0), np.diag(layers[1]).copy(),
               (layers[0] / np.linalg.norm(layers[0], axis=1)[:, None]).T)  # fmt: skip
    start, values = depth * np.log(d[0]), np.linalg.svd(m, compute_uv=False)
    second = values[1] if len(values) > 1 else 0.0
    gap = (values[0] - second) / (depth * values[0])
    frames = _complement(u[:, 0], u[:, 1:]), _complement(v[:, 0], v[:, 1:])
    rest = turned(_layers(u[:, 1:], d[1:], v[:, 1:], depth), frames[0].T, frames[1].T)
    like = [u[:, 0], v[:, 0], *frames, *rest, np.zeros(1)]

    def field(x: float, y: np.ndarray) -> np.ndarray:
        left, right, p, q, *kept = _shaped(y, like)[:-1]
        e = float(left @ m @ right)
        du, dv = (m @ right - e * left) / (depth * e), (m.T @ left - e * right) / (depth * e)
        clock = np.exp(-power * (start + x)) / (depth * e)
        moved = velocity(kept, p.T @ m @ q)
        return _flat(
            du, dv, -np.outer(left, du @ p), -np.outer(right, dv @ q),
            *[clock * layer for layer in moved], np.array([clock]),
        )  # fmt: skip

    x, y, most = 0.0, _flat(*like), -np.inf
    first = _pair(m)
    while True:
        left, right = _shaped(y, like)[:2]
        sign, off = _misalignment(left, right, first)
        if off > 1e-15 * np.exp(-gap * x):  # what decays faster counts at a finite alpha, too
            most = max(most, np.log(off) + gap * (start + x))
        if (off < _CLOSE and x > _LEAST) or x > _FARTHEST or (x > _LONG and _still(y, like, m)):
            break
        found = solve_ivp(field, (x, x + _STRIDE), y, "DOP853", rtol=rtol, atol=1e-2 * rtol)
        if not found.success:
            return "tie"
        x, y = x + _STRIDE, found.y[:, -1]
    left, right, p, q, *kept = _shaped(y, like)
    top = off < _NEAR
    if not top and x > _FARTHEST:
        return "tie"
    if top:
        (left, p), (right, q) = (
            _rotated(a, b, sign * e) for a, b, e in zip((left, right), (p, q), first, strict=True)
        )
    e = float(left @ m @ right)
    time += float(kept.pop()[0]) + np.exp(-power * (start + x)) / ((depth - 2) * e)
    return BlowUp(time, left, right, e, (p, q), kept, most if top else -np.inf, gap, top)


def _misalignment(
    left: np.ndarray, right: np.ndarray, pair: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float]:
    """How far u and v are from a singular pair, which has two signs; and which is closer."""
    offs = [
        float(np.linalg.norm(np.concatenate([left - sign * pair[0], right - sign * pair[1]])))
        for sign in (1.0, -1.0)
    ]
    return (1.0, offs[0]) if offs[0] <= offs[1] else (-1.0, offs[1])


def _pair(m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    u, _, vt = np.linalg.svd(m)
    return u[:, 0], vt[0]


def _still(y: np.ndarray, like: list[np.ndarray], m: np.ndarray) -> bool:
    """Whether u and v are a singular pair of M, to rounding."""
    left, right = _shaped(y, like)[:2]
    e = left @ m @ right
    rest = np.hypot(np.linalg.norm(m @ right - e * left), np.linalg.norm(m.T @ left - e * right))
    return bool(rest < 1e-12 * np.linalg.norm(m, 2))


def _rotated(u: np.ndarray, frame: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A unit vector turned into another close by, and a frame beside it carried along."""
    u = u / np.linalg.norm(u)
    both = u + end
    both /= np.linalg.norm(both)

    def reflected(a: np.ndarray, w: np.ndarray) -> np.ndarray:
        return a - 2 * np.multiply.outer(w, w @ a)

    # Two reflections make the rotation in the plane of both vectors.
    return end, reflected(reflected(frame, u), both)
