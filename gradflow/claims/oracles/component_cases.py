"""Cases for the formulas of the components' motion: those of `components`, with their floors."""

from collections.abc import Iterator
from fractions import Fraction

import mpmath
import numpy as np
import sympy

from gradflow.claims.definition import Case
from gradflow.claims.floors import FIFTY_DIGITS, roundings
from gradflow.claims.hypotheses import ByConstruction, Measured
from gradflow.claims.oracles.components import (
    AbstractComponents,
    Entries,
    Followed,
    Moving,
    ranges,
    spread,
)
from gradflow.claims.oracles.high_precision import DIGITS, Real
from gradflow.claims.proofs import (
    Proof,
    chain,
    counterexample,
    not_negative,
    prove_identity,
    settle,
)

EPS = float(np.finfo(float).eps)
ROUNDED = 2e-14
"""Relative differences of squared lengths up to which `balanced` calls them equal, and a third."""


def conserved(flows: list[Followed], power: float) -> Iterator[Case]:
    """Whether differences of powers of lengths stay.

    The floor is what a hundredfold tolerance changes, and a rounding a step.

    Args:
      flows: along which they are followed.
      power: 2 for squared lengths.
    """
    for flow in flows:
        runs = []
        for points in (flow.points, flow.coarse):
            differences = [
                [np.diff(at.squares ** (power / 2), axis=0).ravel() for at in nodes]
                for nodes in points
            ]
            runs.append(np.array([np.concatenate(nodes) for nodes in differences]))
        tight, coarse = (np.abs(found - found[0]) for found in runs)
        size = max(float(np.max(at.squares)) for at in flow.points[-1])
        yield Case(
            name=flow.name,
            residual=tight.ravel() / size,
            floor=np.abs(runs[0] - runs[1]).max() / size + EPS * flow.steps,
            hypotheses={
                **flow.components.hypothesis,
                "the factors move": Measured(flow.moved, above=1e-2),
            },
            size=flow.size,
            notes=f"largest change at rtol 1e-10: {coarse.max() / size:.1e}",
        )


def balanced_motion(flows: list[Followed], unbalanced: bool) -> Iterator[Case]:
    """dc/dt = L gamma c^(2 - 2/L), where round-off breaks the balance: that is the floor.

    Args:
      flows: those from balanced starts count.
      unbalanced: take the others instead; the control.
    """

    def gap(at: Moving) -> np.ndarray:
        size = at.order * at.c ** (2 - 2 / at.order)
        return (at.speed - size * at.gamma) / (size * at.scale)

    for flow in (flow for flow in flows if flow.balanced != unbalanced):
        start = flow.points[0]
        # d log of the right side by d log of a squared length is of order 1.
        measured = flow.numbers(lambda at: ranges(at, relative=True) + 1e-13)
        yield Case(
            name=flow.name,
            residual=flow.numbers(gap),
            floor=roundings(1e-12, "the start is far from balanced") if unbalanced else measured,
            hypotheses={
                **flow.components.hypothesis,
                "balanced start": ByConstruction("the control takes the other starts")
                if unbalanced
                else Measured(float(spread(start, relative=True)), below=ROUNDED),
                "c > 0": _nonzero(flow),
            },
            size=flow.size,
            witness=flow.witness,
        )


def motion(flows: list[Followed], mean: bool) -> Iterator[Case]:
    """dc/dt = gamma c^2 sum_l ||v^l||^-2, at points of unbalanced flows.

    Args:
      flows: those from unbalanced starts count.
      mean: L c^(-2/L) instead of the sum; the control.
    """

    def gap(at: Moving) -> np.ndarray:
        total = np.sum(1 / at.squares, axis=0)
        power = at.order * at.c ** (-2 / at.order) if mean else total
        return (at.speed - at.gamma * at.c**2 * power) / (at.scale * at.c**2 * total)

    for flow in (flow for flow in flows if not flow.balanced):
        yield Case(
            name=flow.name,
            residual=flow.numbers(gap),
            floor=roundings(1e-13, "sums of some hundred products"),
            hypotheses={**flow.components.hypothesis, "c > 0": _nonzero(flow)},
            size=flow.size,
            witness=flow.witness,
        )


def _nonzero(flow: Followed) -> Measured:
    return Measured(min(float(np.min(at.c)) for at in flow.points[0]), above=0)


def enclosed(flows: list[Followed], share: float) -> Iterator[Case]:
    """L gamma c^2 / (c^(2/L) + eps) and L gamma (c^(2/L) + eps)^(L-1) enclose dc/dt.

    Args:
      flows: all count.
      share: of the start's unbalancedness, eps; less than the best share is the control.
    """
    for flow in flows:
        eps = share * spread(flow.points[0])

        def slacks(at: Moving, eps: float = eps) -> np.ndarray:
            root = at.c ** (2 / at.order) + eps
            bounds = (at.c**2 / root, root ** (at.order - 1))
            low, high = (at.order * np.abs(at.gamma) * x for x in bounds)
            speed = np.where(at.gamma >= 0, at.speed, -at.speed)
            return np.concatenate(
                np.stack([speed - low, high - speed]) / (at.order * at.scale * bounds[1])
            )

        signs = sorted({int(s) for s in flow.numbers(lambda at: np.sign(at.gamma))})
        yield Case(
            name=flow.name,
            slack=flow.numbers(slacks),
            floor=roundings(1e-13, "sums of some hundred products"),
            hypotheses={
                **flow.components.hypothesis,
                "eps is the start's unbalancedness": ByConstruction("it is computed from it"),
            },
            size=flow.size,
            notes=f"signs of gamma that occur: {signs}",
        )


