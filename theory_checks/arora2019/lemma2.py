r"""Arora et al. 2019: how singular vectors move (Lemma 2, Equations (8) and (9)).

In the notation of the paper W = U S V^T is the analytic singular value decomposition of Lemma 1,
with signed values sigma_r on the diagonal of S, k = min(d, d') of them, and G the gradient of the
loss at W. Equation (8) reads

    dU/dt = -U (F . [U^T G V S + S V^T G^T U]) - (I - U U^T) G V (S^2)^(1/2 - 1/N),

where "." is entry-wise and F_rr' = 1 / ((sigma_r'^2)^(1/N) - (sigma_r^2)^(1/N)) off its diagonal.
Equation (9) exchanges the roles of U and V, but prints U^T where U belongs in its last term.
Neither depth 1 nor negative sigma_r are excluded.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import sympy

from gradflow.claims import Case, Confirmation, Corrected, Settings, claim, roundings

from . import _proofs_vectors
from ._frames import Frames, crossing, flows, lemma2_hypotheses, mirror


class Formula(NamedTuple):
    """Equation (8) or (9), as printed or with changes.

    Attributes:
      side: "left" for Equation (8), "right" for Equation (9).
      transposed: whether the last term of (9) has U^T, as printed.
      signed: whether the last power is S^-1 (S^2)^(1 - 1/N), which knows the sign of sigma, instead
        of (S^2)^(1/2 - 1/N).
      turn: a factor of the first term; 1 as printed.
    """

    side: str
    transposed: bool
    signed: bool
    turn: float

    def velocity(
        self, u: np.ndarray, s: np.ndarray, v: np.ndarray, g: np.ndarray, depth: int
    ) -> np.ndarray | None:
        """The right side, term by term; None where the printed shapes cannot be multiplied."""
        power = (s**2) ** (1 / depth)
        off = ~np.eye(len(s), dtype=bool)
        f = np.zeros((len(s), len(s)))
        f[off] = 1 / (power[None, :] - power[:, None])[off]
        last = np.diag(
            (s**2) ** (1 - 1 / depth) / s if self.signed else (s**2) ** (0.5 - 1 / depth)
        )
        core, big = u.T @ g @ v, np.diag(s)
        if self.side == "left":
            first = -u @ (f * (core @ big + big @ core.T))
            return self.turn * first - (np.eye(len(u)) - u @ u.T) @ g @ v @ last
        first = -v @ (f * (big @ core + core.T @ big))
        frame = u.T if self.transposed else u
        if g.T.shape[1] != frame.shape[0]:
            return None
        return self.turn * first - (np.eye(len(v)) - v @ v.T) @ g.T @ frame @ last


def vector_case(
    name: str, tight: Frames, coarse: Frames, formula: Formula, flips: np.ndarray | None = None
) -> Case | None:
    """Difference quotients of one side's vectors against the formula.

    `flips` (n, k) of +-1 turns the signs of chosen singular values together with their left
    vectors, which Lemma 1 allows.
    """
    residual, floor, change = [], [], 0.0
    for k in range(len(tight.times)):
        gaps = []
        for run in (tight, coarse):
            flip = np.ones_like(run.s[k]) if flips is None else flips[k]
            u, s, v = run.u[k] * flip, run.s[k] * flip, run.v[k]
            right = formula.velocity(u, s, v, run.g[k], run.depth)
            if right is None:
                return None
            slope = run.du[k] * flip if formula.side == "left" else run.dv[k]
            gaps.append(np.linalg.norm(slope - right))
        speed = tight.du[k] if formula.side == "left" else tight.dv[k]
        scale = np.linalg.norm(speed) + np.linalg.norm(tight.g[k])
        error = tight.du_error[k] if formula.side == "left" else tight.dv_error[k]
        residual.append(gaps[0] / scale)
        change = max(change, abs(gaps[0] - gaps[1]) / scale)
        floor.append(error / scale + 1e-12 * tight.spread[k])
    return Case(
        name=name,
        residual=residual,
        floor=np.array(floor) + 2 * min(change, 1e-7),
        hypotheses=lemma2_hypotheses(tight),
        size=float(tight.w[0].size),
        witness=lambda k: {"time": float(tight.times[k]), "W": tight.w[k].tolist()},
        notes=f"largest residual {max(residual):.1e}",
    )


def _cases(settings: Settings, formula: Formula) -> Iterator[Case]:
    """Random flows, the flow whose value crosses zero, and an exact instance.

    A formula that knows the signs of singular values is checked with signs drawn at random, too.
    """
    rng = np.random.default_rng([settings.seed, 8])
    for name, tight, coarse in flows(settings):
        case = vector_case(name, tight, coarse, formula)
        if case is not None:
            yield case
        if formula.signed:
            flips = rng.choice([-1.0, 1.0], size=tight.s.shape)
            case = vector_case(f"{name}, signs drawn at random", tight, coarse, formula, flips)
            if case is not None:
                yield case
    if formula.side == "left":
        case = vector_case("2x1, depth 1, through zero", *crossing(), formula)
        assert case is not None
        yield Case(**{**vars(case), "confirm": _confirm_crossing(formula)})
    else:
        yield _exact_right(formula)
        # There U is 1x1, so that U and U^T are the same: what is left is the missing sign.
        tight, coarse = (mirror(run) for run in crossing())
        case = vector_case("1x2, depth 1, through zero", tight, coarse, formula)
        assert case is not None
        yield Case(**{**vars(case), "size": 7.0, "confirm": _confirm_crossing(formula)})


def _confirm_crossing(formula: Formula) -> Callable[[int], Confirmation]:
    """The crossing flow at t = log 4 by hand: W = (-1/2, -3/4), G = (1/2, 1/2).

    For (9) the same flow as a row, where V takes the part of U.
    """
    row = formula.side == "right"
    frame, other = ("v", "u") if row else ("u", "v")

    def confirm(at: int) -> Confirmation:
        x = sympy.symbols("x", real=True)
        w = sympy.Matrix([x, x * (x + 2)])
        g = sympy.Matrix([x + 1, 2 * (x * (x + 2) + 1)])
        dx = -(x + 1)
        on_flow = sympy.simplify(w.diff(x) * dx + g) == sympy.zeros(2, 1)
        length = sympy.sqrt(1 + (x + 2) ** 2)
        u, s = sympy.Matrix([1, x + 2]) / length, x * length
        true = (u.diff(x) * dx).subs(x, sympy.Rational(-1, 2))
        u, s, g = (value.subs(x, sympy.Rational(-1, 2)) for value in (u, s, g))
        last = 1 / s if formula.signed else 1 / sympy.sqrt(s**2)
        right = -(sympy.eye(2) - u * u.T) * g * last
        gap = sympy.simplify(true - right)
        return Confirmation(
            on_flow and gap != sympy.zeros(2, 1),
            "N = 1, loss (w_1 + 1)^2/2 + (w_2 + 1)^2, W(0) = (1, 3): the flow is W = x (1, x + 2), "
            f"x = 2 exp(-t) - 1, so {frame} = (1, x + 2)/|(1, x + 2)|, {other} = 1 and sigma "
            f"changes sign with x. At x = -1/2: W = (-1/2, -3/4), gradient (1/2, 1/2), sigma = "
            f"{s}, {frame} = {u.T.tolist()[0]}; d{frame}/dt = {true.T.tolist()[0]}, the formula "
            f"gives {sympy.simplify(right).T.tolist()[0]}" + " (W a row)" * row,
            (gap,),
        )

    return confirm


def _exact_right(formula: Formula) -> Case:
    """2x3, depth 2, S = diag(4, 1), in rational numbers: the third entries of the rows of V.

    W_1 = diag(2, 1) V^T and W_2 = U diag(2, 1) are balanced. The third row of V is zero, so in that
    row W^T = V S U^T moves by (dV/dt) S U^T alone, and dV/dt is that of (dW/dt)^T U S^-1.
    """
    u = sympy.Matrix([[3, -4], [4, 3]]) / 5
    v = sympy.Matrix([[1, 0], [0, 1], [0, 0]])
    root = sympy.diag(2, 1)
    g = sympy.Matrix([[0, 0, 1], [0, 0, 0]])
    low, high = root * v.T, u * root
    velocity = -(g * low.T * low + high * high.T * g)
    true = velocity.T[2, :] * u * sympy.diag(4, 1).inv()
    frame = u.T if formula.transposed else u
    right = -((sympy.eye(3) - v * v.T) * g.T * frame)[2, :]
    balanced = high.T * high == low * low.T
    gap = true - right
    return Case(
        name="2x3, depth 2, rational",
        residual=[float(gap.norm() / true.norm())],
        floor=roundings(1e-15),
        hypotheses={
            "balanced": balanced,
            "U and V have orthonormal columns": u.T * u == v.T * v == sympy.eye(2),
            "singular values distinct, not zero": root**2 == sympy.diag(4, 1),
        },
        size=6.0,
        witness=lambda at: {
            "W": (u * root**2 * v.T).tolist(),
            "gradient": g.tolist(),
        },
        confirm=lambda at: Confirmation(
            gap != sympy.zeros(1, 2) and balanced,
            "N = 2, W_1 = diag(2, 1) V^T, W_2 = U diag(2, 1), U = [[3/5, -4/5], [4/5, 3/5]] and "
            "V the first two columns of I_3; gradient e_1 e_3^T (loss |W - C|^2/2, C = W - e_1 "
            f"e_3^T). Third row of dV/dt: {true.tolist()[0]} by the chain rule, "
            f"{right.tolist()[0]} by the formula",
            (true, right),
        ),
    )


_SIGNED = r"S^{-1}(S^2)^{1-\frac1N}"
_PLAIN = r"(S^2)^{\frac12-\frac1N}"
_LEFT = (
    r"\dot U = -U(F\odot[U^\top\nabla\ell VS + SV^\top\nabla\ell^\top U])"
    r" - (I_d - UU^\top)\nabla\ell V "
)
_RIGHT = (
    r"\dot V = -V(F\odot[SU^\top\nabla\ell V + V^\top\nabla\ell^\top US])"
    r" - (I_{d'} - VV^\top)\nabla\ell^\top "
)
_START = r"\sigma_r(0) \text{ distinct, not } 0 \Rightarrow "
_F = r",\ F_{rr'} = ((\sigma_{r'}^2)^{1/N} - (\sigma_r^2)^{1/N})^{-1}"
_DISTINCT = r"\sigma_r^2\ne\sigma_{r'}^2,\ \sigma_r\ne0 \Rightarrow "
_TURN = "0.9 of the term with F"


@claim(
    "arora2019.lem2.eq8",
    kind="identity",
    where="Lemma 2, Equation (8)",
    statement=_START + _LEFT + _PLAIN + _F,
    control={"turn": 0.9},
    control_text=_TURN,
    flaw="The last step of the proof takes (S^2)^(1-1/N) S^-1 for (S^2)^(1/2-1/N), which is true "
    "of positive singular values only; at N = 1, which the lemma includes, they can change sign.",
    severity="missing hypothesis",
    survives="Corollary 1, which is what (8) is for: there N >= 2, where no singular value changes "
    "its sign, so that positive ones stay positive; and the last term drops out.",
    readings={
        "singular values of either sign, as Lemma 1 has them": "fails wherever one is negative",
        "positive singular values": "holds at every depth (for N >= 2 they stay so)",
        "distinct values of equal squares, 1 and -1": "no meaning, F divides by 0; the proof means "
        "distinct squares",
    },
    corrected=Corrected(
        where="Lemma 2, Equation (8), with a last power that knows the sign of the singular "
        "values, whose squares are distinct and not 0",
        statement=_DISTINCT + _LEFT + _SIGNED + _F,
    ),
)
def eq8(settings: Settings, corrected: bool, turn: float = 1.0) -> Iterator[Case]:
    """Random flows of depths 1 to 5 from positive values, and one whose value crosses zero."""
    if corrected:
        yield _proofs_vectors.lem2("left", turn)
    formula = Formula("left", transposed=False, signed=corrected, turn=turn)
    yield from _cases(settings, formula)


@claim(
    "arora2019.lem2.eq9",
    kind="identity",
    where="Lemma 2, Equation (9)",
    statement=_START + _RIGHT + r"U^\top " + _PLAIN + _F,
    control={"turn": 0.9},
    control_text=_TURN,
    flaw="The last term has U^T where Equation (34) of the proof has U; for d > d' the printed "
    "product does not even exist. It also shares the fault of Equation (8) for negative values.",
    severity="missing hypothesis",
    survives="Corollary 1, as for (8): the U^T for U is a misprint that the proof's (34) does not "
    "have, and the last term drops out; what is left is the missing sign of (8).",
    readings={
        "U^T, as printed": "fails (for d > d' the product does not exist)",
        "U, and singular values of either sign": "fails wherever one is negative, as (8)",
        "U, and positive singular values": "holds at every depth",
    },
    corrected=Corrected(
        where="Lemma 2, Equation (9), with U for U^T and a last power that knows the sign; squares "
        "of the singular values distinct and not 0",
        statement=_DISTINCT + _RIGHT + "U " + _SIGNED + _F,
    ),
)
def eq9(settings: Settings, corrected: bool, turn: float = 1.0) -> Iterator[Case]:
    """Flows whose shapes allow the product (as printed, d at most d'), and a rational instance.

    And one whose value crosses zero, where U = U^T = 1 and the sign alone is missing.
    """
    if corrected:
        yield _proofs_vectors.lem2("right", turn)
    formula = Formula("right", transposed=not corrected, signed=corrected, turn=turn)
    yield from _cases(settings, formula)
