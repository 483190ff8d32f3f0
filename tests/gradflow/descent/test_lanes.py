"""Batches of tiny runs, an array a number: the same runs, however many and wherever chunks end."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.descent import batch as batches
from gradflow.descent import lanes, loop, side_by_side
from gradflow.descent.rates import Rates
from gradflow.descent.stopping import StopRule
from tests.helpers import in_mode

RUNS = 9
MODEL = gf.MatrixProduct((2, 2, 2, 2))
OBJECTIVE = gf.Objective(gf.synthetic.norm_blowup(), MODEL)
STARTS = [MODEL.gaussian(jax.random.key(k), std=0.4) for k in range(RUNS)]
RATES = np.linspace(0.02, 0.2, RUNS).tolist()


@pytest.fixture
def written(monkeypatch):
    """Runs side by side, with a list of how many operations each iteration has, or None."""
    found = []
    original = side_by_side.lanes

    def watched(*args):
        found.append(original(*args))
        return found[-1]

    monkeypatch.setattr(side_by_side, "lanes", watched)
    in_mode(monkeypatch, "vmap")
    return found


def alike(found, wanted, rtol=1e-11):
    """That runs are the same to rounding."""
    for one, other in zip(found, wanted, strict=True):
        assert one.outcome is other.outcome
        np.testing.assert_array_equal(one.times, other.times)
        for name in other.final:
            np.testing.assert_allclose(one.final[name], other.final[name], rtol=rtol, atol=1e-13)
        for name in other.state:
            np.testing.assert_allclose(one.state[name], other.state[name], rtol=rtol, atol=1e-13)


COMPLETIONS = [
    gf.Objective(
        gf.synthetic.matrix_completion(jax.random.key(k), (3, 2), 1, 4), gf.MatrixProduct((2, 3, 3))
    )
    for k in range(RUNS)
]
SYMMETRIC = gf.SymmetricProduct(2, 3)
CASES = {
    "gd": (OBJECTIVE, optax.sgd, {}),
    "adam": (OBJECTIVE, optax.adam, {}),
    "momentum, schedule": (
        OBJECTIVE, gf.optimizers.momentum,
        {"learning_rate": optax.exponential_decay(0.1, 20, 0.9)},
    ),
    "loss": (OBJECTIVE, optax.sgd, {"stop_loss": np.geomspace(0.3, 1e-2, RUNS).tolist()}),
    "gradient": (OBJECTIVE, optax.sgd, {"stop_gradient": 0.2}),
    "looks": (OBJECTIVE, optax.adam, {"stop_loss": 0.1, "stop_looks": (2, 3)}),
    "own objectives": (COMPLETIONS, optax.sgd, {"stop_loss": 1e-3}),
    "weight decay": (
        gf.Objective(OBJECTIVE.problem, MODEL, penalty=gf.WeightDecay(0.1)), optax.sgd, {},
    ),
    "symmetric": (
        gf.Objective(gf.synthetic.matrix_completion(jax.random.key(0), (2, 2), 1, 3), SYMMETRIC),
        optax.sgd, {},
    ),
    "diverged": (OBJECTIVE, optax.sgd, {"learning_rate": np.geomspace(0.1, 30, RUNS).tolist()}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_runs_are_those_of_arrays(name, monkeypatch, request):
    objective, rule, more = CASES[name]
    each = objective if isinstance(objective, list) else [objective] * RUNS
    starts = [one.factorization.gaussian(jax.random.key(k), std=0.4) for k, one in enumerate(each)]
    asked = {"learning_rate": RATES, "max_steps": 90, "record": [1, 17, 40],
             "observe": ["loss", "product"], **more}  # fmt: skip
    wanted = gf.run_descents(objective, starts, rule, **asked)
    written = request.getfixturevalue("written")
    found = gf.run_descents(objective, starts, rule, **asked)
    assert written and all(one is not None for one in written)
    alike(found, wanted)
    stops = {"loss", "gradient", "looks", "own objectives", "diverged"}
    assert (len({run.stats["steps"] for run in wanted}) > 2) == (name in stops)
    # As an accelerator does them, in blocks that are partly written out:
    monkeypatch.setattr(side_by_side, "tiny_blocks", lambda _: (16, 4))
    jax.clear_caches()
    alike(gf.run_descents(objective, starts, rule, **asked), wanted)


def test_a_wrong_iteration_is_seen(monkeypatch, request):
    """The control: sums that leave out their last term are not the same runs."""
    wanted = gf.run_descents(OBJECTIVE, STARTS, optax.sgd, learning_rate=RATES, max_steps=5)
    request.getfixturevalue("written")
    from gradflow._util import scalar_program

    add = scalar_program._FOLDED["reduce_sum"]
    monkeypatch.setitem(scalar_program._FOLDED, "reduce_sum", lambda x, y: add(x, y * 1.001))
    jax.clear_caches()
    found = gf.run_descents(OBJECTIVE, STARTS, optax.sgd, learning_rate=RATES, max_steps=5)
    jax.clear_caches()
    with pytest.raises(AssertionError):
        alike(found, wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_depend_neither_on_chunks_nor_on_how_many_runs_there_are(dtype, written, monkeypatch):
    objective, starts = gf.astype(OBJECTIVE, dtype), gf.astype(STARTS, dtype)

    def ends(which, record, budget):
        monkeypatch.setattr(batches, "_grow", lambda *_: budget)
        runs = gf.run_descents(
            objective, [starts[k] for k in which], optax.adam, learning_rate=0.01, max_steps=300,
            record=record, observe=["loss"],
        )  # fmt: skip
        return [np.concatenate([np.ravel(x) for x in run.final.values()]) for run in runs]

    wanted = ends(range(RUNS), [0], 300)
    np.testing.assert_array_equal(ends(range(RUNS), [1, 5, 37, 38, 222], 300), wanted)
    np.testing.assert_array_equal(ends(range(RUNS), [0], 7), wanted)
    np.testing.assert_array_equal(ends([4], [0], 300), wanted[4:5])
    assert written[0] is not None


def step(objective, optimizer, runs=3):
    """The batch's step and where its runs begin."""
    factorization = objective.factorization
    starts = [factorization.gaussian(jax.random.key(k), std=0.4) for k in range(runs)]
    rates = Rates(jnp.linspace(0.01, 0.02, runs))
    rule = StopRule(jnp.asarray(1e-3), None, None)
    batch_step = loop.BatchStep(objective, False, optimizer, rates, (), rule, "vmap")
    return batch_step, batch_step.initialise(jax.tree.map(lambda *x: jnp.stack(x), *starts))


