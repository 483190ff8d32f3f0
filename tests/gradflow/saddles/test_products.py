"""Paths of saddles of balanced products of depth 3 and 4: closed forms, flows, symmetries."""

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

import gradflow as gf
from gradflow.saddles import SaddleOutcome, saddle_path
from gradflow.saddles.blow_up import blow_up, layers_of, singular, turned
from tests.gradflow.saddles.problems import deep, deep_times, ends_so
from tests.helpers import orthonormal


def full(target, depth, width=None):
    problem = gf.MatrixCompletion.from_array(target)
    return gf.Objective(problem, gf.MatrixProduct.of(target.shape, depth, width))


def plain_blow_up(z, m, depth):
    """When Z blows up: SciPy on Z itself, with powers by its singular values."""
    shape, power = z.shape, 1 - 2 / depth

    def field(_, y):
        at = y[1:].reshape(shape)
        u, s, vt = np.linalg.svd(at, full_matrices=False)
        slow = s[0] ** -power
        left = [(u * s ** (2 * k / depth)) @ u.T if k else np.eye(len(u)) for k in range(depth)]
        right = [
            (vt.T * s ** (2 * k / depth)) @ vt if k else np.eye(vt.shape[1]) for k in range(depth)
        ]
        moved = sum(left[depth - 1 - k] @ m @ right[k] for k in range(depth))
        return np.concatenate([[slow], slow * moved.ravel()])

    def huge(_, y):
        return np.linalg.norm(y[1:]) / 1e14 - 1

    huge.terminal = True
    start = np.concatenate([[0.0], z.ravel()])
    found = solve_ivp(field, (0, 1e4), start, "DOP853", rtol=1e-11, atol=1e-12, events=huge)
    end = found.y[1:, -1].reshape(shape)
    u, s, vt = np.linalg.svd(end)
    return found.y[0, -1] + s[0] ** -power / ((depth - 2) * (u[:, 0] @ m @ vt[0]))


@pytest.mark.parametrize(("shape", "depth"), [((3, 3), 3), ((2, 4), 4), ((4, 3), 5)])
def test_what_is_small_blows_up_when_the_homogeneous_flow_does(shape, depth):
    rng = np.random.default_rng(depth)
    z, m = rng.normal(size=shape), rng.normal(size=shape)
    found = blow_up(layers_of(z, depth), m)
    time = plain_blow_up(z, m, depth)
    assert found.time == pytest.approx(time, rel=1e-6)
    u, s, _ = np.linalg.svd(m)
    assert found.rate == pytest.approx(s[0], rel=1e-9)
    assert abs(u[:, 0] @ found.left) == pytest.approx(1) and found.top
    aligned = np.linalg.norm(z, 2) ** -(1 - 2 / depth) / ((depth - 2) * s[0])
    assert abs(aligned / time - 1) > 0.1  # the formula of aligned starts is another number


def test_misalignment_falls_like_the_power_that_is_told():
    """Two ends of one way: where Z is s, it is C s^-p, of which blow_up tells C and p."""
    rng = np.random.default_rng(2)
    z, m = rng.normal(size=(3, 3)), rng.normal(size=(3, 3))
    found = blow_up(layers_of(z, 3), m)
    s = np.linalg.svd(m, compute_uv=False)
    assert found.power == pytest.approx((s[0] - s[1]) / (3 * s[0]))
    twice = blow_up(layers_of(2 * z, 3), m)  # the same way, with s twice as large
    assert twice.time == pytest.approx(found.time / 2 ** (1 / 3), rel=1e-8)
    shift = twice.log_misalignment - found.log_misalignment
    assert shift == pytest.approx(found.power * np.log(2), abs=1e-4)


