import io

import jax
import numpy as np
from rich.console import Console

from gradflow.claims import Case, Claim, Confirmation, Settings, check, registered
from gradflow.claims.registry import load_papers
from gradflow.claims.report.stored import read_ledger
from gradflow.claims.report.terminal import details, sound, write_json


def made(function, control=None):
    return Claim("test.x", "inequality", "x", "here", function, control or {"sign": -1.0}, "sign")


def square(settings, sign=1.0):
    x = np.random.default_rng(settings.seed).normal(size=50)
    yield Case(
        "normal", slack=sign * x**2, floor=1e-15, hypotheses={"real": bool(np.isreal(x).all())}
    )


def test_a_true_claim_holds_and_its_control_fails():
    entry = check(made(square), Settings(seed=3))
    assert (entry.verdict, entry.control_verdict, entry.sound) == ("holds", "fails", True)
    row = entry.as_json()
    assert row["cases"] == 1 and row["points"] == 50
    assert row["control"] == "fails" and row["counterexample"] is None
    assert row["again"] == "gradflow check test.x --seed 3" and row["script"] == ""
    assert [shown["what"] for shown in row["outline"]] == ["slack"]


def test_a_false_claim_fails_with_an_exact_counterexample():
    def cube(settings, sign=1.0):
        x = np.array([2.0, -3.0])
        yield Case(
            "cubes",
            slack=sign * x**3,
            floor=1e-15,
            hypotheses={"real": bool(np.isreal(x).all())},
            witness=lambda k: {"x": x[k]},
            confirm=lambda k: Confirmation(int(x[k]) ** 3 * int(sign) < 0, f"{int(x[k])}^3 < 0"),
        )

    entry = check(made(cube))
    assert entry.verdict == "fails"
    assert entry.judgement.counterexample["x"] == -3.0
    assert entry.judgement.counterexample["confirmed"] is True


def test_a_counterexample_that_is_not_finite_can_be_stored(tmp_path):
    def cases(settings, sign=1.0):
        yield Case(
            "ends",
            slack=-sign * np.ones(1),
            floor=1e-15,
            hypotheses={"real": bool(np.isreal(sign))},
            witness=lambda k: {"x": np.array([np.nan, -np.inf, 1.0]), "y": float("inf")},
            confirm=lambda k: Confirmation(True, "-1 < 0"),
        )

    row = check(made(cases)).as_json()
    assert row["counterexample"]["x"] == ["NaN", "-Infinity", 1.0]
    assert row["counterexample"]["y"] == "Infinity"
    write_json([row], tmp_path / "a.json")
    assert read_ledger(tmp_path / "a.json") == [row]


def test_a_failure_that_does_not_say_how_grave_it_is_is_not_counted():
    row = check(made(square, control={"sign": -2.0})).as_json()
    assert sound(row)
    fails = {**row, "verdict": "fails", "counterexample": {"x": 1}}
    assert not sound(fails) and not sound({**fails, "severity": "constant"})
    assert sound({**fails, "severity": "constant", "survives": "the form"})
    console = Console(width=100, record=True, file=io.StringIO())
    details([fails], console)
    assert "does not say how grave" in console.export_text()


def test_a_control_that_does_not_fail_discredits_the_check():
    entry = check(made(square, control={"sign": 2.0}))
    assert entry.verdict == "holds" and not entry.sound


def test_the_control_of_a_false_claim_is_judged_where_the_claim_is_kept():
    def cases(settings, sign=1.0):
        for name, x in (("two", 2.0), ("minus three", -3.0)):
            yield Case(
                name,
                slack=sign * x,
                floor=1e-15,
                hypotheses={"real": bool(np.isreal(x))},
                witness=lambda k, x=x: {"x": x},
                confirm=lambda k, x=x: Confirmation(int(x) * int(sign) < 0, f"{x:.0f} < 0"),
            )

    entry = check(made(cases))
    assert (entry.verdict, entry.spared, entry.control_verdict) == ("fails", 1, "fails")
    unbroken = check(made(cases, control={"sign": 2.0}))
    assert unbroken.verdict == "fails" and not unbroken.sound


def test_a_crash_is_an_entry():
    def broken(settings, sign=1.0):
        raise RuntimeError("out of order")
        yield

    entry = check(made(broken))
    assert entry.verdict == "crashed" and "out of order" in entry.error
    assert entry.as_json()["verdict"] == "crashed"


def test_nothing_is_judged_in_float32():
    with jax.enable_x64(False):
        entry = check(made(square))
    assert entry.verdict == "inconclusive"
    assert "float32" in entry.judgement.reason


def test_every_id_of_the_ledger_is_checked_and_every_correction_is_linked():
    load_papers()
    known = registered()
    listed = [made.id for paper in load_papers().values() for made in paper.claims]
    printed = [id for id in known if not id.endswith(".corrected")]
    assert {made.sharpens for made in known.values()} - {None} <= set(printed)
    assert printed == listed
    for id, made in known.items():
        if made.corrected is not None:
            assert known[made.corrected].corrects == id
            assert made.flaw and made.severity and made.survives
        if made.corrects is not None:
            assert known[made.corrects].corrected == id
