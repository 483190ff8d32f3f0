"""What the README and the guide print is run as it stands: examples, and the words of commands."""

import re
import shlex
from pathlib import Path

import pytest

from gradflow.cli import main
from gradflow.commands import COMMANDS
from tests.helpers import status

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPERIMENTS = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PRINTED = sorted(
    {
        line.partition("#")[0].strip()
        for page in PAGES
        for line in re.findall(
            r"^    (?:\.venv/bin/)?gradflow (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
)


def test_ten_lines_lead_from_a_problem_to_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (source,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert source.count("\n") <= 12
    exec(compile(source, "README.md", "exec"), {})
    assert "reached the loss" in capsys.readouterr().out
    assert (tmp_path / "spectrum.png").stat().st_size > 10_000
    assert (tmp_path / "flow.nc").is_file()


def test_an_experiment_of_ones_own_runs_from_its_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (module,) = re.findall(r"```python\n(# rates\.py.*?)```", EXPERIMENTS, flags=re.DOTALL)
    (tmp_path / "rates.py").write_text(module)
    words = "run mine.rates --module rates.py --quick --depths 2 --rates 0.1 0.05 --jobs 1"
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    printed = capsys.readouterr().out
    assert stop.value.code == 0, printed
    assert "2 cells done" in printed and "yes" in printed
    assert (tmp_path / "results/experiments/mine.rates-quick.png").stat().st_size > 5_000


def test_many_commands_are_printed():
    assert len(PRINTED) > 20 and {line.split()[0] for line in PRINTED} >= set(COMMANDS) - {
        "completion"
    }


@pytest.mark.parametrize("line", PRINTED)
def test_a_printed_command_is_understood(line, monkeypatch, capsys, tmp_path):
    """Up to where its work would begin: the words, the ids and the options are as printed."""
    begun = []
    monkeypatch.setattr("gradflow.claims.commands._check", lambda *_: (begun.append(1) or 0, []))
    monkeypatch.setattr("gradflow.claims.commands._report", lambda *_: begun.append(1) or 0)
    monkeypatch.setattr("gradflow.sweeps.runner.run", lambda *_, **__: begun.append(1) or 1 / 0)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(re.sub(r"\bID\b", "razin2020.fig1", line))
    if any(word.endswith((".py", ".nc")) or word.startswith("mine") for word in words):
        pytest.skip("it is about a file of the reader's own")
    try:
        code = status(*words)
    except ZeroDivisionError:
        code = 0
    told = capsys.readouterr().err
    nothing_run_yet = "computes them" in told or "there is no file" in told
    assert code == 0 or nothing_run_yet, told
