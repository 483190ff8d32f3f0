r"""Zhao 2022: proofs of the algebra of Appendix A.4, for every size and depth.

Column-major vec puts entry (i, l) of A X B at the place (l, i), where B^T kron A has the entry
B_kl A_ij for X_jk: sums over j and k of single products, which are compared term by term.
"""

from fractions import Fraction
from functools import cache

import sympy

from gradflow.claims import ByConstruction, Case
from gradflow.claims.proofs import Proof, Words, chain, prove_identity

from ..arora2019 import _proofs as arora2019

ANY = {"matrices of any sizes": ByConstruction("term by term, or as words")}
A_ij, X_jk, B_kl, S_il = sympy.symbols("A_ij X_jk B_kl S_il")
SUM = "sums of equal terms are equal"


def proof_case(proof: Proof) -> Case:
    """A proof of the whole statement as a case."""
    return Case(
        "proof", proof=proof, whole=True, hypotheses=ANY, size=1e6
    )  # Examples are easier to read.


@cache
def vec(exchanged: bool = False) -> Proof:
    """A product of three under vec: B^T kron A, or exchanged."""
    other = sympy.Symbol("A_lk") * sympy.Symbol("B_ji")
    right = other * X_jk if exchanged else (B_kl * A_ij) * X_jk
    name = "(A kron B^T)" if exchanged else "(B^T kron A)"
    return prove_identity(f"vec(A X B) = {name} vec(X)", A_ij * X_jk * B_kl, right, cites=(SUM,))


def eq4(exchanged: bool) -> Case:
    """The product-matrix flow under vec."""
    flow = arora2019.product_flow().proof
    assert flow is not None
    return proof_case(chain("vec(dW/dt) = -P_W vec(G)", flow, vec(exchanged)))


def kron_order() -> Case:
    """The orders as corrected: of the powers, and of the flow."""
    flow = arora2019.product_flow().proof
    assert flow is not None
    return proof_case(
        chain(
            "B B^T kron A^T A with powers of W^T W on the left",
            vec(),
            arora2019.powers_of_partial_products(),
            flow,
            cites=("(P kron Q)(R kron S) = P R kron Q S", arora2019.ROOT),
        )
    )


def eq20(corrected: bool, share: Fraction) -> Case:
    """u^T X v against (v^T kron u^T) vec(X) and vec(u v^T)^T vec(X)."""
    u, v, x, w = sympy.symbols("u_j v_k X_jk X_kj")
    right = sympy.Rational(share) * u * v * (x if corrected else w)
    statement = "u^T X v = vec(u v^T)^T vec(X)"
    return proof_case(prove_identity(statement, u * x * v, right, cites=(SUM,)))


def hadamard(corrected: bool, share: Fraction) -> Case:
    """vec(A L B .* S) = diag(s) K vec(L); K diag(s) = diag(s) K entry by entry."""
    k, p, q = sympy.symbols("K_pq s_p s_q")
    own = S_il if corrected else sympy.Symbol("S_jk")
    return proof_case(
        chain(
            "S_j stands to the left of K",
            prove_identity(
                "entry (i, l)",
                A_ij * X_jk * B_kl * S_il,
                sympy.Rational(share) * own * (B_kl * A_ij) * X_jk,
            ),
            prove_identity("diag(s) K - K diag(s)", p * k - k * q, k * (p - q)),
            cites=(SUM, "a matrix that sends every L to 0 is 0"),
        )
    )


def spectrum(share: Fraction) -> Case:
    """P_W vec(u_r v_r'^T), by vec(A X B), term by term; layers j and N+1-j exchanged."""
    n, j, a, b = sympy.symbols("N j log_r log_s")  # logarithms of the two values
    term = a * 2 * (j - 1) / n + b * 2 * (n - j) / n
    printed = a * 2 * (n - j) / n + b * 2 * (j - 1) / n
    return proof_case(
        chain(
            "P_W vec(u_r v_r'^T) is a multiple of it",
            vec(),
            prove_identity("log of layer N+1-j's term", term.subs(j, n + 1 - j), printed),
            prove_identity(
                "the only term at N = 1", sympy.exp(term.subs({j: 1, n: 1})), sympy.Rational(share)
            ),
            cites=("W W^T u_r = sigma_r^2 u_r, W^T W v_r' = sigma_r'^2 v_r'", SUM),
        )
    )


