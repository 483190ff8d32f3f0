r"""Razin and Cohen 2020, Implicit Regularization in Deep Learning May Not Be Explainable by Norms.

The claims, in the order of the paper. Depth is L there; W_1 acts first; entries count from 1.
"""

import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Confirmation, Measured, Settings, claim
from gradflow.claims.hypotheses import Met
from gradflow.claims.oracles import flows as runs
from gradflow.claims.oracles.extrapolation import extrapolate
from gradflow.claims.oracles.flows import Pair, blowup_pair
from gradflow.claims.oracles.high_precision import (
    DIGITS,
    Matrix,
    Real,
    precise,
    show,
    singular_values_2x2,
)
from gradflow.claims.oracles.norms import NORMS, SCHATTEN, Norm
from gradflow.linalg.spectrum import effective_rank_of

from . import _best, _enclosed, _printed, _printed_lemmas, _proofs_flows
from ._figures import norm_blowup_figure

DEPTHS = (2, 3, 4)
STOP_LOSS = 1e-6


def starts(settings: Settings) -> dict[str, object]:
    """Products of positive determinant to start from: the two standard ones and random ones."""
    found: dict[str, object] = {name: name for name in runs.STARTS}
    rng = np.random.default_rng(settings.seed)
    while len(found) < len(runs.STARTS) + (6 if settings.full else 1):
        scale = 10 ** rng.uniform(-3, 0)
        w = scale * rng.normal(size=(2, 2))
        if np.linalg.det(w) > 1e-2 * scale**2:
            name = f"random product of scale {scale:.2g}"
            found[name] = tuple(tuple(float(x) for x in row) for row in w)
    return found


def theorem1_hypotheses(flow: gf.Trajectory, depth: int) -> dict[str, Met]:
    """What Theorem 1 asks for, read off a run's start."""
    w = np.linalg.multi_dot([np.asarray(f) for f in reversed(runs.start_factors(flow))])
    return {
        "depth at least 2": Measured(depth, above=1),
        "balanced initialisation (5)": runs.balanced_start(flow),
        "det W(0) > 0": Measured(float(np.linalg.det(w)), above=0),
        "gradient flow of the half-sum loss on the observations (6)": Measured(
            abs(
                (w[0, 1] - 1) ** 2 + (w[1, 0] - 1) ** 2 + w[1, 1] ** 2 - 2 * float(flow["loss"][0])
            ),
            below=1e-12,
        ),
    }


def exact_product(flow: gf.Trajectory, k: int) -> tuple[Matrix, Real]:
    """W at a record and its determinant, from whose logarithm w_22 is computed.

    The determinant can be far below the round-off of 50 digits in w_11 w_22, so it is not
    recomputed from them.
    """
    w = precise(flow["product"][k])
    det = mpmath.exp(mpmath.mpf(float(flow["log_abs_det"][k])))
    w[1, 1] = (det + w[0, 1] * w[1, 0]) / w[0, 0]
    return w, det


def exact_loss(w: Matrix) -> Real:
    """The half-sum loss of Equation (6)."""
    return ((w[0, 1] - 1) ** 2 + (w[1, 0] - 1) ** 2 + w[1, 1] ** 2) / 2


def along_flows(settings: Settings) -> Iterator[tuple[str, int, Pair]]:
    """Every flow that Theorem 1 is checked on."""
    for depth in DEPTHS:
        for name, start in starts(settings).items():
            yield f"depth {depth}, {name}", depth, blowup_pair(depth, start, STOP_LOSS)


def bound_case(
    name: str,
    depth: int,
    pair: Pair,
    sides: "Sides",
    label: str,
    notes: str = "",
) -> Case:
    """The inequality larger >= smaller at every record, with floors from the tighter run."""
    larger, smaller = sides.along(pair.tight, pair.common)
    larger_c, smaller_c = sides.along(pair.coarse, pair.common)
    scale = np.abs(larger) + np.abs(smaller)
    floor = (np.abs(larger - larger_c) + np.abs(smaller - smaller_c)) / scale + 1e-13

    def confirm(k: int) -> Confirmation:
        with mpmath.workdps(DIGITS):
            w, det = exact_product(pair.tight, k)
            big, small = sides.precisely(w)
            return Confirmation(
                bool(big < small and det > 0),
                f"at W = {show(pair.tight['product'][k])} (det W = {mpmath.nstr(det, 8)} > 0) "
                f"{label}: {mpmath.nstr(big, 20)} < {mpmath.nstr(small, 20)}",
            )

    return Case(
        name=name,
        slack=(larger - smaller) / scale,
        floor=floor,
        hypotheses=theorem1_hypotheses(pair.tight, depth),
        size=4,
        witness=lambda k: {
            "time": float(pair.tight.times[k]),
            "loss": float(pair.tight["loss"][k]),
            "W": pair.tight["product"][k].tolist(),
        },
        confirm=confirm,
        notes=notes,
        along=("time", pair.tight.times[: pair.common]),
    )


