r"""Razin and Cohen 2020: the solution set of (7), and the coin flip (Propositions 1, 2 and 3).

W_x has x unobserved, 1 beside it and 0 opposite. With x = 2 sinh(u) its singular values are
e^|u| and e^-|u|.
"""

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from gradflow.claims import (
    FIFTY_DIGITS,
    ByConstruction,
    Case,
    Confirmation,
    Measured,
    Settings,
    claim,
    roundings,
)
from gradflow.claims.oracles.high_precision import DIGITS
from gradflow.claims.oracles.norms import NORMS, SCHATTEN, Norm

from . import _best, _proofs_solutions
from ._effective_rank import entropy_rank


def solution(x: Any) -> np.ndarray:
    """W_x, for any shape of x."""
    x = np.asarray(x, float)
    one, zero = np.ones_like(x), np.zeros_like(x)
    return np.stack([np.stack([x, one], -1), np.stack([one, zero], -1)], -2)


def solution_values(x: Any) -> np.ndarray:
    """Singular values of W_x, (29), the second without cancellation."""
    first = (np.abs(x) + np.sqrt(np.asarray(x) ** 2 + 4)) / 2
    return np.stack([first, 1 / first], -1)


def _in_norms(settings: Settings) -> Iterator[tuple[str, Norm, np.ndarray, np.ndarray]]:
    """Norms, and the same after W -> A W B."""
    rng = np.random.default_rng(settings.seed)
    for norm in NORMS:
        yield norm.name, norm, np.eye(2), np.eye(2)
    for norm in (SCHATTEN[0], SCHATTEN[4], SCHATTEN[7]):
        a, b = rng.normal(size=(2, 2, 2)) + 2 * np.eye(2)
        yield f"{norm.name} of A W B with random A, B", norm, a, b


@claim(
    "razin2020.prop1",
    kind="inequality",
    where="Proposition 1",
    statement=r"W\in S,\ \|W\| \le \inf_S\|\cdot\| + \epsilon \Rightarrow "
    r"(W)_{11} \in I_{\|\cdot\|,\epsilon} \text{ bounded};\ "
    r"\text{for Schatten-}p:\ \|W\| = \inf \iff (W)_{11} = 0",
    control={"centre": 0.1},
    control_text="the Schatten minimiser at (W)_11 = 0.1",
    best=_best.PROP1,
)
def prop1(settings: Settings, centre: float = 0.0) -> Iterator[Case]:
    """The interval [-C, C] that (28) gives, and ||W_x||^p = 2 cosh(p u) for Schatten norms."""
    yield _proofs_solutions.prop1(centre)
    for name, norm, a, b in _in_norms(settings):

        def of(w: np.ndarray, norm: Norm = norm, a: Any = a, b: Any = b) -> np.ndarray:
            w = a @ w @ b
            return norm.of(w, np.linalg.svd(w, compute_uv=False))

        x = np.concatenate(
            [-np.geomspace(1e-3, 1e6, 300)[::-1], [0.0], np.geomspace(1e-3, 1e6, 300)]
        )
        values = of(solution(x))
        least = float(np.min(values))
        unit = float(of(np.array([[[1.0, 0.0], [0.0, 0.0]]]))[0])
        rest = float(of(np.array([[[0.0, 1.0], [1.0, 0.0]]]))[0])
        for eps in (1e-3, 1.0, 100.0):
            bound = norm.c * (least + eps + rest) / unit
            outside = np.abs(x) > bound
            yield Case(
                name=f"{name}, epsilon = {eps:g}",
                slack=np.append((values[outside] - least - eps) / values[outside], 1.0),
                floor=roundings(1e-12),
                hypotheses={
                    "a (quasi-)norm": ByConstruction("one whose constant c is known"),
                    "the interval is bounded": Measured(float(bound), below=np.inf),
                },
                size=4,
                notes=f"epsilon-minimisers lie in [-{bound:.4g}, {bound:.4g}]" if eps == 1 else "",
            )
    x = np.concatenate([np.geomspace(1e-6, 1e6, 49 if settings.full else 25), [0.5]])
    for norm in SCHATTEN:
        for sign in (1, -1):
            yield _schatten_case(norm, np.sort(sign * x), centre)


