r"""Zhao 2022, the algebra of Appendix A.4.2, in exact arithmetic: vec and Kronecker products.

With column-major vec, as the paper states, vec(A X B) = (B^T kron A) vec(X), and with
A = (W_N ... W_{j+1})^T and B = (W_{j-1} ... W_1)^T layer j moves W by

    A^T (A L B .* S_j) B^T,    vec: (B kron A^T) diag(vec S_j) (B^T kron A) vec(L).

For balanced factors A^T A = (W W^T)^((N-j)/N) and B B^T = (W^T W)^((j-1)/N).
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from gradflow.claims import ByConstruction, Case, Corrected, Settings, claim

from . import _proofs
from ._rational import (
    Instance,
    exact,
    exact_case,
    eye,
    instances,
    orthogonal,
    plain,
    unit,
    vec,
)


@claim(
    "zhao2022.eq4.spectrum",
    kind="algebra",
    where="Appendix A.4.2, Implications of P_{W,G}; P_W as in Equation (4)",
    statement=r"P_W\,\mathrm{vec}(u_rv_{r'}^\top) = \sum_{j=1}^N \sigma_r^{2\frac{N-j}{N}}"
    r"\sigma_{r'}^{2\frac{j-1}{N}}\,\mathrm{vec}(u_rv_{r'}^\top),\quad N=1\Rightarrow P_W=I_{mn}",
    control={"share": Fraction(9, 10)},
    control_text="0.9 of the sum",
)
def eq4_spectrum(settings: Settings, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """Each singular pair is an eigenvector; the sum is the same with the two indices exchanged.

    sigma^0 = 1 also for a vanishing singular value, and for the left or right singular vectors that
    a rectangular W has no singular value for.
    """
    yield _proofs.spectrum(share)
    for made in instances(settings):
        n, roots = made.depth, made.roots
        rows, columns = made.w.shape
        p = sum(np.kron(made.right(n - j), made.left(j - 1)) for j in range(1, n + 1))
        u, v = made.frames[-1], made.frames[0]
        moved, printed = [], []
        for r in range(rows):
            for q in range(columns):
                pair = vec(u[:, [r]] @ v[:, [q]].T)
                a = roots[r] if r < len(roots) else Fraction(0)
                b = roots[q] if q < len(roots) else Fraction(0)
                value = sum(a ** (2 * (n - j)) * b ** (2 * (j - 1)) for j in range(1, n + 1))
                moved.append(p @ pair)
                printed.append(share * value * pair)
        hypotheses = made.hypotheses()
        if n == 1:
            hypotheses["P_W is the identity at depth 1"] = bool(np.all(p == eye(rows * columns)))
        yield exact_case(
            made.name, np.array(moved), np.array(printed), hypotheses, made.show(), rows * columns
        )


@claim(
    "zhao2022.eq17",
    kind="algebra",
    where="Equation (17)",
    statement=r"\dot W_j = -g_j\odot S_j \Rightarrow \dot W = -\sum_{j=1}^N W_N\cdots W_{j+1}"
    r"\,(g_j\odot S_j)\,W_{j-1}\cdots W_1",
    control={"share": Fraction(9, 10)},
    control_text="0.9 of the first layer's term",
)
def eq17(settings: Settings, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """The product's velocity from seven points of the polynomial prod (W_j + t dW_j/dt).

    Its degree is at most 5, where the sixth-order difference quotient is exact.
    """
    yield _proofs.eq17(share)
    for made in instances(settings):
        moved = [-made.layer_gradient(j) * s for j, s in enumerate(made.scalings, 1)]
        slope = exact(np.zeros(made.w.shape, int))
        for t, weight in zip(range(-3, 4), (-1, 9, -45, 0, 45, -9, 1), strict=True):
            product = eye(made.w.shape[1])
            for f, d in zip(made.factors, moved, strict=True):
                product = (f + t * d) @ product
            slope = slope + Fraction(weight, 60) * product
        printed = exact(np.zeros(made.w.shape, int))
        for j in range(1, made.depth + 1):
            part = share if j == 1 else 1
            printed = printed + part * (made.above(j) @ moved[j - 1] @ made.below(j))
        yield exact_case(
            made.name,
            slope,
            printed,
            made.scaled(),
            made.show(),
            made.w.size,
        )


def swap() -> Instance:
    """W = [[0, 1], [0, 0]] from the balanced W_1 = W, W_2 = diag(1, 0)."""
    return Instance(
        "W = [[0, 1], [0, 0]], depth 2",
        (eye(2)[[1, 0]], eye(2), eye(2)),
        exact([1, 0]),
        unit(2, 0) @ unit(2, 1).T,
    )


@claim(
    "zhao2022.kron_order",
    kind="algebra",
    where="Theorem 1 and Appendix A.4.2: P_{W,G} with G_j = I, the steps before (18), (19)",
    statement=r"BB^\top\otimes A^\top A = (WW^\top)^{\frac{N-j}{N}}\otimes"
    r"(W^\top W)^{\frac{j-1}{N}},\quad "
    r"\mathrm{vec}(\dot W) = -\sum_{j=1}^N (WW^\top)^{\frac{j-1}{N}}\otimes"
    r"(W^\top W)^{\frac{N-j}{N}}\,\mathrm{vec}(\nabla_W\mathcal L)",
    control={"share": Fraction(9, 10)},
    control_text="0.9 of all right sides besides",
    flaw="For column-major vec, vec(AXB) = (B^T kron A) vec(X), not (A^T kron C) for vec(ABC) as "
    "quoted; so W^T W stands on the left, as in Equation (4). Besides, Theorem 1 gives layer j the "
    "exponents of layer N+1-j, which only the unweighted sum forgives.",
    severity="misprint",
    survives="The structure of P_W, and (4), which has the order right; nothing that is said of "
    "(18) depends on the order.",
    readings={
        "column-major vec, as stated": "fails",
        "row-major vec": "the orders of (18) hold; those of the step B B^T kron A^T A do not",
    },
    corrected=Corrected(
        where="Theorem 1 and Appendix A.4.2, the orders exchanged",
        statement=r"BB^\top\otimes A^\top A = (W^\top W)^{\frac{j-1}{N}}\otimes"
        r"(WW^\top)^{\frac{N-j}{N}},\quad "
        r"\mathrm{vec}(\dot W) = -\sum_{j=1}^N (W^\top W)^{\frac{N-j}{N}}\otimes"
        r"(WW^\top)^{\frac{j-1}{N}}\,\mathrm{vec}(\nabla_W\mathcal L)",
        control={"corrected": False},
        control_text="the printed orders",
    ),
)
def kron_order(
    settings: Settings, corrected: bool, share: Fraction = Fraction(1)
) -> Iterator[Case]:
    """Every place that prints a Kronecker order, printed or with its two sides exchanged.

    Layer by layer, also rectangular, rank-deficient and with repeated singular values. Theorem 1's
    order is that of a row-major vec; with 1 x n or n x 1 matrices it is harmless.
    """
    if corrected:
        yield _proofs.kron_order()

    def kron(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.kron(b, a) if corrected else np.kron(a, b)

    part = exact(share)
    for made in (swap(), *instances(settings)):
        n, text, size = made.depth, made.show(), made.w.size
        velocity = exact(np.zeros(made.w.shape, int))
        for j in range(1, n + 1):
            velocity = velocity + made.above(j) @ made.layer_gradient(j) @ made.below(j)
        total = sum(kron(made.left(j - 1), made.right(n - j)) for j in range(1, n + 1))
        yield exact_case(
            f"Theorem 1's sum without G_j, {made.name}",
            vec(velocity),
            part * (total @ vec(made.gradient)),
            made.hypotheses(),
            text,
            size,
        )
        a, b = made.above, made.below
        yield exact_case(
            f"the step before (18), {made.name}",
            np.array([np.kron(b(j).T @ b(j), a(j) @ a(j).T) for j in range(1, n + 1)]),
            part * np.array([kron(made.left(n - j), made.right(j - 1)) for j in range(1, n + 1)]),
            made.hypotheses(),
            text,
            size + 0.5,
        )
        u, v, k = made.frames[-1], made.frames[0], len(made.roots)
        frame = kron(u, v)

        def spread(
            power: int, length: int, roots: np.ndarray = made.roots, k: int = k
        ) -> np.ndarray:
            values = exact(np.full(length, int(power == 0)))
            values[:k] = roots ** (2 * power)
            return np.diag(values)

        middle = [kron(spread(j - 1, len(u)), spread(n - j, len(v))) for j in range(1, n + 1)]
        yield exact_case(
            f"(19), {made.name}",
            np.array([np.kron(made.right(n - j), made.left(j - 1)) for j in range(1, n + 1)]),
            part * np.array([frame @ m @ frame.T for m in middle]),
            made.hypotheses(),
            text,
            size + 0.5,
        )
    rng = np.random.default_rng(settings.seed)
    for n in (2, 3):
        a, b, c = (exact(rng.integers(-2, 3, size=(n, n))) for _ in range(3))
        yield exact_case(
            f"vec(ABC), {n}x{n}",
            vec(a @ b @ c),
            part * ((np.kron(c.T, a) if corrected else np.kron(a.T, c)) @ vec(b)),
            {"the shapes fit": ByConstruction("square, of one size")},
            f"A = {plain(a)}, B = {plain(b)}, C = {plain(c)}",
            n * n + 0.5,
        )


@claim(
    "zhao2022.eq20",
    kind="algebra",
    where="Equation (20)",
    statement=r"u^\top X v = (u^\top\otimes v^\top)\,\mathrm{vec}(X) = "
    r"\mathrm{vec}(vu^\top)^\top\mathrm{vec}(X)",
    control={"share": Fraction(9, 10)},
    control_text="0.9 of the right side",
    flaw="For column-major vec, u^T X v = (v^T kron u^T) vec(X): the two are exchanged, as in the "
    "quoted vec(ABC).",
    severity="misprint",
    survives="(23), which has vec(u v^T). (5), the first line of (9), (21), (26) and (30) inherit "
    "the exchange; exchanging u and v back is all that it costs them.",
    readings={
        "column-major vec, as stated": "fails",
        "row-major vec": "the first equality holds; the second mixes the two conventions",
    },
    corrected=Corrected(
        where="Equation (20), corrected; as Equation (23) has it",
        statement=r"u^\top X v = (v^\top\otimes u^\top)\,\mathrm{vec}(X) = "
        r"\mathrm{vec}(uv^\top)^\top\mathrm{vec}(X)",
        control={"corrected": False},
        control_text="vec(v u^T), as printed",
    ),
)
def eq20(settings: Settings, corrected: bool, share: Fraction = Fraction(1)) -> Iterator[Case]:
    """With u = e_1, v = e_2 and X = e_1 e_2^T the printed sides are 1 and 0."""
    yield _proofs.eq20(corrected, share)
    rng = np.random.default_rng(settings.seed)
    found = [
        ("u = e_1, v = e_2", unit(2, 0), unit(2, 1), unit(2, 0) @ unit(2, 1).T),
        # Here the order does not matter.
        ("u = v = e_1", unit(2, 0), unit(2, 0), unit(2, 0) @ unit(2, 0).T),
    ]
    for rows, columns in ((2, 2), (2, 3), (4, 3), (1, 3), (5, 5)):
        u, v = orthogonal(rng, rows)[:, [0]], orthogonal(rng, columns)[:, [0]]
        found.append((
            f"{rows}x{columns}", u, v, exact(rng.integers(-3, 4, size=(rows, columns)))
        ))  # fmt: skip
    for name, u, v, x in found:
        pair = u @ v.T if corrected else v @ u.T
        yield exact_case(
            name,
            (u.T @ x @ v)[0, 0],
            share * (vec(pair) @ vec(x)),
            {"u and v are unit vectors": (u.T @ u)[0, 0] == 1 == (v.T @ v)[0, 0]},
            f"u = {plain(u.T[0])}, v = {plain(v.T[0])}, X = {plain(x)}",
            x.size,
        )
