"""The verdicts on bah2022's claims."""

import pytest

from tests.theory_checks.verdicts import assert_verdict_and_control, of_paper


@pytest.mark.parametrize("id", of_paper("bah2022"))
def test_verdict_and_control(id):
    assert_verdict_and_control(id)
