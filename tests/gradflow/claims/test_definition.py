import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy

from gradflow.claims import ByConstruction, Convention, check, roundings
from gradflow.claims.definition import Case, Confirmation, Corrected, Settings, Verdict, claim
from gradflow.claims.judging import judge
from gradflow.claims.registry import registered, select
from gradflow.claims.severity import see_severity

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


def test_what_holds_by_construction_and_what_is_a_convention_says_so():
    cases = [
        Case(
            f"{k}",
            residual=[1e-16, 0.0],
            floor=roundings(1e-15),
            hypotheses=MET | {"depth 1": ByConstruction("there is one factor")},
        )
        for k in range(2)
    ]
    measured = Case("measured", residual=[0.0], floor=1e-12, hypotheses=MET)
    found = verdict(*cases, measured)
    assert found.verdict == Verdict.HOLDS
    assert found.hypotheses == (
        "a hypothesis", "depth 1 (by construction: there is one factor)"
    )  # fmt: skip
    assert found.conventions == ("1e-15: 4.5 roundings of float64; 2 cases",)
    assert cases[0].floors.tolist() == [1e-15, 1e-15]


def test_a_convention_judges_as_its_value():
    case = Case("x", residual=[1e-5], floor=Convention(1e-9, "a margin"), hypotheses=MET)
    assert verdict(case, must_confirm=False).verdict == Verdict.FAILS
    assert verdict(case, kind="approximation").verdict == Verdict.APPROXIMATES


def test_violation_is_no_refutation_until_it_is_confirmed():
    case = Case("x", residual=[1.0], floor=1e-9, hypotheses=MET)
    assert verdict(case).verdict == Verdict.INCONCLUSIVE
    assert verdict(case, must_confirm=False).verdict == Verdict.FAILS


@pytest.mark.parametrize(
    "number, expected",
    [(Fraction(-1, 2), "fails"), (sympy.Rational(-1, 2), "fails"), (-0.5, "inconclusive"),
     (-1, "inconclusive"), (sympy.Float(-0.5), "inconclusive"),
     (mpmath.iv.mpf(-1), "inconclusive")],
)  # fmt: skip
def test_a_violation_in_fractions_needs_no_confirmation(number, expected):
    found = verdict(Case("x", slack=[number], hypotheses=MET), kind="inequality")
    assert found.verdict == expected
    assert found.counterexample["confirmed"] == (expected == "fails")
    assert found.grade == ("proved" if expected == "fails" else None)
    beside = Case("x", slack=[number, 0.5], hypotheses=MET)
    assert verdict(beside, kind="inequality").verdict == "inconclusive"


def test_the_exact_counterexample_is_taken_before_a_smaller_float_and_after_a_confirmed_one():
    exact = Case("exact", slack=[Fraction(-1, 2)], hypotheses=MET, size=9)
    rounded = Case("rounded", slack=[-1.0], floor=1e-9, hypotheses=MET, size=1)
    known = Case("known", slack=[-1.0], floor=1e-9, hypotheses=MET, size=20,
                 confirm=lambda k: Confirmation(True, "t"))  # fmt: skip
    assert verdict(rounded, exact, kind="inequality").counterexample["case"] == "exact"
    assert verdict(rounded, exact, known, kind="inequality").counterexample["case"] == "known"
    told = verdict(rounded, kind="inequality")
    assert told.verdict == "inconclusive" and "confirm=" in told.reason


@pytest.mark.parametrize("violated, expected", [(True, "fails"), (False, "inconclusive")])
def test_high_precision_has_the_last_word(violated, expected):
    case = Case(
        "x", slack=[-1.0], floor=1e-9, hypotheses=MET, confirm=lambda k: Confirmation(violated, "t")
    )
    found = verdict(case, kind="inequality")
    assert found.verdict == expected
    assert found.counterexample["confirmed"] is violated


@pytest.mark.parametrize(
    ("compared", "how"),
    [
        ((), "in 50 digits"),
        ((1, 2), "by one exact point"),
        ((1.0, 2.0), "in float64 with a measured floor"),
    ],
)
def test_how_a_counterexample_is_confirmed_is_said_in_words(compared, how):
    confirmation = Confirmation(True, "t", compared=compared)
    case = Case("x", slack=[-1.0], floor=1e-9, hypotheses=MET, confirm=lambda k: confirmation)
    assert verdict(case, kind="inequality").reason.endswith(f"confirmed {how}")


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
    with pytest.raises(ValueError, match=r"there is no claim 'test\.b'"):
        select(["test.b"])
    with pytest.raises(ValueError, match="already"):
        claim("test.a.one", kind="algebra", statement="x", where="", control={"k": 1})(other)
    # A notebook's cell that is run again defines the same function once more.
    again = claim("test.a.one", kind="algebra", statement="y", where="", control={"k": 1})
    assert again(one.function) is registered()["test.a.one"]
    with pytest.raises(ValueError, match="no negative control"):
        claim("test.c", kind="algebra", statement="x", where="", control={})(one.function)


