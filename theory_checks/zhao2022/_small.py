"""The smallest instances of Theorems 1 and 3, exactly: velocities under (15), and by formulas."""

from fractions import Fraction

import numpy as np

from gradflow.claims import ByConstruction, Case, Confirmation

from ._rational import equal, exact, eye, plain, relative, vec

Sides = tuple[np.ndarray, np.ndarray, str]
"""The velocity under (15), that by a formula, and the numbers from which both follow."""


def exchanged_axes(printed: bool) -> Sides:
    """The product's velocity, full batches, W W^T = I; the formula printed in (6), or corrected."""
    flip, l = eye(2)[[1, 0]], exact([[4, 1], [1, 4]])
    g1, g2 = l, l @ flip.T
    true = -(g1 / abs(g1) + g2 / abs(g2) @ flip)
    if printed:
        found = -(l / abs(g1) + l / abs(g2))
    else:
        outer = np.kron(flip.T, eye(2))  # B_2 kron A_2^T; that of layer 1 is the identity
        one, two = (vec(1 / abs(g)) for g in (g1, g2))
        found = -(one * vec(l) + outer @ (two * (outer.T @ vec(l)))).reshape(2, 2).T
    text = (
        f"W_1 = {plain(flip)}, W_2 = I, gradient L = {plain(l)}, s = 0: g_1 = L, g_2 = {plain(g2)};"
        " W W^T = I, so P_(W,G) = G_1 + G_2"
    )
    return true, found, text


def first_value(exchanged: bool) -> Sides:
    """The first singular value's velocity at depth 1, full batches; by vec(v u^T) or vec(u v^T)."""
    l = exact([[1, 1], [-1, 1]])
    moved = -l / abs(l)
    u, v = exact([[1], [0]]), exact([[0], [1]])
    true = (u.T @ moved @ v)[0]
    found = vec(v @ u.T if exchanged else u @ v.T) @ vec(moved)
    text = f"N = 1, W = [[0, 2], [1, 0]], gradient {plain(l)}, s = 0; u_1 = e_1, v_1 = e_2"
    return true, exact([found]), text


def with_penalty(values: bool, printed: bool) -> Sides:
    """Velocities at W = diag(4, 3), depth 1, full batches, lambda = 1; with (12), or corrected."""
    s, l = exact([4, 3]), exact([[0, 1], [1, 0]])
    nuclear, size = Fraction(7), Fraction(5)
    push = np.diag((size - nuclear * s / size) / size**2)  # by the quotient rule
    formula = (1 - s * nuclear / size) / size**2 if printed else (1 - s * nuclear / size**2) / size
    g = l + push
    true, found = -g / abs(g), -(l + np.diag(formula)) / abs(g)
    text = (
        f"N = 1, W = diag(4, 3), loss gradient {plain(l)}, lambda = 1, s = 0: the gradient is "
        f"{plain(g)}, with (12) it would be {plain(l + np.diag(formula))}"
    )
    if values:
        return np.diag(true), np.diag(found), text
    return true, found, text


def small_case(name: str, sides: Sides, size: float) -> Case:
    """A printed formula at an instance; the case is its own confirmation."""
    true, printed, text = sides

    def confirm(_: int) -> Confirmation:
        return Confirmation(
            not equal(true, printed),
            f"{text}: velocity {plain(true)}, printed {plain(printed)}",
            (true, printed),
        )

    return Case(
        name=name,
        residual=relative(true, printed),
        hypotheses={
            "balanced factors": ByConstruction("depth 1, or an exchange of axes and the identity"),
            "s_j^2 >= 0": ByConstruction("s = 0: full batches"),
        },
        size=size,
        confirm=confirm,
    )
