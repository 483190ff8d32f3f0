"""A batch gives every number, choice and warning that its flows give alone, to the last bit."""

import warnings
from functools import cache

import jax
import numpy as np
import pytest

import gradflow as gf
from gradflow.flow import readings

COUNT = 4


def completion(seed, shape):
    rng = np.random.default_rng(seed)
    seen = rng.permutation(np.argwhere(np.ones(shape)))[: shape[0] * shape[1] - 2]
    return gf.MatrixCompletion(shape, seen, rng.standard_normal(len(seen)))


def objectives(shape, depth):
    """One a flow: their data differ, too."""
    model = gf.MatrixProduct.of(shape, depth)
    return [gf.Objective(completion(seed, shape), model) for seed in range(COUNT)]


def factors(objective, std, seed):
    return objective.factorization.gaussian(jax.random.key(seed), std=std)


def unbalanced():
    """Factors of random size, in the factors themselves."""
    many = objectives((3, 2), 3)
    return many, [factors(o, 10.0**-k, k) for k, o in enumerate(many)]


def singular():
    """One objective for all; factors lose the smallest singular value: a warning."""
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    scales = (0.3, 0.2, 0.1, 0.05)
    return [objective] * COUNT, [objective.factorization.identity(scale) for scale in scales]


def matrices():
    """Matrices, for balanced factors of which "logdet" are taken; pivots change on the way."""
    many = objectives((2, 2), 2)
    rng = np.random.default_rng(3)
    return many, [rng.standard_normal((2, 2)) for _ in many]


def tiny():
    """Tiny unbalanced layers, in "logcolumns"."""
    many = objectives((3, 2), 2)
    return many, [factors(o, 1e-5, k) for k, o in enumerate(many)]


def mixed():
    """Balanced starts and others, so that "auto" takes two kinds of coordinates."""
    many, starts = matrices()
    return many, [starts[0], factors(many[1], 0.3, 1), starts[2], factors(many[3], 0.3, 3)]


CASES = {
    "unbalanced": (unbalanced, "factors", {"horizon": 3.0}),
    "singular": (singular, "factors", {"horizon": 300.0, "coordinates": "factors"}),
    "mixed": (mixed, None, {"horizon": 3.0}),
    "matrices": (matrices, "logdet", {"stop_loss": 1e-6}),
    "tiny": (tiny, "logcolumns", {"horizon": 20.0, "stop_loss": 1e-4}),
}
ASKED = {"rtol": 1e-6, "record": [0.5, 1.0, 2.0], "observe": ("loss", "singular_values")}


def together(name):
    make, _, asked = CASES[name]
    many, starts = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return gf.solve_flows(many, starts, **(ASKED | asked))


@cache
def alone(name):
    make, _, asked = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return [gf.solve_flow(o, s, **(ASKED | asked)) for o, s in zip(*make(), strict=True)]


def assert_same(flow, one):
    assert flow.outcome is one.outcome
    known = dict(one.stats) | {"seconds": None}
    assert dict(flow.stats) | {"seconds": None} == known
    assert dict(flow.config) == dict(one.config)
    np.testing.assert_array_equal(flow.times, one.times)
    for stage in ("observables", "initial", "final"):
        found, wanted = getattr(flow, stage), getattr(one, stage)
        assert list(found) == list(wanted)
        for key in wanted:
            np.testing.assert_array_equal(found[key], wanted[key])


@pytest.mark.parametrize("name", CASES)
def test_a_batch_is_its_flows_one_by_one(name):
    flows = together(name)
    for flow, one in zip(flows, alone(name), strict=True):
        assert_same(flow, one)
        assert flow.stats["coordinates"] == (CASES[name][1] or one.stats["coordinates"])


def test_what_is_compared_comes_to_pass():
    """Warnings, other charts, a sign that is kept: else nothing was compared."""
    assert all(flow.warnings for flow in alone("singular"))
    assert all(flow.stats["sign"] == 1 for flow in alone("singular"))
    assert any(flow.stats["charts"] > 1 for flow in alone("matrices"))
    assert any(flow.stats["rise"] > 1 for flow in alone("unbalanced"))
    kinds = [flow.stats["coordinates"] for flow in alone("mixed")]
    assert kinds == ["logdet", "factors", "logdet", "factors"]


def test_numbers_of_another_flow_would_be_seen(monkeypatch):
    """The broken twin: what starts tell, in the wrong order."""
    right = readings.apart
    monkeypatch.setattr(readings, "apart", lambda *given: right(*given)[::-1])
    flows = together("unbalanced")
    with pytest.raises(AssertionError):
        for flow, one in zip(flows, alone("unbalanced"), strict=True):
            assert_same(flow, one)


def test_each_flow_warns_for_itself():
    many, starts = singular()
    asked = ASKED | CASES["singular"][2]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        gf.solve_flows(many, starts, **asked)
    wanted = [f"In this flow {w}." for flow in alone("singular") for w in flow.warnings]
    assert [str(warning.message) for warning in seen] == wanted
