"""Paths of saddles as things: times, errors, starts, files, pictures, misuse."""

import copy
from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import gradflow as gf
from gradflow.saddles import SaddleOutcome, SaddlePath, saddle_path
from gradflow.saddles.errors import Terms, evaluate, table
from gradflow.saddles.orbit import Orbit
from gradflow.saddles.picture import plot_saddle_path
from gradflow.saddles.ways import half_way
from tests.helpers import refuses

TARGET = np.array([[2.0, 1.0], [1.0, 0.5]]) + 0.7 * np.eye(2)
PROBLEM = gf.MatrixCompletion((2, 2), list(np.ndindex(2, 2)), TARGET.ravel())
OBJECTIVE = gf.Objective(PROBLEM, gf.SymmetricProduct(2, 2))


@pytest.fixture(scope="module")
def path():
    return saddle_path(OBJECTIVE, (jnp.eye(2),))


def test_times_and_errors_at_an_alpha(path):
    np.testing.assert_allclose(path.times(1e-20), path.taus * np.log(1e20) + path.offsets)
    np.testing.assert_allclose(path.times(log_alpha=-1000.0), 1000 * path.taus + path.offsets)
    assert path.clock(1e-20) == pytest.approx(np.log(1e20))
    assert np.all(path.predicted_error(1e-20) > path.predicted_error(1e-60))
    first, second = path.times(1e-20)
    np.testing.assert_array_equal(path.at(first - 1, 1e-20), path.products[0])
    np.testing.assert_array_equal(path.at((first + second) / 2, 1e-20), path.products[1])
    np.testing.assert_array_equal(path.at(second + 1, 1e-20), path.products[2])


def test_its_start_makes_the_flow_that_it_predicts(path):
    """Full observation from a multiple of I: one mode a jump, and float64 factors hold both."""
    alpha = 1e-14
    goals = (path.losses[:-1] + path.losses[1:]) / 2
    for goal, time in zip(goals, path.times(alpha), strict=True):
        flow = gf.solve_flow(OBJECTIVE, path.start_at(alpha), stop_loss=float(goal), rtol=1e-11)
        assert abs(flow.times[-1] - time) < 1e-4


def test_sums_of_powers():
    terms = Terms().plus(np.log(2.0), 0.5).plus(-np.inf, 1.0).with_all(Terms((0.0,), (1.0,)))
    found = evaluate(table([terms.times(3.0), Terms(), terms.times(0.0)]), np.log(1e-4))
    np.testing.assert_allclose(found, [3 * (2 * 1e-2 + 1e-4), 0, 0])
    assert evaluate(table([]), -1.0).shape == (0,)
    for unknown in (np.nan, np.inf):
        assert evaluate(table([Terms().plus(unknown, np.inf).plus(0.0, 1.0)]), -9.0) == [np.inf]


def test_the_loss_is_half_way_where_its_curve_is_and_nowhere_if_it_never_falls():
    """Of 1 / (1 + e^t) from t = -8 to 8, in 161 records; and of a loss that is rounding alone."""
    times = np.linspace(0.0, 16.0, 161) + 0.03
    falling = 1 / (1 + np.exp(times - 8))
    none = np.zeros((0, 0))
    orbit = Orbit(times, falling, falling**2 - falling, *[none] * 5, settled=True)
    goal = falling[0] / 2
    assert half_way(orbit, 0.0) == pytest.approx(8 + np.log(1 / goal - 1), abs=1e-7)
    flat = orbit._replace(losses=np.ones(161), slopes=np.zeros(161))
    assert np.isnan(half_way(flat, 1.0 - 1e-16))


def test_it_is_immutable_and_comes_back_from_a_file(path, tmp_path):
    with pytest.raises(AttributeError):
        path.taus = path.offsets
    with pytest.raises(ValueError, match="read-only"):
        path.taus[0] = 1.0
    again = SaddlePath.load(path.save(tmp_path / "path.nc"))
    for name, value in vars(path).items():
        found = getattr(again, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found, value, err_msg=name)
        elif name == "start":
            np.testing.assert_array_equal(found, value)
        else:
            assert found == value, name
    assert repr(again) == repr(path) == repr(copy.deepcopy(path))
    assert "ranks 0, 1, 2" in repr(path) and again.outcome is SaddleOutcome.MINIMUM


