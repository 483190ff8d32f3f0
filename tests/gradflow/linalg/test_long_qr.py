"""QR in long arithmetic against exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest

from gradflow.linalg.long_qr import long_qr


@pytest.mark.parametrize("angle", [1.0, 1e-9, 1e-15])
def test_sizes_of_almost_parallel_columns(angle):
    q, moved = np.random.default_rng(0).normal(size=(2, 4))
    columns = np.stack([q, q + angle * moved], 1) * [1.0, 1e-290]
    found = long_qr(columns, np.array([1.0, 1.0, -1.0, -1.0]))
    a, b = ([Fraction(float(x)) for x in c] for c in columns.T)
    aa, bb, ab = (
        sum((x * y for x, y in zip(u, v, strict=True)), Fraction(0))
        for u, v in ((a, a), (b, b), (a, b))
    )
    rest = bb - ab**2 / aa
    wanted = 0.5 * (math.log(rest.numerator) - math.log(rest.denominator))
    assert found.logs[1] == pytest.approx(wanted, rel=1e-15)
    np.testing.assert_allclose(found.directions.T @ found.directions, np.eye(2), atol=1e-15)
    scaled = found.directions[:, :1] * np.exp(found.logs[0]) @ found.rows[:1]
    np.testing.assert_allclose(scaled[:, 0], columns[:, 0], rtol=1e-14)


def _tilt(columns):
    tilt = long_qr(columns, np.array([1.0, 1.0, -1.0, -1.0])).tilt
    assert tilt is not None
    return tilt[0, 0]


def test_what_is_balanced_to_the_last_bit_is_told():
    columns = np.array([[0.3], [0.7], [0.7], [0.3]])
    assert _tilt(columns) == 0
    columns[0] = np.nextafter(0.3, 1)
    wanted = (float(Fraction(float(columns[0, 0])) ** 2 - Fraction(0.3) ** 2)) / 1.16
    assert _tilt(columns) == pytest.approx(wanted, rel=1e-14)


def test_dependent_and_zero_columns_have_no_direction():
    columns = np.array([[1.0, 0.0, 2.0, 3.0], [0.1, 0.0, 0.2, 1.0], [0.5, 0.0, 1.0, 0.0]])
    found = long_qr(columns, np.ones(3))
    assert found.directions.shape == (3, 2)
    back = found.directions @ (np.exp(found.logs)[:, None] * found.rows)
    np.testing.assert_allclose(back, columns, atol=1e-15)
