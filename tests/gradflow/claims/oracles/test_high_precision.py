"""Numbers outside floating point."""

from fractions import Fraction

from gradflow.claims.oracles.high_precision import decimal, exact


def test_decimals_are_as_written_and_floats_as_they_are():
    assert decimal(1.1) == Fraction(11, 10) and decimal(2.0) == 2
    assert exact([1.1])[0] == Fraction(1.1) != Fraction(11, 10)
