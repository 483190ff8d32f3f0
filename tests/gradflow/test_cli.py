import json

import jax
import pytest

from tests.gradflow.claims.report.test_page import ROW
from tests.helpers import status

OWN = """
import numpy as np
from gradflow.claims import Case, claim

@claim("{id}", kind="inequality", statement=r"x^2 \\\\ge 0", where="here", control={control})
def square(settings, sign=1.0):
    {body}
    x = np.random.default_rng(settings.seed).normal(size=10)
    yield Case("normal", slack=sign * x**2, floor=1e-15, hypotheses={{"finite": True}})
"""


@pytest.fixture(autouse=True)
def keep_precision():
    yield
    jax.config.update("jax_enable_x64", True)


def own(folder, id, control="{'sign': -1.0}", body="pass"):
    file = folder / f"{id.replace('.', '_')}.py"
    file.write_text(OWN.format(id=id, control=control, body=body))
    return file


def test_version(capsys):
    assert status("--version") == 0
    assert capsys.readouterr().out.startswith("gradflow 0.")


def test_list_names_every_claim(capsys):
    assert status("list") == 0
    assert "razin2020.thm1" in capsys.readouterr().out


def test_check_writes_json_and_html_and_exits_with_0(tmp_path, capsys):
    code = status(
        "check", "razin2020.prop4", "--json", tmp_path / "a.json", "--html", tmp_path / "a.html"
    )
    assert code == 0
    (row,) = json.loads((tmp_path / "a.json").read_text())
    wanted = {"id", "verdict", "kind", "cases", "residual", "floor", "counterexample", "control",
              "corrected", "seconds"}  # fmt: skip
    assert wanted <= set(row)
    assert (row["verdict"], row["control"]) == ("holds", "fails")
    page = (tmp_path / "a.html").read_text()
    assert "<math" in page and "http://" not in page.replace("http://www.w3.org", "")
    assert "holds" in capsys.readouterr().out


@pytest.mark.slow
def test_theorem_1_comes_with_its_picture(tmp_path):
    code = status("check", "razin2020.thm1.irank", "--json", tmp_path / "a.json")
    assert code == 0
    assert (tmp_path / "razin2020.thm1.png").read_bytes()[:4] == b"\x89PNG"


def test_float32_is_inconclusive_never_a_refutation(tmp_path):
    code = status(
        "check", "razin2020.thm1", "--precision", "float32", "--json", tmp_path / "a.json"
    )
    assert code == 1
    rows = json.loads((tmp_path / "a.json").read_text())
    assert {row["verdict"] for row in rows} == {"inconclusive"}


def test_a_claim_of_ones_own(tmp_path):
    file = own(tmp_path, "own.true")
    assert status("check", "own.true", "--module", file) == 0


def test_a_control_that_does_not_fail_exits_with_1(tmp_path, capsys):
    file = own(tmp_path, "own.toothless", control="{'sign': 2.0}")
    assert status("check", "own.toothless", "--module", file) == 1
    assert "not to be trusted" in capsys.readouterr().out


def test_a_crash_exits_with_1(tmp_path, capsys):
    file = own(tmp_path, "own.crash", body="raise RuntimeError('boom')")
    assert status("check", "own.crash", "--module", file) == 1
    assert "boom" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("check", "nobody.thm9"), "there is no claim 'nobody.thm9'"),
        (("check", "--quick", "--full"), "not both"),
        (("check", "--json", "/nowhere/at/all.json"), "does not exist"),
        (("check", "--module", "missing.py"), "no file missing.py"),
    ],
)
def test_misuse_exits_with_2_and_says_why(arguments, message, capsys):
    assert status(*arguments) == 2
    assert message in capsys.readouterr().err


def test_a_report_from_a_stored_ledger_is_the_same_page(tmp_path, capsys):
    ledger, first, second = (tmp_path / name for name in ("a.json", "a.html", "b.html"))
    assert status("check", "razin2020.prop4", "--json", ledger, "--html", first) == 0
    assert status("report", "--ledger", ledger, "--html", second) == 0
    assert first.read_text() == second.read_text()
    ledger.write_text("[1]")
    assert status("report", "--ledger", ledger, "--html", second) == 2
    assert status("report", "--ledger", tmp_path / "none.json") == 2
    assert "gradflow check --json" in capsys.readouterr().err


def test_cite_names_the_paper_the_check_and_with_a_ledger_the_verdict(tmp_path, capsys):
    assert status("cite", "razin2020.thm2.norm") == 0
    told = capsys.readouterr().out
    assert "Razin and Cohen 2020: Implicit Regularization in Deep Learning" in told
    assert "Theorem 2, Equation (15)" in told and "gradflow check razin2020.thm2.norm`" in told
    assert "The form is gradflow's: the printed razin2020.thm2.norm fails." in told
    row = {**ROW, "id": "razin2020.eq51", "verdict": "fails", "severity": "misprint",
           "survives": "Lemma 26.", "grade": "proved"}  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps([row]))
    assert status("cite", "razin2020.eq51", "--ledger", tmp_path / "a.json") == 0
    told = capsys.readouterr().out
    assert "Verdict: fails (misprint); evidence: proved; negative control: fails." in told
    assert "What stands: Lemma 26." in told
    assert status("cite", "razin2020.prop4", "--ledger", tmp_path / "a.json") == 0
    assert f"Verdict: none of this claim in {tmp_path / 'a.json'}." in capsys.readouterr().out
    assert status("cite") == 2 and status("cite", "nobody") == 2


@pytest.mark.parametrize("command", ["check", "report"])
def test_a_seed_out_of_range_is_refused_in_a_line(command, capsys):
    assert status(command, "--seed", -1) == 2
    assert "seed must be a whole number of at least 0, but it is -1" in capsys.readouterr().err
