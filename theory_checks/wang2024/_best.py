"""Wang and Basu Roy Chowdhury 2024: for each constant which is the best one; claims refer here."""

from gradflow.claims import Best

from ..razin2020 import _best as razin2020

THM1_NORM, THM1_ERANK, THM1_IRANK = (
    razin2020.THM1_NORM, razin2020.THM1_ERANK, razin2020.THM1_IRANK
)  # fmt: skip
EQ20 = (
    Best(r"\sqrt{2\ell}", r"\sqrt{2\ell}", "proved",
         "In (18) and (19): attained or approached where one entry alone is off."),
    razin2020.LEM18[0],
)  # fmt: skip
LEM6 = (
    Best("1", "1", "proved", "Both bounds, as factors: attained by diagonal matrices, a >= d."),
)
ENTROPY_STEP = (
    Best(r"\epsilon(1 + \ln(1/\epsilon))", r"\epsilon(1 + \ln(1/\epsilon))", "proved",
         "Both terms, as factors: (H - epsilon ln(1/epsilon))/epsilon tends to 1 as epsilon -> 0."),
    Best(r"2\sqrt\epsilon", r"\frac2{\sqrt e}\sqrt\epsilon", "proved",
         "Of the middle term: attained at epsilon = 1/e, where sqrt(epsilon)(1 + ln(1/epsilon)) is "
         "largest, a step of the proof. Of H itself 1.12489... (razin2020.lem9.sharp)."),
)  # fmt: skip
IRANK_PROOF = (
    Best(r"\sqrt{2\ell}", r"\sqrt{2\ell}", "proved",
         "Approached as W_11 grows and W_22 -> 0, W_12 and W_21 not both 1."),
    Best(r"\ell \le \tfrac32 - \sqrt2", r"\ell \le \tfrac32 - \sqrt2", "proved",
         "At a larger loss W_12 = W_21 with W_12 W_21 < 1/2, W_22 -> 0 and W_11 W_22 < 1/2 have "
         "|W_22 - 1/W_11| > W_22."),
)  # fmt: skip
IRANK_EXAMPLE = (
    Best(r"\frac1a", r"\frac12\left(\sqrt{a^2+4} - a\right)", "proved",
         "The distance itself, sigma_2; as a factor of 1/a no number below 1 would do: a sigma_2 "
         "-> 1 as a grows."),
)  # fmt: skip
ERANK_EXAMPLE = (
    Best("1", "1", "proved",
         "As a factor of the exponent: with T = M + d the entropy is (d-1)/T ln T + (M+1)/T "
         "ln(T/(M+1)), whose ratio to it tends to 1 as M grows."),
)  # fmt: skip