def _schatten_case(norm: Norm, x: np.ndarray, centre: float) -> Case:
    """||W_x|| > ||W_centre|| in 50 digits, and that it rises with |x|."""

    def of(at: float) -> Any:
        return norm.precisely(mpmath.matrix([[mpmath.mpf(at), 1], [1, 0]]))

    with mpmath.workdps(DIGITS):
        least = of(centre)
        values = [of(float(at)) for at in x]
        slack = [float((v - least) / v) for v in (*values, of(0.0))]
        order = values if x[0] > 0 else values[::-1]
        rises = [float((b - a) / b) for a, b in zip(order[:-1], order[1:], strict=True)]

    def confirm(k: int) -> Confirmation:
        with mpmath.workdps(DIGITS):
            at = [*x, 0.0][min(k, len(x))]
            return Confirmation(
                bool(of(float(at)) < least), f"||W_{at}|| = {of(float(at))} < {least}"
            )

    return Case(
        name=f"{norm.name}, {'positive' if x[0] > 0 else 'negative'} x",
        slack=slack + rises,
        floor=FIFTY_DIGITS,
        hypotheses={"x is not 0": Measured(float(np.min(np.abs(x))), above=0)},
        size=4,
        confirm=confirm,
        notes="the proof's derivative bound (x + r)^(p-1) > (-x + r)^(p-1) is false for p <= 1; "
        "||W_x||^p = 2 cosh(p u) with x = 2 sinh(u) shows the proposition for every p"
        if norm is SCHATTEN[0] and x[0] > 0
        else "",
    )


SOLUTION = {"W_x in S": ByConstruction("the observed entries are written down")}


@claim(
    "razin2020.prop2",
    kind="algebra",
    where="Proposition 2",
    statement=r"\mathrm{erank}(S) = (1, 2],\text{ largest at } (W)_{11} = 0,\text{ falling to 1 as "
    r"} |(W)_{11}| \to \infty;\ \mathrm{irank}(S) = 1;\ D(W, \mathcal M_1) \text{ largest at 0, "
    r"falling to } 0",
    control={"centre": 0.1},
    control_text="the maxima at (W)_11 = 0.1",
    best=_best.PROP2,
)
def prop2(settings: Settings, centre: float = 0.0) -> Iterator[Case]:
    """Falling in 50 digits on both sides, the ends, and D = s_2 <= 1 / |x|."""
    yield _proofs_solutions.prop2(centre)
    x = np.concatenate([[0.0], np.geomspace(1e-8, 1e12, 200 if settings.full else 60)])

    def exactly(at: float) -> tuple[Any, Any]:
        """Effective rank minus one and the smaller singular value, from the definition."""
        s = mpmath.svd_r(mpmath.matrix([[mpmath.mpf(at), 1], [1, 0]]), compute_uv=False)
        p = [v / sum(s) for v in s]
        return mpmath.expm1(-sum(v * mpmath.log(v) for v in p)), min(s)

    for name, which in (("effective rank", 0), ("distance from rank one", 1)):
        for sign in (1, -1):
            with mpmath.workdps(2 * DIGITS):
                values = [exactly(sign * float(v))[which] for v in x]
                top = exactly(sign * centre)[which]
                falls = [float((a - b) / a) for a, b in zip(values[:-1], values[1:], strict=True)]
                below = [float((top - v) / top) for v in values if v != top]
            yield Case(
                name=f"{name}, {'x > 0' if sign > 0 else 'x < 0'}",
                slack=falls + below,
                floor=FIFTY_DIGITS,
                hypotheses=SOLUTION
                | {"|x| rises from 0 to 1e12": Measured(float(np.min(np.diff(x))), above=0)},
                size=4,
                notes=f"from {mpmath.nstr(values[0], 6)} at 0 to {mpmath.nstr(values[-1], 6)}",
            )
            if which:
                yield Case(
                    name=f"{name} tends to 0, {'x > 0' if sign > 0 else 'x < 0'}",
                    slack=[
                        float(1 / mpmath.mpf(a) - v) * a
                        for a, v in zip(x[1:], values[1:], strict=True)
                    ],
                    floor=roundings(1e-15),
                    hypotheses={"x is not 0": Measured(float(np.min(x[1:])), above=0)},
                    notes="s_2 <= 1/|x|, so that the infimal rank is at most 1; it is not 0, for "
                    "||W|| >= 1 on S",
                )
    s = solution_values(x)
    numerical = np.linalg.svd(solution(x[x < 1e6]), compute_uv=False)
    yield Case(
        name="singular values by Equation (29)",
        residual=np.abs(numerical[:, 0] - s[x < 1e6, 0]) / s[x < 1e6, 0],
        floor=roundings(1e-14),
        hypotheses=SOLUTION,
    )
    yield Case(
        name="the ends of the range",
        residual=[
            float(entropy_rank(s[0, 0], s[0, 1])) - 1,
            float(entropy_rank(s[-1, 0], s[-1, 1])),
        ],
        floor=roundings(1e-10),
        hypotheses={"x = 0 and x = 1e12": ByConstruction("the first and the last x")},
    )


Sampler = Callable[[np.random.Generator, int, int], np.ndarray]
"""From a generator, a count and d to (count, d, d) matrices."""


def _entries(*draws: Callable[[np.random.Generator, int], np.ndarray]) -> Sampler:
    """Entries drawn independently, one distribution after the other in turn."""

    def sample(rng: np.random.Generator, count: int, d: int) -> np.ndarray:
        columns = [draws[k % len(draws)](rng, count) for k in range(d * d)]
        return np.stack(columns, -1).reshape(count, d, d)

    return sample


def _normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=n)


