r"""Arora et al. 2019: proofs of Lemma 3, Theorem 3 and their like, for every size, depth and loss.

Of W = W_N ... W_1 with W_(j+1)^T W_(j+1) = W_j W_j^T, by algebra of matrices of any sizes: powers
pass from one side of a factor to the other, so that W_j ... W_1 (W_j ... W_1)^T is (W_j W_j^T)^j,
and likewise from the other end. Depths come by induction; each step is one identity.
"""

from fractions import Fraction
from functools import cache

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.proofs import Proof, Words, chain, counterexample, prove_identity, settle
from gradflow.claims.proofs.interval import interval, iv

ANY = {"balanced factors": ByConstruction("of any sizes, depth and loss, as words and symbols")}
ROOT = "a p.s.d. matrix has one p.s.d. N-th root"
BALANCE = "the balance at the start is conserved (razin2020, Lemma 3)"
PATH = "d sigma_r/dt = u_r^T (dW/dt) v_r for analytic unit vectors u_r, v_r (Lemma 1)"


def proof_case(proof: Proof) -> Case:
    """A proof of the whole statement as a case."""
    return Case("proof", proof=proof, whole=True, hypotheses=ANY, size=1)


@cache
def powers_of_partial_products() -> Proof:
    """(W_j ... W_1)(W_j ... W_1)^T = (W_j W_j^T)^j for balanced factors.

    With X the next factor, P and Q for powers of X^T X and X X^T.
    """
    x, p, q = Words.named("X", "P", "Q")
    rule = [(x @ p, q @ x)]
    through = prove_identity(
        "X (X^T X)^(j+1) = (X X^T)^(j+1) X if so for j",
        x @ p @ x.T @ x, q @ x @ x.T @ x, rules=rule,
    )  # fmt: skip
    step = prove_identity("X (X^T X)^j X^T = (X X^T)^(j+1)", x @ p @ x.T, q @ x @ x.T, rules=rule)
    return chain("partial products of balanced factors", through, step)


@cache
def product_rule() -> Proof:
    """dW/dt is the sum over layers of A_j^T (dW_j/dt) B_j^T, here with N = A X B, by induction."""
    a, x, b, g = Words.named("A", "X", "B", "G")
    da, dx, db = Words.named("dA", "dX", "dB")
    moved = (a @ x @ b).derivative({"A": da, "X": dx, "B": db})
    three = da @ x @ b + a @ dx @ b + a @ x @ db
    own = (a @ x @ b).derivative({"X": -(a.T @ g @ b.T)})
    return chain(
        "layer j moves W by -A A^T G B^T B",
        prove_identity("the product rule", moved, three),
        prove_identity("a layer down its gradient", own, -(a @ a.T @ g @ b.T @ b)),
    )


def product_flow(shift: float = 0.0) -> Case:
    """Lemma 3; `shift` is added to the left exponent."""
    statement = "dW/dt = -sum_j (W W^T)^((j-1)/N) G (W^T W)^((N-j)/N)"
    n, j = sympy.symbols("N j")
    return proof_case(
        chain(
            statement,
            product_rule(),
            powers_of_partial_products(),
            prove_identity(
                "layers N+1-j and j swap the ends",
                (n - (n + 1 - j)) / n,
                (j - 1) / n + sympy.Rational(shift),
            ),
            cites=(
                ROOT + ": (A_j A_j^T)^N = (W W^T)^(N-j), (B_j^T B_j)^N = (W^T W)^(j-1)",
                BALANCE,
            ),
        )
    )


def value_flow(shift: float = 0.0, factor: float = 1.0, signs: bool = False) -> Case:
    """Theorem 3: `shift` is added to the exponent, `factor` multiplies N; `signs` for N >= 2."""
    statement = "d sigma_r/dt = -N (sigma_r^2)^(1-1/N) u_r^T G v_r"
    n, j, e = sympy.symbols("N j e", positive=True)
    parts = [
        product_rule(),
        powers_of_partial_products(),
        prove_identity(
            "the power in each term",
            2 * (j - 1) / n + 2 * (n - j) / n,
            2 * (1 - 1 / n + sympy.Rational(shift)),
        ),
        prove_identity("their number", n, n * sympy.Rational(factor)),
    ]
    if signs:
        parts.append(
            prove_identity(
                "d log|sigma|/dt has |sigma| to the power e/N >= 0 at N = 2 + e, so is bounded",
                2 * (1 - 1 / (2 + e)) - 1, e / (2 + e),
            )
        )  # fmt: skip
    return proof_case(chain(statement, *parts, cites=(ROOT, BALANCE, PATH)))


