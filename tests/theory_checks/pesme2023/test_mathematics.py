"""The claims of pesme2023: the algorithm's units against a flow of u and v, and its last saddle."""

import numpy as np

from theory_checks.pesme2023.path import saddles
from theory_checks.pesme2023.sinh import followed


def test_one_entry_jumps_at_the_time_of_the_algorithm():
    """One entry, X = y = 1: |s| comes to 1 at tau = 1; the flow is half way near ln(1/alpha)."""
    x = y = np.array([[1.0]])
    nodes = saddles(x, y[0])
    assert [node.tau for node in nodes] == [0.0, 1.0] and nodes[1].beta == [1.0]
    waits = []
    for alpha in (1e-4, 1e-8):
        times = np.linspace(0.5, 1.6, 400) * np.log(1 / alpha)
        beta, _ = followed(x, y[0], alpha, times, 1e-10)
        waits.append(times[int(np.argmax(beta[:, 0] > 0.5))])
    assert abs((waits[1] - waits[0]) / np.log(1e4) - 1) < 1e-2


def test_data_of_any_number_have_one_clock():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 3)), rng.normal(size=2)
    once, twice = saddles(x, y), saddles(np.vstack([x, x]), np.append(y, y))
    np.testing.assert_allclose([n.tau for n in once], [n.tau for n in twice], rtol=1e-9)
    np.testing.assert_allclose(once[-1].beta, twice[-1].beta, atol=1e-9)
