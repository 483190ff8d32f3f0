"""Runs that several tests here look at."""

import pytest

from tests.gradflow.flow.oracles import CASES, TIMES, by_scipy


@pytest.fixture(scope="module", name="reference")
def _reference():
    objective, oracle, start = CASES["rectangular completion"]()
    return objective, oracle, start, by_scipy(*oracle, start, TIMES)
