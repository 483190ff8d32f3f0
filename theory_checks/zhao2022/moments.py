r"""Zhao 2022: Adam's moments as printed, and where gradient descent ends at depth 1.

Adam (Kingma and Ba 2015) keeps m_t = beta m_(t-1) + (1 - beta) g_t and divides by 1 - beta^t, so
that a constant gradient is returned as it is:

    m_t / (1 - beta^t) = (1 - beta) sum_k beta^(t-k) g_k / (1 - beta^t).

The paper prints the weights beta and 1 - beta exchanged, with the same bias corrections.
"""

from collections.abc import Iterator
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Confirmation, Corrected, Measured, Settings, claim

from . import _proofs_adam
from ._rational import exact, exact_case, plain


def moments(g: np.ndarray, beta: Fraction | float, corrected: bool) -> list[np.ndarray | Fraction]:
    """Bias-corrected m_1, m_2, ... with Adam's weights beta and 1 - beta; as printed, exchanged."""
    keep, take = (beta, 1 - beta) if corrected else (1 - beta, beta)
    m, found = 0 * g[0], []
    for t, now in enumerate(g, 1):
        m = keep * m + take * now
        found.append(m / (1 - beta**t))
    return found


@claim(
    "zhao2022.adam_moments",
    kind="algebra",
    where="Appendix A.4.2, Setup",
    statement=r"m_t = (1-\beta_1)m_{t-1}+\beta_1g_{t-1},\ v_t = (1-\beta_2)v_{t-1}+\beta_2g_{t-1}^2"
    r",\ \hat m_t = \frac{m_t}{1-\beta_1^t},\ \hat v_t = \frac{v_t}{1-\beta_2^t}",
    control={"factor": Fraction(11, 10)},
    control_text="1.1 times the moments besides",
    flaw="beta and 1 - beta are exchanged in both averages while the bias corrections are those of "
    "Adam, so even a constant gradient is not returned; besides, the step from W^(t) uses g_(t-1), "
    "the gradient one iterate earlier.",
    severity="misprint",
    survives="Everything: (14) asks only that the averages estimate the moments, as those of Adam "
    "do, and experiments run PyTorch's Adam.",
    corrected=Corrected(
        where="Appendix A.4.2, Setup, corrected after Kingma and Ba 2015",
        statement=r"m_t = \beta_1m_{t-1}+(1-\beta_1)g_t,\ v_t = \beta_2v_{t-1}+(1-\beta_2)g_t^2,\ "
        r"\hat m_t = \frac{m_t}{1-\beta_1^t},\ \hat v_t = \frac{v_t}{1-\beta_2^t}",
        control={"corrected": False},
        control_text="beta and 1 - beta exchanged, as printed",
    ),
)
def adam_moments(
    settings: Settings, corrected: bool, factor: Fraction = Fraction(1)
) -> Iterator[Case]:
    """Both moments against Adam's weighted means (exactly), and whole steps against optax.

    As printed not Adam's for any beta other than 1/2; the defaults (0.9, 0.999) are meant as usual.
    """
    yield _proofs_adam.moments(corrected, factor)
    rng = np.random.default_rng(settings.seed)
    runs = [("g = 1, beta = 4/5, one step", exact([1]), Fraction(4, 5))]
    for beta in (Fraction(9, 10), Fraction(999, 1000), Fraction(1, 3)):
        g = exact(rng.integers(-4, 5, size=(6 if not settings.full else 30, 3)))
        runs.append((f"random gradients, beta = {beta}", g, beta))
        runs.append((f"constant gradient, beta = {beta}", exact(np.full((5, 1), 2)), beta))
    for name, g, beta in runs:
        for label, values in (("m", g), ("v", g**2)):
            weighted = [
                (1 - beta) * sum(beta ** (t - k) * values[k - 1] for k in range(1, t + 1))
                / (1 - beta**t)
                for t in range(1, len(values) + 1)
            ]  # fmt: skip
            yield exact_case(
                f"{label}, {name}",
                weighted,
                factor * np.array(moments(values, beta, corrected)),
                {"beta in (0, 1)": 0 < beta < 1},
                f"gradients {plain(g)}, beta = {beta}",
                g.size + (label == "v"),
                notes="with beta_1 = beta_2 = 4/5 the first printed step is 4 / sqrt(4) = 2 "
                "learning rates, Adam's is 1; with beta = 0.999 it is sqrt(999) = 31.6"
                if label == "m" and "one step" in name else "",
            )  # fmt: skip
    for b1, b2 in ((0.9, 0.999), (0.999, 0.999), (0.5, 0.5)):
        g = rng.normal(size=(40, 7))
        optimizer = optax.adam(1.0, b1=b1, b2=b2, eps=0.0)
        state, steps = optimizer.init(jnp.zeros(7)), []
        for now in g:
            step, state = optimizer.update(jnp.asarray(now), state)
            steps.append(-np.asarray(step))
        if b1 == 0.5 and not corrected:
            continue  # beta and 1 - beta are the same.
        exactly = [Fraction(b1), Fraction(b2)]
        m, v = (
            np.array(moments(exact(x), b, corrected)).astype(float)
            for x, b in zip((g, exact(g) ** 2), exactly, strict=True)
        )
        m64, v64 = (
            np.array(moments(x, b, corrected)) for x, b in zip((g, g**2), (b1, b2), strict=True)
        )
        scale = np.max(np.abs(steps))
        yield Case(
            name=f"steps of optax.adam, betas {b1}, {b2}",
            residual=np.max(np.abs(steps - float(factor) * m / np.sqrt(v)), axis=1) / scale,
            # 1 - beta^t loses digits: the same recursion in float64 says how many.
            floor=10 * np.max(np.abs(m64 / np.sqrt(v64) - m / np.sqrt(v))) / scale,
            hypotheses={
                "beta in (0, 1)": ByConstruction("1/2 to 0.999"),
                "epsilon = 0": ByConstruction("optax.adam is given eps = 0"),
            },
            size=g.size,
        )


