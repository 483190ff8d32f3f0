r"""The limit of a vanishing balanced start of W = W_N ... W_1, N >= 3, from saddle to saddle.

Beside a saddle W_k what is small, alpha Z, blows up after a time T_k alpha^-(1-2/N); see `blow_up`.
Then a singular value of size 1 is there, along the first singular pair of -G, and W goes to the
next saddle in a time of order 1, along which the rest of Z is carried parallel; see
`product_orbit`. Small changes of Z are followed beside it: what the ways between saddles add to it,
which makes the constants of times, and rotations by what a direction is off at a finite alpha,
which make their errors.
"""

import itertools
from typing import NamedTuple

import numpy as np

from gradflow.problems.base import AbstractProblem
from gradflow.saddles.assembly import NULL, Jump, growth_and_decay
from gradflow.saddles.blow_up import BlowUp, Layers, blow_up, layers_of, singular, turned, velocity
from gradflow.saddles.errors import FLOOR, Terms
from gradflow.saddles.path import SaddleOutcome
from gradflow.saddles.product_orbit import ProductOrbit, factors_of, follow, model_of, polish
from gradflow.saddles.ways import half_way

EPSILON = 1e-6
"""How large a new singular value is, relative to what it grows to, when the flow takes over."""
_CHANGE = 1e-5
"""Length of the small changes of Z."""
_ROTATIONS = 12
"""How many rotations are followed at most; they stand for all."""
_ACCURACY = 1e-9
"""How well times are known in units of the clock."""
_ORDER = 4
"""The power of 1 / x that stands for exp(-x)."""


class ProductNode(NamedTuple):
    """A saddle.

    Attributes:
      w: there.
      rank: of it.
      loss: there.
      left: (m, m - k) an orthonormal basis of the null space of W^T.
      right: (n, n - k) that of W.
      m: -left^T G right.
      rates: its singular values.
      growth: the largest rate of the flow of its own rank; positive at no minimum of that.
      decay: the smallest rate at which that flow comes to it; infinite at 0.
    """

    w: np.ndarray
    rank: int
    loss: float
    left: np.ndarray
    right: np.ndarray
    m: np.ndarray
    rates: np.ndarray
    growth: float
    decay: float


class ProductWalk(NamedTuple):
    """What was found: saddles, jumps, singular values of Z at each saddle; how it ended."""

    nodes: list[ProductNode]
    jumps: list[Jump]
    sizes: list[np.ndarray]
    outcome: SaddleOutcome
    reason: str
    flags: list[str]


class Change(NamedTuple):
    """A small change of Z, which later times feel.

    Attributes:
      layers: of the changed Z.
      shift: by how much the last blow-up came later, by length of the change.
      terms: what a shift of 1 adds to the error of a time, times alpha^(1-2/N); None: to the time.
      of: the jump that made it.
    """

    layers: Layers
    shift: float
    terms: Terms | None
    of: int


def product_walk(
    problem: AbstractProblem, z: np.ndarray, depth: int, *, convex: bool, most: int, tie: float
) -> ProductWalk:
    """Go from saddle to saddle.

    Args:
      problem: the loss.
      z: (m, n) W(0) / alpha.
      depth: N.
      convex: whether the loss is a convex function of W.
      most: after how many jumps to stop.
      tie: rates and times that differ by less, relatively, are one.
    """
    node = _node(problem, np.zeros_like(z), 0, depth)
    nodes, scale, layers = [node], float(np.max(node.rates)), layers_of(z, depth)
    jumps: list[Jump] = []
    sizes: list[np.ndarray] = []
    flags: list[str] = []
    changes: list[Change] = []
    tau, power = 0.0, 1 - 2 / depth
    rng = np.random.default_rng(0)
    while True:
        node = nodes[-1]
        sizes.append(singular(layers)[1] ** depth if layers[0].size else np.zeros(0))
        end = _end(node, layers, scale, convex, tie, len(jumps), most)
        found = blow_up(layers, node.m) if end is None else None
        if end is None:
            assert found is not None
            end = _ended(node, found)
        if end is not None:
            return ProductWalk(nodes, jumps, sizes, *end, flags)
        assert isinstance(found, BlowUp)
        if not found.top:
            flags.append(_UNALIGNED.format(len(jumps), found.rate, node.rates[0]))
        margin = _margin(node, found, depth)
        if margin - 1 < tie:
            reason = f"two singular values come up at one time at the saddle of rank {node.rank}"
            return ProductWalk(nodes, jumps, sizes, SaddleOutcome.TIE, reason, flags)
        changes = [_moved(change, node, found) for change in changes]
        u, v = node.left @ found.left, node.right @ found.right
        size, fall = _size(problem, node, u, v, found.rate)
        small = EPSILON * size
        carried = node.left @ found.frames[0], node.right @ found.frames[1]
        begin = factors_of(node.w + small * np.outer(u, v), node.rank + 1, depth)
        orbit = follow(problem, begin, *carried, scale=scale, rate=found.rate, grown=size)
        if not orbit.settled:
            reason = "the way to the next saddle did not come to rest"
            return ProductWalk(nodes, jumps, sizes, SaddleOutcome.SLOW_ORBIT, reason, flags)
        following = _next(problem, orbit, depth)
        half, blown = half_way(orbit, following.loss), small**-power / ((depth - 2) * found.rate)
        # Either may come first: it feels itself, or, along a way that turns, is what it is to be.
        reached = min(float(np.linalg.svd(following.w, compute_uv=False)[node.rank]), size)
        misaligned = found.log_misalignment - found.power * np.log(reached), found.power
        waited = found.time, node.decay, float(sizes[-1][0])
        terms = _terms(found, misaligned, fall, small, reached, waited, depth, bool(jumps))
        tau += found.time
        terms, offset = _felt(changes, terms.plus(np.log(_ACCURACY * tau), -power), power)
        jumps.append(
            Jump(
                tau, offset - blown + half, margin, np.concatenate([v, u]) / 2**0.5, orbit, half,
                terms,
            )
        )  # fmt: skip
        layers = found.rest
        if layers[0].size:
            before = found.frames[0].T @ node.m @ found.frames[1]
            push = orbit.pushed - blown * before - (orbit.times[-1] - blown) * following.m
            changes += _made(layers, push, misaligned, rng, len(jumps))
        nodes.append(following)


