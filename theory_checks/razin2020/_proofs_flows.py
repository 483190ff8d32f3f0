r"""Razin and Cohen 2020: proofs about flows (Propositions 4, 5, Lemmas 1, 2, 16, Appendix E)."""

from fractions import Fraction
from functools import cache
from typing import Any

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.proofs import (
    Proof,
    Words,
    chain,
    counterexample,
    not_negative,
    prove_identity,
    settle,
)
from gradflow.claims.proofs.interval import interval, iv

from ..arora2019._proofs import powers_of_partial_products, product_flow
from . import _printed_lemmas, _proofs
from ._printed import proof_case

SMALL = {"W(0) = alpha I, alpha in (0, 1], depth 2": ByConstruction("a symbol; 0 < w_22 <= 1")}
W11, W12, W22 = sympy.symbols("w_11 w_12 w_22")
_K, _E, _Z = sympy.symbols("K e z", positive=True)
WEYL = "singular values move by at most the Frobenius norm of what is added (Weyl)"


def _proof(case: Case) -> Proof:
    assert case.proof is not None
    return case.proof


@cache
def equations(factor: float = 2.0) -> Proof:
    """(39) from dW/dt = -W G - G W, which is Lemma 3 of Arora et al. for W > 0 at depth 2."""
    w = sympy.Matrix([[W11, W12], [W12, W22]])
    g = sympy.Matrix([[0, W12 - 1], [W12 - 1, W22]])
    moved = -(w * g + g * w)
    push = 2 * W12 * (1 - W12)
    last = push - sympy.Rational(factor) * W22**2
    return chain(
        f"(39) with {factor:g} w_22^2",
        prove_identity("w_11'", moved[0, 0], push),
        prove_identity("w_22'", moved[1, 1], last),
        prove_identity("w_12'", moved[0, 1], W22 * (1 - 2 * W12) + W11 * (1 - W12)),
    )


@cache
def ranges() -> Proof:
    """Lemma 21: w_12 turns back at 0 and 1, w_22 above 1/2."""
    up = W22 * (1 - 2 * W12) + W11 * (1 - W12)
    return chain(
        "w_11 rises, 0 <= w_12 <= 1, 0 < w_22 <= 1",
        _proof(_printed_lemmas.lem20((2,))),
        prove_identity("w_12' at w_12 = 0, above 0", up.subs(W12, 0), W11 + W22),
        prove_identity("w_12' at w_12 = 1, below 0", up.subs(W12, 1), -W22),
        prove_identity(
            "w_22' <= 1/2 - 2 w_22^2, below 0 above 1/2",
            sympy.Rational(1, 2) - 2 * W12 * (1 - W12), 2 * (W12 - sympy.Rational(1, 2)) ** 2,
        ),
        cites=("a curve leaves an interval at an end, outwards",
               "diagonal entries of a positive definite matrix are positive"),
    )  # fmt: skip


def eq39(factor: float) -> Case:
    """The three equations, and their ranges."""
    start = -2 * 1 + interval(Fraction(factor))  # w_22' at W = I, where 2 w_12 (1 - w_12) = 0
    witness = {"W": "I, the start for alpha = 1", "w_22'": "-2"}
    broken = counterexample(f"w_22' with {factor:g} w_22^2", abs(start), witness)
    flow = _proof(product_flow())
    cites = ("(W W^T)^(1/2) = W for W > 0, which stays symmetric (Lemma 20)",)
    proof = chain("(39) and Lemma 21", equations(factor), ranges(), flow, cites=cites)
    return proof_case(settle(proof, broken), SMALL)


