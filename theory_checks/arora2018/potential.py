r"""Arora, Cohen and Hazan 2018: the end-to-end field of N >= 3 layers has no potential.

Of one output and a loss of gradient g, W = w^T moves by -F, F(w) = ||w||^(2 - 2/N) (g + (N - 1)
<g, w> w / ||w||^2). Around half a ring between the radii r < R, in a plane of g with the angle
counted from g, F does the work

    2 ||g|| (N - 1)(N - 2) / (3 N - 2) (R^(3 - 2/N) - r^(3 - 2/N)),

which a gradient would not. Of any loss with grad L(0) = g != 0 it is the leading term as R falls.
At N = 2 it is 0, and of a linear loss F is the gradient of ||w|| <g, w>: N >= 3 is needed.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import mpmath
import numpy as np
import sympy

from gradflow.claims import FIFTY_DIGITS, ByConstruction, Case, Measured, Settings, claim
from gradflow.claims.oracles.high_precision import DIGITS, product_velocity
from gradflow.claims.proofs import Proof, chain, prove_identity
from gradflow.factorizations import end_to_end

Field = Callable[[Any, Any], Any]
"""From w and g, two numbers each, to F, two numbers."""


def proof(factor: Fraction) -> Proof:
    """The four sides, with A = R^p, B = r^p, p = 3 - 2/N, and ||g|| = 1."""
    n, a, b = sympy.symbols("N A B", positive=True)
    p, phi = 3 - 2 / n, sympy.Symbol("phi", real=True)
    along, across = n * sympy.cos(phi), -sympy.sin(phi)  # of F / ||w||^(2 - 2/N)
    out = along.subs(phi, 0) * (a - b) / p
    back = along.subs(phi, sympy.pi) * (b - a) / p
    outer = sympy.integrate(across, (phi, 0, sympy.pi)) * a
    inner = sympy.integrate(across, (phi, sympy.pi, 0)) * b
    size = sympy.Rational(factor)
    return chain(
        "the work around half a ring",
        prove_identity(
            "the sum of its sides", out + back + outer + inner,
            size * 2 * (n - 1) * (n - 2) / (3 * n - 2) * (a - b),
        ),
        cites=(
            "the integral of s^(p - 1) from r to R is (R^p - r^p) / p",
            "a gradient does no work around a loop",
            "L's own gradient differs from g by O(R) on the ring",
        ),
    )  # fmt: skip


def work(field: Field, depth: int, radii: tuple[Any, Any], nodes: list[tuple[Any, Any]]) -> Any:
    """The line integral of a field around half a ring, by a rule on (-1, 1); g = (1, 0)."""
    small, large = radii
    total = 0
    for x, weight in nodes:
        s, share = (small + large) / 2 + (large - small) / 2 * x, weight * (large - small) / 2
        total += share * field((s, 0 * s), depth)[0]  # out along g
        total += share * field((-s, 0 * s), depth)[0]  # and back, where dw is along g again
        angle, turn = mpmath.pi / 2 * (1 + x), weight * mpmath.pi / 2
        cosine, sine = mpmath.cos(angle), mpmath.sin(angle)
        for radius, way in ((large, 1), (small, -1)):
            f = field((radius * cosine, radius * sine), depth)
            total += way * turn * radius * (f[1] * cosine - f[0] * sine)
    return total


def by_layers(w: tuple[Any, Any], depth: int) -> tuple[Any, Any]:
    """F by the chain rule through balanced layers, in long arithmetic."""
    velocity = product_velocity(mpmath.matrix([[*w]]), mpmath.matrix([[1, 0]]), depth)
    return -velocity[0, 0], -velocity[0, 1]


def by_library(w: tuple[Any, Any], depth: int) -> tuple[float, float]:
    """F by the library's preconditioner."""
    row = jnp.array([[float(w[0]), float(w[1])]])
    f = np.asarray(end_to_end(row, jnp.array([[1.0, 0.0]]), depth))
    return float(f[0, 0]), float(f[0, 1])


def rule(count: int) -> list[tuple[Any, Any]]:
    """Gauss and Legendre's nodes and weights, of so many points, in long arithmetic."""
    found = []
    for start in np.polynomial.legendre.leggauss(count)[0]:
        x = mpmath.findroot(lambda t: mpmath.legendre(count, t), mpmath.mpf(float(start)))
        slope = count * mpmath.legendre(count - 1, x) / (1 - x**2)
        found.append((x, 2 / ((1 - x**2) * slope**2)))
    return found


def closed(depth: int, radii: tuple[Any, Any]) -> Any:
    """The work in closed form."""
    p = 3 - mpmath.mpf(2) / depth
    share = mpmath.mpf(2 * (depth - 1) * (depth - 2)) / (3 * depth - 2)
    return share * (radii[1] ** p - radii[0] ** p)


