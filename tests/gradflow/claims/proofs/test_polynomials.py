"""z3 as a second witness of what the ledger proves otherwise; broken twins are refuted."""

import pytest
import sympy

from gradflow.claims.proofs.polynomials import decide_polynomials

pytest.importorskip("z3", reason="an extra: pip install 'gradflow[z3]'")

W11, W12, W21, W22, L = sympy.symbols("w11 w12 w21 w22 l")
DET = W11 * W22 - W12 * W21
LOSS = ((W12 - 1) ** 2 + (W21 - 1) ** 2 + W22**2) / 2
SQUARES = W11**2 + W12**2 + W21**2 + W22**2
# Theorem 1 of razin2020 with its best constants stands on the first; Lemma 6 is the third.
TRUE = {
    "2 det W <= loss |W|^2": (sympy.Le(2 * DET, LOSS * SQUARES), []),
    "where det W > 0 the loss is above 0": (sympy.Gt(LOSS, 0), [DET > 0]),
    "a loss below 1/2 and det W >= 0 leave no w22 = 0": (
        sympy.Ne(W22, 0), [DET >= 0, sympy.Lt(LOSS, sympy.Rational(1, 2)), W12 > 0, W21 > 0],
    ),
    "w12 >= 1 - l for all l >= sqrt(2 loss)": (W12 >= 1 - L, [sympy.Ge(L**2, 2 * LOSS), L >= 0]),
    "x / y is the share": (W12 / W11 <= 1, [W11 > W12, W12 > 0]),
}  # fmt: skip
FALSE = {
    "with 1% less": (sympy.Le(2 * DET, sympy.Rational(99, 100) * LOSS * SQUARES), []),
    "without the sign": (sympy.Gt(LOSS, 0), []),
    "with 10% less": (
        1 - sympy.Rational(9, 10) * L <= W12, [sympy.Ge(L**2, 2 * LOSS), L >= 0],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRUE)
def test_what_is_true_is_proved(name):
    claim, given = TRUE[name]
    assert decide_polynomials(name, claim, given).outcome == "proved"


@pytest.mark.parametrize("name", FALSE)
def test_what_is_not_is_refuted_at_a_point(name):
    claim, given = FALSE[name]
    found = decide_polynomials(name, claim, given)
    assert found.outcome == "refuted"
    point = {sympy.Symbol(name): sympy.Rational(value) for name, value in found.witness.items()}
    assert not claim.subs(point) and all(one.subs(point) for one in given)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (sympy.sqrt(W11) >= 0, "name a root"),
        (1.5 * W11 <= 2, "sympy.Rational"),
        (W11 + 1, "no relation"),
    ],
)
def test_what_is_not_polynomial_is_refused(claim, said):
    with pytest.raises(TypeError, match=said):
        decide_polynomials("", claim)


@pytest.mark.parametrize(
    ("claim", "given"), [(W11 >= 5, [W11 > 0, W11 < 0]), (1 / W11 > 0, [sympy.Eq(W11, 0)])]
)
def test_what_nothing_fulfils_proves_nothing(claim, given):
    with pytest.raises(ValueError, match="says nothing"):
        decide_polynomials("", claim, given)
    assert decide_polynomials("", W11 >= 0, [W11 > 0]).proved


def test_symbols_of_one_name_are_not_taken_for_one():
    other = sympy.Symbol("w11", positive=True)
    assert decide_polynomials("", sympy.Eq(W11, other)).outcome == "refuted"
