import math

import numpy as np
import pytest

from gradflow.claims.definition import Case, Confirmation, Verdict, claim
from gradflow.claims.judging import judge
from gradflow.claims.registry import registered

MET = {"a hypothesis": True}


def verdict(*cases, kind="identity", resolution=1e-6, must_confirm=True):
    return judge(list(cases), kind, resolution, must_confirm=must_confirm)


def test_residual_within_its_floor_holds():
    found = verdict(Case("x", residual=[1e-12, 3e-9], floor=[1e-11, 4e-9], hypotheses=MET))
    assert found.verdict == Verdict.HOLDS
    assert (found.residual, found.floor) == (3e-9, 4e-9)


def test_approximation_within_its_floor_approximates():
    case = Case("x", residual=[0.0], floor=1e-9, hypotheses=MET)
    assert verdict(case, kind="approximation").verdict == Verdict.APPROXIMATES


def test_violation_between_floor_and_far_is_inconclusive():
    found = verdict(Case("x", residual=[5e-9], floor=1e-9, hypotheses=MET))
    assert found.verdict == Verdict.INCONCLUSIVE
    assert "5.0 times its floor" in found.reason


def test_floor_above_the_resolution_is_inconclusive():
    found = verdict(Case("x", residual=[1e-4], floor=1e-3, hypotheses=MET))
    assert found.verdict == Verdict.INCONCLUSIVE
    assert "resolution" in found.reason


def test_a_high_floor_below_a_larger_slack_does_not_matter():
    case = Case("x", slack=[0.5], floor=1e-3, hypotheses=MET)
    assert verdict(case, kind="inequality").verdict == Verdict.HOLDS


def test_a_slack_below_a_high_floor_is_inconclusive():
    case = Case("x", slack=[5e-4], floor=1e-3, hypotheses=MET)
    assert verdict(case, kind="inequality").verdict == Verdict.INCONCLUSIVE


def test_violation_is_no_refutation_until_it_is_confirmed():
    case = Case("x", residual=[1.0], floor=1e-9, hypotheses=MET)
    assert verdict(case).verdict == Verdict.INCONCLUSIVE
    assert verdict(case, must_confirm=False).verdict == Verdict.FAILS


@pytest.mark.parametrize("violated, expected", [(True, "fails"), (False, "inconclusive")])
def test_high_precision_has_the_last_word(violated, expected):
    case = Case(
        "x", slack=[-1.0], floor=1e-9, hypotheses=MET, confirm=lambda k: Confirmation(violated, "t")
    )
    found = verdict(case, kind="inequality")
    assert found.verdict == expected
    assert found.counterexample["confirmed"] is violated


def test_the_smallest_confirmable_counterexample_is_kept():
    def made(name, size, confirmable):
        confirm = (lambda k: Confirmation(True, name)) if confirmable else None
        return Case(name, residual=[0.0, 1.0], floor=1e-9, hypotheses=MET, size=size,
                    witness=lambda k: {"index": k}, confirm=confirm)  # fmt: skip

    found = verdict(made("large", 9, True), made("small", 4, True), made("tiny", 1, False))
    assert found.counterexample["case"] == "small"
    assert found.counterexample["index"] == 1


def test_a_case_that_misses_its_hypotheses_is_an_error():
    case = Case("x", residual=[0.0], hypotheses={"balanced": False})
    with pytest.raises(ValueError, match="'balanced'"):
        verdict(case)


def test_no_case_is_an_error():
    with pytest.raises(ValueError, match="no case"):
        verdict()


def test_values_that_are_no_numbers_are_inconclusive():
    found = verdict(Case("x", residual=[math.nan], floor=1e-9, hypotheses=MET))
    assert found.verdict == Verdict.INCONCLUSIVE


def test_a_case_needs_one_kind_of_number_and_a_hypothesis():
    with pytest.raises(ValueError, match="exactly one"):
        Case("x", residual=[0.0], slack=[0.0], hypotheses=MET)
    with pytest.raises(ValueError, match="no hypothesis"):
        Case("x", residual=[0.0])


def test_claims_are_found_by_id_and_prefix_and_ids_are_unique():
    @claim("test.a.one", kind="algebra", statement="x", where="here", control={"k": 1})
    def one(settings, k=0):
        yield Case("x", residual=np.array([k]), hypotheses=MET)

    def other(settings, k=0):
        yield Case("x", residual=np.array([k]), hypotheses=MET)

    assert one is registered()["test.a.one"]
    assert [c.id for c in select(["test.a"])] == ["test.a.one"]
    with pytest.raises(ValueError, match=r"No claim 'test\.b'"):
        select(["test.b"])
    with pytest.raises(ValueError, match="already"):
        claim("test.a.one", kind="algebra", statement="x", where="", control={"k": 1})(other)
    # A notebook's cell that is run again defines the same function once more.
    again = claim("test.a.one", kind="algebra", statement="y", where="", control={"k": 1})
    assert again(one.function) is registered()["test.a.one"]
    with pytest.raises(ValueError, match="no negative control"):
        claim("test.c", kind="algebra", statement="x", where="", control={})(one.function)


def approximation(error, **more):
    return Case("a run", residual=error, floor=1e-9, hypotheses={"a": True}, **more)


def refuted(index):
    return Confirmation(True, "again, with 50 digits")


@pytest.mark.parametrize(
    ("error", "wanted"),
    [(0.09, "approximates"), (0.2, "inconclusive"), (0.31, "fails")],
)
def test_an_approximation_is_judged_by_its_accuracy(error, wanted):
    case = approximation(error, confirm=refuted)
    assert verdict(case, kind="approximation").verdict == wanted
    unconfirmed = approximation(error)
    found = verdict(unconfirmed, kind="approximation").verdict
    assert found == ("inconclusive" if wanted == "fails" else wanted)


def test_an_approximation_that_is_not_resolved_is_inconclusive():
    case = Case("a run", residual=0.01, floor=0.05, hypotheses={"a": True})
    assert verdict(case, kind="approximation").verdict == Verdict.INCONCLUSIVE


def test_a_case_that_does_not_count_is_only_noted():
    far = approximation(5.0, counts=False, notes="far off")
    found = verdict(approximation(0.01), far, kind="approximation")
    assert found.verdict == Verdict.APPROXIMATES
    assert found.notes == ("a run: far off",)
    with pytest.raises(ValueError, match="no case that counts"):
        verdict(far, kind="approximation")


def test_what_no_case_can_meet_is_unreachable():
    case = Case("any", unreachable="a norm below 1e-320", hypotheses={"small enough": False})
    found = verdict(case)
    assert found.verdict == Verdict.UNREACHABLE
    assert "1e-320" in found.reason
    with pytest.raises(ValueError, match="exactly one"):
        Case("both", residual=0.0, unreachable="x", hypotheses={"a": True})