def _cauchy(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.clip(rng.standard_cauchy(n), -1e6, 1e6) + rng.normal(size=n)


def _two_humps(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], n) * (3 + 0.1 * rng.uniform(-1, 1, n))


def _flat(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.uniform(-2, 2, n)


SYMMETRIC: dict[str, Sampler] = {
    "normal": _entries(_normal),
    "Cauchy plus normal": _entries(_cauchy),
    "two humps": _entries(_two_humps),
    "each entry another one": _entries(_normal, _two_humps, _flat, _cauchy),
}


def _moved(shift: Fraction) -> Sampler:
    """Entries uniform about a number."""
    return _entries(lambda rng, n: float(shift) + rng.uniform(-1, 1, n))


def _lopsided(rng: np.random.Generator, count: int, d: int) -> np.ndarray:
    """Not symmetric: the identity plus noise, whose determinant is positive almost always."""
    return np.eye(d) + 0.05 * rng.normal(size=(count, d, d))


@claim(
    "razin2020.prop3",
    kind="probability",
    where="Proposition 3",
    statement=r"w_{ij} \text{ independent, continuous, symmetric} \Rightarrow "
    r"\Pr(\det W > 0) = \Pr(\det W < 0) = \tfrac12;\ "
    r"\Pr(\det W_l > 0) = \tfrac12 \text{ for one } l \Rightarrow \text{the same for } "
    r"W_L\cdots W_1",
    control={"shift": Fraction(1, 10)},
    control_text="entries that are symmetric about 0.1",
    resolution=1e-2,
)
def prop3(settings: Settings, shift: Fraction = Fraction(0)) -> Iterator[Case]:
    """Frequencies, gated at four standard errors, over three seeds; all sign patterns counted."""
    yield _proofs_solutions.prop3(shift)
    count = 800_000 if settings.full else 200_000
    samplers = {f"uniform about {shift}": _moved(shift)} if shift else SYMMETRIC
    gate = 4 * 0.5 / np.sqrt(count)
    for name, sampler in samplers.items():
        for d in (1, 2, 3):
            above, below, positive = [], [], []
            for k in range(3):
                rng = np.random.default_rng([settings.seed, d, k, *name.encode()])
                w = sampler(rng, count, d)
                det = np.linalg.det(w)
                positive.append(np.mean(w > 0, axis=0) - 0.5)
                above.append(np.mean(det > 0) - 0.5)
                below.append(np.mean(det < 0) - 0.5)
            yield Case(
                name=f"{name}, {d}x{d}, 3 x {count} draws",
                residual=np.abs([*above, *below]),
                floor=gate,
                hypotheses={
                    "continuous: entries that come twice": Measured(
                        w.size - len(np.unique(w)), below=1
                    ),
                    "entries are symmetric: half of each is positive": ByConstruction(
                        "the control has them about another number"
                    )
                    if shift
                    else Measured(float(np.max(np.abs(positive))), below=1.5 * gate),
                },
                size=d * d,
            )
    for depth in (2, 3):
        above = []
        for k in range(3):
            rng = np.random.default_rng([settings.seed, depth, k])
            fair = (_moved(shift) if shift else SYMMETRIC["two humps"])(rng, count, 2)
            sign = np.sign(np.linalg.det(fair))
            for _ in range(depth - 1):
                sign *= np.sign(np.linalg.det(_lopsided(rng, count, 2)))
            above.append(np.mean(sign > 0) - 0.5)
        yield Case(
            name=f"a product of {depth}, one factor fair",
            residual=np.abs(above),
            floor=gate,
            hypotheses={
                "independent factors with densities": ByConstruction(
                    "drawn from generators of their own, each entry with a density"
                )
            },
            size=4 * depth,
            notes="with a density. A law without atoms that lives on singular matrices, such as "
            "W = diag(g, 0), would make the second statement false: the product is 0 always. The "
            "paper's reference for determinants (a polynomial's zeros have measure 0) needs a "
            "density as well; the first statement needs only laws without atoms",
        )
    if not shift:
        yield from _sign_patterns(settings)


def _sign_patterns(settings: Settings) -> Iterator[Case]:
    """For given sizes of the entries all sign patterns are equally likely: count them, exactly."""
    rng = np.random.default_rng(settings.seed)
    for d in (1, 2, 3, 4) if settings.full else (1, 2, 3):
        sizes = rng.integers(1, 50, (d, d))
        signs = np.array(list(itertools.product((1, -1), repeat=d * d))).reshape(-1, d, d)
        det = np.round(np.linalg.det(sizes * signs))
        difference = abs(int(np.sum(det > 0)) - int(np.sum(det < 0)))
        yield Case(
            name=f"all {len(signs)} sign patterns of {sizes.tolist()}",
            residual=[difference / len(signs)],
            floor=roundings(1e-15),
            hypotheses={
                "symmetric: every sign pattern is equally likely": ByConstruction("each comes once")
            },
            size=d * d,
        )