def eq11(shift: float) -> Case:
    """What (11) says is constant moves for both values at e_r rho_r times the same rate."""
    n, q = sympy.symbols("N q", positive=True)
    power = prove_identity(
        "N >= 3: d/dt sigma^(-q) has sigma to the power -q - 1 + 2 - 2/N = 0",
        (1 - q - 2 / n).subs(q, (n - 2) / n + sympy.Rational(shift)), 0,
    )  # fmt: skip
    two = prove_identity("N = 2: d/dt log sigma has it to the power -1 + 2 - 2/2", 2 - 1 - 1, 0)
    cites = ("Equation (10)", "N = 1: both values move at e_r rho_r times the same rate")
    return proof_case(chain("the relations (11)", power, two, cites=cites))


def eq16(shift: float) -> Case:
    """(16) solves (15), by logarithmic derivatives; B is the bracket, of derivative (N-2) a r."""
    n, log_a, log_b, r, a = sympy.symbols("N log_alpha log_B r a", positive=True)
    log_w = n * log_a - n / (n - 2) * log_b
    power = prove_identity(
        "log of W^((N-2)/N) B = alpha^(N-2)",
        (n - 2) / n * log_w + log_b, (n - 2 + sympy.Rational(shift)) * log_a,
    )  # fmt: skip
    rate = prove_identity(
        "W'/W = -N/(N-2) B'/B = -N a r / B", -n / (n - 2) * (n - 2) * a * r, -n * a * r
    )
    cites = (
        "solutions of (15) are unique, and stay diagonal in the frame of O",
        "the product-matrix flow (Lemma 3)",
    )
    return proof_case(chain("(16) solves (15)", power, rate, cites=cites))


def eq17(corrected: bool, shift: float) -> Case:
    """Solving (16) for the bracket, in logarithms."""
    n, log_a, log_b = sympy.symbols("N log_alpha log_B", positive=True)
    log_w = n * log_a - n / (n - 2) * log_b
    exponent = (n - 2 if corrected else -n) + sympy.Rational(shift)
    right = exponent * log_a - (n - 2) / n * log_w
    return proof_case(prove_identity("log of the bracket", log_b, right, cites=("(16)",)))


def eq39(corrected: bool, root: float) -> Case:
    """G (b - a) = b^N - a^N with a, b the N-th roots of the squares: the sum telescopes."""
    a, b, u, v = sympy.symbols("a b u v")  # u = a^(j-1), v = b^(N-j)
    step = prove_identity("term j of G (b - a)", u * v * (b - a), u * (v * b) - (u * a) * v)
    left = 1 / (b**2 - a**2) * (a + b)
    claimed = 1 / (iv.exp(interval(Fraction(root)) * iv.log(iv.mpf(2))) - 1)
    claimed = claimed if corrected else -claimed
    witness = {"sigma": "(1, 2)", "N": "2", "H G": "1"}  # (1 + 2) / (4 - 1)
    broken = counterexample(f"F with exponents {root:g}/N", abs(1 - claimed), witness)
    n = sympy.symbols("N")
    whole = prove_identity(
        "a^N is the square: the power (root/N) N", sympy.Rational(root) / n * n, 1
    )
    right = 1 / (b - a) if corrected else 1 / (a - b)
    two = prove_identity("H G = F at N = 2", left, right)
    return proof_case(settle(chain("F = H . G", step, whole, two), broken))


def eq41(power: float) -> Case:
    """U^T (dW/dt) V off its diagonal, from W = U S V^T and from Lemma 3."""
    statement = "U^T U' S - S V^T V' = -I' . G . [U^T (gradient) V]"
    claimed = iv.exp(interval(power) * iv.log(iv.mpf(3)))  # N = 2, sigma = (2, 1): G_12 = 3
    broken = counterexample(statement, abs(3 - claimed), {"N = 2, sigma": "(2, 1)", "G_12": "3"})
    u, s, v, du, ds, dv = Words.named("U", "S", "V", "dU", "dS", "dV")
    one = Words.identity()
    rules = [(u.T @ u, one), (v.T @ v, one), (dv.T @ v, -(v.T @ dv))]
    moved = u.T @ (u @ s @ v.T).derivative({"U": du, "S": ds, "V": dv}) @ v
    split = prove_identity(
        "U^T W' V", moved, u.T @ du @ s + ds - s @ v.T @ dv, rules=rules,
        cites=("S' is diagonal, V'^T V = -V^T V'",),
    )  # fmt: skip
    flow = product_flow().proof
    assert flow is not None
    return proof_case(settle(chain(statement, split, flow), broken, covered=power == 1))
