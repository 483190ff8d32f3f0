"""What holds whatever the data, the start and the question: by examples that hypothesis draws."""

import copy
import pickle
import tempfile

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import gradflow as gf
from gradflow.observables import default_observables, resolve
from gradflow.problems import HuberCompletion, HuberSensing, LogisticCompletion

SEEDS = st.integers(0, 2**32 - 1)


def searched(few, many, **drawn):
    """Make a test of a property: `few` examples, and `many` more under -m slow."""

    def decorate(holds):
        @pytest.mark.parametrize("examples", [few, pytest.param(many, marks=pytest.mark.slow)])
        def test(examples):
            settings(max_examples=examples)(given(**drawn)(holds))()

        test.__name__, test.__doc__ = holds.__name__, holds.__doc__
        return test

    return decorate


# Problems by the shape of W: few shapes, so that compiled programs are used again.


def completion(kind, shape, rng, **options):
    """Half of the entries, and one in any case."""
    count = max(1, int(np.prod(shape)) // 2)
    flat = rng.choice(int(np.prod(shape)), count, replace=False)
    indices = np.stack(np.unravel_index(flat, shape), axis=1)
    values = rng.normal(size=count)
    return kind(
        shape, indices, np.sign(values) if kind is LogisticCompletion else values, **options
    )


def sensing(shape, rng, **options):
    return gf.MatrixSensing(rng.normal(size=(3, *shape)), rng.normal(size=3), **options)


def rank_one_sensing(shape, rng, **options):
    rows = tuple(rng.normal(size=(3, n)) for n in shape)
    return gf.TensorSensing(rows, rng.normal(size=3), **options)


def robust_sensing(shape, rng):
    return HuberSensing(rng.normal(size=(3, *shape)), rng.normal(size=3))


def regression(shape, rng, **options):
    return gf.LeastSquares(
        rng.normal(size=(4, shape[0])), rng.normal(size=(4, *shape[1:])), **options
    )


def quartic(w, target):
    return jnp.sum((w - target) ** 4)


def own_loss(shape, rng):
    return gf.LossFunction(shape, quartic, rng.normal(size=shape))


def of(kind):
    return lambda shape, rng, **options: completion(kind, shape, rng, **options)


ANY_SHAPE = {"huber": of(HuberCompletion), "logistic": of(LogisticCompletion), "own": own_loss}
PROBLEMS = {
    (3,): {"regression": regression, "own": own_loss},
    (2, 3): {
        "matrix": of(gf.MatrixCompletion), "sensing": sensing, "regression": regression, **ANY_SHAPE
    },
    (3, 3): {"matrix": of(gf.MatrixCompletion), "sensing": sensing, **ANY_SHAPE},
    (2, 2, 2): {
        "tensor": of(gf.TensorCompletion), "sensing": rank_one_sensing, "robust": robust_sensing,
        **ANY_SHAPE,
    },
}  # fmt: skip
FACTORIZATIONS = {
    (3,): [gf.DiagonalNetwork(3, 2), gf.DiagonalNetwork(3, 3)],
    (2, 3): [gf.MatrixProduct((3, 2)), gf.MatrixProduct((3, 4, 2)), gf.MatrixProduct((3, 2, 2, 2))],
    (3, 3): [gf.MatrixProduct((3, 3, 3)), gf.SymmetricProduct(3, 3)],
    (2, 2, 2): [gf.CPTensor((2, 2, 2), 3), gf.HierarchicalTensor((2, 2, 2), 2)],
}
PENALTIES = {
    shape: [None, gf.WeightDecay(0.1)]
    + (len(shape) == 2)
    * [
        gf.NuclearNorm(0.1),
        gf.SchattenNorm(0.5, 0.1),
        gf.SchattenRatio(0.5, 1, 0.1),
        gf.NuclearFrobeniusRatio(0.1),
    ]
    for shape in PROBLEMS
}
CROSSED = [
    (shape, kind, model, penalty)
    for shape in PROBLEMS
    for kind in PROBLEMS[shape]
    for model in FACTORIZATIONS[shape]
    for penalty in PENALTIES[shape]
]


@eqx.filter_jit
def both_gradients(objective, factors):
    return objective.gradient(factors), jax.grad(objective.value)(factors)


@searched(20, len(CROSSED), crossed=st.sampled_from(CROSSED), seed=SEEDS)
def test_the_gradient_is_that_of_the_value(crossed, seed):
    shape, kind, model, penalty = crossed
    problem = PROBLEMS[shape][kind](shape, np.random.default_rng(seed))
    objective = gf.Objective(problem, model, penalty)
    factors = model.gaussian(jax.random.key(seed), std=1.0)
    found, wanted = both_gradients(objective, factors)
    size = max(float(jnp.linalg.norm(g)) for g in wanted)
    spread = np.linalg.svd(model.product(factors), compute_uv=False) if len(shape) == 2 else [1.0]
    # Round-off, times the condition of the singular vectors.
    allowed = 1e-13 * size * (spread[0] / spread[-1]) ** 2
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=allowed)