def of_size(size, depth=2):
    problem = gf.synthetic.matrix_completion(jax.random.key(0), (size, size), 1, size * size)
    return gf.Objective(problem, gf.MatrixProduct.of(problem.shape, depth))


def test_what_is_written_out():
    """Tiny matrices, and arithmetic alone."""

    def is_written(objective, optimizer=optax.sgd):
        return lanes.lanes(side_by_side._iteration, *step(objective, optimizer)) is not None

    assert is_written(OBJECTIVE, optax.adam)
    assert is_written(of_size(3))
    assert not is_written(of_size(4))
    assert not is_written(of_size(3, depth=12))  # too long
    assert not is_written(OBJECTIVE, gf.optimizers.shampoo)  # has eigendecompositions
    ratio = gf.Objective(
        of_size(3).problem, gf.MatrixProduct((3, 3, 3)), penalty=gf.NuclearFrobeniusRatio(0.1)
    )
    assert not is_written(ratio)


def test_a_device_of_several_writes_its_runs_out(written):
    """Inside `jax.shard_map` a program has reshardings, which are no arithmetic and change none."""
    batch_step, runs = step(OBJECTIVE, optax.adam)
    batch_step = dataclasses.replace(batch_step, mode="vmap")
    chunk = jnp.array([[5, 20], [1, 1]])
    spread = loop._advance_spread(batch_step, runs, chunk)
    assert written and all(one is not None for one in written)
    alone = loop._advance(batch_step, runs, chunk)
    for one, other in zip(jax.tree.leaves(spread), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(one, other)


def test_blocks_on_accelerators_are_written_out_in_pieces(monkeypatch):
    assert side_by_side.tiny_blocks(20) == (1, 1)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    wanted = {20: 16, 100: 4, 300: 1}
    assert {k: side_by_side.tiny_blocks(k)[1] for k in wanted} == wanted
    assert side_by_side.tiny_blocks(20)[0] == side_by_side.BLOCK


def test_a_cpu_does_many_tiny_runs_side_by_side():
    tiny, begun = step(OBJECTIVE, optax.sgd, side_by_side.WORTH[0])
    enough = side_by_side.WORTH[1] // side_by_side.WORTH[0] + 1
    assert side_by_side.worthwhile(tiny, begun, enough)
    assert not side_by_side.worthwhile(tiny, begun, enough // 2)
    assert not side_by_side.worthwhile(*step(OBJECTIVE, optax.sgd, 3), 10**9)
    assert not side_by_side.worthwhile(*step(of_size(4), optax.sgd, 64), 10**9)
    deep = step(of_size(2, depth=15), optax.sgd, 64)
    assert lanes.lanes(side_by_side._iteration, *deep) is not None
    assert not side_by_side.worthwhile(*deep, 10**9)


def test_run_descents_does_so(monkeypatch, caplog):
    caplog.set_level("INFO", "gradflow")
    asked = {"learning_rate": RATES, "max_steps": 60, "observe": ["loss"]}
    wanted = gf.run_descents(OBJECTIVE, STARTS, optax.sgd, **asked)
    assert "one after the other" in caplog.text
    monkeypatch.setattr(side_by_side, "WORTH", (RUNS, 60 * RUNS))
    alike(gf.run_descents(OBJECTIVE, STARTS, optax.sgd, **asked), wanted)
    assert "side by side" in caplog.text


@pytest.mark.parametrize("adds", [False, True])
def test_an_iteration_of_lanes_is_arithmetic_alone(adds):
    """No product, no sum over an axis in the program of a chunk; the control has them."""
    objective = of_size(4) if adds else OBJECTIVE
    batch_step, runs = step(objective, optax.sgd)
    chunk = jnp.zeros((2, 4), int)
    text = jax.jit(lambda r: side_by_side.through(batch_step, r, chunk)).lower(runs).as_text()
    inside = text.split("stablehlo.while")[2:]
    assert (
        any("across dimensions = [1, 2]" in part or "dot_general" in part for part in inside)
        == adds
    )
