r"""Razin and Cohen 2020: the best constants of Lemmas 18, 19, 25 and 26, proved. They are ours.

Lemmas 18 and 19 become exact: what stands here are the infima of |w_11| and of sigma_1 at a given
loss. That of sigma_1 is taken by matrices of rank one, so it is that of every Schatten norm.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from gradflow.claims import Case, Settings, claim
from gradflow.claims.proofs import chain
from gradflow.claims.proofs.interval import interval

from . import _proofs, _proofs_sharp, _proofs_theorem2
from ._sharp_cases import POSITIVE, REQUIRED, Drawn, best_case, drawn, drawn_case, proof_case

MILLION = Fraction(999_999, 1_000_000)


def _below(found: Drawn, limit: np.ndarray | float) -> Drawn:
    """Those whose sqrt(2 loss) is less."""
    kept = found.root < limit
    return Drawn(found.w[kept], found.observed[:, kept], found.s[kept], found.root[kept])


@claim(
    "razin2020.lem18.sharp",
    kind="inequality",
    where="Appendix G.5, Lemma 18",
    statement=r"\ell < \tfrac12 \Rightarrow |w_{11}| > \sqrt{\frac{(1-x)^3}{x}}\ "
    r"\left(\ell \le \tfrac38,\ x + x^2 = 2\ell\right),\quad |w_{11}| > \sqrt{1 - 2\ell}\ "
    r"\left(\ell \ge \tfrac38\right):\ \text{the infima}",
    control={"factor": Fraction(101, 100)},
    control_text="1.01 times them",
)
def lem18(settings: Settings, factor: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved; approached at w_12 = w_21 = 1 - x, and at w_12 + w_21 = 1, as det W -> 0."""
    yield proof_case(_proofs_sharp.entry(factor), POSITIVE)
    if factor == 1:
        yield best_case(
            "both infima", [_proofs_sharp.LOW, _proofs_sharp.SKEW],
            lambda at: _proofs_sharp.infimum_of_entry(at.s) / at.entry, MILLION,
        )  # fmt: skip
    found = _below(drawn(settings), 1)
    root = found.root
    x = 2 * root**2 / (np.sqrt(1 + 4 * root**2) + 1)
    least = np.where(root**2 < 0.75, np.sqrt((1 - x) ** 3 / x), np.sqrt(1 - root**2))
    yield drawn_case(np.abs(found.w[:, 0, 0]), float(factor) * least, found)


def parameter(root: np.ndarray) -> np.ndarray:
    """The t in [0, 1] with t^2 + t^6 = root^2, by halving."""
    low, high = np.zeros_like(root), np.ones_like(root)
    for _ in range(60):
        middle = (low + high) / 2
        above = middle**2 + middle**6 > root**2
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return high


@claim(
    "razin2020.lem19.sharp",
    kind="inequality",
    where="Appendix G.5, Lemma 19, Equations (32) and (33)",
    statement=r"\sigma_1 \ge |w_{11}|,\ \sigma_2 \le \sqrt{2\ell};\ \ell \le 1 \Rightarrow "
    r"\sigma_1 \ge \frac1t - t^3,\ t^2 + t^6 = 2\ell:\ \text{the infimum};\quad "
    r"\frac1t - t^3 \ge \frac1{\sqrt{2\ell}} - \frac1{\sqrt2}",
    control={"factor": Fraction(101, 100)},
    control_text="1.01 times the infimum",
)
def lem19(settings: Settings, factor: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved; the infimum is taken by W of rank one, as det W -> 0."""
    third = _proofs_sharp.largest_value(factor)
    cites = ("s_1 is at least the size of every entry",)
    whole = chain("Lemma 19 with its best bounds", third, _proofs.distance_bound(), cites=cites)
    yield proof_case(whole, POSITIVE)
    if factor == 1:
        yield best_case(
            "the infimum of sigma_1", [_proofs_sharp.FLATTEST],
            lambda at: interval(Fraction(15, 8)) / at.first, MILLION,
        )  # fmt: skip
    found = _below(drawn(settings), np.sqrt(2))
    t = parameter(found.root)
    yield drawn_case(found.s[:, 0], float(factor) * (1 / t - t**3), found)
    yield drawn_case(found.s[:, 0], np.abs(found.w[:, 0, 0]), found, "sigma_1 and w_11")


@claim(
    "razin2020.lem25.sharp",
    kind="inequality",
    where="Appendix G.8, Lemma 25",
    statement=r"\ell < \tfrac12\min\{z^2, z'^2\} \Rightarrow |w_{11}| > "
    r"\frac{|z||z'|}{|\epsilon|+\sqrt{2\ell}} - \max\{|z|, |z'|\}",
    control={"share": Fraction(99, 100)},
    control_text="0.99 of the last term",
)
def lem25(settings: Settings, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved; the best last term for every z and z' at epsilon = 0, where s comes to the least."""
    yield proof_case(_proofs_sharp.entry_of_theorem2(share), REQUIRED)
    if share == 1:
        yield best_case(
            "the last term", [_proofs_sharp.NEARLY_ONE],
            lambda at: 1 / at.s - at.entry, Fraction(998, 1000),
        )  # fmt: skip
    found = drawn(settings, general=True)
    found = _below(found, np.min(np.abs(found.observed[:2]), axis=0))
    z, z2, eps = np.abs(found.observed)
    right = z * z2 / (eps + found.root) - float(share) * np.maximum(z, z2)
    yield drawn_case(np.abs(found.w[:, 0, 0]), right, found)


@claim(
    "razin2020.lem26.sharp",
    kind="inequality",
    where="Appendix G.8, Lemma 26, Equations (49) and (50)",
    statement=r"\sigma_1 \ge |w_{11}|,\quad \sigma_2 \le |\epsilon| + \sqrt{2\ell}",
    control={"share": Fraction(99, 100)},
    control_text="0.99 of the bound on sigma_2",
)
def lem26(settings: Settings, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """Proved, at every loss; both are approached as w_11 grows."""
    second = _proofs_theorem2.distance_bound(
        lambda z, z2, eps, s: (eps + s) * share.numerator / share.denominator,
        f"{share} (|epsilon| + s)",
    )
    cites = ("s_1 is at least the size of every entry",)
    yield proof_case(chain("Lemma 26 with its best bounds", second, cites=cites), REQUIRED)
    if share == 1:
        yield best_case(
            "of sigma_2", [_proofs.FLAT], lambda at: at.second / at.s, Fraction(999, 1000)
        )
        yield best_case(
            "of sigma_1", [_proofs.FLAT], lambda at: at.entry / at.first, Fraction(999, 1000)
        )
    found = drawn(settings, general=True)
    right = float(share) * (np.abs(found.observed[2]) + found.root)
    yield drawn_case(right, found.s[:, 1], found)
    yield drawn_case(found.s[:, 0], np.abs(found.w[:, 0, 0]), found, "sigma_1 and w_11")