def root(settings, corrected, factor=1.0):
    """The root of x^2 is x, as printed, or |x|."""
    x = np.array([-2.0, 3.0])
    yield Case("two numbers", residual=np.sqrt(x**2) - factor * (np.abs(x) if corrected else x),
               floor=1e-15, hypotheses=MET, confirm=refuted)  # fmt: skip


def two_forms(id, function=root, **more):
    given = {
        "kind": "algebra", "statement": "x", "where": "here", "control": {"factor": 2.0},
        "flaw": "sign", "severity": "misprint", "survives": "its size",
        "readings": {"x > 0": "holds"},
        "corrected": Corrected("|x|"), **more,
    }  # fmt: skip
    return claim(id, **given)(function)


def test_printed_and_corrected_form_are_two_claims_of_one_function():
    printed = two_forms("test.forms", control_text="twice the right side", accuracy=0.2)
    corrected = registered()["test.forms.corrected"]
    assert [made.id for made in select(["test.forms"])] == [printed.id, corrected.id]
    assert printed is registered()["test.forms"] and corrected.function is printed.function
    assert (printed.corrected, printed.corrects) == (corrected.id, None)
    assert (corrected.corrected, corrected.corrects) == (None, printed.id)
    assert (printed.flaw, corrected.flaw) == ("sign", "")
    assert (printed.severity, printed.survives) == ("misprint", "its size")
    assert (corrected.severity, corrected.survives, corrected.readings) == (None, "", {})
    assert (printed.statement, corrected.statement) == ("x", "|x|")
    for name in ("kind", "where", "control", "control_text", "resolution", "accuracy"):
        assert getattr(corrected, name) == getattr(printed, name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"severity": None}, "'test.grave' is declared to fail without severity; say where"),
        ({"survives": "", "flaw": ""}, "without flaw and survives; say where the argument breaks"),
        ({"corrected": None, "survives": ""}, "without survives"),
    ],
)
def test_a_claim_that_fails_says_how_grave_that_is_and_what_stands(changes, said):
    with pytest.raises(ValueError, match=said):
        two_forms("test.grave", **changes)
    assert "test.grave" not in registered()
    with pytest.raises(ValueError, match="has severity 'grave'; give one of 'misprint', 'missing"):
        see_severity("test.grave", "grave", "sign", "its size")


def test_the_form_is_passed_and_both_controls_are_judged():
    printed = two_forms("test.passed")
    entry, twin = check(printed), check(registered()["test.passed.corrected"])
    assert (entry.verdict, entry.control_verdict) == ("fails", "fails")
    assert (twin.verdict, twin.control_verdict) == ("holds", "fails")


def test_the_corrected_form_has_what_it_names_and_may_be_broken_into_the_printed_one():
    changes = Corrected("|x|", where="there", kind="identity", control={"corrected": False},
                        resolution=1e-2)  # fmt: skip
    printed = two_forms("test.changes", corrected=changes)
    made = registered()["test.changes.corrected"]
    assert (made.where, made.kind, made.resolution) == ("there", "identity", 1e-2)
    assert made.control_text == "corrected = False"
    (broken,), (case,) = made.cases(Settings(), broken=True), printed.cases(Settings())
    assert np.array_equal(broken.residual, case.residual)


def test_a_claim_of_two_forms_may_be_defined_once_more_but_not_take_another_id():
    two_forms("test.again")
    two_forms("test.again", statement="y", corrected=Corrected("|y|"))
    assert registered()["test.again"].statement == "y"
    assert registered()["test.again.corrected"].statement == "|y|"

    def other(settings, corrected=False, factor=1.0):
        yield from root(settings, corrected, factor)

    claim("test.taken.corrected", kind="algebra", statement="x", where="",
          control={"factor": 2.0})(other)  # fmt: skip
    with pytest.raises(ValueError, match=r"'test\.taken\.corrected' already"):
        two_forms("test.taken")
    assert "test.taken" not in registered()


@pytest.mark.parametrize(
    ("id", "changes"),
    [
        ("test.bare", {"control": {}, "corrected": Corrected("|x|", control={"factor": 2.0})}),
        ("test.bare.corrected", {"corrected": Corrected("|x|", control={})}),
    ],
)
def test_neither_form_goes_without_a_control(id, changes):
    with pytest.raises(ValueError, match=rf"'{id}' has no negative control"):
        two_forms("test.bare", **changes)
    assert "test.bare" not in registered()


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