def prop4(limit: float) -> Case:
    """loss(T) <= K^(1/2) T^(-1/2) + K^(1/4) T^(-1/4) / 2 + 1/(4T), K = loss(0)^2 / alpha.

    With m = 1 - w_12: loss' = -2 tr(G W G) <= -alpha m^4 / loss(0), so that m^4 has an integral of
    at most K; and 2 w_22^2 = 2 w_12 m - w_22'. Hoelder's inequality bounds the integrals of m and
    m^2 up to T, hence that of the loss, which is at least T loss(T).
    """
    statement = f"the loss tends to {limit:g}"
    k, e = interval(Fraction(9, 4)), interval(Fraction(1, 10**4))  # alpha = 1, T = e^-4
    bound = iv.sqrt(k) * e**2 + iv.sqrt(iv.sqrt(k)) * e / 2 + e**4 / 4
    parts, last = _steps_to_zero(), _rate().subs(_E, 0)
    witness = {"alpha": "1", "T": "10^16", "loss(T)": f"at most {float(bound.b):.3g}"}
    broken = counterexample(statement, interval(Fraction(limit)) - bound, witness)
    end = prove_identity("the bound as T grows, e = 0", last, sympy.Rational(limit))
    proof = chain(statement, parts, end, cites=("the loss is not negative",))
    return proof_case(settle(proof, broken if parts.proved else None), SMALL)


def _rate() -> sympy.Expr:
    """The bound at T = e^-4."""
    return sympy.sqrt(_K) * _E**2 + _K ** sympy.Rational(1, 4) * _E / 2 + _E**4 / 4


@cache
def _steps_to_zero() -> Proof:
    t = sympy.symbols("T", positive=True)
    w = sympy.Matrix([[W11, W12], [W12, W22]])
    g = sympy.Matrix([[0, W12 - 1], [W12 - 1, W22]])
    moved = -(w * g + g * w)
    loss = (W22**2 + 2 * (W12 - 1) ** 2) / 2
    slope = loss.diff(W12) * moved[0, 1] + loss.diff(W22) * moved[1, 1]
    quarter, half = sympy.Rational(1, 4), sympy.Rational(1, 2)
    whole = sympy.sqrt(_K * t) + (t ** (3 * quarter) * _K**quarter + half) / 2
    return chain(
        "loss(T) <= K^(1/2) T^(-1/2) + K^(1/4) T^(-1/4) / 2 + 1/(4T)",
        equations(),
        ranges(),
        prove_identity("loss' = -2 tr(G W G)", slope, -2 * (g * w * g).trace()),
        _proof(_printed_lemmas.lem11(1.0)),
        prove_identity("det G = -m^2", g.det(), -((1 - W12) ** 2)),
        prove_identity("|G|^2 = 2 loss", (g * g).trace(), 2 * loss),
        prove_identity("2 w_22^2 + w_22' = 2 w_12 m", moved[1, 1] + 2 * W22**2,
                       2 * W12 * (1 - W12)),
        prove_identity(
            "the integral of m^2 + w_22^2/2 over T, T = e^-4, w_22(0) <= 1",
            whole.subs(t, _E**-4) * _E**4, _rate(),
        ),
        cites=(
            "lambda_1(W) >= w_11 >= alpha; s_2(G) = |det G| / s_1(G) >= m^2 / |G|",
            "Hoelder's inequality", "the loss never rises (Lemma 17)",
        ),
    )  # fmt: skip