# Flows: quadratic losses of three conventions, and factorisations with conserved quantities.

FLOWS = [
    ("matrix", gf.MatrixProduct((3, 4, 2))),
    ("matrix", gf.MatrixProduct((3, 2, 2, 2))),
    ("tensor", gf.CPTensor((2, 2, 2), 3)),
    ("tensor", gf.HierarchicalTensor((2, 2, 2), 2)),
    ("regression", gf.DiagonalNetwork(3, 2)),
    ("regression", gf.DiagonalNetwork(3, 3)),
]
CONVENTIONS = st.sampled_from(["half_sum", "sum", "mean"])


def drawn_flow(kind, model, seed, convention):
    """An objective of the kind, and factors above 0 for a diagonal network, whose signs stay."""
    problem = PROBLEMS[model.shape][kind](model.shape, np.random.default_rng(seed), loss=convention)
    start = model.gaussian(jax.random.key(seed), std=0.7)
    if isinstance(model, gf.DiagonalNetwork):
        start = tuple(jnp.abs(factor) + 0.1 for factor in start)
    return gf.Objective(problem, model), start


@searched(4, 60, flow=st.sampled_from(FLOWS), seed=SEEDS, convention=CONVENTIONS)
def test_a_flow_conserves_the_invariants_and_its_loss_falls(flow, seed, convention):
    kind, model = flow
    objective, start = drawn_flow(kind, model, seed, convention)
    run = gf.solve_flow(objective, start, horizon=3.0, coordinates="factors", rtol=1e-9)
    final = tuple(jnp.asarray(factor) for factor in run.final.values())
    before, after = model.invariants(start), model.invariants(final)
    size = max(float(jnp.max(jnp.abs(factor))) for factor in (*start, *final)) ** 2
    for first, last in zip(before, after, strict=True):
        np.testing.assert_allclose(last, first, rtol=0, atol=1e-7 * max(size, 1))
    assert np.all(np.diff(run["loss"]) <= 1e-12 * run["loss"][0])
    assert run["loss"][-1] < run["loss"][0]


@searched(3, 60, flow=st.sampled_from(FLOWS), seed=SEEDS, convention=CONVENTIONS,
          scale=st.floats(0.1, 10.0))  # fmt: skip
def test_scaled_data_and_a_scaled_start_give_the_same_flow_at_another_pace(
    flow, seed, convention, scale
):
    """The flow to y from W(0) at time t is that to a y from a W(0) at a^(2/N - 2) t, over a.

    N is the degree: factors a^(1/N) W_j have the product a W, where the gradient in W is a times as
    large, and so the gradients in the factors, which have N - 1 factors more, a^(2 - 1/N) times.
    The factors are a^(1/N) times as large, so time runs a^(2 - 2/N) times as fast. The convention c
    is the same on both sides.
    """
    kind, model = flow
    objective, start = drawn_flow(kind, model, seed, convention)
    problem, power = objective.problem, 1 / model.degree
    data = (lambda p: p.targets) if kind == "regression" else (lambda p: (p.values, p.target))
    scaled = eqx.tree_at(data, problem, jax.tree.map(lambda y: scale * y, data(problem)))
    one, other = (
        gf.solve_flow(gf.Objective(fitted, model), factors, horizon=time, observe=["product"],
                      coordinates="factors", rtol=1e-9)
        for fitted, factors, time in (
            (problem, start, 2.0),
            (scaled, tuple(scale**power * w for w in start), 2.0 * scale ** (2 * power - 2)),
        )
    )  # fmt: skip
    size = np.linalg.norm(one["product"][-1])
    np.testing.assert_allclose(
        other["product"][-1] / scale, one["product"][-1], rtol=0, atol=1e-6 * size
    )
    np.testing.assert_allclose(
        other["loss"][-1] / scale**2, one["loss"][-1], rtol=1e-5, atol=1e-12 * one["loss"][0]
    )


