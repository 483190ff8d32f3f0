"""The verdicts on gunasekar2017's claims."""

import pytest

from tests.theory_checks.verdicts import assert_verdict_and_control, of_paper


@pytest.mark.parametrize("id", of_paper("gunasekar2017"))
def test_verdict_and_control(id):
    assert_verdict_and_control(id)
