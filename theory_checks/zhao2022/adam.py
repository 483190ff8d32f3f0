r"""Zhao 2022, Theorems 1 and 3: how well the formulas for Adam describe real Adam runs.

The regime in which the paper expects them: after a burn-in, with steps so small that the gradient
hardly changes over the memory 1/(1 - beta) of the averages (learning rate to 0), balanced factors.
Only such runs are judged; larger learning rates are shown. Errors are relative, in Frobenius norm,
of velocities over windows of iterations. Where the regime is met, what is left is the formula's own
error.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

import gradflow as gf
from gradflow.claims import ByConstruction, Case, Corrected, Measured, Settings, claim, roundings
from gradflow.claims.oracles.flows import balanced

from . import _proofs_adam, study
from ._runs import (
    FAR,
    FORMULAS,
    OBSERVED,
    SHARE,
    SIZE,
    Setup,
    Window,
    distance,
    velocities,
    windows,
    with_,
)
from ._small import exchanged_axes, first_value, small_case, with_penalty

ErrorOf = Callable[[Window], float]
SMALL = 0.01
"""Up to this share of the factors' entries (root mean square) they may move in the burn-in of five
memories: the regime of what approximates here. Beyond it errors reach 0.3 to 1."""
_REGIME = (
    r"\alpha\,\tfrac{5}{1-\max\beta} \le 0.01\ \mathrm{rms}(W_j),\ "
    r"t\ge\tfrac{5}{1-\max\beta} \Rightarrow "
)
_SMOOTH = r"\sigma_{\min}(W) > 0,\ " + _REGIME
BETAS = ((0.9, 0.999), (0.999, 0.999))
"""PyTorch's defaults, which the paper's experiments use, and its derivation's beta = 0.999."""


def run_cases(
    settings: Settings, error_of: ErrorOf, weight: float = 0.0, printed: bool = False
) -> Iterator[Case]:
    """The error of a formula on real Adam runs of depths 1 to 3, judged where steps are small."""
    for depth in (1, 2, 3):
        for batch in (None, 4):
            for betas in BETAS if settings.full or depth == 2 else BETAS[:1]:
                base = Setup(
                    depth, 2e-7, betas, batch, weight, window=10000,
                    seed=settings.seed, printed_penalty=printed,
                )  # fmt: skip
                setups = [base, with_(base, rate=1e-5)]
                if not weight or settings.full:
                    setups.append(with_(base, rate=1e-3, window=1000))
                if batch is not None and not weight:
                    # The paper's entries of std 1e-3, and steps that are small next to them.
                    setups.append(with_(base, rate=2e-10, start="gaussian"))
                for setup in setups:
                    yield _run_case(setup, error_of)


def _run_case(setup: Setup, error_of: ErrorOf) -> Case:
    (window,) = windows(setup)
    entries = np.concatenate([np.ravel(factor) for factor in setup.factors])
    share = setup.rate * setup.burn_in / float(np.sqrt(np.mean(entries**2)))
    small = share <= SMALL
    limit = SMALL * (1 + 1e-9)
    regime = {"rate x burn-in over the factors' entries": Measured(share, below=limit)}
    error = error_of(window)
    batch = "full batches" if setup.batch is None else f"batches of {setup.batch} in {OBSERVED}"
    return Case(
        name=f"Adam, depth {setup.depth}, rate {setup.rate:g}, betas {setup.betas}, {batch}, "
        f"{setup.start} start",
        residual=error,
        floor=window.quadrature + 1e-9,
        hypotheses={
            "burn-in, in memories, at least 5": Measured(
                setup.burn_in * (1 - max(setup.betas)), above=5 - 1e-9
            ),
            "epsilon = 0": ByConstruction("the runs have epsilon = 1e-100"),
        }
        | (regime if small else {}),
        size=SIZE * SIZE,
        counts=small,
        notes=f"relative error {error:.3f}; unbalancedness {window.unbalancedness:.2g}, s/|g| "
        f"{window.noise:.2g}, {100 * window.turning:.1f}% of the gradient's entries change sign"
        + f", rate x burn-in is {100 * share:.2g}% of the entries"
        + ("" if small else "; not judged: the steps are not small"),
    )