def eq17(share: Fraction) -> Case:
    """The product rule, by induction over the layers; `share` of the term of the first one, Y."""
    x, y, dx, dy = Words.named("X", "Y", "dX", "dY")
    moved = (x @ y).derivative({"X": dx, "Y": dy})
    return proof_case(prove_identity("(X Y)'", moved, dx @ y + share * (x @ dy)))


def psd() -> Case:
    """x^T K^T G K x = |R K x|^2 with G = R^T R, R the root of a diagonal matrix."""
    x, k, r = Words.named("x", "K", "R")
    form = x.T @ k.T @ r.T @ r @ k @ x
    return proof_case(
        prove_identity("x^T K^T G K x", form, (r @ k @ x).T @ (r @ k @ x),
                       cites=("(B kron A^T) = (B^T kron A)^T",))
    )  # fmt: skip


def balance(share: Fraction) -> Case:
    """What moves of the balance under dW_j/dt = -D_j; nothing for one constant; its bound."""
    x, y, d, e, f = Words.named("X", "Y", "D", "E", "F")
    rate = (x.T @ x - y @ y.T).derivative({"X": -e, "Y": -d})
    printed = share * (d @ y.T + y @ d.T - x.T @ e - e.T @ x)
    grown = (x + f).T @ (x + f) - x.T @ x
    return proof_case(
        chain(
            "what (15) does to the balance",
            prove_identity("the rate", rate, printed),
            prove_identity("S constant: X^T E = D Y^T by the chain rule", *_gradients()),
            prove_identity("(X+F)^T (X+F) - X^T X", grown, x.T @ f + f.T @ x + f.T @ f),
            cites=("entries of D are at most 1, so |F|_F <= t sqrt(n)", "|X^T F|_F <= |X|_2 |F|_F"),
        )
    )


def _gradients() -> tuple[Words, Words]:
    """X^T times the gradient in X, and the gradient in Y times Y^T, of W = A X Y B."""
    a, b, x, y, g = Words.named("A", "B", "X", "Y", "G")
    return x.T @ (a.T @ g @ (y @ b).T), ((a @ x).T @ g @ b.T) @ y.T


@cache
def ratio(corrected: bool = True, share: Fraction = Fraction(1)) -> Proof:
    """The gradient of ||W||_* / ||W||_F along any direction, by the quotient rule.

    n and f are the two norms, q and w the products of U V^T and of W with the direction.
    """
    n, f, q, w = sympy.symbols("n f q w", positive=True)
    true = sympy.diff(n / f, n) * q + sympy.diff(n / f, f) * w / f
    found = (q - n / f**2 * w) / f if corrected else (q - n / f * w) / f**2
    return prove_identity(
        "the derivative of the ratio", true, sympy.Rational(share) * found,
        cites=("the nuclear norm's gradient is U V^T where all singular values are positive",
               "the Frobenius norm's is W / ||W||_F"),
    )  # fmt: skip


def eq12(corrected: bool, share: Fraction) -> Case:
    """The gradient (12)."""
    return proof_case(ratio(corrected, share))


def penalised_product(printed: bool) -> Case:
    """(8): the product-matrix flow of the loss with the penalty."""
    flow = arora2019.product_flow().proof
    assert flow is not None
    return proof_case(chain("vec(dW/dt) with the penalty", flow, vec(), ratio(not printed)))


def penalised_values(printed: bool) -> Case:
    """(7), and (28) at N = 1: the flow of singular values of the loss with the penalty."""
    flow = arora2019.value_flow().proof
    assert flow is not None
    n, f, s, depth = sympy.symbols("n f sigma N", positive=True)
    along = (1 - n / f * s) / f**2 if printed else (1 - n / f**2 * s) / f
    return proof_case(
        chain(
            "d sigma_r/dt with the penalty",
            flow,
            ratio(),
            prove_identity("u_r^T (grad R) v_r", (1 - n / f**2 * s) / f, along),
            prove_identity("the exponent", 2 * (1 - 1 / depth), 2 - 2 / depth),
        )
    )


def exponent(corrected: bool, factor: Fraction) -> Case:
    """G / sqrt(g^2 + s^2) = g S, r for the root."""
    g, r = sympy.symbols("g r", positive=True)
    right = sympy.Rational(factor) * g * (1 / r if corrected else 1 / r**2)
    return proof_case(prove_identity("g / sqrt(g^2 + s^2)", g / r, right))
