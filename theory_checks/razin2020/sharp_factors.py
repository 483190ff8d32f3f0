r"""Razin and Cohen 2020: the best constants of Lemmas 1, 9 and Proposition 5, proved. Ours."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from gradflow.claims import ByConstruction, Case, Measured, Settings, claim, roundings

from . import _proofs_flows, _proofs_sharp
from ._sharp_cases import proof_case
from .matrix_lemmas import entropy, magnitude, nearby_balanced
from .unbalanced import drift_cases


@claim(
    "razin2020.lem1.sharp",
    kind="inequality",
    where="Appendix D, Lemma 1",
    statement=r"\text{unbalancedness } \epsilon \Rightarrow \text{there are balanced } W'_l "
    r"\text{ with } \|W_l - W'_l\|_F \le \sqrt{(l-1)\,\epsilon}",
    control={"factor": Fraction(99, 100)},
    control_text="0.99 of the distance",
)
def lem1(settings: Settings, factor: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved; 1x1 with W_l^2 = (l-1) epsilon reaches it at every l, for there W'_l must be 0."""
    square = {"square matrices": ByConstruction("of any size and number, as words")}
    yield proof_case(_proofs_sharp.nearby(factor), square, flow=False)
    rng = np.random.default_rng([settings.seed, 11])
    count = 4000 if settings.full else 500
    for d, depth in ((1, 5), (2, 4), (3, 3), (4, 6)):
        w = [rng.normal(size=(count, d, d)) for _ in range(depth)]
        w = [m * 10 ** rng.uniform(-3, 1, (count, 1, 1)) for m in w]
        near, eps = nearby_balanced(w), magnitude(w)
        size = np.sqrt(np.sum([np.sum(m**2, axis=(1, 2)) for m in w], axis=0))
        slack = [
            (float(factor) * np.sqrt(l * eps) - np.linalg.norm(w[l] - near[l], axis=(1, 2))) / size
            for l in range(1, depth)
        ]
        off = magnitude(near) / size**2
        yield Case(
            name=f"{d}x{d}, {depth} layers",
            slack=np.concatenate(slack),
            floor=roundings(1e-7, "roots of what round-off leaves"),
            hypotheses={
                "the constructed tuple is balanced": Measured(float(np.max(off)), below=1e-12)
            },
            size=float(d * d * depth),
        )
    squares = [Fraction(l) for l in range(9)]  # W_(l+1)^2, epsilon = 1; W'_l = 0
    yield Case(
        name="1x1, W_l^2 = l - 1",
        slack=[factor**2 * l - v for l, v in enumerate(squares)],
        hypotheses={
            "unbalancedness 1": Measured(float(squares[1] - squares[0]), below=1 + 1e-12),
            "W'_1 = W_1 = 0, so that all W'_l are 0": ByConstruction("they are balanced"),
        },
        size=1,
        notes="equality at every l",
    )


@claim(
    "razin2020.lem9.sharp",
    kind="inequality",
    where="Appendix G.2.2, Lemma 9",
    statement=r"h(p) \le c\sqrt p,\quad c = \max_{p} \frac{h(p)}{\sqrt p} = 2\sqrt{p_*}\,"
    r"\ln\frac{1-p_*}{p_*} = 1.12489\dots,\quad (1+p_*)\ln(1-p_*) = p_*\ln p_*",
    control={"factor": Fraction(99, 100)},
    control_text="0.99 c",
)
def lem9(settings: Settings, factor: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved: h(p)/sqrt(p) rises up to p = 0.24148... and falls after."""
    hypotheses = {"0 <= p <= 1": ByConstruction("all of them; h(0) = 0")}
    yield proof_case(_proofs_sharp.entropy(factor), hypotheses, flow=False)
    points = 4000 if settings.full else 800
    p = np.concatenate(
        [np.geomspace(1e-300, 0.5, points), np.linspace(0.2, 0.3, points), np.linspace(0, 1, 999)]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        slack = float(factor) * 1.1248941487 * np.sqrt(p) - entropy(p)
    yield Case(
        name="a grid", slack=slack, floor=roundings(2e-15), hypotheses=hypotheses, size=1,
        witness=lambda k: {"p": float(p[k])},
        notes=f"within {np.min(slack[p > 0] / np.sqrt(p[p > 0])):.1e} sqrt(p) of it",
    )  # fmt: skip


@claim(
    "razin2020.prop5.sharp",
    kind="inequality",
    where="Appendix D.1, Proposition 5, Equation (20)",
    statement=r"\|\theta(\bar t)-\theta'(\bar t)\| \le \|\theta(0)-\theta'(0)\|\,"
    r"\exp\big((L-1)\,L^{-L/2}\cdot L R^{L-2}(2R^L + B)\,\bar t\big)",
    control={"share": Fraction(99, 100)},
    control_text="0.99 of the exponent",
)
def prop5(settings: Settings, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved; approached at 1x1 from w_1 = ... = w_L small against b, along themselves."""
    hypotheses = {"a completion task": ByConstruction("any sizes, depth, observations; R, B > 0")}
    proof = _proofs_sharp.drift(share, _proofs_flows._logistic)
    yield proof_case(proof, hypotheses, flow=False)
    yield from drift_cases(
        settings, lambda depth: float(share) * (depth - 1) * depth ** (-depth / 2)
    )