@claim(
    "zhao2022.depth1.gd",
    kind="limit",
    where="Section 3.4",
    statement=r"N=1:\ \lim_{t\to\infty}W(t) = "
    r"\mathrm{argmin}\{\|W\|_F : \mathcal P_\Omega(W)=\mathcal P_\Omega(W^*)\}",
    control={"scale": 1.1},
    control_text="1.1 times that solution",
    flaw="Nothing is said about the start: gradient descent never moves what is not observed, so "
    "it ends at the solution nearest to W(0), which has the least norm only if W(0) vanishes on "
    "the unobserved entries; from the paper's own start of std 1e-3 each "
    "unobserved entry is off by about that much.",
    severity="missing hypothesis",
    survives="What it is quoted for, that plain gradient descent at depth 1 does not find low "
    "rank: from starts of std 1e-3 each entry of the limit is within about that of the solution of "
    "least norm.",
    readings={
        "any start, as printed": "fails",
        "W(0) = 0 on the unobserved entries": "holds",
    },
    corrected=Corrected(
        where="Section 3.4, with the start",
        statement=r"N=1:\ \lim_{t\to\infty}W(t) = "
        r"\mathrm{argmin}\{\|W-W(0)\|_F : \mathcal P_\Omega(W)=\mathcal P_\Omega(W^*)\};\quad "
        r"W(0)=0:\ \text{least}\ \|W\|_F",
        control={"corrected": False},
        control_text="the least-norm solution from every start",
    ),
)
def depth1_gd(settings: Settings, corrected: bool, scale: float = 1.0) -> Iterator[Case]:
    """The end of gradient descent against the solution of least norm, or the one nearest to W(0).

    For completion and for Gaussian measurements, by the pseudo-inverse.
    """
    yield _proofs_adam.depth1_limit(corrected, scale)
    key = jax.random.key(settings.seed)
    small = gf.MatrixCompletion((1, 2), [[0, 0]], [1.0], loss="sum")
    big = (40, 40) if settings.full else (20, 20)
    fifth = gf.synthetic.matrix_completion(key, big, 3, big[0] * big[1] // 5, loss="sum")
    problems: list[tuple[str, gf.MatrixCompletion | gf.MatrixSensing, float]] = [
        ("1x2, w_11 = 1 observed", small, 0.25),
        (f"{big[0]}x{big[1]}, a fifth observed", fifth, 0.25),
        ("5x4, 8 Gaussian measurements", gf.synthetic.matrix_sensing(key, (5, 4), 2, 8,
            loss="sum"), 0.0),
    ]  # fmt: skip
    for name, problem, rate in problems:
        rows, columns = problem.shape
        basis = jnp.eye(rows * columns).reshape(-1, rows, columns)
        at_zero = np.asarray(problem.residual(jnp.zeros(problem.shape)))
        operator = np.asarray(jax.vmap(problem.residual)(basis)).reshape(rows * columns, -1).T
        operator = operator - at_zero.reshape(-1, 1)
        top = float(np.linalg.norm(operator, 2)) ** 2
        rate = rate or 0.5 / top
        for std in (0.0, 1e-3, 0.5):
            if (rows, columns) == (1, 2):
                start = np.full((1, 2), std)
            else:
                start = std * np.random.default_rng(settings.seed).normal(size=problem.shape)
            objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, 1))
            steps = 400 if top < 1.5 else 20000
            run = gf.run_descent(
                objective, (jnp.asarray(start),), optax.sgd, learning_rate=rate, max_steps=steps,
                record=[steps - 1], observe=("loss", "product"),
            )  # fmt: skip
            end = run["product"][-1]
            inverse = np.linalg.pinv(operator)
            least = -(inverse @ at_zero.ravel()).reshape(problem.shape)
            there = at_zero.ravel() + operator @ start.ravel()
            nearest = start - (inverse @ there).reshape(problem.shape)
            wanted = scale * (nearest if corrected else least)
            size = np.linalg.norm(least)
            moved = np.linalg.norm(end - run["product"][-2]) / size

            def confirm(_: int, std: float = std) -> Confirmation:
                first, second = Fraction(std), Fraction(std)
                for _k in range(60):
                    first = first - Fraction(1, 4) * 2 * (first - 1)
                norm = first**2 + second**2
                return Confirmation(
                    norm > 1 and second != 0,
                    f"W(0) = ({std}, {std}), rate 1/4, loss (w_11 - 1)^2: after 60 steps w_11 is "
                    f"1 up to {float(abs(first - 1)):.0e} and w_12 is still {std}; the solution of "
                    f"least norm is (1, 0)",
                    (norm, second),
                )

            yield Case(
                name=f"{name}, start of std {std:g}",
                residual=np.linalg.norm(end - wanted) / size,
                floor=1e3 * moved + 1e-12,
                hypotheses={
                    "depth 1": ByConstruction("one factor"),
                    "the rate is below 2 / largest curvature": Measured(
                        float(2 * rate * top), below=2
                    ),
                    "it converged": Measured(float(run["loss"][-1] / size**2), below=1e-18),
                },
                size=rows * columns + (std != 1e-3),
                confirm=confirm if (rows, columns) == (1, 2) and std else None,
                notes=f"distance from the solution of least norm "
                f"{np.linalg.norm(end - least) / size:.1e} of its norm",
            )