_UNALIGNED = (
    "the jump {} takes a direction of the rate {:.6g}, not the first, {:.6g}, of which the start "
    "has nothing, to rounding"
)


def _node(problem: AbstractProblem, w: np.ndarray, rank: int, depth: int) -> ProductNode:
    left, right = (np.linalg.svd(a)[0][:, rank:] for a in (w, w.T))
    return _at(problem, w, rank, left, right, np.zeros(0))


def _at(
    problem: AbstractProblem, w: np.ndarray, rank: int, left: np.ndarray, right: np.ndarray,
    curvature: np.ndarray,
) -> ProductNode:  # fmt: skip
    loss, gradient = (np.asarray(x) for x in problem.loss_and_gradient(w))
    m = -left.T @ gradient @ right
    rates = np.linalg.svd(m, compute_uv=False) if m.size else np.zeros(0)
    return ProductNode(w, rank, float(loss), left, right, m, rates, *growth_and_decay(curvature))


def _next(problem: AbstractProblem, orbit: ProductOrbit, depth: int) -> ProductNode:
    """The saddle at the end of a way, with the frames that were carried there."""
    factors, curvature = polish(problem, orbit.factors)
    w = np.asarray(model_of(factors).product(factors))
    s = np.linalg.svd(w, compute_uv=False)
    rank = int(np.sum(s[: factors[0].shape[0]] > 1e-4 * s[0]))
    return _at(problem, w, rank, orbit.left, orbit.right, curvature)


def _end(
    node: ProductNode, layers: Layers, scale: float, convex: bool, tie: float, jumps: int, most: int
) -> tuple[SaddleOutcome, str] | None:
    """How the path ends here, and why; None if it goes on."""
    top = float(np.max(node.rates, initial=0.0))
    if node.growth > 1e-6 * scale:
        return SaddleOutcome.NOT_A_MINIMISER, (
            f"the saddle of rank {node.rank} is no minimum among matrices of its rank: the flow of "
            f"its own rank leaves it at the rate {node.growth:.3g}"
        )
    if node.rank < jumps:
        return SaddleOutcome.RANK_FELL, (
            f"after {jumps} jumps the rank is {node.rank}: a singular value has left, like a power "
            "of time, and may come again"
        )
    if top <= NULL * scale:
        if convex:
            return SaddleOutcome.MINIMUM, (
                f"the gradient at the saddle of rank {node.rank} is at most {NULL:.0e} of the first"
            )
        return SaddleOutcome.ZERO_RATE, (
            f"the gradient at the saddle of rank {node.rank} is 0, and the loss is not known to be "
            "convex: what follows, if anything, takes another power of 1/alpha"
        )
    if not layers[0].size:
        return SaddleOutcome.OUT_OF_COLUMNS, (
            f"the start has rank {node.rank}, but a direction still grows at the rate {top:.3g}"
        )
    if len(node.rates) > 1 and node.rates[0] - node.rates[1] <= tie * top:
        return SaddleOutcome.TIE, (
            f"the two largest rates are one, within a ratio of 1 + {tie:.1g}, at the saddle of "
            f"rank {node.rank}"
        )
    if jumps >= most:
        return SaddleOutcome.OUT_OF_JUMPS, f"at most {most} jumps were asked for"
    return None