def lem1(factor: float) -> Case:
    """W'_1 = W_1 and W'_(l+1) = Q H, where W_(l+1) = Q P is polar and H^2 = W'_l W'_l^T.

    By induction |W_l - W'_l| is that of the roots of W_l W_l^T and W'_l W'_l^T, too.
    """
    statement = f"|W_l - W'_l| <= {factor:g} (l - 1) sqrt(epsilon) for some balanced W'"
    hypotheses = {"square matrices": ByConstruction("of any size and number, as words")}
    # W_1 = 0, W_2 = 1: |W'_1| <= 0, so that W'_2 = 0 if it is balanced; epsilon = 1.
    broken = counterexample(statement, 1 - Fraction(factor), {"W_1, W_2": "0, 1 (1x1)"})
    q, p, h, x = Words.named("Q", "P", "H", "X'")
    one = Words.identity()
    rules = [(q.T @ q, one), (h.T, h), (p.T, p), (h @ h, x @ x.T)]
    after = q @ h
    root = q @ h @ q.T
    layer = sympy.symbols("l", positive=True)
    claimed = sympy.Rational(Fraction(factor)) * (layer - 1)
    grown = sympy.expand(claimed.subs(layer, layer + 1) - claimed - 1)
    return proof_case(
        settle(chain(
            statement,
            prove_identity("W'_(l+1) is balanced with W'_l = X'", after.T @ after, x @ x.T,
                           rules=rules),
            prove_identity("the root of W'_(l+1) W'_(l+1)^T", root @ root, after @ after.T,
                           rules=[*rules[:2]]),
            prove_identity("W_(l+1) - W'_(l+1) = Q (P - H)", q @ p - after, q @ (p - h)),
            prove_identity("= (Q P Q^T - Q H Q^T) Q, the difference of roots",
                           q @ p - after, (q @ p @ q.T - root) @ q, rules=rules[:1]),
            not_negative("from l to l + 1 the bound, 0 at l = 1, grows by sqrt(epsilon)", grown),
            cites=(
                "every square matrix is orthogonal times the root of W^T W (polar form)",
                "|P - root of W_l W_l^T|_F <= sqrt(epsilon) (Powers and Stormer)",
                "orthogonal factors keep the Frobenius norm",
            ),
        ), broken),
        hypotheses,
    )  # fmt: skip


def lem2(rate: float) -> Case:
    """(theta - theta')^2 = g moves by -2 <theta - theta', p - q> <= 2 beta g; p, q gradients."""
    statement = f"two flows part at most like exp({rate:g} beta t)"
    hypotheses = {"f is beta-smooth": ByConstruction("any such f; two symbols for the gradients")}
    # f = -x^2/2, beta = 1: theta(t) = e^t theta(0); at t = 1, from 1 and 0.
    excess = iv.exp(iv.mpf(1)) - iv.exp(interval(Fraction(rate)))
    broken = counterexample(statement, excess, {"f": "-x^2/2", "starts": "1, 0", "t": "1"})
    x, y, p, q = Words.named("theta", "theta'", "p", "q")
    gap, push = x - y, p - q
    moved = (gap.T @ gap).derivative({"theta": -p, "theta'": -q})
    beta, t = sympy.symbols("beta t", positive=True)
    g = sympy.Function("g")(t)
    decay = sympy.exp(-2 * sympy.Rational(rate) * beta * t)
    damped: Any = (g * decay).diff(t).subs(g.diff(t), 2 * beta * g)  # at the largest g'
    return proof_case(
        settle(chain(
            statement,
            prove_identity("g'", moved, -(gap.T @ push) - push.T @ gap),
            not_negative("g e^(-2 rate beta t) falls, at -beta g e^(-2 rate beta t) times",
                         sympy.cancel(-damped / (beta * g * decay))),
            cites=(_proofs.CAUCHY + " and smoothness: |g'| <= 2 beta g",),
        ), broken),
        hypotheses,
    )  # fmt: skip


