"""Flows as functions of arrays: derivatives by differences of the engine, adjoints, vmap."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.flow import Status, follow, follow_to_loss

PROBLEM = gf.synthetic.norm_blowup()
MODEL = gf.MatrixProduct((2, 2, 2))
NOISE = MODEL.gaussian(jax.random.key(0), std=1.0)
AT = {"scale": 0.1, "values": PROBLEM.values, "weight": 0.02, "time": 3.0}
"""Where derivatives are taken: of the start, the data, the penalty and the time."""
FORWARDS = diffrax.ForwardMode()
NAMES = ("loss", "effective_rank", "product")


def situation(at):
    penalty = gf.WeightDecay(at["weight"])
    objective = gf.Objective(PROBLEM.with_values(at["values"]), MODEL, penalty)
    return objective, jax.tree.map(lambda factor: at["scale"] * factor, NOISE)


def seen(objective, factors):
    """The loss, the effective rank and the entry that no observation shows."""
    w = objective.product(factors)
    return jnp.stack([objective.loss(factors), gf.linalg.effective_rank(w), w[0, 0]])


def end(at, **options):
    objective, start = situation(at)
    return seen(objective, follow(objective, start, at["time"], rtol=1e-10, **options).factors)


def stop(at, **options):
    """The same where the loss is at["loss"], and the time."""
    objective, start = situation(at)
    run = follow_to_loss(objective, start, at["loss"], horizon=1e3, rtol=1e-11, **options)
    return jnp.append(seen(objective, run.factors), run.times)


def leaves(at):
    return {key: np.ravel(np.asarray(part, float)) for key, part in at.items()}


def moved(at, key, place, change):
    values = np.array(at[key], float)
    values.reshape(-1)[place] += change
    return {**at, key: values if values.ndim else float(values)}


def around(at, steps):
    """Four points for each number of a situation, for differences of fourth order."""
    places = [(key, k) for key, part in leaves(at).items() for k in range(part.size)]
    return [moved(at, key, k, times * steps[key]) for key, k in places for times in (-2, -1, 1, 2)]


def differences(found, at, steps):
    """The derivatives from what was found at the points around a situation."""
    found = np.reshape(found, (-1, 4, found.shape[-1]))
    slopes = iter(np.einsum("s,psv->pv", [1 / 12, -2 / 3, 2 / 3, -1 / 12], found))
    return {
        key: np.stack([next(slopes) / steps[key] for _ in range(part.size)])
        for key, part in leaves(at).items()
    }


def compare(jacobian, wanted, tolerance):
    for key, part in wanted.items():
        found = np.reshape(jacobian[key], (part.shape[1], -1)).T
        np.testing.assert_allclose(found, part, rtol=tolerance, atol=tolerance * np.abs(part).max())


def engine(points):
    """What `solve_flows` gives at the last time or, if there is one, the stopping loss."""
    objectives, starts = zip(*map(situation, points), strict=True)
    asked = {"coordinates": "factors", "rtol": 1e-12, "observe": NAMES}
    if "loss" in points[0]:
        flows = [
            gf.solve_flow(o, s, stop_loss=p["loss"], **asked)
            for o, s, p in zip(objectives, starts, points, strict=True)
        ]
        last = [flow.stats["end"] for flow in flows]
    else:
        horizons = [point["time"] for point in points]
        flows = gf.solve_flows(list(objectives), list(starts), horizon=horizons, **asked)
        last = None
    rows = [[f["loss"][-1], f["effective_rank"][-1], f["product"][-1, 0, 0]] for f in flows]
    return np.array(rows) if last is None else np.column_stack([rows, last])


def alike(found, wanted, tolerance):
    for key, part in wanted.items():
        np.testing.assert_allclose(found[key], part, rtol=tolerance, atol=tolerance)


def value_and_jacobian(function, **options):
    """Both, forwards, from one program."""

    def twice(at):
        value = function(at, adjoint=FORWARDS, **options)
        return value, value

    def swapped(at):
        jacobian, value = jax.jacfwd(twice, has_aux=True)(at)
        return value, jacobian

    return swapped


STEPS = {"scale": 5e-4, "values": 5e-3, "weight": 1e-3, "time": 1e-2}
POINTS = [AT, *around(AT, STEPS)]


@pytest.fixture(scope="module", name="batch")
def _batch():
    """Values and derivatives at all points, by a user's jit of a vmap, called twice."""
    traced = []

    @jax.jit
    def many(points):
        traced.append(points)
        return jax.vmap(value_and_jacobian(end))(points)

    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *POINTS)
    many(jax.tree.map(lambda part: 1.1 * part, stacked))
    found = many(stacked)
    assert len(traced) == 1
    return found