def model_cases(
    settings: Settings, error_of: Callable[[np.ndarray, np.ndarray], float], formula: str
) -> Iterator[Case]:
    """The same error along the model's flow (15), where nothing but the formula can be wrong.

    Args:
      settings: the seed.
      error_of: from the product's velocity and a formula's to the relative error.
      formula: which of `FORMULAS`.
    """
    for depth in (1, 2, 3):
        setup = Setup(depth, 1.0, batch=4, seed=settings.seed)
        objective, factors = setup.objective, setup.factors
        spread = tuple(v + 1e-2 for v in gf.dynamics.sampled_variance(objective, factors, 4))
        adam = gf.AdamFlow(spread)
        flow = gf.solve_flow(
            objective, factors, dynamics=adam, horizon=0.3, record=[0.01, 0.1, 0.3],
            rtol=1e-5, observe=("loss", "factors"),
        )  # fmt: skip
        errors = []
        for k in range(len(flow)):
            now = tuple(jnp.asarray(flow[f"factors_{j}"][k]) for j in range(1, depth + 1))
            moved = jax.jvp(objective.product, (now,), (adam.velocity(objective, now),))[1]
            found = velocities(objective, now, spread).products[FORMULAS.index(formula)]
            errors.append(error_of(np.asarray(moved), np.asarray(found)))
        yield Case(
            name=f"model flow (15), depth {depth}",
            residual=errors,
            floor=roundings(1e-12),
            hypotheses={
                "balanced start": balanced(factors),
                "s_j^2 > 0": Measured(min(float(jnp.min(v)) for v in spread), above=0),
            },
            size=SIZE * SIZE,
            notes=f"relative errors {', '.join(f'{e:.2g}' for e in errors)} from time 0 to 0.3",
        )


@claim(
    "zhao2022.eq15",
    kind="approximation",
    where="Equations (14) and (15)",
    statement=_REGIME + r"\dot W_j \approx -\frac{\nabla_{W_j}\mathcal L}"
    r"{\sqrt{(\nabla_{W_j}\mathcal L)^2+s_j^2}}",
    control={"share": SHARE},
    control_text=f"{SHARE:g} of the right side: {FAR}",
    accuracy=0.1,
)
def eq15(settings: Settings, share: float = 1.0) -> Iterator[Case]:
    """Full batches (s = 0, so minus the gradient's sign) and minibatches, whose variance is exact.

    The regime: learning rate times memory small next to the factors' entries. Beyond it, v
    remembers larger gradients, and where a gradient's entry changes sign real Adam lags behind. At
    the paper's own rate of 1e-3 the memory of v is as long as the whole fit, and the error is 100%.
    """

    def error_of(window: Window) -> float:
        layers, model = (
            np.concatenate([x.ravel() for x in found]) for found in (window.layers, window.model)
        )
        return distance(layers, share * model)

    yield from run_cases(settings, error_of)


