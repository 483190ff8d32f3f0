"""What a descent records, and what compiles it again."""

import json
from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from tests.gradflow.descent.problems import (
    MODEL,
    OBJECTIVE,
    OBSERVE,
    PROBLEM,
    START,
    TRACED,
    adam,
    numpy_run,
)
from tests.helpers import chain, in_mode, refuses


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ([0, 3, 5], [0, 3, 5, 100]),
        ([3, 100], [0, 3, 100]),
        ([3, 100, 5000], [0, 3, 100]),
        (range(100), list(range(101))),  # several chunks
        ([100], [0, 100]),
    ],
)
def test_what_is_asked_is_recorded_with_both_ends(record, wanted):
    run = gf.run_descent(
        OBJECTIVE,
        START,
        optax.sgd,
        learning_rate=0.05,
        max_steps=100,
        record=record,
        observe=OBSERVE,
    )
    assert run.times.tolist() == wanted
    assert run["product"].shape == (len(wanted), 4, 3)


def test_records_do_not_change_the_run():
    runs = [
        gf.run_descent(
            OBJECTIVE,
            START,
            optax.sgd,
            learning_rate=0.05,
            max_steps=2000,
            record=record,
            observe=OBSERVE,
        )
        for record in (None, [1999], range(0, 2000, 3))
    ]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.final["W_3"], runs[0].final["W_3"])


def test_default_records_are_about_twenty_a_decade():
    run = gf.run_descent(
        OBJECTIVE, START, optax.sgd, learning_rate=0.05, max_steps=2000, observe=OBSERVE
    )
    assert run.times[:9].tolist() == list(range(9))
    assert run.times[-1] == 2000
    assert 18 <= np.sum((run.times >= 100) & (run.times < 1000)) <= 22


def test_default_observables_are_those_of_the_problem():
    run = gf.run_descent(OBJECTIVE, START, optax.sgd, learning_rate=0.05, max_steps=5)
    wanted = ["loss", "gradient_norm", "singular_values", "effective_rank", "test_error"]
    assert list(run.observables) == [*wanted, "unobserved_entries"]
    assert run.config["observe"] == list(run.observables)


def test_float32_stays_float32():
    objective, start = gf.astype((OBJECTIVE, START), jnp.float32)
    run = gf.run_descent(objective, start, optax.adam, learning_rate=0.01, max_steps=200)
    assert all(array.dtype == np.float32 for array in run.observables.values())
    assert all(array.dtype == np.float32 for array in run.final.values())
    assert run.config["dtype"] == "float32"
    wanted = chain(numpy_run(adam(0.01), 200)[-1])
    found = chain([run.final[f"W_{k}"] for k in (1, 2, 3)])
    error = np.abs(found - wanted).max()
    assert 1e-9 < error < 1e-4  # 200 iterations of round-off of 1e-7, and not of 1e-16


def test_other_rates_data_steps_and_records_do_not_compile_again():
    gf.run_descent(OBJECTIVE, START, optax.sgd, learning_rate=0.05, max_steps=20, observe=OBSERVE)
    count = len(TRACED)
    assert count > 0
    other = gf.Objective(
        gf.MatrixCompletion(
            PROBLEM.shape, PROBLEM.indices, 2 * PROBLEM.values, truth=PROBLEM.truth
        ),
        MODEL,
    )
    for objective, asked in [
        (OBJECTIVE, {"learning_rate": 0.01, "max_steps": 20}),
        (OBJECTIVE, {"learning_rate": 0.05, "max_steps": 1000, "record": [1, 7]}),
        (OBJECTIVE, {"learning_rate": 0.05, "max_steps": 100, "stop_loss": 0.1}),
        (other, {"learning_rate": 0.05, "max_steps": 20}),
    ]:
        gf.run_descent(objective, START, optax.sgd, observe=OBSERVE, **asked)
    assert len(TRACED) == count
    gf.run_descent(OBJECTIVE, START, optax.sgd(0.017), max_steps=20, observe=OBSERVE)
    assert len(TRACED) > count  # another optimizer is another program: the count does count


def test_the_configuration_says_what_was_asked():
    config = gf.run_descent(
        OBJECTIVE,
        START,
        optax.sgd,
        learning_rate=0.05,
        max_steps=20,
        stop_loss=1e-3,
        observe=OBSERVE,
    ).config
    wanted = {"kind": "descent", "learning_rate": 0.05, "max_steps": 20, "stop_loss": 1e-3,
              "dtype": "float64", "optimizer": "sgd", "observe": ["loss", "product"]}  # fmt: skip
    assert {key: config[key] for key in wanted} == wanted
    assert config["objective"]["observations"] == 8
    assert json.loads(json.dumps(dict(config))) == dict(config)


def test_progress_is_shown(capsys):
    gf.run_descent(
        OBJECTIVE,
        START,
        optax.sgd,
        learning_rate=0.05,
        max_steps=20,
        observe=OBSERVE,
        progress=True,
    )
    shown = capsys.readouterr().out
    assert "20/20" in shown
    assert "loss =" in shown


@pytest.mark.parametrize(
    ("give", "kind"),
    [
        (lambda state: [state.product, state.product[0]], "list"),
        (lambda state: {"product": state.product}, "dict"),
        (lambda state: None, "NoneType"),
        (lambda state: (state.product, "a word"), "str"),
    ],
)
@pytest.mark.parametrize("engine", ["flow", "map", "vmap"])
def test_what_cannot_be_recorded_is_refused_before_the_run(engine, give, kind, monkeypatch):
    told = []
    if engine == "flow":
        run = partial(gf.solve_flow, horizon=1.0)
    else:
        in_mode(monkeypatch, engine)
        run = partial(gf.run_descent, optimizer=optax.sgd, learning_rate=0.1, max_steps=3)
    refuses(
        lambda: run(
            OBJECTIVE, START, observe={"own": give}, progress=lambda *now: told.append(now)
        ),
        f"'own' gives a {kind}",
        "let it give",
    )
    assert not told
