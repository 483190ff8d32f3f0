"""The page for those who know another tool: its scripts print what it says, as do the others."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.docs.other_tools import OTHERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "coming-from.md"
SITUATIONS = {
    title: (source, printed)
    for title, source, printed in re.findall(
        r"^### (.+?)\n(?:(?!^#).)*?```python\n(.*?)```\n\n```text\n(.*?)```",
        PAGE.read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
}
QUICK = (
    "SoftImpute on a matrix with NaN",
    "Embeddings with biases",
    "A stack of nn.Linear, MSELoss and SGD",
    "One's own training loop",
)
"""The others are slow tests: each compiles programs of its own."""
NUMBER = re.compile(r"-?\d+\.(\d*)(?:e([-+]\d+))?")


def assert_alike(printed, wanted):
    """Word for word, and numbers with a point to a unit of the last digit that is shown."""
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", wanted).split()
    for one, other in zip(NUMBER.finditer(printed), NUMBER.finditer(wanted), strict=True):
        unit = 10.0 ** (int(other[2] or 0) - len(other[1]))
        np.testing.assert_allclose(float(one[0]), float(other[0]), rtol=0, atol=1.001 * unit)


def test_there_are_eighteen_short_scripts_each_beside_the_other_tools():
    assert list(SITUATIONS) == list(OTHERS) and len(OTHERS) == 18
    for source, printed in SITUATIONS.values():
        assert 'jax.config.update("jax_enable_x64", True)\n' in source
        assert source.count("\n") <= 36 and printed.strip()


@pytest.mark.parametrize(
    "title",
    [pytest.param(t, marks=[] if t in QUICK else [pytest.mark.slow]) for t in OTHERS],
)
def test_it_prints_what_the_page_says_and_agrees_with_the_other_tool(title, capsys):
    source, printed = SITUATIONS[title]
    names = {}
    exec(compile(source, f"coming-from.md: {title}", "exec"), names)
    assert_alike(capsys.readouterr().out, printed)
    OTHERS[title](names)


def test_other_digits_are_seen():
    assert_alike("rank  1.2345 of 3\n", "rank 1.2346 of 3")
    assert_alike("1.01e-09", "1.02e-09")
    for printed in ("rank 1.2347 of 3", "rank 1.2345 of 4", "rang 1.2345 of 3"):
        with pytest.raises(AssertionError):
            assert_alike(printed, "rank 1.2345 of 3")