BLOWUP = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
# What these coordinates know of a matrix, without a truth.
ELSEWHERE = {"test_error", "mean_squared_error", "log_component_norms", "learning_rate"}
EVERY = {*gf.observables._BY_NAME} - ELSEWHERE
KNOWN = {"factors": sorted(EVERY)} | dict.fromkeys(
    ("product", "logdet", "ldu"), sorted(EVERY - {"factors"})
)


@searched(5, 60, coordinates=st.sampled_from(sorted(KNOWN)), data=st.data())
def test_recording_more_never_changes_a_run(coordinates, data):
    """Not in a bit: observables are evaluated after the run, in a program of their own."""
    more = data.draw(st.lists(st.sampled_from(KNOWN[coordinates]), unique=True), "observables")
    start = BLOWUP.factorization.identity(0.1)
    plain, asked = (
        gf.solve_flow(BLOWUP, start, stop_loss=1e-3, coordinates=coordinates, observe=observe)
        for observe in (default_observables(BLOWUP.problem), more)
    )
    assert asked.outcome is plain.outcome
    for name in ("charts", "steps", "rejected", "end"):
        assert asked.stats[name] == plain.stats[name]
    np.testing.assert_array_equal(asked.times, plain.times)
    for name in set(asked.observables) & set(plain.observables):
        np.testing.assert_allclose(asked[name], plain[name], rtol=1e-13)
    for name, array in plain.final.items():
        np.testing.assert_array_equal(asked.final[name], array)


NAMES = st.text(min_size=1, max_size=8) | st.sampled_from(["a", "a_0", "a:0", "initial", "W_1"])
NUMBERS = st.sampled_from([np.float64, np.float32, np.int64, np.int32, np.bool_])


@st.composite
def records(draw):
    """What a trajectory is made from."""
    count = draw(st.integers(1, 3))

    def numbers(*shape):
        return draw(arrays.arrays(draw(NUMBERS), shape))

    shapes = arrays.array_shapes(min_dims=0, max_dims=3, max_side=3)
    parameters = {f"W_{k}": numbers(*draw(shapes)) for k in range(1, draw(st.integers(2, 4)))}
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    return {
        "times": np.sort(draw(arrays.arrays(np.float64, count, elements=st.floats(0, 1e9)))),
        "observables": {
            "loss": numbers(count),
            **{n: numbers(count, *draw(shapes)) for n in names},
        },
        "initial": parameters,
        "final": parameters,
        "outcome": draw(st.sampled_from(gf.Outcome)),
        "stats": draw(st.dictionaries(st.text(), st.integers() | st.floats(-1e300, 1e300))),
        "config": draw(st.dictionaries(st.text(), st.none() | st.booleans() | st.text())),
    }


def trajectory(made_from):
    """With the observables alone whose names are accepted."""

    def accepted(name):
        try:
            return bool(resolve({name: np.sum}))
        except ValueError:
            return name == "loss"

    kept = {name: made for name, made in made_from["observables"].items() if accepted(name)}
    return gf.Trajectory(**made_from | {"observables": kept})


def assert_same(one, other):
    for stage in ("observables", "initial", "final"):
        before, after = getattr(one, stage), getattr(other, stage)
        assert list(before) == list(after)
        for name, array in before.items():
            assert after[name].dtype == array.dtype
            np.testing.assert_array_equal(after[name], array)
    np.testing.assert_array_equal(one.times, other.times)
    assert one.outcome is other.outcome
    assert dict(one.stats) == dict(other.stats) and dict(one.config) == dict(other.config)


@searched(20, 1000, made_from=records())
def test_a_copied_trajectory_is_the_same(made_from):
    run = trajectory(made_from)
    assert_same(run, copy.deepcopy(run))
    assert_same(run, pickle.loads(pickle.dumps(run)))


@searched(10, 300, made_from=records())
def test_a_stored_trajectory_is_the_same(made_from):
    run = trajectory(made_from)
    with tempfile.TemporaryDirectory() as folder:
        assert_same(run, gf.Trajectory.load(run.save(f"{folder}/run.nc")))
