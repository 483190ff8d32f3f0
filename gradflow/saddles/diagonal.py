r"""The limit of a vanishing start of diagonal networks, of any depth.

beta = w_+^D - w_-^D from alpha^(1/D) (a_+, a_-) is a function of the dual eta = -int G dt, entry by
entry: a parameter of size w has the room

    r(w) = -ln(w / a)/2 (D = 2),    w^(-(D-2)) / (D (D - 2)) (D >= 3)

left, and sigma eta_i + r = theta_i c(alpha) is conserved, with c = ln(1/alpha), theta = 1/4 at
D = 2 and c = alpha^-(1-2/D), theta = a^-(D-2) / (D (D - 2)) beyond. So in units of c the dual moves
along -G, an entry is 0 while its dual is inside of (-theta_-, theta_+) and may be of size 1 at its
ends: the saddle is the least loss over the signs of the entries that are there.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import nnls

from gradflow.saddles.diagonal_orbit import DiagonalOrbit, Regression, follow
from gradflow.saddles.errors import FLOOR, Terms
from gradflow.saddles.path import SaddleOutcome, no_way, way_of

ZERO = 1e-9
"""Below which part of what it could be a gradient counts as 0."""
EPSILON = 1e-8
"""How large a new entry of beta is, relative to others, when the flow takes over."""


_COINCIDENCE = (
    "entries {} come at one time: saddles go on as a convex problem says, but which is first, and "
    "all constants from there on, are not told by powers of alpha"
)
_SLOW_END = (
    "entries {} are 0 at the saddle {} with their dual at its threshold and no drift: the flow "
    "comes there like 1 / ln(1/alpha)"
)
_RESTLESS = "the way to the saddle {} did not come to rest: constants from there on are not known"


class DiagonalNode(NamedTuple):
    """A saddle.

    Attributes:
      beta: there.
      loss: there.
      gradient: G.
      dual: eta / c(alpha), when the path comes there.
      decay: the smallest rate at which the flow of its own entries comes to it.
    """

    beta: np.ndarray
    loss: float
    gradient: np.ndarray
    dual: np.ndarray
    decay: float

    @property
    def w(self) -> np.ndarray:
        """Beta, which is W."""
        return self.beta

    @property
    def rank(self) -> int:
        """The number of entries that are not 0."""
        return int(np.count_nonzero(self.beta))

    @property
    def rates(self) -> np.ndarray:
        """The derivative of the dual."""
        return -self.gradient

    @property
    def growth(self) -> float:
        """Of the flow of its own entries, whose minimum it is."""
        return 0.0


class DiagonalJump(NamedTuple):
    """A way from a saddle to the next.

    Attributes:
      tau: when, in units of c(alpha).
      offset: what is added to tau c(alpha); NaN if it is not known.
      margin: how much later the next entry would have come, as a ratio of plateaus.
      entry: which comes.
      sign: with which sign.
      orbit: the way; None if it is not known where it begins.
      terms: of the error of the time.
    """

    tau: float
    offset: float
    margin: float
    entry: int
    sign: float
    orbit: DiagonalOrbit | None
    terms: Terms

    @property
    def way(self) -> tuple[np.ndarray, np.ndarray]:
        """Records, as a path has them."""
        if self.orbit is None:
            return no_way()
        return way_of(self.orbit.times, self.orbit.losses, self.orbit.half)


class DiagonalWalk(NamedTuple):
    """What was found, and how it ended."""

    nodes: list[DiagonalNode]
    jumps: list[DiagonalJump]
    outcome: SaddleOutcome
    reason: str
    flags: list[str]


def diagonal_walk(
    problem: Regression, *, most: int, tie: float, constants: bool = True
) -> DiagonalWalk:
    """Go from saddle to saddle.

    Args:
      problem: the regression, with the sizes of the start.
      most: after how many jumps to stop.
      tie: events whose times differ by less, relatively, are one.
      constants: whether to follow the ways between saddles, which the constants of times need.
    """
    size = problem.size
    beta, dual, shift = np.zeros(size), np.zeros(size), np.zeros(size)
    sign = np.zeros(size)
    scale = _gradient_scale(problem)
    nodes = [_node(problem, beta, dual)]
    jumps: list[DiagonalJump] = []
    flags: list[str] = []
    tau, offset, known, doubt, since = 0.0, 0.0, constants, Terms(), 0.0
    while True:
        node = nodes[-1]
        drift = np.where(np.abs(node.gradient) > ZERO * scale, -node.gradient, 0.0)
        if not np.any(drift):
            reason = f"the loss is least: no gradient is above {ZERO:.0e} of what it could be"
            return DiagonalWalk(nodes, jumps, SaddleOutcome.MINIMUM, reason, flags)
        if len(jumps) >= most:
            reason = f"at most {most} jumps were asked for"
            return DiagonalWalk(nodes, jumps, SaddleOutcome.OUT_OF_JUMPS, reason, flags)
        arrival = _arrival(problem, dual, drift, sign, tie)
        if arrival is None:
            reason = "no entry can grow along its gradient: parameters that are 0 stay 0"
            return DiagonalWalk(nodes, jumps, SaddleOutcome.STUCK, reason, flags)
        first, plateau, margin, coming = arrival
        if np.sum(coming) > 1 and known:
            known = False
            flags.append(_COINCIDENCE.format(_listed(coming)))
        dual = dual + plateau * drift
        sign = np.where(coming, np.sign(drift), sign)
        dual = np.where(coming, sign * problem.thresholds(sign), dual)
        beta, unique = _least_loss(problem, sign, scale)
        if not unique:
            reason = f"the least loss over entries of these signs ({_signs(sign)}) is not unique"
            return DiagonalWalk(nodes, jumps, SaddleOutcome.NOT_UNIQUE, reason, flags)
        following = _node(problem, beta, dual)
        orbit, terms = None, Terms()
        tau += plateau
        if known:
            small = EPSILON * float(np.max(np.abs(following.beta)))
            room = problem.room(small, first, sign[first])
            wait = float((-sign[first] * room - shift[first]) / drift[first])
            orbit = follow(problem, node.beta, beta, first, sign, small, abs(drift[first]))
            at = wait + orbit.half  # of the last event, which was at the end of a way
            last = plateau if jumps else None
            moved = shift + at * drift
            args = problem, node, following, dual, moved, first, at + since, last
            pushed, later, seen = _doubt(*args)
            doubt = doubt.with_all(pushed)
            terms = doubt.times(1 / abs(float(drift[first]))).with_all(seen)
            doubt = doubt.with_all(later)
        jumps.append(
            DiagonalJump(
                tau, offset + wait + orbit.half if orbit else np.nan, margin, first,
                float(sign[first]), orbit, terms,
            )
        )  # fmt: skip
        gone = (sign != 0) & (beta == 0)
        slow = gone & (np.abs(following.gradient) <= ZERO * scale)
        if np.any(slow):
            flags.append(_SLOW_END.format(_listed(slow), len(nodes)))
        if orbit is not None:
            offset += wait + orbit.end
            since = orbit.end - orbit.half
            shift = shift + wait * drift + orbit.moved
            shift = np.where(gone, -sign * orbit.rooms, shift)
            least = not np.any(np.abs(following.gradient) > ZERO * scale)
            if not orbit.settled and not (least and np.isfinite(orbit.half)):
                known = False
                flags.append(_RESTLESS.format(len(nodes)))
        sign = np.where(gone, 0.0, sign)
        nodes.append(following)


def _listed(entries: Bool[np.ndarray, " size"]) -> str:
    return ", ".join(map(str, np.flatnonzero(entries)))


def _arrival(
    problem: Regression,
    dual: Float[np.ndarray, " size"],
    drift: Float[np.ndarray, " size"],
    sign: Float[np.ndarray, " size"],
    tie: float,
) -> tuple[int, float, float, Bool[np.ndarray, " size"]] | None:
    """Which entry comes next to its threshold, when, the next one's ratio; all that come then."""
    ahead = problem.thresholds(np.sign(drift))
    moving = (sign == 0) & (drift != 0)
    left = np.maximum(ahead - np.sign(drift) * dual, 0.0)
    waits = np.where(moving, left / np.where(moving, np.abs(drift), 1.0), np.inf)
    order = np.argsort(waits)
    first, plateau = int(order[0]), float(waits[order[0]])
    if not np.isfinite(plateau):
        return None
    second = float(waits[order[1]]) if len(order) > 1 else np.inf
    if plateau > 0:
        margin = second / plateau
    else:  # it was at its threshold already
        margin = np.inf if second > 0 else 1.0
    return first, plateau, margin, waits <= plateau * (1 + tie)