@claim(
    "zhao2022.thm1.W",
    picture=study.figure,
    kind="approximation",
    where="Theorem 1, Equations (6) and (18)",
    statement=r"\mathrm{vec}(\dot W) \approx -\sum_{j=1}^N\left((WW^\top)^{\frac{j-1}{N}}\otimes"
    r"(W^\top W)^{\frac{N-j}{N}}\right)G_j\,\mathrm{vec}(\nabla_W\mathcal L)",
    control={"share": SHARE},
    control_text=f"{SHARE:g} of the right side: {FAR}",
    accuracy=0.1,
    flaw="Three steps fail from depth 2 on: S_j is moved from the layer's gradient A L B to L, the "
    "Kronecker product is exchanged (and layer j gets the exponents of layer N+1-j), and Adam "
    "unbalances the factors, so powers of W W^T do not replace the partial products.",
    severity="substance",
    survives="The form at depth 1; and at any depth that Adam is a p.s.d. preconditioner on the "
    "gradient, scaled layer by layer: with G_j between the Kronecker factors, and products of "
    "layers for powers of W.",
    readings={
        "the order of Theorem 1, vec by columns, as stated": "fails from depth 2 on",
        "the order and exponents of (18), or vec by rows": "fails, at the same counterexample",
    },
    corrected=Corrected(
        where="Theorem 1, Equation (6), corrected",
        statement=_REGIME
        + r"\mathrm{vec}(\dot W) \approx -\sum_{j=1}^N(B_j\otimes A_j^\top)\,G_j\,"
        r"(B_j^\top\otimes A_j)\,\mathrm{vec}(\nabla_W\mathcal L),\quad "
        r"A_j^\top = W_N\cdots W_{j+1},\ B_j^\top = W_{j-1}\cdots W_1",
        control={"printed": True},
        control_text="the printed preconditioner",
    ),
)
def thm1_w(
    settings: Settings, corrected: bool, share: float = 1.0, printed: bool = False
) -> Iterator[Case]:
    """Printed, as good as (15) at depth 1, and off by about its own size at depths 2 and 3.

    Corrected, exact for (15), whether or not the factors are balanced: its error is that of (15).
    """
    formula = "corrected" if corrected and not printed else "printed"
    if corrected:
        yield _proofs_adam.product(exchanged_axes(printed))
    else:
        yield small_case("W_1 exchanges the axes, W_2 = I", exchanged_axes(True), 4)
    yield from run_cases(
        settings, lambda window: distance(window.product, share * window.formulas[formula])
    )
    yield from model_cases(settings, lambda moved, found: distance(moved, share * found), formula)


def _values(window: Window, formula: str, exchanged: bool) -> np.ndarray:
    """Singular values' velocities by a formula: u^T X v, or v^T X u as vec(v u^T) has it."""
    u, v = window.frames
    left, right = (v, u) if exchanged else (u, v)
    return np.einsum("ir,ij,jr->r", left, window.formulas[formula], right)


@claim(
    "zhao2022.thm1.sv",
    kind="approximation",
    where="Theorem 1, Equations (5) and (21)",
    statement=r"\dot\sigma_i \approx -\mathrm{vec}(v_iu_i^\top)^\top P_{W,G}\,"
    r"\mathrm{vec}(\nabla_W\mathcal L)",
    control={"share": SHARE},
    control_text=f"{SHARE:g} of the right side: {FAR}",
    accuracy=0.1,
    flaw="To the flaws of (6) it adds the exchanged u and v of (20), so that it fails at depth 1 "
    "too.",
    severity="substance",
    survives="As for (6): the corrected preconditioner, with vec(u v^T); at depth 1 exchanging u "
    "and v back is all.",
    readings={
        "vec(v u^T), as printed": "fails at every depth",
        "vec(u v^T), as (23) has it": "holds at depth 1, fails from depth 2 on",
    },
    corrected=Corrected(
        where="Theorem 1, Equation (5), corrected",
        statement=_REGIME + r"\dot\sigma_i \approx -\mathrm{vec}(u_iv_i^\top)^\top\sum_{j=1}^N"
        r"(B_j\otimes A_j^\top)\,G_j\,(B_j^\top\otimes A_j)\,\mathrm{vec}(\nabla_W\mathcal L)",
        control={"exchanged": True},
        control_text="vec(v u^T), as printed",
    ),
)
def thm1_sv(
    settings: Settings, corrected: bool, share: float = 1.0, exchanged: bool = False
) -> Iterator[Case]:
    """All singular values together, in the frames of W at the middle of the window."""
    formula, exchanged = ("corrected", exchanged) if corrected else ("printed", True)
    if corrected:
        yield _proofs_adam.values(first_value(exchanged), exchanged)
    else:
        yield small_case("W = [[0, 2], [1, 0]]", first_value(True), 4)
    yield from run_cases(
        settings,
        lambda window: distance(window.moving, share * _values(window, formula, exchanged)),
    )


WEIGHT = 0.1
"""Lambda for Theorem 3: the largest of the paper's range."""