def prop5(rate: float) -> Case:
    """The gradient is Lipschitz as printed, by Lemma 12 and the sizes of its L factors; Lemma 2.

    Layer l's gradient is a product of the other L - 1 layers, of norm R at most, and of the loss's
    gradient, of norm R^L + B at most, which moves by as much as the product of all layers.
    """
    statement = f"two flows part at most like exp({rate:g} L R^(L-2) (2 R^L + B) t)"
    hypotheses = {"a completion task": ByConstruction("any sizes, depth, observations; R, B > 0")}
    broken = _logistic(statement, rate)
    depth, r, b = sympy.symbols("L R B", positive=True)
    own = r ** (depth - 2) * (r**depth + b)  # what other layers do to a layer's gradient
    lipschitz = sympy.sqrt(depth) ** 2 * (own + r ** (depth - 1) * r ** (depth - 1))
    claimed = sympy.Rational(rate) * depth * r ** (depth - 2) * (2 * r**depth + b)
    spare = sympy.simplify(claimed / sympy.powsimp(lipschitz)) - 1
    return proof_case(
        settle(chain(
            statement,
            _proof(_printed_lemmas.lem12(1.0)),
            _proof(lem2(1.0)),
            not_negative(
                "the claimed rate over sqrt(L)^2 (R^(L-2) (R^L + B) + R^(2L-2)), less 1", spare
            ),
            cites=(
                "|A B|_F <= |A|_F |B|_F; one layer is no larger than all of them",
                _proofs.CAUCHY + ": a sum over layers is at most sqrt(L) times its squares' root, "
                "and L equal bounds have sqrt(L) times one for their squares' root",
                "observing entries and leaving others out does not lengthen a matrix",
            ),
        ), broken),
        hypotheses,
    )  # fmt: skip


def _logistic(statement: str, rate: float) -> Proof | None:
    """1x1, L = 2, b = 1: W_1 = W_2 = w with w' = (1 - w^2) w, against the flow that stays at 0."""
    e, d = sympy.symbols("E delta", positive=True)  # E = e^(2t), w(0) = delta
    square = d**2 * e / (1 + d**2 * (e - 1))
    solved = prove_identity("(w^2)'", square.diff(e) * 2 * e, 2 * square * (1 - square))
    start, t = interval(Fraction(1, 1000)), 1
    grown = iv.exp(iv.mpf(2 * t))
    w = start**2 * grown / (1 + start**2 * (grown - 1))
    exponent = interval(Fraction(rate)) * 2 * (2 * (2 * w) + 1) * t  # R^2 = 2 w^2
    witness = {"1x1, L = 2, b": "1", "starts": "(1/1000, 1/1000) and (0, 0)", "t": "1"}
    broken = counterexample(statement, iv.log(w / start**2) / 2 - exponent, witness)
    return broken if solved.proved else None


def lem16(rate: float) -> Case:
    """((a + b g) e^(bt))' >= 0 at gamma = 1; above y^(1-gamma), y = a^(1/gamma) + b^(1/gamma) g."""
    statement = f"g(T) is at least the printed bounds, with {rate:g} (T - t_0)"
    hypotheses = {"|g'| <= a + b g^gamma, g >= 0": ByConstruction("any a, b > 0, gamma >= 1")}
    # a = b = gamma = g(0) = 1, the fastest fall g = 2 e^-t - 1, at t = 1/2.
    half = Fraction(1, 2)
    excess = 2 * iv.exp(interval(-Fraction(rate) * half)) - 2 * iv.exp(interval(-half))
    witness = {"a, b, gamma, g(t_0)": "1", "g(t)": "2 e^(t_0 - t) - 1", "T - t_0": "1/2"}
    broken = counterexample(statement, excess, witness)
    a, b, t, gamma, y, a1, b1 = sympy.symbols("a b t gamma y a_1 b_1", positive=True)
    g, share = sympy.Function("g")(t), sympy.Rational(rate)
    growth = sympy.exp(share * b * t)
    lifted = ((a + b * g) * growth).diff(t).subs(g.diff(t), -(a + b * g))  # the fastest fall
    powered = (y ** (1 - gamma)).diff(y) * b1 * -(y**gamma)
    bracket = b1 * (gamma - 1) * share * t + y ** (1 - gamma)
    one = (a + b * y) / b / growth - a / b
    return proof_case(
        settle(chain(
            statement,
            not_negative("gamma = 1: (a + b g) e^(rate b t) rises, at b (a + b g) e^(rate b t) "
                         "times", sympy.cancel(lifted / (b * (a + b * g) * growth))),
            prove_identity("so that g is at least the bound", (a + b * one) * growth, a + b * y),
            not_negative(
                "gamma > 1, a_1 and b_1 the roots: the bracket rises faster than y^(1-gamma) "
                "at g' = -y^gamma, by b_1 (gamma - 1) times",
                sympy.simplify((bracket.diff(t) - powered) / (b1 * (gamma - 1))),
            ),
            prove_identity("so that g is at least the bound, z the bracket's power -1/(gamma-1)",
                           a1 + b1 * (_Z / b1 - a1 / b1), _Z),
            cites=(
                "a + b g^gamma <= y^gamma, for gamma-norms are at most sums",
                "y^(1-gamma) falls with y for gamma > 1, and its inverse is the power 1/(1-gamma)",
            ),
        ), broken),
        hypotheses,
    )  # fmt: skip