@claim(
    "arora2018.no_potential",
    kind="identity",
    where="the theorem that no regulariser has this gradient; N > 2",
    statement=r"F(w) = \|w\|^{2-2/N}\left(g + (N-1)\frac{\langle g, w\rangle w}{\|w\|^2}\right),\ "
    r"g \neq 0,\ N \ge 3 \Rightarrow \oint_{\text{half a ring}} \langle F, dw\rangle = 2\|g\|"
    r"\frac{(N-1)(N-2)}{3N-2}\left(R^{3-2/N} - r^{3-2/N}\right) > 0:\ F \text{ is no gradient}",
    control={"factor": Fraction(11, 10)},
    control_text="1.1 of the work",
)
def no_potential(settings: Settings, factor: Fraction = Fraction(1)) -> Iterator[Case]:
    """By algebra; quadrature of the chain rule through layers, and of the library's field."""
    deep = {"N >= 3": ByConstruction("depths 3 and more"), "g is not 0": ByConstruction("(1, 0)")}
    yield Case("every depth", proof=proof(factor), whole=True, hypotheses=deep, size=1)
    for depth in (3, 4, 5) if settings.full else (3, 4):
        with mpmath.workdps(DIGITS):
            radii = (mpmath.mpf(1) / 2, mpmath.mpf(1))
            wanted = mpmath.mpf(factor.numerator) / factor.denominator * closed(depth, radii)
            fine, coarse = (work(by_layers, depth, radii, rule(k)) for k in (16, 12))
            yield Case(
                name=f"N = {depth}, through the layers",
                residual=float(abs(fine - wanted) / wanted),
                floor=float(abs(fine - coarse) / wanted),
                hypotheses=deep,
                size=float(depth),
                notes=f"the work is {mpmath.nstr(wanted, 8)}",
            )
    fine, coarse = (float(work(by_library, 3, (0.5, 1.0), rule(k))) for k in (14, 10))
    wanted = float(factor) * float(closed(3, (mpmath.mpf("0.5"), mpmath.mpf(1))))
    yield Case(
        name="N = 3, the library's field",
        residual=abs(fine - wanted) / wanted,
        floor=abs(fine - coarse) / wanted + 1e-14,
        hypotheses=deep,
        size=3.5,
    )


@claim(
    "arora2018.two_layers",
    kind="identity",
    where="ours; why the theorem asks for N > 2",
    statement=r"N = 2,\ L \text{ linear} \Rightarrow F(w) = \|w\|\, g + \frac{\langle g, w\rangle "
    r"w}{\|w\|} = \nabla\big(\|w\|\,\langle g, w\rangle\big)",
    control={"factor": Fraction(11, 10)},
    control_text="1.1 ||w|| g",
)
def two_layers(settings: Settings, factor: Fraction = Fraction(1)) -> Iterator[Case]:
    """By algebra, in an entry w of a vector of length n, whose derivative is w / n; at points."""
    n, w, g, rest = sympy.symbols("n w g s", positive=True)  # s: the other terms of <g, w>
    inner = g * w + rest
    slope = w / n * inner + n * inner.diff(w)
    found = prove_identity(
        "an entry of the gradient", slope, sympy.Rational(factor) * n * g + inner * w / n
    )
    hypotheses = {"a linear loss, one output": ByConstruction("g is constant")}
    yield Case("every size", proof=found, whole=True, hypotheses=hypotheses, size=1)
    with mpmath.workdps(DIGITS):
        radii = (mpmath.mpf(1) / 2, mpmath.mpf(1))
        fine, coarse = (work(by_layers, 2, radii, rule(k)) for k in (16, 12))
        rng = np.random.default_rng([settings.seed, 2018])
        gaps = [_from_printed(point.tolist(), factor) for point in rng.normal(size=(8, 2))]
    yield Case(
        name="the field through the layers, and the potential's gradient",
        residual=[float(x) for found in gaps for x in found],
        floor=FIFTY_DIGITS,
        hypotheses=hypotheses,
        size=2,
    )
    yield Case(
        name="the work around half a ring, through the layers",
        residual=float(abs(fine)),
        floor=float(abs(fine - coarse)) + 1e-40,
        hypotheses=hypotheses | {"the quadrature has settled": Measured(
            float(abs(fine - coarse)), below=1e-12)},
        size=2,
    )  # fmt: skip


def _from_printed(point: list[float], factor: Fraction) -> list[Any]:
    """How far the field of two layers and the potential's gradient are from the printed field."""
    x, y = (mpmath.mpf(value) for value in point)
    norm = mpmath.sqrt(x**2 + y**2)
    share = mpmath.mpf(factor.numerator) / factor.denominator
    printed = (share * norm + x * x / norm, x * y / norm)
    layers = by_layers((x, y), 2)
    slopes = [
        mpmath.diff(lambda a, b: mpmath.sqrt(a**2 + b**2) * a, (x, y), order)
        for order in ((1, 0), (0, 1))
    ]
    return [abs(a - b) for side in (layers, slopes) for a, b in zip(side, printed, strict=True)]