@claim(
    "zhao2022.thm3.W",
    kind="approximation",
    where="Theorem 3, Equations (9) and (22)",
    statement=r"\mathrm{vec}(\dot W) \approx -P_{W,G}\left(\mathrm{vec}(\nabla_W\mathcal L) + "
    r"\lambda\frac{\mathrm{vec}(UV^\top-U\tilde\Sigma V^\top)}{\|W\|_F^2}\right)",
    control={"share": SHARE},
    control_text=f"{SHARE:g} of the right side: {FAR}",
    accuracy=0.1,
    flaw="It joins the P_{W,G} of (18) to the penalty gradient (12); as Adam scales every entry to "
    "about 1, an error in a small penalty is not small where only the penalty acts, so it fails at "
    "depth 1 too.",
    severity="substance",
    survives="That Adam's preconditioner acts on the penalty's gradient as on the loss's, both as "
    "corrected. What experiments show of depth 1 does not rest on it.",
    readings={
        "G_j of the gradient that Adam sees": "fails",
        "G_j of any other gradient": "fails: no positive G_j turns the sign of an entry",
    },
    corrected=Corrected(
        where="Theorem 3, Equation (9), corrected",
        statement=_SMOOTH
        + r"\mathrm{vec}(\dot W) \approx -\sum_{j=1}^N(B_j\otimes A_j^\top)\,G_j\,"
        r"(B_j^\top\otimes A_j)\,\mathrm{vec}\left(\nabla_W\mathcal L + \frac{\lambda}{\|W\|_F}"
        r"\Big(UV^\top-\frac{\|W\|_*}{\|W\|_F^2}W\Big)\right)",
        control={"printed": True},
        control_text="as printed",
    ),
)
def thm3_w(
    settings: Settings, corrected: bool, share: float = 1.0, printed: bool = False
) -> Iterator[Case]:
    """G_j from the gradients that Adam sees, penalty included.

    Printed, on L with (12); corrected, the corrected preconditioner on the exact gradient.
    """
    printed = printed or not corrected
    formula = "printed" if printed else "corrected"
    if corrected:
        yield _proofs_adam.product(with_penalty(False, printed), penalty=True)
    else:
        yield small_case("W = diag(4, 3)", with_penalty(False, True), 4)
    yield from run_cases(
        settings, lambda window: distance(window.product, share * window.formulas[formula]),
        WEIGHT, printed,
    )  # fmt: skip


@claim(
    "zhao2022.thm3.sv",
    kind="approximation",
    where="Theorem 3, Equation (9), first line (23 has vec(u v^T))",
    statement=r"\dot\sigma_i \approx -\mathrm{vec}(v_iu_i^\top)^\top P_{W,G}\left("
    r"\mathrm{vec}(\nabla_W\mathcal L) + "
    r"\lambda\frac{\mathrm{vec}(UV^\top-U\tilde\Sigma V^\top)}{\|W\|_F^2}\right)",
    control={"share": SHARE},
    control_text=f"{SHARE:g} of the right side: {FAR}",
    accuracy=0.1,
    flaw="The flaws of (5) and of (12) together; (23) has the right order of u and v and fails all "
    "the same.",
    severity="substance",
    survives="As for the equation of W: the form, with the corrected preconditioner, gradient and "
    "vec(u v^T).",
    corrected=Corrected(
        where="Theorem 3, Equation (9), first line, corrected",
        statement=_SMOOTH + r"\dot\sigma_i \approx -\mathrm{vec}(u_iv_i^\top)^\top\sum_{j=1}^N"
        r"(B_j\otimes A_j^\top)\,G_j\,(B_j^\top\otimes A_j)\,\mathrm{vec}\left(\nabla_W\mathcal L"
        r" + \frac{\lambda}{\|W\|_F}\Big(UV^\top-\frac{\|W\|_*}{\|W\|_F^2}W\Big)\right)",
        control={"exchanged": True},
        control_text="vec(v u^T), as printed",
    ),
)
def thm3_sv(
    settings: Settings, corrected: bool, share: float = 1.0, exchanged: bool = False
) -> Iterator[Case]:
    """In the smallest counterexample U = V, so that the order of u and v does not matter."""
    formula, exchanged = ("corrected", exchanged) if corrected else ("printed", True)
    if corrected:
        yield _proofs_adam.values(first_value(exchanged), exchanged, penalty=True)
    else:
        yield small_case("W = diag(4, 3)", with_penalty(True, True), 4)
    yield from run_cases(
        settings,
        lambda window: distance(window.moving, share * _values(window, formula, exchanged)),
        WEIGHT,
        printed=not corrected,
    )
