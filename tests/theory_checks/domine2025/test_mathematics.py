"""What domine2025's checks rest on, against other computations."""

import numpy as np
import pytest
from scipy.linalg import expm

from theory_checks.domine2025 import _proofs
from theory_checks.domine2025.riccati import TIMES, balanced_start, closed_form
from theory_checks.saxe2014._networks import data


@pytest.mark.parametrize(
    ("shape", "hidden", "balance"), [((3, 2), 2, 0.8), ((2, 4), 2, -1.2), ((3, 3), 2, 0.0)]
)
def test_starts_have_the_balance_asked_for(shape, hidden, balance):
    one, two = balanced_start(np.random.default_rng(0), shape, hidden, balance)
    assert (one.shape, two.shape) == ((hidden, shape[1]), (shape[0], hidden))
    assert np.allclose(two.T @ two - one @ one.T, balance * np.eye(hidden), atol=1e-13)


def test_the_formula_is_the_printed_one_with_matrix_exponentials():
    rng = np.random.default_rng(1)
    given = data(rng, (2, 3), np.array([1.5, 0.7]))
    one, two = balanced_start(rng, (2, 3), 2, -0.6)
    sigma = given.y @ given.x.T
    f = np.block([[0.3 * np.eye(3), sigma.T], [sigma, -0.3 * np.eye(2)]])
    q, grown, inverse = np.concatenate([one.T, two]), expm(f * TIMES[3]), np.linalg.inv(f)
    bracket = np.eye(2) + q.T @ (grown @ inverse @ grown - inverse) @ q / 2
    right = grown @ q @ np.linalg.inv(bracket) @ q.T @ grown
    assert np.allclose(closed_form((one, two), given, -0.6, 0.5)[3], right, atol=1e-12)


def test_each_part_of_the_proof_is_proved():
    for part in (_proofs.balance(), _proofs.equation(), _proofs.solution()):
        assert part.proved, part
    assert _proofs.riccati(0.55).proof.outcome == "refuted"