def test_turning_the_null_spaces_turns_all_that_is_found():
    rng = np.random.default_rng(3)
    z, m = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    a, b = orthonormal(rng, 3, 3), orthonormal(rng, 4, 4)
    one = blow_up(layers_of(z, 3), m)
    other = blow_up(turned(layers_of(z, 3), a, b), a @ m @ b.T)
    assert other.time == pytest.approx(one.time, rel=1e-9)
    np.testing.assert_allclose(singular(other.rest)[1], singular(one.rest)[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("depth", "sizes"), [(3, (1.0, 1.1, 1.0)), (4, (1.0, 0.9, 1.2)), (3, (1.0, -1.3, -0.8))]
)
def test_full_observation_has_the_times_of_each_mode(depth, sizes):
    """ds/dt = N s^(2-2/N) (y - s) a mode from alpha c: time and constant by a quadrature."""
    values, low = np.array([3.0, 2.0, 1.0]) * np.sign(sizes), depth - 2
    rng = np.random.default_rng(0)
    u, v = orthonormal(rng, 3, 3), orthonormal(rng, 3, 3)
    start = (u * np.array(sizes)) @ v.T
    path = saddle_path(full((u * values) @ v.T, depth), start)
    taus, offsets = [], []
    for value, size in zip(np.abs(values), np.abs(sizes), strict=True):
        taus.append(size ** (-low / depth) / (low * value))
        half = value * (1 - 0.5**0.5)  # there the mode's loss is half of what it was
        # t = int dq / ((N-2) (y - s)) over q = s^-(1-2/N) from its value at half to infinity.
        inside = quad(lambda q, y=value: 1 / (y - q ** (-depth / low)) - 1 / y,
                      half ** (-low / depth), np.inf, epsabs=1e-10)[0]  # fmt: skip
        offsets.append((inside - half ** (-low / depth) / value) / low)
    order = np.argsort(taus)
    np.testing.assert_allclose(path.taus, np.array(taus)[order], rtol=1e-9)
    off = np.abs(path.offsets - np.array(offsets)[order])
    assert np.all(off < path.predicted_error(1e-9)) and np.all(off < 1e-3)
    assert path.outcome is SaddleOutcome.MINIMUM and path.ranks.tolist() == [0, 1, 2, 3]
    assert path.power == 1 - 2 / depth and path.degree == depth


def test_from_depth_three_on_sizes_decide_in_aligned_starts():
    """diag(2, 1) from diag(1, 10): the second comes first, at 10^(-1/3) and not at 1/2."""
    objective, w = full(np.diag([2.0, 1.0]), 3), np.diag([1.0, 10.0])
    path = saddle_path(objective, w)
    assert path.taus[0] == pytest.approx(10 ** (-1 / 3), rel=1e-9)
    np.testing.assert_allclose(path.products[1], np.diag([0.0, 1.0]), atol=1e-9)
    assert "not the first" in path.flags[0]
    assert path.outcome is SaddleOutcome.NOT_A_MINIMISER  # a rotation would leave it
    start = gf.LogScaled(w, np.log(1e-16))
    flow = gf.solve_flow(objective, start, stop_loss=2.25, coordinates="ldu")
    assert flow.times[-1] == pytest.approx(path.times(1e-16)[0], rel=1e-7)
    assert abs(flow.times[-1] / path.clock(1e-16) - 0.5) > 0.03


def test_a_little_less_aligned_the_first_pair_wins_where_alpha_is_small_enough():
    """Rotated by 1e-3, the crossover is near alpha = 1e-9: above it the error is told as large."""
    c, s = np.cos(1e-3), np.sin(1e-3)
    turn = np.array([[c, -s], [s, c]])
    path = saddle_path(full(np.diag([2.0, 1.0]), 3), turn @ np.diag([1.0, 10.0]))
    np.testing.assert_allclose(path.products[1], np.diag([2.0, 0.0]), atol=1e-9)
    assert path.predicted_error(1e-5)[0] > 10
    assert path.predicted_error(1e-60)[0] < 1e-6 * path.times(1e-60)[0]


@pytest.mark.parametrize("seed", [0, 7, 1])
def test_times_and_saddles_are_those_of_flows(seed):
    posed = deep(seed)
    path = saddle_path(posed.objective, posed.w)
    log_alpha = np.log(1e-20)
    wanted = path.times(log_alpha=log_alpha)
    claimed = path.predicted_error(log_alpha=log_alpha) + 1e-8 * wanted
    sure = claimed < 0.1 * wanted
    assert sure[0]
    found = deep_times(posed, log_alpha, ((path.losses[:-1] + path.losses[1:]) / 2)[sure])
    assert np.all(np.abs(found - wanted[sure]) < claimed[sure])
    for k in np.flatnonzero(sure)[1:]:  # in the middle of a plateau the flow is at its saddle
        flow = gf.solve_flow(
            posed.objective, gf.LogScaled(posed.w, log_alpha), coordinates="ldu",
            horizon=(wanted[k - 1] + wanted[k]) / 2, observe=("product",),
        )  # fmt: skip
        assert np.linalg.norm(flow["product"][-1] - path.products[k]) < 1e-3


def test_plateaus_do_not_begin_anew():
    """With the start's own Z, not what is left of it, the second time would be off."""
    posed = deep(7)
    path = saddle_path(posed.objective, posed.w)
    gradient = np.asarray(posed.objective.problem.gradient(path.products[1]))
    u, v = (np.linalg.svd(a)[0][:, 1:] for a in (path.products[1], path.products[1].T))
    anew = blow_up(layers_of(u.T @ posed.w @ v, path.degree), -u.T @ gradient @ v)
    claimed = path.predicted_error(1e-60)[1] / path.clock(1e-60)
    assert abs(path.taus[0] + anew.time - path.taus[1]) > 10 * claimed
    logarithmic = path.taus[0] * np.log(1e20)
    assert abs(logarithmic / path.times(1e-20)[0] - 1) > 0.9


def test_relative_errors_fall_like_alpha_to_a_third_without_the_constant():
    posed = deep(4)
    path = saddle_path(posed.objective, posed.w, max_jumps=1)
    logs = np.log([1e-9, 1e-12])
    goal = [(path.losses[0] + path.losses[1]) / 2]
    found = np.array([deep_times(posed, log, goal)[0] for log in logs])
    clocks = np.array([path.clock(log_alpha=log) for log in logs])
    bare = np.abs(found / clocks / path.taus[0] - 1)
    assert bare[0] / bare[1] == pytest.approx(10, rel=0.1)
    closer = np.abs(found - [path.times(log_alpha=log)[0] for log in logs])
    assert np.all(closer < path.predicted_error(1e-9)[0])


def square(sign, depth=3):
    rng = np.random.default_rng(11)
    target = (orthonormal(rng, 2, 2) * [2.0, 1.0]) @ orthonormal(rng, 2, 2).T
    start = rng.normal(size=(2, 2))
    flip = sign * np.sign(np.linalg.det(start) * np.linalg.det(target))
    return full(target, depth), start * [[flip], [1.0]]


def test_the_other_determinant_waits_for_ever():
    objective, w = square(-1)
    path = saddle_path(objective, w)
    assert path.outcome is SaddleOutcome.STUCK and path.ranks.tolist() == [0, 1]
    assert not path.determined and "sign" in path.reason
    other = saddle_path(*square(1))
    assert other.outcome is SaddleOutcome.MINIMUM and other.losses[-1] < 1e-20
    start, far = gf.LogScaled(w, np.log(1e-12)), 20 * other.times(1e-12)[-1]
    flow = gf.solve_flow(objective, start, horizon=far, coordinates="ldu")
    assert flow["loss"][-1] == pytest.approx(path.losses[-1], rel=1e-6)


def test_symmetries_of_the_problem_are_those_of_the_path():
    posed = deep(0)
    problem = posed.objective.problem
    rng = np.random.default_rng(1)
    a, b = orthonormal(rng, 3, 3), orthonormal(rng, 3, 3)
    path = saddle_path(posed.objective, posed.w)
    turned_problem = gf.MatrixSensing(
        np.einsum("ia,kab,jb->kij", a, problem.measurements, b), problem.labels
    )
    model = posed.objective.factorization
    other = saddle_path(gf.Objective(turned_problem, model), a @ posed.w @ b.T)
    np.testing.assert_allclose(other.taus, path.taus, rtol=1e-7)
    np.testing.assert_allclose(other.offsets, path.offsets, atol=1e-3)
    np.testing.assert_allclose(other.products[-1], a @ path.products[-1] @ b.T, atol=1e-6)
    larger = saddle_path(posed.objective, 8 * posed.w)  # alpha 8 times as large
    np.testing.assert_allclose(2 * larger.taus, path.taus, rtol=1e-7)


def blocks():
    places = [(0, 0), (0, 1), (1, 0), (2, 2)]
    problem = gf.MatrixCompletion((3, 3), places, [1.0, 2, 2, 1])
    return gf.Objective(problem, gf.MatrixProduct.of((3, 3), 3)), np.eye(3)


FLAGGED = {
    "one rate twice": (
        lambda: (full(2 * np.eye(2), 3), np.array([[1.0, 0.3], [0.1, 1.0]])), "TIE", 0, "rates"),
    "two at one time": (
        lambda: (full(np.diag([2.0, 1.0]), 3), np.diag([1.0, 8.0])), "TIE", 0, "one time"),
    "rows apart": (blocks, "DECOUPLED", 0, "{2, 5}"),
    "rank one": (
        lambda: (full(np.diag([2.0, 1.0]), 3), np.array([[1.0, 2.0], [0.5, 1.0]])),
        "OUT_OF_COLUMNS", 1, "rank 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", FLAGGED)
def test_what_is_not_determined_is_flagged(case):
    ends_so(*FLAGGED[case])


def test_it_is_stored_and_drawn_like_others(tmp_path):
    objective, w = square(1)
    path = saddle_path(objective, w)
    again = gf.SaddlePath.load(path.save(tmp_path / "path.nc"))
    np.testing.assert_array_equal(again.error_terms, path.error_terms)
    assert again.degree == 3 and repr(again) == repr(path)
    product = np.linalg.multi_dot(path.start_at(1e-6)[::-1])
    np.testing.assert_allclose(product, 1e-6 * w, atol=1e-18)
    assert "0.333" in path.plot(1e-12).get_xlabel()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e5])
def test_constants_of_data_of_any_size(scale):
    """At data of 1e3 looks at the way were too rare, and the constant a hundredth off."""
    target = scale * np.diag([3.0, 2.0])
    problem = gf.MatrixCompletion((2, 2), list(np.ndindex(2, 2)), target.ravel())
    objective = gf.Objective(problem, gf.MatrixProduct.of((2, 2), 3))
    path = gf.saddle_path(objective, np.diag([1.0, 0.5]))
    half, alpha = 1 - 0.5**0.5, 1e-12  # of 3, at half the fall of the loss
    time = gf.exact.time_to_share(half, alpha, 3.0, 3) - alpha ** (-1 / 3) / 3
    assert path.offsets[0] * scale ** (4 / 3) == pytest.approx(
        float(time), abs=2e-5
    )  # where it begins
    assert path.taus[0] * scale == pytest.approx(1 / 3, rel=1e-9)