def arithmetic_geometric(factor: Fraction) -> Proof:
    """sum_l 1/a_l >= factor L (a_1 ... a_L)^(-1/L), a_l = ||v^l||^2, c^2 = a_1 ... a_L."""
    statement = f"gamma c^2 sum_l ||v^l||^-2 >= {factor} L gamma c^(2 - 2/L) for gamma >= 0"
    broken = counterexample(statement, factor - 1, {"all ||v^l||, gamma": "1"})
    c, n, a, b = sympy.symbols("c L a b", positive=True)
    proof = chain(
        statement,
        prove_identity("L = 2: the sum less the bound is a square, a and b the lengths",
                       a**-2 + b**-2 - 2 / (a * b), (1 / a - 1 / b) ** 2),
        prove_identity("c^2 (c^2)^(-1/L)", sympy.powsimp(c**2 * c ** (-2 / n)), c ** (2 - 2 / n)),
        not_negative("1 less the factor", 1 - factor),
        cites=("the mean of 1/a_l is at least their geometric mean",
               "dc/dt = gamma c^2 sum_l ||v^l||^-2 (the product rule, at every start)"),
    )  # fmt: skip
    return settle(proof, broken)


def from_below(flows: list[Followed], factor: Fraction) -> Iterator[Case]:
    """|dc/dt| >= factor L |gamma| c^(2 - 2/L) from every start, proved and along flows.

    Args:
      flows: all count; those from balanced starts reach it.
      factor: more than 1 is the control.
    """

    def slacks(at: Moving) -> np.ndarray:
        size = at.order * at.c ** (2 - 2 / at.order)
        speed = np.where(at.gamma >= 0, at.speed, -at.speed)
        return (speed - float(factor) * size * np.abs(at.gamma)) / (size * at.scale)

    every = {"c > 0": ByConstruction("any such vectors, any loss")}
    yield Case("proof", proof=arithmetic_geometric(factor), whole=True, hypotheses=every, size=1)
    for flow in flows:
        yield Case(
            name=flow.name,
            slack=flow.numbers(slacks),
            floor=roundings(1e-12, "sums of some hundred products"),
            hypotheses={**flow.components.hypothesis, "c > 0": _nonzero(flow)},
            size=flow.size,
        )


def in_fifty_digits(name: str, components: AbstractComponents, seed: list[int], mean: bool) -> Case:
    """`motion` at random rational factors and for any gradient, by W's linearity in each factor."""
    rng = np.random.default_rng(seed)
    shapes = components.model.factor_shapes
    with mpmath.workdps(DIGITS):
        factors = tuple(_rational(rng.integers(1, 9, shape), 7) for shape in shapes)
        slope = _rational(rng.integers(-9, 10, components.by_hand(factors).shape), 5)

        def against(used: Entries) -> Real:
            return -np.sum(slope * components.by_hand(used))

        velocity = []
        for k, shape in enumerate(shapes):
            moved = np.empty(shape, object)
            for cell in np.ndindex(*shape):
                unit = _rational(np.zeros(shape, int), 1)
                unit[cell] = mpmath.mpf(1)
                moved[cell] = against((*factors[:k], unit, *factors[k + 1 :]))
            velocity.append(moved)
        residuals = []
        pairs = zip(components.vectors(factors), components.vectors(tuple(velocity)), strict=True)
        for node, (vectors, speeds) in enumerate(pairs):
            squares = [np.sum(v**2, axis=0) for v in vectors]
            for s in range(squares[0].size):
                lengths = [square[s] for square in squares]
                c = mpmath.sqrt(mpmath.fprod(lengths))
                # d log c/dt = sum_l <v^l, dv^l/dt> / ||v^l||^2.
                terms = zip(vectors, speeds, lengths, strict=True)
                speed = c * mpmath.fsum(np.sum(v * u, axis=0)[s] / x for v, u, x in terms)
                gamma = against(components.alone(factors, node, s)) / c
                total = mpmath.fsum(1 / x for x in lengths)
                if mean:
                    total = len(lengths) * c ** (-mpmath.mpf(2) / len(lengths))
                residuals.append(float(abs(speed - gamma * c**2 * total) / abs(speed)))
    return Case(
        name=f"{name}, 50 digits",
        residual=np.array(residuals),
        floor=FIFTY_DIGITS,
        hypotheses={
            **components.hypothesis,
            "c > 0": ByConstruction("vectors of positive numbers"),
        },
        size=float(slope.size),
    )


def _rational(whole: np.ndarray, below: int) -> np.ndarray:
    """Whole numbers over another, in as many digits as mpmath now has."""
    return np.vectorize(lambda x: mpmath.mpf(int(x)) / below, otypes=[object])(whole)