def _least_loss(
    problem: Regression,
    sign: Float[np.ndarray, " size"],
    scale: Float[np.ndarray, " size"],
) -> tuple[Float[np.ndarray, " size"], bool]:
    """The least loss over entries of given signs, and whether it is at one place only."""
    active = np.flatnonzero(sign)
    lengths = _lengths(problem)[active]  # entries of any unit
    columns = problem.inputs[:, active] * sign[active] / lengths
    found, _ = nnls(columns, problem.targets)
    found[found < 1e-13 * np.max(found, initial=0.0)] = 0.0
    inside = found > 0
    if np.any(inside):  # to the last digits
        found[inside] = np.linalg.lstsq(columns[:, inside], problem.targets, rcond=None)[0]
    beta = np.zeros(problem.size)
    beta[active] = sign[active] * found / lengths
    free = inside | (np.abs(problem.gradient(beta)[active]) <= ZERO * scale[active])
    values = np.linalg.svd(columns[:, free], compute_uv=False)
    unique = len(values) == np.sum(free) and np.all(values > 1e-10 * np.max(values, initial=0.0))
    return beta, bool(unique)


def _lengths(problem: Regression) -> Float[np.ndarray, " size"]:
    """Those of the columns of X; 1 of a column that is 0."""
    lengths = np.linalg.norm(problem.inputs, axis=0)
    return np.where(lengths > 0, lengths, 1.0)


