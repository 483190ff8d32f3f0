r"""Razin and Cohen 2020, Theorem 2 (Appendix C): perturbed observations, repositioned entries.

The unobserved entry is at (i, j), z beside it in its row, z' in its column, epsilon opposite; the
sign of det W(0) is that of z z' if i = j and the other one otherwise. Every such matrix is a
product at time 0, so the bounds are searched over single matrices as well as checked along flows.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

import gradflow as gf
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
from gradflow.claims.oracles import flows as runs
from gradflow.claims.oracles.high_precision import DIGITS, precise
from gradflow.claims.oracles.norms import NORMS, Norm
from gradflow.claims.oracles.search import Inequality, searched_case
from gradflow.claims.proofs.interval import interval
from gradflow.linalg.spectrum import effective_rank_of

from . import _best, _printed
from ._effective_rank import entropy_rank
from ._enclosed import PERTURBED_FLOWS, along
from .loss_bounds import FLOATS, PRECISE, Situation, draw, met

POSITIONS = ((0, 0), (0, 1), (1, 0), (1, 1))
FIXED = ((1.0, 1.0, 0.0), (2.0, -0.5, 0.1), (-1.5, 3.0, -0.4))
"""z, z' and epsilon."""


class Perturbed(NamedTuple):
    """A flow of Theorem 2 at two tolerances.

    Attributes:
      name: what it is.
      position: of the unobserved entry, from 0.
      observed: z, z', epsilon.
      coarse: the flow.
      tight: the same, more accurately.
      hypotheses: of the theorem.
    """

    name: str
    position: tuple[int, int]
    observed: tuple[float, float, float]
    coarse: gf.Trajectory
    tight: gf.Trajectory
    hypotheses: dict[str, Met]

    def common(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """An observable of the coarse and the tight run at the times that both recorded."""
        count = min(len(self.coarse), len(self.tight))
        return self.coarse[name][:count], self.tight[name][:count]


def moved(w: Any, position: tuple[int, int]) -> Any:
    """Bring the entry (1,1) to another position by exchanging rows and columns."""
    i, j = position
    return w[..., [i, 1 - i], :][..., :, [j, 1 - j]]


@cache
def perturbed_flows(seed: int, full: bool) -> tuple[Perturbed, ...]:
    """Flows at all four positions, depths 2 and 3, from products of the required sign."""
    rng = np.random.default_rng([seed, 2])
    found = []
    for index, (i, j) in enumerate(POSITIONS):
        drawn = tuple(rng.choice([-1, 1], 3) * 10 ** rng.uniform([-0.5, -0.5, -2], [0.5, 0.5, 0]))
        chosen = (*FIXED, drawn) if full else (FIXED[index % 3], drawn)
        for number, (z, z2, eps) in enumerate(chosen):
            depth = 2 + (index + number) % 2
            w = 0.1 * np.array([[1, 0.3], [-0.2, 0.8]]) + 0.02 * rng.normal(size=(2, 2))
            sign = np.sign(z * z2) * (1 if i == j else -1)
            w = w if np.sign(np.linalg.det(w)) == sign else w[::-1].copy()
            problem = gf.synthetic.norm_blowup(z, z2, eps, (i, j))
            objective = gf.Objective(problem, gf.MatrixProduct.of((2, 2), depth))
            coarse, tight = (
                gf.solve_flow(
                    objective, jnp.asarray(w), coordinates="logdet", stop_loss=1e-6, rtol=rtol,
                    observe=("loss", "product", "singular_values", "det_sign"),
                )
                for rtol in (1e-7, 1e-9)
            )  # fmt: skip
            hypotheses: dict[str, Met] = {
                "depth at least 2": Measured(depth, above=1),
                "balanced initialisation (5)": runs.balanced_start(tight),
                "z and z' are not 0": Measured(abs(float(z * z2)), above=0),
                "sign of det W(0) as required": Measured(float(np.linalg.det(w) * sign), above=0),
                "only the entry (i, j) is unobserved": ByConstruction("the other three are given"),
            }
            name = (
                f"unobserved ({i + 1},{j + 1}), z = {z:.3g}, z' = {z2:.3g}, epsilon = {eps:.3g}, "
                f"depth {depth}"
            )
            found.append(Perturbed(name, (i, j), (z, z2, eps), coarse, tight, hypotheses))
    return tuple(found)


Bound = Callable[[Perturbed, np.ndarray, np.ndarray, np.ndarray], tuple[Any, Any]]
"""From a flow's loss, product and singular values to (larger, smaller)."""


def flow_case(flow: Perturbed, bound: Bound, name: str = "") -> Case:
    """A bound along a flow, with floors from the tighter run."""
    runs_of = [flow.common(what) for what in ("loss", "product", "singular_values")]
    sides = [bound(flow, *(pair[k] for pair in runs_of)) for k in (0, 1)]
    (larger_c, smaller_c), (larger, smaller) = sides
    scale = np.abs(larger) + np.abs(smaller)
    floor = (np.abs(larger - larger_c) + np.abs(smaller - smaller_c)) / scale + 1e-13
    return Case(
        name=flow.name + (f", {name}" if name else ""),
        slack=(larger - smaller) / scale,
        floor=floor,
        hypotheses=flow.hypotheses,
        size=8,
        witness=lambda k: {"W": runs_of[1][1][k].tolist(), "loss": float(runs_of[0][1][k])},
        notes=f"loss to {runs_of[0][1][-1]:.1e}",
        along=("loss", runs_of[0][1]),
    )


def norm_right_side(
    norm: Norm, unit: float, observed: Any, root: Any, power: float, math: Any
) -> Any:
    """The right side of (15) with a = unit / c; `root` is sqrt(2 loss), to which power belongs."""
    z, z2, eps = (abs(v) for v in observed)
    a = unit / norm.c
    top = max(max(row) for row in norm.units)
    least = math.minimum(z, z2)
    first = a * z * z2 / (eps + least)
    second = 8 * norm.c**2 * math.maximum(math.maximum(z, z2), eps) * top
    return a * z * z2 / (eps + root**power) - math.maximum(first, second)


class _Floats:
    minimum, maximum = np.minimum, np.maximum


class _Precise:
    minimum, maximum = min, max


def norm_inequality(norm: Norm, position: tuple[int, int], unit: float, power: float) -> Inequality:
    """(15) over matrices of the required sign and observations."""

    def sides(x: np.ndarray) -> tuple[Any, Any]:
        at = Situation(x.T, FLOATS)
        w = np.stack([np.stack([at.w11, at.w12], -1), np.stack([at.w21, at.w22], -1)], -2)
        values = norm.of(moved(w, position), np.stack([at.first, at.second], -1))
        right = norm_right_side(norm, unit, (at.z, at.z2, at.eps), at.s, power, _Floats)
        return values, right

    def exactly(x: Sequence[Any]) -> tuple[Any, Any]:
        at = Situation(x, PRECISE)
        w = np.array([[at.w11, at.w12], [at.w21, at.w22]], dtype=object)
        left = norm.precisely(mpmath.matrix(moved(w, position).tolist()))
        observed = (at.z, at.z2, at.eps)
        return left, norm_right_side(norm, unit, observed, at.s, power, _Precise)

    def plain(x: np.ndarray) -> dict[str, Any]:
        at = Situation(x, FLOATS)
        return {
            "W": moved(np.array(at.matrix()), position).tolist(),
            "z, z', epsilon": (float(at.z), float(at.z2), float(at.eps)),
        }

    return Inequality(sides, exactly, plain)


@claim(
    "razin2020.thm2.norm",
    kind="inequality",
    where="Appendix C, Theorem 2, Equation (15), all positions of the unobserved entry",
    statement=r"\|W(t)\| \ge a\,\frac{|z||z'|}{|\epsilon|+\sqrt{2\ell(t)}} - b,\quad "
    r"a = \|e_1e_1^\top\|/c,\ b = \max\{a|z||z'|/(|\epsilon|+\min\{|z|,|z'|\}),\ "
    r"8c^2\max\{|z|,|z'|,|\epsilon|\}\max_{i,j}\|e_ie_j^\top\|\}",
    control={"power": 1.2},
    control_text="(2 loss)^0.6 instead of sqrt(2 loss)",
    flaw="Where the unobserved entry is not (1,1), Appendix G.8.4 takes the bound on that entry "
    "over, but the entry's contribution to the norm is |w_ij| ||e_i e_j^T||, not "
    "|w_ij| ||e_1 e_1^T||; a norm that weighs (1,1) more breaks the printed constant.",
    severity="constant",
    survives="The bound with ||e_i e_j^T|| for ||e_1 e_1^T||, hence every conclusion: norms tend "
    "to infinity if epsilon = 0, and exceed their least value by any factor if it is small. For "
    "Schatten norms the two are the same.",
    readings={
        "(15) at all four positions with a from e_1 e_1^T": "fails for norms that weigh (1,1) more",
        "(15) at (1,1), or under a norm that weighs all entries alike": "holds as printed",
    },
    corrected=Corrected(
        where="Appendix C, Theorem 2, Equation (15)",
        statement=r"\|W(t)\| \ge a\,\frac{|z||z'|}{|\epsilon|+\sqrt{2\ell(t)}} - b,\quad "
        r"a = \|e_ie_j^\top\|/c \text{ with the unobserved entry at } (i,j),\ "
        r"b \text{ as printed}",
        best=_best.THM2_NORM,
    ),
)
def thm2_norm(settings: Settings, corrected: bool, power: float = 1.0) -> Iterator[Case]:
    """With a from e_1 e_1^T at every position, or from the unobserved entry's own unit matrix."""

    def unit(norm: Norm, position: tuple[int, int]) -> float:
        i, j = position if corrected else (0, 0)
        return norm.units[i][j]

    yield _exact_norm_case(unit, power)
    if corrected:
        yield _printed.thm2_norm(power)
    for flow in perturbed_flows(settings.seed, settings.full):
        for norm in NORMS:

            def bound(
                flow: Perturbed, loss: np.ndarray, w: np.ndarray, s: np.ndarray, norm: Norm = norm
            ) -> tuple[Any, Any]:
                root, a = np.sqrt(2 * loss), unit(norm, flow.position)
                right = norm_right_side(norm, a, flow.observed, root, power, _Floats)
                return norm.of(w, s), right

            case = flow_case(flow, bound, norm.name)
            yield Case(**{**vars(case), "notes": ""})
    searched = NORMS if settings.full else (NORMS[2], NORMS[-1])
    for norm in searched:
        for position in POSITIONS:
            found = norm_inequality(norm, position, unit(norm, position), power)
            place = (position[0] + 1, position[1] + 1)
            yield searched_case(
                f"matrices, {norm.name}, unobserved {place}", found, draw(True), settings,
                hypotheses=met(False), size=6, samples=2000, starts=1,
            )  # fmt: skip


def _exact_norm_case(unit: Callable[[Norm, tuple[int, int]], float], power: float) -> Case:
    """W = ((1/100, 1), (1, 101)) with (2,2) unobserved, under max(10|w_11|, |w_12|, ...)."""
    norm = next(n for n in NORMS if n.units == ((10, 1), (1, 0.1)))
    w = np.array([[0.01, 1.0], [1.0, 1010.0]])
    of_unit = unit(norm, (1, 1))

    def sides(w: Any, one: Any) -> tuple[Any, Any]:
        left = norm.precisely(w)
        root = abs(w[0, 0])
        observed = (one, one, 0 * one)
        return left, norm_right_side(norm, of_unit, observed, root, power, _Precise)

    with mpmath.workdps(DIGITS):
        larger, smaller = sides(precise(w), mpmath.mpf(1))
        slack = float((larger - smaller) / (abs(larger) + abs(smaller)))

    def confirm(k: int) -> Confirmation:
        with mpmath.workdps(DIGITS):
            exact = mpmath.matrix([["0.01", 1], [1, 1010]])
            big, small = sides(exact, mpmath.mpf(1))
            return Confirmation(
                bool(big < small),
                "z = z' = 1, epsilon = 0, the entry (2,2) unobserved, W(0) = [[1/100, 1], "
                "[1, 1010]] with det 9.1 > 0 and sqrt(2 loss) = 1/100; under the norm "
                f"max(10|w11|, |w12|, |w21|, |w22|/10) (c = 1) ||W|| = {mpmath.nstr(big, 12)}, "
                f"but a |z z'| / sqrt(2 loss) - b = {mpmath.nstr(small, 12)}",
            )

    return Case(
        name="weighted maximum norm, unobserved (2,2), W = [[0.01, 1], [1, 1010]]",
        slack=[slack],
        floor=roundings(1e-14),
        hypotheses={
            "i = j and det W(0) has the sign of z z'": Measured(float(np.linalg.det(w)), above=0),
            "a norm (c = 1)": ByConstruction("a weighted maximum"),
        },
        size=4,
        witness=lambda k: {"W": w.tolist()},
        confirm=confirm,
    )


@claim(
    "razin2020.thm2.erank",
    kind="inequality",
    where="Appendix C, Theorem 2, Equation (16), all positions of the unobserved entry",
    statement=r"\mathrm{erank}(W(t)) \le \inf_{\tilde S}\mathrm{erank} + "
    r"\frac{16}{\min\{|z|,|z'|\}}\big(|\epsilon| + \sqrt{2\ell(t)}\big),\quad \inf = 1",
    control={"constant": 0.63},
    control_text="0.63 instead of 16",
    best=_best.THM2_ERANK,
)
def thm2_erank(settings: Settings, constant: float = 16.0) -> Iterator[Case]:
    """Along flows and over matrices; the infimum is 1, at w_11 = z z'/epsilon or at infinity."""
    yield _printed.thm2_erank(constant)
    yield from along(lambda at: (1 + interval(constant) * at.off, at.rank), PERTURBED_FLOWS)

    def bound(flow: Perturbed, loss: np.ndarray, w: np.ndarray, s: np.ndarray) -> tuple[Any, Any]:
        z, z2, eps = flow.observed
        slope = constant / min(abs(z), abs(z2))
        rank = np.asarray(jax.vmap(effective_rank_of)(jnp.asarray(s)))
        return 1 + slope * (abs(eps) + np.sqrt(2 * loss)), rank

    for flow in perturbed_flows(settings.seed, settings.full):
        yield flow_case(flow, bound)

    def right(at: Situation, math: Any) -> Any:
        return (abs(at.eps) + at.s) / math.minimum(abs(at.z), abs(at.z2))

    def plain(x: np.ndarray) -> dict[str, Any]:
        at = Situation(x, FLOATS)
        return {"W": at.matrix(), "z, z', epsilon": (float(at.z), float(at.z2), float(at.eps))}

    def sides(x: np.ndarray) -> tuple[Any, Any]:
        at = Situation(x.T, FLOATS)
        return 1 + constant * right(at, FLOATS), 1 + entropy_rank(at.first, at.second)

    def exactly(x: Sequence[Any]) -> tuple[Any, Any]:
        at = Situation(x, PRECISE)
        q = at.second / (at.first + at.second)
        entropy = -q * mpmath.log(q) - (1 - q) * mpmath.log(1 - q)
        return 1 + constant * right(at, PRECISE), mpmath.exp(entropy)

    yield searched_case(
        "matrices", Inequality(sides, exactly, plain), draw(True), settings,
        hypotheses=met(False), size=6,
    )  # fmt: skip
    yield _infimum_case()


def _infimum_case() -> Case:
    """The infimum of the effective rank over the solutions is 1."""
    values = []
    for z, z2, eps in FIXED:
        corner = z * z2 / eps if eps else 1e9
        s = np.linalg.svd(np.array([[corner, z], [z2, eps]]), compute_uv=False)
        values.append(float(entropy_rank(s[0], s[1])))
    return Case(
        name="the infimum over the solutions is 1",
        residual=values,
        floor=roundings(1e-13),
        hypotheses={
            "z and z' are not 0": Measured(min(abs(z * z2) for z, z2, _ in FIXED), above=0)
        },
    )


@claim(
    "razin2020.thm2.irank",
    kind="inequality",
    where="Appendix C, Theorem 2, Equation (17), all positions of the unobserved entry",
    statement=r"D(W(t), \mathcal M_1) \le 4|\epsilon| + "
    r"\Big(4 + \tfrac{\sqrt{|z||z'|}}{\min\{|z|,|z'|\}}\Big)\sqrt{2\ell(t)}",
    control={"constant": 0.9, "extra": 0.0},
    control_text="0.9 instead of 4, and no square root term",
    best=_best.THM2_IRANK,
)
def thm2_irank(settings: Settings, constant: float = 4.0, extra: float = 1.0) -> Iterator[Case]:
    """Along flows and over matrices; the infimal rank of the solutions is 1, the distance s_2."""
    yield _printed.thm2_irank(constant, extra)
    yield from along(
        lambda at: (
            interval(constant) * (at.epsilon + at.s) + interval(extra) * at.ratio * at.s, at.second
        ),
        PERTURBED_FLOWS,
    )  # fmt: skip

    def right(observed: Any, root: Any, math: Any) -> Any:
        z, z2, eps = (abs(v) for v in observed)
        slope = constant + extra * math.sqrt(z * z2) / math.minimum(z, z2)
        return constant * eps + slope * root

    def bound(flow: Perturbed, loss: np.ndarray, w: np.ndarray, s: np.ndarray) -> tuple[Any, Any]:
        return right(flow.observed, np.sqrt(2 * loss), FLOATS), s[:, 1]

    for flow in perturbed_flows(settings.seed, settings.full):
        yield flow_case(flow, bound)

    def of(x: Any, math: Any) -> tuple[Any, Any]:
        at = Situation(x, math)
        return right((at.z, at.z2, at.eps), at.s, math), at.second

    yield searched_case(
        "matrices",
        Inequality(
            lambda x: of(x.T, FLOATS),
            lambda x: of(x, PRECISE),
            lambda x: {"W": Situation(x, FLOATS).matrix()},
        ),
        draw(True),
        settings,
        hypotheses=met(False),
        size=6,
    )
