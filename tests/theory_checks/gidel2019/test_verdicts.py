"""The verdicts on gidel2019's claims."""

import pytest

from tests.theory_checks.verdicts import assert_verdict_and_control, of_paper


@pytest.mark.parametrize("id", of_paper("gidel2019"))
def test_verdict_and_control(id):
    assert_verdict_and_control(id)