def _gradient_scale(problem: Regression) -> Float[np.ndarray, " size"]:
    """How large an entry of the gradient could be at 0: its column times what X can fit of y."""
    lengths = _lengths(problem)
    u, s, _ = np.linalg.svd(problem.inputs / lengths, full_matrices=False)
    fitted = float(np.linalg.norm(u[:, s > 1e-12 * s[0]].T @ problem.targets))
    return lengths * (fitted or 1.0)


def _node(
    problem: Regression, beta: Float[np.ndarray, " size"], dual: Float[np.ndarray, " size"]
) -> DiagonalNode:
    gradient = problem.gradient(beta)
    inside = np.flatnonzero(beta)
    speeds = problem.depth * np.abs(beta[inside]) ** (1 - 1 / problem.depth)
    matrix = speeds[:, None] * problem.hessian[np.ix_(inside, inside)] * speeds
    decay = float(np.min(np.linalg.eigvalsh(matrix))) if len(inside) else np.inf
    return DiagonalNode(beta, problem.loss(beta), gradient, dual, decay)


def _doubt(
    problem: Regression, node: DiagonalNode, following: DiagonalNode, dual: np.ndarray,
    shift: np.ndarray, first: int, since: float, plateau: float | None,
) -> tuple[Terms, Terms, Terms]:  # fmt: skip
    """The error of the dual by a jump and, in excess, after it; that of the time by the loss.

    Entries that are still small push the dual by the integral of their size, and add to the loss;
    and the saddle was reached up to exp(-decay t), t from the jump before on.
    """
    rate = abs(float(node.gradient[first]))
    pushed, later, seen = Terms().plus(np.log(FLOOR), 0.0), Terms(), Terms()
    depth, coupling = problem.depth, np.max(np.abs(problem.hessian), axis=0)
    for i in map(int, np.flatnonzero((node.beta == 0) & (np.arange(problem.size) != first))):
        slope = max(abs(float(node.gradient[i])), 1e-3 * rate)
        after = max(abs(float(following.gradient[i])), 1e-3 * rate)
        push, pushing = (np.log(coupling[i] / (2 * depth * g)) for g in (slope, after))
        level = np.log(slope / (node.loss - following.loss) / rate)
        for sign in (1.0, -1.0):
            left = float(problem.thresholds(np.full(problem.size, sign))[i] - sign * dual[i])
            if not np.isfinite(left) or left <= 0:
                continue
            if depth == 2:
                log = problem.log_size(float(-sign * shift[i]), i, sign)
                power, area = (4 * left, 4 * left), log
            else:
                log = problem.log_size(left, i, sign)
                power, area = (2 / depth, 1.0), 2 / depth * log
            pushed, later = pushed.plus(area + push, power[0]), later.plus(area + pushing, power[0])
            seen = seen.plus(log + level, power[1])
    if plateau is not None and depth == 2:
        left = [4 * abs(node.gradient[i]) for i in np.flatnonzero(_at_threshold(problem, node))]
        decay = min([node.decay, *left])
        pushed = pushed.plus(-decay * since, decay * plateau)
    return pushed, later, seen


def _at_threshold(problem: Regression, node: DiagonalNode) -> Bool[np.ndarray, " size"]:
    """Entries that have just left."""
    at = np.abs(node.dual) >= problem.thresholds(np.sign(node.dual)) * (1 - 1e-12)
    return at & (node.beta == 0)


def _signs(sign: np.ndarray) -> str:
    return ", ".join(f"{i}: {'+' if sign[i] > 0 else '-'}" for i in np.flatnonzero(sign))
