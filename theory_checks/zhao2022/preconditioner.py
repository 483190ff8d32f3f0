r"""Zhao 2022, Theorem 1: is P_{W,G} positive semi-definite, and what is it at depth 1?"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from gradflow.claims import (
    Best,
    ByConstruction,
    Case,
    Confirmation,
    Corrected,
    Measured,
    Settings,
    claim,
    roundings,
)

from . import _proofs, _proofs_adam
from ._rational import Instance, equal, exact, exact_case, eye, instances, plain, vec


def printed_preconditioner(made: Instance) -> np.ndarray:
    """Theorem 1's sum of ((W W^T)^((j-1)/N) kron (W^T W)^((N-j)/N)) G_j; square factors only."""
    n, total = made.depth, exact(np.zeros((made.w.size, made.w.size), int))
    for j in range(1, n + 1):
        total = total + np.kron(made.left(j - 1), made.right(n - j)) * vec(made.scalings[j - 1])
    return total


def corrected_preconditioner(made: Instance) -> np.ndarray:
    """The sum of (B kron A^T) G_j (B^T kron A), which is that of the layers' own motion."""
    total = exact(np.zeros((made.w.size, made.w.size), int))
    for j, scaling in enumerate(made.scalings, 1):
        outer = np.kron(made.below(j).T, made.above(j))
        total = total + outer * vec(scaling) @ outer.T
    return total


def _psd_instance(
    x: np.ndarray, gradient: np.ndarray, order: str
) -> tuple[np.ndarray, np.ndarray, str]:
    """P_{W,G} and a direction in which the printed one is negative: the gradient itself.

    W_1 = W_2 = X is symmetric, so balanced, and W = X^2 its own (W W^T)^(1/2). Full batches, s = 0,
    so that S_j = 1/|g_j| with g_1 = X L and g_2 = L X.

    Args:
      x: the symmetric X, positive definite.
      gradient: L.
      order: "theorem" for (6), "appendix" for the step before (18), which gives layer j the
        exponents of layer N + 1 - j; or "corrected".
    """
    w = x @ x
    s1, s2 = 1 / abs(x @ gradient), 1 / abs(gradient @ x)
    if order == "corrected":
        first, second = np.kron(eye(2), x), np.kron(x, eye(2))
        p = first * vec(s1) @ first.T + second * vec(s2) @ second.T
    else:
        one, two = np.kron(eye(2), w), np.kron(w, eye(2))
        if order == "appendix":
            one, two = two, one
        p = one * vec(s1) + two * vec(s2)
    text = (
        f"W_1 = W_2 = {plain(x)}, W = {plain(w)} = (W W^T)^(1/2), gradient L = {plain(gradient)}, "
        f"s = 0, S_1 = {plain(s1)}, S_2 = {plain(s2)}, P = {plain(p)}"
    )
    return p, vec(gradient), text


def _along_the_gradient(
    x: np.ndarray, gradient: np.ndarray, order: str, least: Fraction, size: float
) -> Case:
    """The quadratic form of P_{W,G} at the gradient, exactly."""
    p, at, text = _psd_instance(x, gradient, order)
    form = at @ p @ at - least * np.trace(p) / len(p) * (at @ at)

    def confirm(_: int) -> Confirmation:
        return Confirmation(
            bool(form < 0),
            f"{text}; vec(L)^T P vec(L) = {form}, so the loss rises"
            if not least
            else f"{text}; vec(L)^T P vec(L) falls short by {form}",
            (form,),
        )

    return Case(
        name=f"W_1 = W_2 = {plain(x)}, along the gradient {plain(gradient)}"
        + (", the order of the step before (18)" if order == "appendix" else ""),
        slack=[form / np.trace(p)],
        hypotheses={
            "balanced factors": equal(x.T @ x, x @ x.T),
            "s_j^2 >= 0": ByConstruction("s = 0: full batches"),
        },
        size=size,
        confirm=confirm,
        notes="" if least else f"vec(L)^T P vec(L) = {form}",
    )


