"""`make gpu`: pieces that end, are kept, and are taken up again."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import accelerator
from benchmarks.accelerator import Options, Piece, kept, main, pieces_of, rows_of

ROOT = Path(__file__).resolve().parents[2]
WRITE = "import json, sys; open(sys.argv[1], 'w').write(json.dumps({rows})); "


def piece(name, rows, then=""):
    return Piece(name, ("-c", WRITE.format(rows=rows) + then, "{file}"), rows_of)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A function that does some pieces and gives the exit status, and what was kept."""

    def call(*pieces, **changes):
        monkeypatch.setattr(accelerator, "pieces_of", lambda options: list(pieces))
        options = Options(device="cpu", scale="small", out=tmp_path, **changes)
        return main(options), {p.name: kept(tmp_path / "cpu-small", p.name) for p in pieces}

    return call


def test_what_is_done_is_kept_and_not_done_again(calls, tmp_path, capsys):
    good = piece("device", [{"kind": "Abacus 3"}])
    bad = piece("batch", [{"us": 1.5}], "sys.exit(3)")
    code, parts = calls(good, bad)
    assert (code, parts["device"]["status"], parts["batch"]["status"]) == (1, "done", "failed")
    code, parts = calls(piece("device", [{"kind": "another"}]), piece("batch", [{"us": 2.5}]))
    assert code == 0
    assert parts["device"]["rows"] == [{"kind": "Abacus 3"}]
    assert parts["batch"]["rows"] == [{"us": 2.5}]
    assert "device: done before" in capsys.readouterr().out
    folder = tmp_path / "cpu-small"
    content = json.loads((folder / "abacus-3.json").read_text())
    assert list(content["pieces"]) == ["device", "batch"]
    assert "| 2.5 |" in (folder / "report.md").read_text()


def test_a_piece_ends_at_its_limit_and_what_it_wrote_is_kept(calls, monkeypatch):
    monkeypatch.setattr(accelerator, "LIMIT", 2.0)
    code, parts = calls(
        piece("device", [{"kind": "x"}]),
        piece("flows", [{"size": 2}], "import time; sys.stdout.flush(); time.sleep(60)"),
    )
    assert code == 0
    assert parts["flows"]["status"] == "stopped" and parts["flows"]["seconds"] < 30
    assert parts["flows"]["rows"] == [{"size": 2}]


def test_without_the_device_nothing_is_tried(calls, capsys):
    missing = Piece("device", ("-c", "import sys; print('no abacus here'); sys.exit(2)"), rows_of)
    code, parts = calls(missing, piece("batch", []))
    assert code == 2 and parts["batch"] == {}
    assert "no abacus here" in capsys.readouterr().out


def test_when_the_time_is_over_the_rest_is_left(calls, capsys):
    code, parts = calls(piece("device", []), minutes=0.0)
    assert code == 0 and parts == {"device": {}}
    assert "left for the next call" in capsys.readouterr().out
    assert calls(piece("device", []), pieces=("nothing",))[0] == 2


def test_verdicts_that_differ_are_told():
    def part(*verdicts):
        rows = [{"id": f"a.{k}", "verdict": v} for k, v in enumerate(verdicts)]
        return {"status": "done", "seconds": 1.0, "rows": rows}

    parts = {"check-a-on-cpu": part("holds", "fails"), "check-a": part("holds", "inconclusive")}
    text = accelerator.report({"kind": "x", "pieces": parts})
    assert "2 claims on both; 1 verdicts differ." in text
    assert "- a.1: inconclusive, on the CPU fails" in text


def test_each_piece_is_there_at_both_scales():
    whole, small = (pieces_of(Options(scale=scale)) for scale in ("whole", "small"))
    assert whole[0].name == small[0].name == "device"
    for pieces in (whole, small):
        assert len({one.name for one in pieces}) == len(pieces)
    for one in whole:
        for word in one.words:
            assert not word.startswith("tests/") or (ROOT / word).exists()


def test_make_takes_the_python_that_is_there():
    asked = ["PYTHON=/some/python3", "INSTALL=no", "DEVICE=cpu", "SCALE=small"]
    words = ["make", "-n", "gpu", *asked]
    shown = subprocess.check_output(words, cwd=ROOT, text=True)
    assert "/some/python3 -m benchmarks.accelerator --device cpu --scale small" in shown
    assert "pip" not in shown
