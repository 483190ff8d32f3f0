"""The README's Python examples, run as they stand."""

import re
from pathlib import Path

import pytest

from gradflow.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
ALL = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


MODULE = "# rates.py"
EXAMPLES = [source for source in ALL if not source.startswith(MODULE)]
(OWN_EXPERIMENT,) = (source for source in ALL if source.startswith(MODULE))


def test_there_is_one_example_for_each_use():
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("source", EXAMPLES, ids=["claim", "descents", "flow", "explorer"])
def test_example_runs(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    if "mine.trace" in source:
        assert printed.strip() == "holds fails"
    elif "save_html" in source:
        assert (tmp_path / "flow.html").stat().st_size > 1_000_000
    else:
        assert "reached the loss" in printed
    if "savefig" in source:
        assert (tmp_path / "spectrum.png").stat().st_size > 10_000
        assert (tmp_path / "flow.nc").is_file()


def test_an_experiment_of_ones_own_runs_from_its_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rates.py").write_text(OWN_EXPERIMENT)
    words = "run mine.rates --module rates.py --quick --depths 2 --rates 0.1 0.05 --jobs 1"
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    printed = capsys.readouterr().out
    assert stop.value.code == 0, printed
    assert "2 cells done" in printed and "yes" in printed
    assert (tmp_path / "results/experiments/mine.rates-quick.png").stat().st_size > 5_000