@pytest.fixture(scope="module", name="jacobian")
def _jacobian(batch):
    return {key: part[0] for key, part in batch[1].items()}


def test_a_batch_and_its_derivatives_agree_with_the_engine(batch, jacobian):
    wanted = engine(POINTS)
    np.testing.assert_allclose(batch[0], wanted, rtol=1e-8)
    compare(jacobian, differences(wanted[1:], AT, STEPS), 1e-6)


@pytest.mark.slow  # the example of `follow` goes through reverse mode too
def test_reverse_mode_agrees_with_forward_mode(jacobian):
    alike(jax.jit(jax.jacrev(end))(AT), jacobian, 1e-10)


OTHERS = {
    "direct": {"adjoint": diffrax.DirectAdjoint(), "max_steps": 256},
    "explicit": {"solver": diffrax.Tsit5()},
    "backwards": {
        "solver": diffrax.Tsit5(),
        "adjoint": diffrax.BacksolveAdjoint(
            solver=diffrax.Tsit5(),
            stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
        ),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_adjoints_and_solvers_agree(name, jacobian):
    def some(at):  # what an integration backwards has derivatives with respect to
        return end({**at, "time": AT["time"]}, **OTHERS[name])

    at = {key: part for key, part in AT.items() if key != "time"}
    alike(jax.jit(jax.jacrev(some))(at), {key: jacobian[key] for key in at}, 1e-6)


@pytest.mark.slow
def test_stabilised_steps_have_derivatives_forwards(jacobian):
    program = jax.jit(value_and_jacobian(end, solver=gf.ode.StiffnessSwitch()))
    alike(program(AT)[1], jacobian, 1e-6)


STOP = {"scale": 0.1, "values": PROBLEM.values, "weight": 0.02, "loss": 0.05}


@pytest.mark.slow
def test_the_stopping_time_has_derivatives_too():
    value, jacobian = jax.jit(value_and_jacobian(stop))(STOP)
    np.testing.assert_allclose(value, engine([STOP])[0], rtol=1e-8)
    steps = {"scale": 5e-4, "values": 5e-3, "weight": 1e-3, "loss": 1e-3}
    compare(jacobian, differences(engine(around(STOP, steps)), STOP, steps), 1e-6)
    alike(jax.jit(jax.jacrev(stop))(STOP), jacobian, 1e-8)


TENSOR = gf.synthetic.tensor_completion(jax.random.key(0), (3, 2, 2), 1, 8)
ELSEWHERE = {
    "equal singular values, with a kink": (
        gf.Objective(PROBLEM, MODEL, gf.NuclearNorm(0.1)), MODEL.identity(1.0), {},
    ),
    "depth 3": (gf.Objective(PROBLEM, gf.MatrixProduct((2, 2, 2, 2))),
                gf.MatrixProduct((2, 2, 2, 2)).gaussian(jax.random.key(1), std=0.3), {}),
    "tensor": (gf.Objective(TENSOR, gf.CPTensor((3, 2, 2), 2)),
               gf.CPTensor((3, 2, 2), 2).gaussian(jax.random.key(2), std=0.7), {}),
    "momentum": (gf.Objective(PROBLEM, MODEL), NOISE, {"dynamics": gf.MomentumFlow(1.0)}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ELSEWHERE)
def test_other_objectives_and_dynamics_have_derivatives(name):
    objective, start, options = ELSEWHERE[name]

    def norm(scale):
        some = jax.tree.map(lambda factor: scale * factor, start)
        run = follow(objective, some, 2.0, rtol=1e-11, adjoint=FORWARDS, **options)
        return jnp.sum(jnp.sin(objective.product(run.factors)))

    scales = 1 + 2e-3 * jnp.array([0.0, -2, -1, 1, 2])
    values, slopes = jax.jit(jax.vmap(lambda s: jax.jvp(norm, (s,), (1.0,))))(scales)
    wanted = np.dot([1 / 12, -2 / 3, 2 / 3, -1 / 12], values[1:]) / 2e-3
    np.testing.assert_allclose(slopes[0], wanted, rtol=1e-6)


@pytest.mark.slow
def test_a_hundred_starts_in_a_users_jit_are_what_the_engine_gives():
    times = jnp.array([0.5, 2.0, 6.0])
    objective = gf.Objective(PROBLEM, MODEL)

    @jax.jit
    def many(starts):
        return jax.vmap(lambda start: follow(objective, start, times, adjoint=FORWARDS))(starts)

    keys = jax.random.split(jax.random.key(1), 100)
    starts = jax.vmap(lambda key: MODEL.gaussian(key, std=0.5))(keys)
    found = many(starts)
    assert np.all(found.status == Status.HORIZON) and found.factors[0].shape == (100, 3, 2, 2)
    alone = [tuple(factor[k] for factor in starts) for k in range(100)]
    flows = gf.solve_flows(
        objective, alone, record=np.asarray(times), coordinates="factors", observe=("factors",)
    )
    for j, factors in enumerate(found.factors):
        wanted = np.stack([flow[f"factors_{j + 1}"][1:] for flow in flows])
        np.testing.assert_allclose(factors, wanted, atol=1e-7)


@pytest.mark.slow
def test_how_a_flow_ended_is_a_number_of_it():
    objective = gf.Objective(PROBLEM, MODEL)

    @jax.jit
    def run(level, horizon):
        options = {"horizon": horizon, "adjoint": FORWARDS, "max_steps": 24}
        found = follow_to_loss(objective, jax.tree.map(lambda f: f / 10, NOISE), level, **options)
        return found.status, found.times, objective.loss(found.factors)

    status, time, loss = run(0.05, 1e3)
    assert status == Status.LOSS and abs(loss - 0.05) < 1e-12 and time < 1e3
    status, time, loss = run(0.05, 0.5)
    assert status == Status.HORIZON and time == 0.5 and loss > 0.05
    status, time, loss = run(10.0, 0.5)
    assert status == Status.LOSS and time == 0 and loss < 10
    assert run(1e-25, 1e9)[0] == Status.STEPS
    assert run(0.05, np.nan)[0] == Status.TOO_SMALL


@pytest.mark.slow
def test_what_steps_do_not_come_to_is_infinite():
    times = jnp.array([0.0, 1e6])
    found = follow(gf.Objective(PROBLEM, MODEL), NOISE, times, adjoint=FORWARDS, max_steps=10)
    assert found.status == Status.STEPS and found.steps == 10
    np.testing.assert_array_equal(found.factors[0][0], NOISE[0])
    assert np.all(np.isinf(found.factors[0][1]))
    found = follow(gf.Objective(PROBLEM, MODEL), NOISE, times * np.nan, adjoint=FORWARDS)
    assert found.status == Status.TOO_SMALL


OBJECTIVE = gf.Objective(PROBLEM, MODEL)
REFUSED = {
    "shapes": (lambda: follow(OBJECTIVE, NOISE[:1], 1.0), "W_1, the one that acts first"),
    "float32": (
        lambda: follow(gf.astype(OBJECTIVE, jnp.float32), gf.astype(NOISE, jnp.float32), 1.0),
        "A flow needs float64",
    ),
    "Adam's model as it is": (
        lambda: follow(OBJECTIVE, NOISE, 1.0, dynamics=gf.AdamFlow(np.array([[1, 1], [2, 2]]))),
        r"AdamFlow\(...\).prepared\(objective, factors\)",
    ),
    "stages that vary": (
        lambda: follow(OBJECTIVE, NOISE, 1.0, solver=gf.ode.StiffnessSwitch()),
        "diffrax.ForwardMode",
    ),
    "the engine inside jit": (
        lambda: jax.jit(lambda s: gf.solve_flow(OBJECTIVE, s, horizon=1.0)["loss"])(NOISE),
        "gradflow.flow.follow",
    ),
    "values of another number": (lambda: PROBLEM.with_values(jnp.ones(2)), "3 entries"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(name):
    call, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        call()