def app_e(factor: float) -> Case:
    """The solutions, the bound on w_11, the smallest singular value, and [A 0].

    M is W without its first row and column, W_0 is W with 0 for w_11: det W = w_11 det M + det W_0.
    """
    statement = f"Appendix E, with {factor:g} (1-s)^d / (s (1+s)^(d-2))"
    hypotheses = {
        "det W > 0, s < 1": ByConstruction("every such matrix, d >= 2"),
        "W(0) = [A 0]": ByConstruction("words; d' >= d"),
    }
    small = _proofs.entry_bound(Fraction(factor))  # d = 2, and what refutes a larger factor
    x, d = sympy.symbols("w_11 d")
    s = sympy.symbols("s", positive=True)
    block = sympy.Matrix([[x, 1], [1, 0]])
    # Singular values of W_0 are at least 1 - s; one of M is at most s, d - 2 are at most 1 + s.
    least = (1 - s) ** d / (s ** (d - 1 - (d - 2)) * (1 + s) ** (d - 2))
    claimed = sympy.Rational(factor) * (1 - s) ** d / (s * (1 + s) ** (d - 2))
    return proof_case(
        chain(
            statement,
            small,
            prove_identity("det of the solutions' block, the other is the identity", block.det(),
                           -1),
            not_negative("(1-s)^d over s (1+s)^(d-2) is the claimed bound: 1 less their ratio",
                         1 - sympy.simplify(claimed / least)),
            _rectangular(),
            _proofs.sign_of_determinant(),
            cites=(
                "block diagonal matrices: the other d - 2 singular values are 1",
                "det W = w_11 det M + det W_0 (Laplace's expansion), so that |w_11 det M| exceeds "
                "|det W_0| where det W > 0 > det W_0",
                WEYL + ": |det M| <= s (1+s)^(d-2), |det W_0| >= (1-s)^d",
                _proofs.SEGMENT + ": det W_0 < 0, as det of the solutions is", _proofs.ECKART,
            ),
        ),
        hypotheses,
    )  # fmt: skip


@cache
def _rectangular() -> Proof:
    """W_1 = X J, J = [I 0], follows the square flow X: its gradient is that of the square, G J."""
    a, g, x, y, j = Words.named("A", "G", "X", "Y", "J")
    rules = [(j @ j.T, Words.identity())]
    return chain(
        "[A 0] stays so, and A follows the square flow",
        prove_identity("W_1' = -A^T (G J) is X' J", -(a.T @ (g @ j)), -(a.T @ g) @ j),
        prove_identity("the other layers: -A^T (G J) (Y X J)^T is that of the square",
                       -(a.T @ (g @ j) @ (y @ x @ j).T), -(a.T @ g @ (y @ x).T), rules=rules),
        prove_identity("balance of W_1", (x @ j) @ (x @ j).T, x @ x.T, rules=rules),
        powers_of_partial_products(),
        cites=("W_1 has the kernel of W, for (W_1^T W_1)^N = W^T W", "solutions are unique",
               "the residual of an observed 0 is the entry itself"),
    )  # fmt: skip
