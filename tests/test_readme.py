"""The README's Python examples, run as they stand."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_there_is_one_example_for_each_use():
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("source", EXAMPLES, ids=["claim", "descents", "explore"])
def test_example_runs(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    if "mine.trace" in source:
        assert printed.strip() == "holds fails"
    else:
        assert "reached the loss" in printed
    if "savefig" in source:
        assert (tmp_path / "spectrum.png").stat().st_size > 10_000
        assert (tmp_path / "flow.nc").is_file()
