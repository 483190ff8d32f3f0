r"""The norm blow-up of tensors (ours): what razin2020's Theorem 1 becomes for one component.

Of a tensor with axes of length 2 and more three entries are seen: W_12s = W_21s = 1, W_22s = 0,
where s stands for the first place on all other axes. One component has W_11s W_22s = W_12s W_21s,
so that a loss that falls to zero drives the unobserved entry, and with it every norm, to infinity.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import jax
import numpy as np
import sympy

import gradflow as gf
from gradflow.claims import Best, ByConstruction, Case, Measured, Settings, claim, roundings
from gradflow.claims.proofs import chain, counterexample, prove_identity, settle

from ..razin2020._enclosed import along, entry_and_loss
from . import _enclosed

SEEN, VALUES = ((0, 1), (1, 0), (1, 1)), (1.0, 1.0, 0.0)
STOP_LOSS = 1e-4


def problem(shape: tuple[int, ...]) -> gf.TensorCompletion:
    """Three entries of the first 2x2 block are seen, the fourth is not."""
    rest = (0,) * (len(shape) - 2)
    return gf.TensorCompletion(shape, [(*cell, *rest) for cell in SEEN], VALUES)


@cache
def flow(shape: tuple[int, ...], rank: int, scale: float, seed: int) -> gf.Trajectory:
    """From positive vectors of a Gaussian's sizes, down to a loss of `STOP_LOSS`."""
    posed = problem(shape)
    model = gf.CPTensor(shape, rank)
    start = model.random_balanced(jax.random.key(seed), scale)
    if rank == 1:
        start = tuple(abs(w) for w in start)
    return gf.solve_flow(
        gf.Objective(posed, model), start, stop_loss=STOP_LOSS, max_steps=20_000, rtol=1e-9,
        coordinates="factors", observe=("loss", "product"),
    )  # fmt: skip


def proof(rank: int) -> Case:
    """The block of one component has determinant 0; two may leave the unobserved entry at 0."""
    statement = "|W_11s| >= (1-s)^2/s, s = sqrt(2 loss) < 1"
    half = Fraction(1, 2)
    witness = {"W_11s, W_12s, W_21s, W_22s": "0, 1, 1, 1/2: two components", "s": "1/2"}
    broken = counterexample(statement, (1 - half) ** 2 / half, witness) if rank > 1 else None
    block = sympy.zeros(2, 2)
    for r in range(rank):
        a1, a2, b1, b2, c = sympy.symbols(f"a_1{r} a_2{r} b_1{r} b_2{r} c_{r}")
        block += sympy.Matrix([a1, a2]) * sympy.Matrix([[b1, b2]]) * c
    s, x, y = sympy.symbols("s x y")
    found = chain(
        statement,
        prove_identity("W_11s W_22s - W_12s W_21s", block.det(), sympy.Integer(0)),
        prove_identity(
            "W_12s W_21s - (1-s)^2 with W_12s = 1-s+x, W_21s = 1-s+y; x, y not negative",
            (1 - s + x) * (1 - s + y) - (1 - s) ** 2, (1 - s) * (x + y) + x * y,
        ),
        cites=("|W_22s|, |W_12s - 1| and |W_21s - 1| are at most s: terms of 2 loss",),
    )  # fmt: skip
    hypotheses = {"R = 1": ByConstruction("symbols, c for the other axes; any order")}
    return Case("proof", proof=settle(found, broken), whole=True, hypotheses=hypotheses, size=4)


@claim(
    "razin2021.norm_blowup",
    kind="inequality",
    where="ours; razin2020's Theorem 1 for a CP factorisation of one component",
    statement=r"W_{12s} = W_{21s} = 1,\ W_{22s} = 0 \text{ seen},\ R = 1,\ \ell(t) < \tfrac12 "
    r"\Rightarrow |W_{11s}(t)| \ge \frac{(1 - \sqrt{2\ell(t)})^2}{\sqrt{2\ell(t)}}",
    control={"rank": 2},
    control_text="two components",
    best=(
        Best(
            r"\frac{(1-\sqrt{2\ell})^2}{\sqrt{2\ell}}",
            r"\sqrt{\frac{(1-x)^3}{x}},\ x + x^2 = 2\ell \le \tfrac34;\quad "
            r"\sqrt{1-2\ell} \text{ beyond}",
            "proved",
            "The infimum of razin2020.lem18.sharp, whose proof asks for a determinant that is not "
            "negative; attained here, where it is 0.",
        ),
    ),
)
def norm_blowup(settings: Settings, rank: int = 1) -> Iterator[Case]:
    """Flows of orders 3 to 5 from small and large starts, to a loss of 1e-4, and one that stays."""
    yield proof(rank)
    flows = _enclosed.ONE if rank == 1 else _enclosed.TWO
    yield from along(entry_and_loss, flows)
    shapes = [(2, 2, 2), (3, 2, 4), (2, 2, 2, 2), (2, 2, 2, 2, 2)]
    for k, shape in enumerate(shapes):
        for scale in (0.5, 0.1) if settings.full or k < 2 else (0.5,):
            run = flow(shape, rank, scale, settings.seed + k)
            entry = np.abs(run["product"][(slice(None), 0, 0, *(0,) * (len(shape) - 2))])
            root = np.sqrt(2 * run["loss"])
            low = root < 1
            bound = (1 - root[low]) ** 2 / root[low]
            yield Case(
                name=f"{'x'.join(map(str, shape))}, scale {scale:g}",
                slack=(entry[low] - bound) / np.maximum(bound, entry[low]),
                floor=roundings(1e-12, "W_22s, a residual, knows fewer digits than the others"),
                hypotheses={
                    "R = 1": ByConstruction("one component" if rank == 1 else "broken on purpose"),
                    "the loss falls to 1e-4": Measured(
                        float(run["loss"][-1]), below=STOP_LOSS * (1 + 1e-6)
                    ),
                },
                size=float(np.prod(shape)),
                notes=f"|W_11s| = {entry[-1]:.4g} at loss {run['loss'][-1]:.2g}, the bound "
                f"{bound[-1]:.4g}",
                along=("loss", run["loss"][low]),
            )