def _ended(node: ProductNode, found: BlowUp | str) -> tuple[SaddleOutcome, str] | None:
    if found == "tie":
        return SaddleOutcome.TIE, (
            f"two singular values come up at one time at the saddle of rank {node.rank}"
        )
    if found == "stuck":
        return SaddleOutcome.STUCK, (
            f"what is left of the start falls to 0 at the saddle of rank {node.rank}, like a power "
            "of time: its sign, which stays, is not the gradient's"
        )
    return None


def _margin(node: ProductNode, found: BlowUp, depth: int) -> float:
    """How much longer the plateau would have been at least without the first singular value."""
    if not found.rest[0].size or len(node.rates) < 2 or node.rates[1] <= 0:
        return np.inf
    left = singular(found.rest)[1][0] ** (2 - depth) / ((depth - 2) * node.rates[0])
    return float(1 + left / found.time)


def _size(
    problem: AbstractProblem, node: ProductNode, u: np.ndarray, v: np.ndarray, rate: float
) -> tuple[float, float]:
    """At which size a new singular value begins to feel itself, and how fast its rate falls."""
    step = 1e-3 * max(1e-3, float(np.linalg.norm(node.w)))
    moved = -u @ np.asarray(problem.gradient(node.w + step * np.outer(u, v))) @ v
    fall = (rate - float(moved)) / step
    most = float(np.linalg.norm(node.w)) * 1e2 or np.inf  # beside 0 no size is too large
    size = min(rate / fall if fall > 0 else np.inf, most)
    return (size if np.isfinite(size) else 1e2), fall


def _terms(
    found: BlowUp, misaligned: tuple[float, float], fall: float, small: float, reached: float,
    waited: tuple[float, float, float], depth: int, later: bool,
) -> Terms:  # fmt: skip
    """The error of a jump's time, by what happens from the last one on.

    The floor; the first size of the way, which is not 0; what a direction is off; what other
    singular values do to the gradient; and what was left of the way to the saddle.
    """
    rate, power = found.rate, 1 - 2 / depth
    time, decay, most = waited
    terms = Terms().plus(np.log(FLOOR / rate), 0.0)
    terms = terms.plus(np.log(abs(fall) / rate**2 / 10 + 1e-300) + 2 / depth * np.log(small), 0.0)
    terms = terms.plus(misaligned[0] - np.log(rate) - power * np.log(reached), misaligned[1])
    terms = terms.plus(np.log(time * most * abs(fall) / rate + 1e-300), 2 / depth)
    if later:
        log = _ORDER * np.log(_ORDER / (np.e * decay * time)) - np.log(decay)
        terms = terms.plus(log, _ORDER * power)
    return terms


def _moved(change: Change, node: ProductNode, found: BlowUp) -> Change:
    """A change after the blow-up, in the frames of the one without it."""
    other = blow_up(change.layers, node.m)
    if isinstance(other, str) or other.top != found.top:
        return change._replace(shift=np.inf)
    shift = change.shift + (other.time - found.time) / _CHANGE
    left, right = (a.T @ b for a, b in zip(found.frames, other.frames, strict=True))
    return change._replace(layers=turned(other.rest, left, right), shift=shift)


def _felt(changes: list[Change], terms: Terms, power: float) -> tuple[Terms, float]:
    """What changes of Z do to a time: with its errors, and the constant."""
    offset = sum((change.shift for change in changes if change.terms is None), 0.0)
    jumps = sorted({change.of for change in changes if change.terms is not None})
    for jump in jumps:
        same = [c for c in changes if c.of == jump and c.terms is not None]
        steepest = float(np.linalg.norm([change.shift for change in same]))  # the worst of all
        assert same[0].terms is not None
        terms = terms.with_all(same[0].terms.times(steepest))
    if not np.isfinite(offset):
        return terms.plus(np.inf, 0.0), 0.0
    return terms, offset


def _made(
    layers: Layers, push: np.ndarray, misaligned: tuple[float, float], rng: np.random.Generator,
    jump: int,
) -> list[Change]:  # fmt: skip
    """The changes that a jump makes: its push of what is small, and rotations."""
    power = 1 - 2 / len(layers)
    pushed = velocity(layers, push)
    made = [Change([a + _CHANGE * b for a, b in zip(layers, pushed, strict=True)], 0.0, None, jump)]
    if misaligned[0] == -np.inf:
        return made
    planes = [
        (side, a, b)
        for side in (0, 1)
        for a, b in itertools.combinations(range(push.shape[side]), 2)
    ]
    followed = rng.permutation(len(planes))[:_ROTATIONS]
    share = 0.5 * np.log(max(len(planes), 1) / max(len(followed), 1))  # of the others
    terms = Terms().plus(misaligned[0] + share, misaligned[1] - power)
    for k in followed:
        side, a, b = planes[k]
        frames = [np.eye(size) for size in push.shape]
        frames[side][a, b], frames[side][b, a] = _CHANGE, -_CHANGE
        made.append(Change(turned(layers, *frames), 0.0, terms, jump))
    return made
