r"""Razin and Cohen 2020: for each constant which is the best one; claims refer here.

Where a matrix is named, the observations are z = z' = 1 and epsilon = 0, unless others are given,
and s stands for sqrt(2 loss).
"""

from gradflow.claims import Best

LARGE = "W = ((1/s, 1), (1, s)) as s -> 0, det W -> 0"
THM1_NORM = (
    Best(
        r"a = \frac{\|e_1e_1^\top\|}{\sqrt2\,c}", r"a = \frac{\|e_1e_1^\top\|}{\sqrt2\,c}",
        "proved",
        f"Approached at {LARGE}, by the quasi-norm that is Frobenius' on multiples of E_11 and "
        "1/c of it elsewhere.",
    ),
    Best(
        r"b = 8", r"b = \frac1{\sqrt2}", "proved",
        "For all Schatten (quasi-)norms with a = 1/sqrt(2): razin2020.thm1.norm.sharp, approached "
        "as W -> 0.",
    ),
    Best(
        r"b = 8\max_{i,j}\|e_ie_j^\top\|",
        r"b = \sqrt{\tfrac72 + 2\sqrt2}\,\max_{i,j}\|e_ie_j^\top\|", "found",
        "For all norms together (c = 1); 2.5156. No less will do, for norms near |w_11 - w_12 - "
        "w_21 - w_22|, which vanishes at w_12 = w_21 = 1 - x, w_22 = (sqrt(2) - 1)(1 - x), det W = "
        "0; that it is enough is the numerical part, a search over W and ||E_11|| with ||W|| >= "
        "|w_11| ||E_11|| less the other entries. For quasi-norms the best b is not known.",
    ),
)  # fmt: skip
THM1_ERANK = (
    Best(r"\frac{2\sqrt{12}}{\ln 2} = 9.995\dots", "1", "proved",
         "razin2020.thm1.erank.sharp; approached at W = I x, x -> 0."),
)  # fmt: skip
THM1_IRANK = (
    Best(r"3\sqrt2", r"\sqrt2", "proved", "razin2020.thm1.irank.sharp; approached as w_11 grows."),
)
THM2_NORM = (
    Best(r"a = \frac{\|e_ie_j^\top\|}{c}", r"a = \frac{\|e_ie_j^\top\|}{c}", "proved",
         "As in Theorem 1, where z = z' = 1 and epsilon = 0."),
    Best(
        r"b = 8\max\{|z|, |z'|, |\epsilon|\}", r"b = \frac{|z||z'|}{\sqrt{z^2+z'^2}}", "proved",
        "For the Frobenius norm: razin2020.thm2.norm.sharp; the least b without epsilon in it, "
        "for every z and z', for it is approached as W -> 0 at epsilon = 0. For all (quasi-)norms "
        "together the best b is not known.",
    ),
)  # fmt: skip
THM2_ERANK = (
    Best("16", r"\frac1{\sqrt2}", "proved",
         "razin2020.thm2.erank.sharp; approached at W = I x, x -> 0."),
)  # fmt: skip
THM2_IRANK = (
    Best(r"4|\epsilon|", r"|\epsilon|", "proved",
         "razin2020.thm2.irank.sharp; approached by solutions as w_11 grows."),
    Best(r"4 + \frac{\sqrt{|z||z'|}}{\min\{|z|,|z'|\}}", "1", "proved",
         "razin2020.thm2.irank.sharp; approached at epsilon = 0 as w_11 grows."),
)  # fmt: skip
PROP1 = (Best("", "", "none", "The interval is not given in numbers, and the minimiser is exact."),)
PROP2 = (
    Best("(1, 2]", "(1, 2]", "proved", "2 is taken at w_11 = 0, and 1 is approached as it grows."),
)
EQ39 = (
    Best(r"0 \le w_{12} \le 1,\ 0 < w_{22} \le 1", r"0 \le w_{12} \le 1,\ 0 < w_{22} \le 1",
         "proved", "W(0) = I has w_12 = 0 and w_22 = 1, and the loss vanishes (Proposition 4), so "
         "that w_12 tends to 1 and w_22 to 0."),
)  # fmt: skip
LEM1 = (
    Best(r"(l-1)\sqrt\epsilon", r"\sqrt{(l-1)\,\epsilon}", "proved",
         "razin2020.lem1.sharp; attained at every l by 1x1 factors with W_l^2 = (l-1) epsilon, for "
         "W'_1 = 0 makes every W'_l vanish."),
)  # fmt: skip
LEM2 = (Best(r"e^{\beta t}", r"e^{\beta t}", "proved", "Attained by f = -beta |x|^2 / 2."),)
PROP5 = (
    Best("1", r"(L-1)\,L^{-L/2}", "proved",
         "As a factor of the exponent: razin2020.prop5.sharp; 1/2 at L = 2, 0.385 at L = 3, 0.188 "
         "at L = 4. Approached at 1x1 from w_1 = ... = w_L with w_1^L small against b, for starts "
         "that differ along themselves, as t -> 0."),
)  # fmt: skip
THM3 = (
    Best(r"2^{16},\ 6,\ 4,\ \dots", "?", "open",
         "Not looked for: no number of float64 meets hypothesis (iii), whatever the constants."),
)  # fmt: skip
LEM9 = (
    Best("2", r"1.12489\dots", "proved",
         "razin2020.lem9.sharp; attained at p = 0.24148..., the zero of (1+p) ln(1-p) - p ln p."),
)  # fmt: skip
LEM11 = (Best("1", "1", "proved", "Attained where A is orthogonal and B has rank one."),)
LEM12 = (
    Best(
        "1", "1", "proved", "Attained at every length by 1x1 A = (1, ..., 1), B = (1, ..., 1, 0)."
    ),
)
LEM16 = (
    Best("1", "1", "proved",
         "As a factor of the time: attained by g' = -a - b g at gamma = 1, approached by g' = -a - "
         "b g^gamma as a -> 0 at gamma > 1. At a given a > 0 and gamma > 1 that solution stays "
         "above the bound."),
)  # fmt: skip
LEM18 = (
    Best(
        r"\frac{(1-\sqrt{2\ell})^2}{\sqrt{2\ell}}",
        r"\sqrt{\frac{(1-x)^3}{x}},\ x + x^2 = 2\ell \le \tfrac34;\quad "
        r"\sqrt{1-2\ell} \text{ beyond}",
        "proved",
        "razin2020.lem18.sharp: the infimum at each loss. It is 1/s - s + O(s^3).",
    ),
    Best(r"\frac1{\sqrt{2\ell}} - 2 + \sqrt{2\ell}", r"\frac1{\sqrt{2\ell}} - \sqrt{2\ell}",
         "proved",
         "In a bound 1/s - b - c s the least b is 0, and the least c with it 1: the infimum is "
         "1/s - s + O(s^3), and above 1/s - s (in the proof of razin2020.lem25.sharp)."),
)  # fmt: skip
LEM19 = (
    Best(r"\sigma_1 \ge |w_{11}| - \sqrt{2\ell}", r"\sigma_1 \ge |w_{11}|", "proved",
         "Approached as w_11 grows."),
    Best(r"\sigma_2 \le 3\sqrt{2\ell}", r"\sigma_2 \le \sqrt{2\ell}", "proved",
         "razin2020.thm1.irank.sharp; approached as w_11 grows."),
    Best(r"\sigma_1 \ge \frac1{\sqrt{2\ell}} - 2", r"\sigma_1 \ge \frac1{\sqrt{2\ell}} - 0.35302",
         "proved", "The infimum at each loss is 1/t - t^3 with t^2 + t^6 = 2 loss "
         "(razin2020.lem19.sharp); its distance from 1/s rises, to 0.353016... at s = 1."),
)  # fmt: skip
LEM20 = (
    Best(r"\alpha \le 1", r"\alpha < \infty", "proved",
         "The determinant keeps its sign from every alpha > 0 (Lemma 6), and no more is used."),
)  # fmt: skip
LEM25 = (
    Best("1", "1", "proved", "As a factor of the middle term: at z = z' = 1 and epsilon = 0 it is "
         "1/s to leading order, as the infimum is (razin2020.lem18.sharp)."),
    Best(r"|z| + |z'|", r"\max\{|z|, |z'|\}", "proved",
         "razin2020.lem25.sharp; approached for every z and z' at epsilon = 0 as s comes to the "
         "smaller of both, where w_11 can vanish."),
)  # fmt: skip
LEM26 = (
    Best(r"\sigma_1 \ge \frac1{\sqrt2}|w_{11}| - \sqrt{2\ell}", r"\sigma_1 \ge |w_{11}|", "proved",
         "razin2020.lem26.sharp; approached as w_11 grows."),
    Best(r"4|\epsilon|", r"|\epsilon|", "proved",
         "razin2020.lem26.sharp; approached by solutions as w_11 grows, at a small loss, too."),
    Best(r"4 + \frac{\sqrt{|z||z'|}}{\min\{|z|,|z'|\}},\ 4", "1", "proved",
         "Before sqrt(2 loss), at any and at a small loss: razin2020.lem26.sharp; approached at "
         "epsilon = 0 as w_11 grows."),
)  # fmt: skip
EQ51 = (
    Best("1", "1", "proved", "Attained at z = 2, z' = 1, epsilon = 0 by W = ((0, 3), (1, 0))."),
)
APP_E = (
    Best("1", "1", "proved",
         "As a factor of the bound on w_11: it is 1/s to leading order, as w_11 is where only the "
         "entry (2,2) = s is off and det W -> 0. At d = 2 the infimum is that of "
         "razin2020.lem18.sharp; beyond it is not known."),
    Best(r"\sigma_{\min} \le s", r"\sigma_{\min} \le s", "proved", "Approached as w_11 grows."),
)  # fmt: skip
