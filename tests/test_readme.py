"""What the README and the guide print is run as it stands: examples, and the words of commands."""

import re
import shlex
from pathlib import Path

import pytest

from gradflow.claims import definition
from gradflow.claims.registry import load_papers
from gradflow.cli import main
from gradflow.commands import COMMANDS
from tests.helpers import status

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPERIMENTS = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
CLAIMS = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
PRINTED = sorted(
    {line.partition("#")[0].strip() for line in re.findall(r"^    \S*gradflow (.+)$", TEXT, re.M)}
    | set(re.findall(r"`gradflow (\w+ [^`]+)`", TEXT))
)
OTHERS = "mine2026"
"""The paper of docs/claims.md, which test_own_paper.py writes and checks."""
WORK = {
    "check": "gradflow.claims.commands._check",
    "report": "gradflow.claims.commands._report",
    "run": "gradflow.sweeps.runner.run",
    "plot": "gradflow.sweeps.results.load",
    "compare": "gradflow.sweeps.results.load",
    "explore": "gradflow.trajectory.Trajectory.load",
}
"""Commands whose words, ids and options have all been understood when this is called."""


class BegunError(Exception):
    """The work of a command would begin here."""


def begin(*_, **__):
    raise BegunError


def shown(page, sign):
    """The one Python file of a page that has the sign."""
    (source,) = (s for s in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if sign in s)
    return source


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
    (tmp_path / "rates.py").write_text(shown(EXPERIMENTS, "# rates.py"))
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


@pytest.mark.parametrize("line", [line for line in PRINTED if OTHERS not in line])
def test_a_printed_command_is_understood(line, monkeypatch, tmp_path):
    """Up to where its work would begin: the words, the ids and the options are as printed."""
    for place in WORK.values():
        monkeypatch.setattr(place, begin)
    load_papers()
    others = {id: made for id, made in definition._REGISTRY.items() if not id.startswith("mine.")}
    monkeypatch.setattr(definition, "_REGISTRY", others)  # what the reader's file adds goes again
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "rates.py").write_text(shown(EXPERIMENTS, "# rates.py"))
    (tmp_path / "mine.py").write_text(shown(CLAIMS, '"mine.trace"'))
    command, *rest = shlex.split(line)
    one = "razin2020.thm1.norm" if command == "cite" else "razin2020.fig1"
    words = [command, *(re.sub("^ID$", one, re.sub(r"^FILE(\.\.\.)?$", "a.nc", w)) for w in rest)]
    if command in WORK and "--help" not in words:
        with pytest.raises(BegunError):
            status(*words)
    else:
        assert status(*words) == 0