def test_every_outcome_is_explained():
    page = (Path(__file__).parents[3] / "docs" / "vanishing-start.md").read_text()
    assert [end.name for end in SaddleOutcome if f"`{end.name}`" not in page] == []


def test_damaged_files_are_refused(path, tmp_path):
    file = path.save(tmp_path / "path.nc")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    refuses(lambda: SaddlePath.load(file), "path.nc", "run again")
    flow = gf.solve_flow(OBJECTIVE, path.start_at(0.1), horizon=0.1).save(tmp_path / "flow.nc")
    refuses(lambda: SaddlePath.load(flow), "flow.nc", "run again")
    with pytest.raises(FileNotFoundError, match="nothing"):
        SaddlePath.load(tmp_path / "nothing.nc")


def test_the_picture_has_the_limit_and_the_loss_at_an_alpha(path):
    flow = gf.solve_flow(OBJECTIVE, path.start_at(1e-9), horizon=12.0)
    ax = plot_saddle_path(path, 1e-9, flow=flow)
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [r"$\alpha \to 0$", r"$\alpha = 10^{-9}$", "the flow"]
    x, y = ax.lines[0].get_data()
    assert np.all(np.diff(x) >= 0) and np.all(np.diff(y) <= 1e-9)
    reached = np.interp(path.times(1e-9) / path.clock(1e-9), x, y)
    np.testing.assert_allclose(reached, (path.losses[:-1] + path.losses[1:]) / 2, rtol=2e-2)
    beside = path.plot(3e-5, ax=plt.subplots()[1])
    assert beside.get_xlabel() == ax.get_xlabel()
    assert beside.lines[0].get_label() == r"$\alpha = 3 \cdot 10^{-5}$"


REFUSED = {
    "two scales": (lambda: _path().times(1e-3, log_alpha=-3.0), "0.001", "exactly one"),
    "no scale": (lambda: _path().clock(), "None", "exactly one"),
    "a scale above 1": (lambda: _path().predicted_error(2.0), "0.69", "below 1"),
    "no objective": (lambda: saddle_path(PROBLEM, (jnp.eye(2),)), "MatrixCompletion", "Objective"),
    "a penalty": (
        lambda: saddle_path(
            gf.Objective(PROBLEM, OBJECTIVE.factorization, gf.NuclearNorm(0.1)), (jnp.eye(2),)
        ), "NuclearNorm", "solve_flow"),
    "depth 1": (
        lambda: saddle_path(gf.Objective(PROBLEM, gf.MatrixProduct((2, 2))), jnp.eye(2)),
        "(2, 2)", "solve_flow"),
    "depth 3, unbalanced": (
        lambda: saddle_path(
            gf.Objective(PROBLEM, gf.MatrixProduct((2,) * 4)), (2 * jnp.eye(2), *[jnp.eye(2)] * 2)
        ), "unbalancedness 0.75", "W itself"),
    "float32": (
        lambda: saddle_path(
            gf.astype(OBJECTIVE, jnp.float32), (jnp.eye(2, dtype=jnp.float32),)
        ), "float32", "jax_enable_x64"),
    "another shape": (lambda: saddle_path(OBJECTIVE, (jnp.eye(3),)), "(3, 3)", "(2, 2)"),
    "jumps": (lambda: saddle_path(OBJECTIVE, (jnp.eye(2),), max_jumps=-1), "-1", "max_jumps"),
    "a tie": (lambda: saddle_path(OBJECTIVE, (jnp.eye(2),), tie=0.0), "0.0", "tie"),
    "a start of zeros": (
        lambda: saddle_path(OBJECTIVE, (jnp.zeros((2, 2)),)), "0", "stays at 0"),
}  # fmt: skip


def _path():
    return saddle_path(OBJECTIVE, (jnp.eye(2),), max_jumps=0)


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    refuses(call, value, remedy)


def test_paths_without_constants_have_saddles_and_no_offsets():
    objective = gf.Objective(gf.LeastSquares([[1.0, 2.0]], [1.0]), gf.DiagonalNetwork(2, 2))
    bare = gf.saddle_path(objective, objective.factorization.identity(1.0), constants=False)
    np.testing.assert_allclose(bare.products, [[0, 0], [0, 0.5]], atol=1e-15)
    np.testing.assert_allclose(bare.taus, [1 / 8])  # 1/4, at the rate |x_2 y|
    assert np.all(np.isnan(bare.offsets)) and np.all(np.isinf(bare.predicted_error(1e-20)))
    assert bare.config["constants"] is False