@claim(
    "zhao2022.thm1.psd",
    kind="inequality",
    where="Theorem 1 and Appendix A.4.2, Positive semi-definiteness of P_{W,G}",
    statement=r"x^\top P_{W,G}\,x \ge 0,\quad P_{W,G} = \sum_{j=1}^N\left((WW^\top)^{\frac{j-1}{N}}"
    r"\otimes(W^\top W)^{\frac{N-j}{N}}\right)G_j",
    control={"least": Fraction(1, 10)},
    control_text="at least a tenth of the mean eigenvalue instead of 0",
    flaw="The product of a p.s.d. matrix and a positive diagonal one has eigenvalues that are not "
    "negative, but it is not symmetric and its quadratic form can be negative, even along the "
    "gradient, so that the loss would rise.",
    severity="substance",
    survives="That the preconditioner which Adam does have is p.s.d., and that no single P_j G_j "
    "has a negative eigenvalue; not that the printed P_{W,G} never raises the loss.",
    readings={
        "x^T P x is never negative": "fails",
        "P_j G_j has no negative eigenvalue": "true of each layer, for it is similar to a p.s.d. "
        "matrix; of the sum nothing follows",
    },
    corrected=Corrected(
        where="Theorem 1 with G_j where Adam applies it",
        statement=r"x^\top\Big(\sum_{j=1}^N(B_j\otimes A_j^\top)\,G_j\,(B_j^\top\otimes A_j)\Big)x"
        r" = \sum_j\|G_j^{1/2}(B_j^\top\otimes A_j)x\|^2 \ge 0",
        control={"corrected": False},
        control_text="G_j on the right, as printed",
        best=(Best("0", "0", "proved", "Attained at N >= 2 by factors that vanish, for every x."),),
    ),
)
def thm1_psd(settings: Settings, corrected: bool, least: Fraction = Fraction(0)) -> Iterator[Case]:
    """x^T P x >= 0: exactly along some x, and for all x by the smallest eigenvalue of (P + P^T)/2.

    The order of the factors matters: at the first instance the form is negative in Theorem 1's
    order alone, at the second in that of the step before (18) too; for symmetric W these are all
    orders there are. Relative to the trace of P. At depth 1 the printed P is G and positive; the
    corrected one is symmetric exactly, a sum of squares, and defined for rectangular and unequal
    hidden sizes too.
    """
    if corrected:
        yield _proofs.psd()
    formula = corrected_preconditioner if corrected else printed_preconditioner
    first = exact([[1, 1], [1, 2]]), exact([[1, -2], [-2, 3]])
    both = exact([[3, -2], [-2, 3]]), exact([[2, 1], [1, 1]])
    for order in ("corrected",) if corrected else ("theorem", "appendix"):
        for size, instance in ((4, first), (4.5, both)):
            yield _along_the_gradient(*instance, order, least, size)
    for made in instances(settings, square=not corrected):
        p = formula(made)
        found = np.array((p + p.T) / 2, float)
        scale = abs(float(np.trace(p)))
        skew = float(np.max(abs(p - p.T))) / scale
        lowest = float(np.linalg.eigvalsh(found)[0]) / scale - float(least) / len(p)
        yield Case(
            name=made.name,
            slack=lowest,
            floor=roundings(len(p) * 4 * np.finfo(float).eps, "eigenvalues"),
            hypotheses=made.hypotheses()
            | made.scaled()
            | ({"symmetric": Measured(skew, below=1e-300)} if corrected else {}),
            size=made.w.size,
            notes=f"largest |P - P^T| is {skew:.1e} of the trace" if skew else "",
        )


@claim(
    "zhao2022.depth1.eq27",
    kind="algebra",
    where="Appendix A.4.4, Equations (26)-(27) and the sentence after them",
    statement=r"N=1:\ P_{W,G}=I_{mn},\quad "
    r"\mathrm{vec}(\dot W) = -G\,\mathrm{vec}(\nabla_W\mathcal L)"
    r",\quad \dot\sigma_i = -\mathrm{vec}(v_iu_i^\top)^\top G\,\mathrm{vec}(\nabla_W\mathcal L)",
    control={"share": Fraction(9, 10)},
    control_text="0.9 of all right sides",
    flaw="At depth 1 it is P_W that becomes the identity; P_{W,G} becomes G, as (27) itself says. "
    "(26) inherits the exchanged u and v of (20).",
    severity="misprint",
    survives="What the paragraph concludes, that Adam keeps the preconditioner G at depth 1: (27) "
    "itself has it.",
    corrected=Corrected(
        where="Appendix A.4.4, Equations (26)-(27), corrected",
        statement=r"N=1:\ P_{W,G}=G,\quad "
        r"\mathrm{vec}(\dot W) = -G\,\mathrm{vec}(\nabla_W\mathcal L),\quad "
        r"\dot\sigma_i = -\mathrm{vec}(u_iv_i^\top)^\top G\,\mathrm{vec}(\nabla_W\mathcal L)",
        control={"corrected": False},
        control_text="the printed sentence and order",
    ),
)
def depth1_eq27(
    settings: Settings, corrected: bool, share: Fraction = Fraction(1)
) -> Iterator[Case]:
    """At N = 1: P_{W,G} against I or G; (27); (26) with vec(v u^T) or vec(u v^T).

    For the motion -g / sqrt(g^2 + s^2) of Equation (15). (27) holds exactly; as printed P_{W,G} = I
    does not, nor does (26) for u and v that differ.
    """
    yield _proofs_adam.eq27(corrected, share)
    single = Instance(
        "1x1, g = 3, s = 4", (eye(1), eye(1)), exact([2]), exact([[3]]), (exact([["1/5"]]),)
    )
    for made in (single, *(x for x in instances(settings) if x.depth == 1)):
        g, s = made.gradient, made.scalings[0]
        size = g.size
        preconditioner = np.diag(vec(s))
        yield exact_case(
            f"P_(W,G) at depth 1, {made.name}",
            preconditioner,
            share * (preconditioner if corrected else eye(size)),
            made.scaled(),
            f"g = {plain(g)}, S = (g^2 + s^2)^(-1/2) = {plain(s)}, Theorem 1 at N = 1",
            size,
        )
        velocity = -g * s
        yield exact_case(
            f"(27), {made.name}",
            vec(velocity),
            -share * (preconditioner @ vec(g)),
            made.scaled(),
            f"g = {plain(g)}, S = {plain(s)}",
            size,
        )
        u, v = made.frames[1], made.frames[0]
        pairs = [(u[:, [i]], v[:, [i]]) for i in range(len(made.roots))]
        yield exact_case(
            f"(26), {made.name}",
            [(a.T @ velocity @ b)[0, 0] for a, b in pairs],
            [
                -share * (vec(a @ b.T if corrected else b @ a.T) @ preconditioner @ vec(g))
                for a, b in pairs
            ],
            made.scaled(),
            made.show(),
            size + 0.5,
        )
    root = Fraction(3, 5)  # (1 + (4/3)^2)^(-1/2)
    yield Case(
        name="eigenvalues at depth 1",
        residual=float(abs(root - Fraction(1, 5))),
        hypotheses={"s^2 > 0": ByConstruction("s = 4")},
        counts=False,
        notes="the text on the implications of P_{W,G} gives its eigenvalues as "
        "(1 + s^2/g^2)^(-1/2); at g = 3, s = 4 that is 3/5, and G is 1/5: a factor 1/|g| is "
        "missing",
    )
