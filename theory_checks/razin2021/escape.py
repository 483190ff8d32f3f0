r"""How long a CP factorisation takes to leave the origin (ours, from Theorem 1 of razin2021).

Near zero the gradient is that at W = 0, so that factors alpha F obey an equation homogeneous
of degree N - 1: the time to a fixed loss is alpha^-(N-2) times a number that depends on F alone.
"""

from collections.abc import Iterator
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import gradflow as gf
from gradflow.claims import Case, Measured, Settings, claim

SCALES = {3: (1e-2, 1e-3, 1e-4), 4: (1e-1, 1e-2, 1e-3), 5: (1e-1, 3e-2, 1e-2)}
"""By order; at smaller ones times would be lost to round-off at order 5."""
HALF = 0.5
"""A flow has left the origin where its loss has fallen to this share of that at zero."""


@cache
def times(seed: int, order: int) -> tuple[np.ndarray, np.ndarray, float]:
    """When flows from balanced factors leave; the same at a hundredfold tolerance."""
    shape = (3,) * order
    problem = gf.synthetic.tensor_completion(
        jax.random.key(seed + order), shape, 2, int(0.6 * 3**order), loss="half_sum"
    )
    model = gf.CPTensor(shape, 4)
    direction = model.random_balanced(jax.random.key(seed + 7), 1.0)
    target = HALF * float(problem.loss(jnp.zeros(shape)))
    found = []
    for rtol in (1e-10, 1e-8):
        runs = [
            gf.solve_flow(
                gf.Objective(problem, model), tuple(scale * w for w in direction),
                stop_loss=target, observe=("loss",), rtol=rtol, coordinates="factors",
            )
            for scale in SCALES[order]
        ]  # fmt: skip
        found.append(np.array([run.times[-1] for run in runs]))
    balanced = float(model.unbalancedness(direction))
    return found[0], found[1], balanced


@claim(
    "razin2021.escape",
    kind="limit",
    where="ours; follows from Theorem 1",
    statement=r"W_r^n(0) = \alpha F_r^n \text{ balanced},\ N \ge 3 \Rightarrow "
    r"T(\alpha)\,\alpha^{N-2} \to \text{const as } \alpha \to 0,\quad T: \text{ the loss is half "
    r"that at } 0",
    control={"power": -0.1},
    control_text="alpha^(N-2.1)",
    resolution=2e-2,
)
def escape(settings: Settings, power: float = 0.0) -> Iterator[Case]:
    """Orders 3 to 5; the distance from the limit falls with alpha, each step bounds the next."""
    for order in (3, 4, 5):
        found, coarse, balanced = times(settings.seed, order)
        scaled = found * np.array(SCALES[order]) ** (order - 2 + power)
        steps = np.abs(np.diff(scaled)) / scaled[1:]
        # Each smaller scale changes the number at least three times less than the one before.
        exact = found * np.array(SCALES[order]) ** (order - 2)
        changes = np.abs(np.diff(exact)) / exact[1:]
        error = float(np.abs(found / coarse - 1).max())
        yield Case(
            name=f"order {order}",
            residual=steps[-1],
            floor=float(changes[0] / 3) + error if changes[1] < changes[0] / 3 else 0.0,
            hypotheses={
                "balanced start": Measured(balanced, below=1e-14),
                "N >= 3": Measured(order, above=2),
                "the times are known": Measured(float(error), below=1e-3),
            },
            size=float(order),
            notes="T alpha^(N-2): "
            + ", ".join(f"{x:.6g} at {a:g}" for x, a in zip(exact, SCALES[order], strict=True)),
        )
