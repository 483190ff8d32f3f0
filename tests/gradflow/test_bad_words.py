"""Bad command lines: one line on stderr, exit code 2, no traceback, and nothing is written."""

import io
import json
import sys
from pathlib import Path

import pytest

from gradflow.cli import main
from tests.gradflow.sweeps.own import OWN

SWEEP = ("own.sweep", "--module", "{own}", "--quick", "--out", "{tmp}/out")
FILES = {
    "raises.py": "x = 1\nraise RuntimeError('boom\\nand more')\n",
    "syntax.py": "def f(:\n",
    "leaves.py": "import sys\nsys.exit(0)\n",
    "imports.py": "import a_package_that_is_not_there\n",
    "bytes.py": "x = '\0'\n",
    "text.txt": "x = 1\n",
    "foreign.json": '{"a": 1}',
    "list.json": "[1, 2]",
    "half.json": '[{"id": "a.b"}]',
    "deep.json": "[" * 100_000,
    "not.json": "no json",
    "nan.json": '[{"id": NaN}]',
    "surrogate.json": '["\\ud800"]',
    "empty.json": "",
    "good.json": "[]",
    "marks.md": "no marks",
    "binary.md": "\udcff\udcfe",
}
BAD = {
    # No command, or not this one.
    "": "usage: gradflow COMMAND",
    "chek": "there is no command 'chek'; did you mean check?",
    "--nothing": "there is no command '--nothing'",
    "CHECK": "there is no command 'CHECK'",
    # Options that are not known, lack a value, or have one of another kind.
    "check --sed 1": "Unrecognized options: --sed, 1; perhaps you meant --seed INT.",
    "check --seed": "Missing value for argument '--seed'",
    "check --seed x": "invalid literal for int() with base 10: 'x'",
    "check --seed 1.5": "invalid literal for int()",
    "check --jobs two": "invalid literal for int()",
    "check --device tpu": "invalid choice 'tpu' for argument '--device'",
    "check --precision float16": "invalid choice 'float16' for argument '--precision'",
    "report more": "Unrecognized options: more.",
    "report --jobs 2": "Unrecognized options: --jobs, 2",
    "run {sweep} --quik": "Unrecognized options: --quik; did you mean --quick?",
    "plot {sweep} --fil a.pdf": "Unrecognized options: --fil, a.pdf; did you mean --file?",
    "check razin2020.th1": "there is no claim 'razin2020.th1'; did you mean razin2020.thm1 or",
    "list razin2020.th1": "nothing begins with 'razin2020.th1'; did you mean razin2020.thm1 or",
    "list zaho2022": "nothing begins with 'zaho2022'; did you mean zhao2022 or",
    "status razin2020.figg1": "did you mean razin2020.fig1",
    "cite razin2020.th1": "no claim 'razin2020.th1'; did you mean razin2020.thm1 or",
    "cite wang2024.lemma5": "did you mean wang2024.lem5 or",
    "cite lem5": "there is no claim 'lem5'; did you mean wang2024.lem5?",
    "check rzin2020": "did you mean razin2020 or",
    "completion tcsh": "invalid choice 'tcsh'",
    "status --out": "Missing value for argument '--out'",
    "run": "Missing from gradflow run: STR",
    "plot": "Missing from gradflow plot: STR",
    "compare": "Missing from gradflow compare: STR",
    "run {sweep} --scale large": "there is no scale 'large'; give --quick, or nothing",
    "run {sweep} --speeds 1": "Unrecognized options: --speeds, 1",
    "run {sweep} --rates fast": "Could not find valid parse for arguments: ['fast']",
    "run {sweep} --device abacus": "invalid choice 'abacus'",
    # Numbers out of range.
    "check --seed -1": "--seed must be a whole number of at least 0, but it is -1",
    "check --seed 99999999999999999999999": "--seed must be a whole number of at most",
    "report --seed -1": "--seed must be a whole number of at least 0",
    "check --jobs 0": "--jobs must be at least 1, but it is 0",
    "check --jobs -3": "--jobs must be at least 1, but it is -3",
    "run {sweep} --jobs 0": "jobs must be at least 1",
    "run {sweep} --batch 0": "batch must be at least 1",
    "run {sweep} --rates -1": "rates must be above 0",
    "run {sweep} --seeds -1": "seed must be a whole number of at least 0, but it is -1",
    "run {sweep} --seeds 99999999999999999999999": "seed must be a whole number of at most",
    "plot {sweep} --steps 99999999999999999999999": "steps must be below 2^63",
    "compare {sweep} --seeds -5": "seed must be a whole number of at least 0",
    # What there is not.
    "check nobody.thm9": "there is no claim 'nobody.thm9'",
    "run razin2020.fig9": "there is no experiment 'razin2020.fig9'; did you mean razin2020.fig",
    "plot nothing": "there is no experiment 'nothing'",
    "compare {sweep}": "no cell of own.sweep --quick",
    "plot {sweep}": "`gradflow run own.sweep --quick` computes them",
    "run {sweep} --protocol code": "own.sweep has no protocol 'code'; it has paper",
    "run {sweep} --device tpu": "There is no tpu here that JAX can use",
    "check --quick --full": "not both",
    "check --device gpu": "There is no gpu here that JAX can use",
    "check --device gpu --jobs 2": "on a gpu one process checks all",
    # Modules of one's own.
    "check --module {tmp}/none.py": "there is no file",
    "check --module {tmp}": "there is no file",
    "check --module {tmp}/raises.py": "raises.py, line 2: RuntimeError: boom and more",
    "check --module {tmp}/syntax.py": "syntax.py, line 1: SyntaxError: ",
    "check --module {tmp}/leaves.py": "leaves.py, line 2: SystemExit: 0",
    "list --module {tmp}/imports.py": "line 1: ModuleNotFoundError: No module named",
    "status --module {tmp}/raises.py": "RuntimeError: boom and more",
    "run a.b --module {tmp}/bytes.py": "cannot be run",
    "plot a.b --module {tmp}/text.txt": "text.txt is not a Python file",
    "compare a.b --module {tmp}/none.py": "there is no file",
    # Outputs that are folders, below files, or where nothing can be made.
    "check --json {tmp}": "--json: {tmp} is a folder; name a file in it",
    "check --html {tmp}/none/a.html": "--html: The folder {tmp}/none does not exist; create it",
    "check --json {tmp}/good.json/a.json": "does not exist; create it first",
    "check --html {tmp}/a --json {tmp}/a": "--json and --html are one file",
    "check --module {own} --json {own}": "--module and --json are one file",
    "check --pictures {tmp}/good.json": "--pictures: {tmp}/good.json is no folder",
    "check --json /proc/x/a.json": "The folder /proc/x does not exist",
    "check --json /proc/a.json": "/proc/a.json cannot be written to",
    "report --ledger {tmp}/good.json --html {tmp}": "{tmp} is a folder; name a file in it",
    "report --ledger {tmp}/good.json --html /proc/x/r.html": "/proc/x: no such file",
    "report --ledger {tmp}/good.json --html {tmp}/marks.md/a.html": "marks.md",
    "report --ledger {tmp}/good.json --html {tmp}/good.json": "--ledger and --html are one file",
    "report --html {tmp}/r.json": "the ledger beside the page are one file",
    "plot {sweep} --file {tmp}": "--file must end in .pdf, .svg or .png",
    "plot {sweep} --file {tmp}/a.doc": "--file must end in .pdf, .svg or .png",
    "plot {sweep} --file /proc/x.pdf": "--file: /proc/x.pdf cannot be written to",
    "compare {sweep} --csv {tmp}": "--csv: {tmp} is a folder",
    "compare {sweep} --markdown {tmp}/none/a.md": "--markdown: The folder {tmp}/none does not",
    "compare {sweep} --csv {tmp}/a --markdown {tmp}/a": "--csv and --markdown are one file",
    "run own.sweep --module {own} --quick --out {tmp}/good.json": "choose another with --out",
    # Ledgers and pages that are none.
    "report --ledger {tmp}/none.json": "`gradflow check --json {tmp}/none.json` makes it",
    "report --ledger {tmp}": "there is no file",
    "report --ledger {tmp}/foreign.json --html {tmp}/r.html": "it is no list of rows",
    "report --ledger {tmp}/list.json --html {tmp}/r.html": "row 1 is 1",
    "report --ledger {tmp}/half.json --html {tmp}/r.html": "row 1 has no verdict",
    "report --ledger {tmp}/deep.json --html {tmp}/r.html": "it is nested too deeply",
    "report --ledger {tmp}/not.json --html {tmp}/r.html": "it is no JSON",
    "report --ledger {tmp}/nan.json --html {tmp}/r.html": "NaN is no number",
    "report --ledger {tmp}/empty.json --html {tmp}/r.html": "it is no JSON",
    "report --ledger {tmp}/surrogate.json --html {tmp}/r.html": "surrogates not allowed",
    "report --ledger /dev/zero --html {tmp}/r.html": "there is no file /dev/zero",
    "report --ledger {tmp}/good.json --html {tmp}/r.html --summary {tmp}/marks.md": "lacks the",
    "report --ledger {tmp}/good.json --html {tmp}/r.html --summary {tmp}/binary.md": "no text in",
    "report --ledger {tmp}/good.json --html {tmp}/r.html --summary {tmp}/none.md": "no such file",
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("keep_environment")


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    return tmp_path


def filled(text, folder):
    return text.format(tmp=folder, own=OWN)


@pytest.mark.parametrize("line", BAD)
def test_a_bad_command_line_takes_one_line_to_say(line, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        main(filled(line.replace("{sweep}", " ".join(SWEEP)), folder).split())
    assert stop.value.code == 2
    told = capsys.readouterr()
    if line:
        (said,) = told.err.splitlines()
        assert said.startswith("gradflow: ") and filled(BAD[line], folder) in said
        assert not said.endswith("..")
    else:
        assert BAD[line] in told.out
    left = set(folder.rglob("*")) - set(before) - {folder / "out", folder / "out" / "own.sweep"}
    assert {path for path in left if "__pycache__" not in path.parts} == set()


def test_there_are_many_of_them():
    assert len(BAD) >= 60
    assert {line.split()[0] for line in BAD if line} >= {
        "check", "compare", "list", "plot", "report", "run", "status"
    }  # fmt: skip


def test_a_foreign_note_of_a_run_in_flight_is_passed_over(tmp_path, capsys):
    live = tmp_path / "own.sweep" / "live"
    live.mkdir(parents=True)
    for name, note in {
        "a": [1], "b": {"time": "now"}, "c": {"label": 1}, "d": None,
        "e": {"label": "x", "iteration": 10**400, "loss": 1.0, "time": 9e9, "worker": "w"},
        "f": {"label": "\x1b[2Jx[/y]", "iteration": 7, "loss": 1.0, "time": 9e9, "worker": "w"},
    }.items():  # fmt: skip
        (live / f"{name}.json").write_text(json.dumps(note))
    (live / "g.json").write_text("[" * 100_000)
    (live / "h.json").write_bytes(b"\xff\xfe")
    with pytest.raises(SystemExit) as stop:
        main(["status", "own", "--module", str(OWN), "--out", str(tmp_path)])
    told = capsys.readouterr()
    assert stop.value.code == 0 and told.err == ""
    assert "?[2Jx[/y]" in told.out and "\x1b" not in told.out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_that_is_full(capsys, monkeypatch):
    full = io.TextIOWrapper(io.FileIO("/dev/full", "w"), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as stop:
            main(["list", "claims"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "gradflow: no space left on device.\n"


def test_an_output_that_has_few_letters(capsys, monkeypatch):
    few = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", few)
        with pytest.raises(SystemExit) as stop:
            main(["list", "claims"])
    assert stop.value.code == 0 and capsys.readouterr().err == ""
    assert b"razin2020.thm1" in few.buffer.getvalue()