class Sides:
    """Both sides of a bound, along a run in float64 and at one matrix precisely."""

    def along(self, flow: gf.Trajectory, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Larger and smaller side at the first `count` records."""
        raise NotImplementedError

    def precisely(self, w: Matrix) -> tuple[Real, Real]:
        """Larger and smaller side at a matrix."""
        raise NotImplementedError


class NormSides(Sides):
    """Equation (8): ||W|| and a / loss^power - b."""

    def __init__(self, norm: Norm, power: float):
        self.norm, self.power = norm, power

    def along(self, flow: gf.Trajectory, count: int) -> tuple[np.ndarray, np.ndarray]:
        left = self.norm.of(flow["product"][:count], flow["singular_values"][:count])
        return left, self.norm.a / flow["loss"][:count] ** self.power - self.norm.b

    def precisely(self, w: Matrix) -> tuple[Real, Real]:
        right = self.norm.a / exact_loss(w) ** mpmath.mpf(self.power) - self.norm.b
        return self.norm.precisely(w), right


class RankSides(Sides):
    """Equation (9): 1 + constant sqrt(loss) and the effective rank."""

    CONSTANT = math.nextafter(2 * math.sqrt(12) / math.log(2), 0)
    """Below the printed one, so that a bound with it is one with that."""

    def __init__(self, constant: float = CONSTANT):
        self.constant = constant

    def along(self, flow: gf.Trajectory, count: int) -> tuple[np.ndarray, np.ndarray]:
        rank = jax.vmap(effective_rank_of)(jnp.asarray(flow["singular_values"][:count]))
        return 1 + self.constant * np.sqrt(flow["loss"][:count]), np.asarray(rank)

    def precisely(self, w: Matrix) -> tuple[Real, Real]:
        first, second = singular_values_2x2(w)
        q = second / (first + second)
        entropy = -q * mpmath.log(q) - (1 - q) * mpmath.log(1 - q)
        return 1 + self.constant * mpmath.sqrt(exact_loss(w)), mpmath.exp(entropy)


class DistanceSides(Sides):
    """Equation (10): constant sqrt(loss) and the distance s_2 from rank one."""

    CONSTANT = math.nextafter(3 * math.sqrt(2), 0)
    """Below the printed one, so that a bound with it is one with that."""

    def __init__(self, constant: float = CONSTANT):
        self.constant = constant

    def along(self, flow: gf.Trajectory, count: int) -> tuple[np.ndarray, np.ndarray]:
        right = self.constant * np.sqrt(flow["loss"][:count])
        return right, flow["singular_values"][:count, 1]

    def precisely(self, w: Matrix) -> tuple[Real, Real]:
        right = self.constant * mpmath.sqrt(exact_loss(w))
        return right, singular_values_2x2(w)[1]


def _picture() -> Figure:
    return norm_blowup_figure(DEPTHS, STOP_LOSS, RankSides.CONSTANT, DistanceSides.CONSTANT)


@claim(
    "razin2020.thm1.norm",
    picture=_picture,
    kind="inequality",
    where="Theorem 1, Equation (8)",
    statement=r"\|W(t)\| \ge a\,\ell(t)^{-1/2} - b,\quad a = \|e_1e_1^\top\|/(\sqrt2\,c),\ "
    r"b = \max\{\sqrt2\,a,\ 8c^2\max_{i,j}\|e_ie_j^\top\|\}",
    control={"power": 0.6},
    control_text="a / loss^0.6 instead of a / sqrt(loss)",
    best=_best.THM1_NORM,
)
def thm1_norm(settings: Settings, power: float = 0.5) -> Iterator[Case]:
    """Every Schatten-p (quasi-)norm tried, and norms that are no function of singular values."""
    yield _printed.thm1_norm(power)
    yield from _enclosed.spectral_norm(power)
    for name, depth, pair in along_flows(settings):
        for norm in NORMS:
            end = NormSides(norm, power).along(pair.tight, pair.common)[0][-1]
            ratio = end * math.sqrt(pair.tight["loss"][-1]) / norm.a
            yield bound_case(
                f"{name}, {norm.name}",
                depth,
                pair,
                NormSides(norm, power),
                "||W|| against a / loss^power - b",
                notes=f"||W|| sqrt(loss) / a = {ratio:.4f} at the end",
            )


@claim(
    "razin2020.thm1.erank",
    picture=_picture,
    kind="inequality",
    where="Theorem 1, Equation (9)",
    statement=r"\mathrm{erank}(W(t)) \le \inf_{W'\in S}\mathrm{erank}(W') + "
    r"\tfrac{2\sqrt{12}}{\ln 2}\sqrt{\ell(t)},\quad \inf = 1",
    control={"constant": 0.9},
    control_text="0.9 sqrt(loss), 10% below the best constant, 1; powers up to 0.9 would hold",
    best=_best.THM1_ERANK,
)
def thm1_erank(settings: Settings, constant: float = RankSides.CONSTANT) -> Iterator[Case]:
    """The effective rank against its bound; the infimum over the solutions is 1 (Proposition 2).

    The best constant, 1, is met where W is a small multiple of I, so that flows from there refute a
    smaller one at once. With the printed constant powers of the loss up to 0.9 hold: erank - 1 is
    at most loss ln(1/loss) / 2 to leading order, where w_11 w_22 = 2.
    """
    yield _printed.thm1_erank(constant)
    yield from _enclosed.effective_rank(constant)
    for name, depth, pair in along_flows(settings):
        larger, smaller = RankSides(constant).along(pair.tight, pair.common)
        sharpest = float(np.max((smaller - 1) / np.maximum(larger - 1, 1e-12)))
        yield bound_case(
            name,
            depth,
            pair,
            RankSides(constant),
            "1 + constant sqrt(loss) against erank",
            notes=f"(erank - 1) / (bound - 1) is at most {sharpest:.3f}",
        )


@claim(
    "razin2020.thm1.irank",
    picture=_picture,
    kind="inequality",
    where="Theorem 1, Equation (10)",
    statement=r"D(W(t), \mathcal M_1) \le 3\sqrt2\,\sqrt{\ell(t)}",
    control={"constant": 1.27},
    control_text="1.27 sqrt(loss), 10% below the best constant, sqrt(2)",
    best=_best.THM1_IRANK,
)
def thm1_irank(settings: Settings, constant: float = DistanceSides.CONSTANT) -> Iterator[Case]:
    """The distance from rank one, the infimal rank of the solutions (Proposition 2), is s_2.

    At depths 2 to 4 it falls faster than the bound: powers of the loss up to 1.33 would hold on
    these flows too. Over all starts none above 1/2 does: s_2 tends to |w_22| as w_11 grows, and
    the best constant, sqrt(2), is nearly met on flows from a large w_11.
    """
    yield _printed.thm1_irank(constant)
    yield from _enclosed.distance(constant)
    for name, depth, pair in along_flows(settings):
        larger, smaller = DistanceSides(constant).along(pair.tight, pair.common)
        yield bound_case(
            name,
            depth,
            pair,
            DistanceSides(constant),
            "constant sqrt(loss) against s_2",
            notes=f"s_2 / bound is at most {float(np.max(smaller / larger)):.3f}",
        )


def decades(flow: gf.Trajectory) -> np.ndarray:
    """Indices of the last records that lie exactly a decade apart (all but the stopping one)."""
    return np.arange(len(flow) - 2, 0, -10)[::-1][-5:]


def limit_case(
    name: str,
    pair: Pair,
    depth: int,
    coarse: np.ndarray,
    tight: np.ndarray,
    limit: float,
    hypotheses: dict[str, Met] | None = None,
) -> Case:
    """That a quantity tends to a limit as t grows; the floor also knows the solver's error."""
    at = decades(pair.tight)
    found = extrapolate(tight[at])
    error = found.error + abs(found.value - extrapolate(coarse[at]).value)
    return Case(
        name=name,
        residual=[abs(found.value - limit)],
        floor=[error],
        hypotheses=theorem1_hypotheses(pair.tight, depth) | (hypotheses or {}),
        size=4,
        witness=lambda k: {
            "times": pair.tight.times[at].tolist(),
            "values": tight[at].tolist(),
            "extrapolated": found.value,
        },
        notes=f"{float(tight[at][-1]):.3e} at t = {pair.tight.times[at][-1]:.2e}, "
        f"extrapolated {found.value:.1e} +- {error:.0e}",
    )


@claim(
    "razin2020.cor1",
    kind="limit",
    where="Corollary 1",
    statement=r"\lim_{t\to\infty}\ell(t) = 0 \Rightarrow \|W(t)\| \to \infty,\ "
    r"\mathrm{erank}(W(t)) \to 1,\ D(W(t), \mathcal M_1) \to 0",
    control={"inverse_norm": 0.05, "rank": 1.05, "distance": 0.05},
    control_text="norms bounded by 20, effective rank 1.05, distance 0.05 in the limit",
    resolution=1e-2,
)
def cor1(
    settings: Settings, inverse_norm: float = 0.0, rank: float = 1.0, distance: float = 0.0
) -> Iterator[Case]:
    """Limits along flows to a loss of 1e-8, extrapolated over decades of time."""
    yield _printed_lemmas.cor1(inverse_norm, rank, distance)
    for depth in DEPTHS:
        for start, product in starts(settings).items():
            pair = blowup_pair(depth, product, 1e-8)
            name = f"depth {depth}, {start}"
            loss = extrapolate(pair.tight["loss"][decades(pair.tight)])
            share = float(abs(loss.value) / max(loss.error, 1e-7))
            vanishes: dict[str, Met] = {
                "the loss vanishes: its limit over what it may be off": Measured(share, below=1)
            }

            def both(name: str, pair: Pair = pair) -> tuple[np.ndarray, np.ndarray]:
                return pair.coarse[name], pair.tight[name]

            w, s = both("product"), both("singular_values")
            for norm in SCHATTEN:
                coarse, tight = (1 / norm.of(w[k], s[k]) for k in (0, 1))
                yield limit_case(
                    f"{name}, 1/{norm.name}", pair, depth, coarse, tight, inverse_norm, vanishes
                )
            coarse, tight = (np.asarray(jax.vmap(effective_rank_of)(jnp.asarray(x))) for x in s)
            yield limit_case(f"{name}, erank", pair, depth, coarse, tight, rank, vanishes)
            yield limit_case(
                f"{name}, distance", pair, depth, s[0][:, 1], s[1][:, 1], distance, vanishes
            )


@claim(
    "razin2020.prop4",
    kind="limit",
    where="Proposition 4",
    statement=r"L = 2,\ W(0) = \alpha I,\ \alpha\in(0,1] \Rightarrow \lim_{t\to\infty}\ell(t) = 0",
    control={"limit": 1e-3},
    control_text="the loss tends to 1e-3",
    resolution=1e-4,
)
def prop4(settings: Settings, limit: float = 0.0) -> Iterator[Case]:
    """The loss to 1e-8, and its law (6t)^(-2/3)/2 with w_11 = (6t)^(1/3)."""
    yield _proofs_flows.prop4(limit)
    for alpha in (1e-4, 1e-2, 0.1, 0.5, 1.0) if settings.full else (1e-2, 0.5, 1.0):
        pair = blowup_pair(2, ((alpha, 0.0), (0.0, alpha)), 1e-8)
        t, w11 = pair.tight.times[-1], pair.tight["product"][-1, 0, 0]
        law = pair.tight["loss"][-1] / ((6 * t) ** (-2 / 3) / 2)
        case = limit_case(
            f"alpha = {alpha:g}", pair, 2, pair.coarse["loss"], pair.tight["loss"], limit,
            {
                "alpha in (0, 1]": ByConstruction("from 1e-4 to 1"),
                "depth 2": ByConstruction("two factors"),
            },
        )  # fmt: skip
        notes = (
            f"{case.notes}; at the end loss / ((6t)^(-2/3)/2) = {law:.6f}, "
            f"w_11 / (6t)^(1/3) = {w11 / (6 * t) ** (1 / 3):.6f}"
        )
        yield Case(**{**vars(case), "notes": notes})
