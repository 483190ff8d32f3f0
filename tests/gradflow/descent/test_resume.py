"""A descent that is stopped and goes on ends with the bits of one that was never stopped."""

import copy
import pickle
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.trajectory import Trajectory
from tests.gradflow.descent.runs import assert_same_bits
from tests.helpers import in_mode

MODEL = gf.MatrixProduct((3, 3, 3))
OBJECTIVE = gf.Objective(
    gf.synthetic.matrix_completion(jax.random.key(0), (3, 3), 1, 6, norm=2.0), MODEL
)
START = MODEL.gaussian(jax.random.key(1), std=0.5)
RATE = optax.exponential_decay(0.05, transition_steps=7, decay_rate=0.9)
OPTIMIZERS = {
    "gd": (gf.optimizers.gd, 0.05),
    "adam": (gf.optimizers.adam, 0.02),
    "momentum": (partial(optax.sgd, momentum=0.9, nesterov=True), 0.02),
    "schedule": (optax.adam(RATE), None),
    "noise": (optax.chain(optax.add_noise(0.1, 0.55, jax.random.key(3)), optax.sgd(0.02)), None),
    "half precision": (optax.adam(0.02, mu_dtype=jnp.bfloat16), None),
}
ASKED = {"record": [1, 10, 25, 60, 77], "observe": ["loss", "product"]}
STOPS = (1, 2, 10, 11, 25, 40, 41, 63, 77, 100)


def descend(case, start, steps, **asked):
    optimizer, rate = OPTIMIZERS[case]
    words = {**ASKED, **({} if rate is None else {"learning_rate": rate}), **asked}
    return gf.run_descent(OBJECTIVE, start, optimizer, max_steps=steps, **words)


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_stopped_ten_times_a_descent_ends_with_the_same_bits(case, tmp_path):
    whole = descend(case, START, STOPS[-1])
    parts = [descend(case, START, STOPS[0])]
    for k, steps in enumerate(STOPS[1:]):
        before = parts[-1]
        if k % 3 == 0:
            before = Trajectory.load(before.save(tmp_path / "run.nc"))
        elif k % 3 == 1:
            before = copy.deepcopy(pickle.loads(pickle.dumps(before)))
        parts.append(descend(case, before, steps))
    assert [part.times[0] for part in parts] == [0, *STOPS[:-1]]
    joined = gf.join(*parts)
    assert joined.stats["steps"] == whole.stats["steps"] == 100
    for name, wanted in whole.final.items():
        np.testing.assert_array_equal(joined.final[name], wanted)
        np.testing.assert_array_equal(joined.initial[name], whole.initial[name])
    for name, wanted in whole.state.items():
        np.testing.assert_array_equal(joined.state[name], wanted)
    at = np.isin(joined.times, whole.times)
    for name, wanted in whole.observables.items():
        np.testing.assert_array_equal(joined[name][at], wanted)


def test_what_stopped_a_descent_stops_it_again_and_less_does_not():
    asked = {"stop_loss": 0.3, "stop_looks": (2, 3)}
    first = descend("gd", START, 300, **asked)
    assert first.outcome is gf.Outcome.REACHED_LOSS
    again = descend("gd", first, 300, **asked)
    assert again.times.tolist() == [first.times[-1]]
    further = descend("gd", first, 300, stop_loss=0.1)
    whole = descend("gd", START, 300, stop_loss=0.1)
    np.testing.assert_array_equal(further.final["W_1"], whole.final["W_1"])
    part = descend("gd", START, int(first.times[-1]) - 3, **asked)
    assert descend("gd", part, 300, **asked).times[-1] == first.times[-1]


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_a_batch_goes_on_as_one(mode, monkeypatch):
    in_mode(monkeypatch, mode)
    starts = [MODEL.gaussian(jax.random.key(k), std=0.5) for k in range(3)]
    asked = {"learning_rate": [0.05, 0.02, 0.03], **ASKED}
    run = partial(gf.run_descents, OBJECTIVE, optimizer=gf.optimizers.adam, **asked)
    whole = run(starts, max_steps=50)
    halves = run(run(starts, max_steps=30), max_steps=50)
    for half, one in zip(halves, whole, strict=True):
        np.testing.assert_array_equal(half.final["W_2"], one.final["W_2"])
        np.testing.assert_array_equal(half["loss"][-1], one["loss"][-1])


def test_a_checkpoint_belongs_to_the_run_that_was_taken_up(tmp_path):
    first = descend("adam", START, 30)
    kept = gf.Checkpoint(tmp_path / "run.npz", seconds=1e-9)
    second = descend("adam", first, 60, checkpoint=kept)
    assert_same_bits(descend("adam", first, 60, checkpoint=kept), second)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        descend("adam", descend("adam", START, 29), 60, checkpoint=kept)


OLD = Path(__file__).parents[2] / "golden" / "descent-format-1.nc"


RULES = gf.optimizers
OTHERS = {
    "by name": (RULES.adam, RULES.adamax, {"learning_rate": 0.1}, "run by 'adam', not by 'adamax'"),
    "sums": (RULES.adagrad(0.1), RULES.rmsprop(0.1), {}, "nothing, where optimizer_1_nu .* give"),
    "none": (RULES.adam(0.1), RULES.gd(0.1), {}, "it has optimizer_1_count, where nothing is wan"),
    "traces": (RULES.momentum(0.1), RULES.rmsprop(0.1), {}, "it has nothing, where optimizer_1_nu"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_rule_with_a_state_of_the_same_shapes_is_refused(case):
    one, other, asked, message = OTHERS[case]
    first = gf.run_descent(OBJECTIVE, START, one, max_steps=3, **asked)
    with pytest.raises(ValueError, match=message):
        gf.run_descent(OBJECTIVE, first, other, max_steps=6, **asked)


def test_what_does_not_go_on_is_refused_by_value_and_remedy():
    first, other = descend("adam", START, 30), descend("adam", START, 20)
    asked = {"learning_rate": 0.1, "max_steps": 50}
    old = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    adam, many = gf.optimizers.adam, gf.run_descents
    for call, message in [
        (lambda: descend("adam", first, 30), "max_steps = 30, but 30 iterations are done"),
        (lambda: descend("gd", first, 50), "run by 'adam', not by 'gd'; give the optimizer that"),
        (lambda: descend("noise", first, 50), "it has nothing, where optimizer_2_rng_key of shape"),
        (lambda: many(OBJECTIVE, [first, other], adam, **asked), "different iterations, 20 and 30"),
        (lambda: many(OBJECTIVE, [first, START], adam, **asked), "1 of 2 starts are trajectories"),
        (lambda: gf.run_descent(old, first, adam, **asked), "another objective: its shape"),
        (lambda: gf.run_descent(old, Trajectory.load(OLD), adam, **asked), "no optimiser's state"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
