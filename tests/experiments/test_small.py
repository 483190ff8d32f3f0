"""razin2020 Figures 4 and 5 and wang2024 Figures 1 to 3 at quick scale, through the engine."""

import numpy as np
import pytest

import gradflow as gf
from experiments.razin2020 import _blowup as unobserved_entry
from experiments.razin2020._blowup import Cell
from experiments.wang2024.fig1 import closed_form, features, system
from experiments.wang2024.fig3 import excess_rank
from gradflow import sweeps
from gradflow.factorizations.matrix_product import MatrixProduct
from tests.experiments.quick_runs import results_of


def findings_of(results):
    return results.experiment.compare(results)


def determinant_sign(cell):
    factors = unobserved_entry.start(cell)
    product = np.asarray(MatrixProduct.of((cell.rows, cell.columns), cell.depth).product(factors))
    square = min(cell.rows, cell.columns)
    assert not np.any(product[square:]) and not np.any(product[:, square:])
    return np.linalg.slogdet(product[:square, :square])[0]


@pytest.mark.parametrize(
    ("unobserved", "z", "z_prime", "sign"),
    [
        ((0, 0), 1.0, 1.0, 1),
        ((0, 0), -2.0, 0.5, -1),
        ((1, 1), -1.0, -1.0, 1),
        ((0, 1), 1.0, 1.0, -1),
        ((1, 0), -1.0, 2.0, 1),
    ],
)
def test_the_sign_is_that_of_solutions_with_a_large_entry(unobserved, z, z_prime, sign):
    # At epsilon = 0 every solution has one determinant, of the sign that keeps flows away: the
    # start has the other one.
    target = np.array(gf.synthetic.norm_blowup(z, z_prime, 0.0, unobserved).target)
    assert np.sign(np.linalg.det(target)) == -sign
    cell = Cell(3, 1e-3, 1e-3, False, 5, unobserved=unobserved, z=z, z_prime=z_prime)
    assert unobserved_entry.wanted_sign(cell) == sign == determinant_sign(cell)


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("shape", [(10, 10), (2, 5), (5, 3)])
def test_starts_of_other_sizes(shape, balanced):
    cell = Cell(3, 1e-3, 1e-5, balanced, 1, rows=shape[0], columns=shape[1])
    assert determinant_sign(cell) == 1


def test_guarantee_holds_for_every_matrix_of_the_right_determinant():
    rng = np.random.default_rng(0)
    for i, j in np.ndindex(2, 2):
        cell = Cell(3, 1.0, 1.0, True, 0, unobserved=(i, j), z=-2.0, z_prime=0.5, epsilon=0.1)
        problem = gf.synthetic.norm_blowup(-2.0, 0.5, 0.1, (i, j))
        target, seen = np.array(problem.target), 0
        for _ in range(1000):
            w = target + rng.exponential(0.05) * rng.normal(size=(2, 2))
            w[i, j] = rng.normal() * 10 ** rng.uniform(0, 2)
            loss = 0.5 * np.sum(np.array(problem.mask) * (w - target) ** 2)
            bound = unobserved_entry.guarantee(cell, loss)
            if np.sign(np.linalg.det(w)) == unobserved_entry.wanted_sign(cell):
                seen += np.isfinite(bound)
                assert not abs(w[i, j]) < bound
        assert seen > 100
    assert np.isnan(unobserved_entry.guarantee(cell, 0.13))  # sqrt(2 loss) is above 0.5


@pytest.mark.parametrize(
    ("field", "value"),
    [("z", 0.0), ("epsilon", np.inf), ("unobserved", (0, 2)), ("rows", 1), ("scale", 0.0)],
)
def test_cells_out_of_range_are_refused(field, value):
    fields = {"depth": 3, "rate": 1e-3, "scale": 1e-3, "balanced": False, "seed": 0}
    with pytest.raises(ValueError, match=field):
        unobserved_entry.check(Cell(**(fields | {field: value})))


@pytest.mark.slow  # compiles many sizes
def test_razin_figure_4(tmp_path):
    results = results_of("razin2020.fig4", tmp_path, sizes=((3, 3), (2, 4)))
    assert [finding.holds for finding in findings_of(results)] == [True, True, True]
    with pytest.raises(ValueError, match="rows"):
        results.experiment.cells(type(results.grid)(sizes=((1, 2),)))


def test_razin_figure_4_can_fail(tmp_path):
    # Stopped in the rise, nothing has reached two of the losses.
    results = results_of("razin2020.fig4", tmp_path, sizes=((2, 2),), steps=100)
    grown, norms, excess = findings_of(results)
    assert (grown.holds, norms.holds, excess.holds) == (False, None, None)


def test_razin_figure_5(tmp_path):
    panels = ((0, 0, -2.0, 0.5), (1, 0, 2.0, 0.5))
    results = results_of("razin2020.fig5", tmp_path, panels=panels, rate=6e-3)
    assert [finding.holds for finding in findings_of(results)] == [True, True]
    # One epsilon says nothing of receding.
    one = sweeps.load(
        "razin2020.fig5", scale="quick", out=tmp_path, panels=panels, seeds=(1,), rate=6e-3,
        epsilons=(0.0,),
    )  # fmt: skip
    assert [finding.holds for finding in findings_of(one)] == [True, None]


@pytest.mark.slow  # 60 cells
def test_razin_figure_5_in_full(tmp_path):
    results = results_of("razin2020.fig5", tmp_path)
    assert [finding.holds for finding in findings_of(results)] == [True, True]


def test_wang_figure_1(tmp_path):
    results = results_of("wang2024.fig1", tmp_path, seeds=(0,))
    # The last says what the paper leaves out: a start's part in the kernel stays.
    assert [finding.holds for finding in findings_of(results)] == [True, True, True, False]
    right = results.where(start="zero")
    assert np.all(right.table["kernel_part"] == 0)
    with pytest.raises(ValueError, match="more columns than rows"):
        results.experiment.cells(type(results.grid)(systems=((3, 3),)))


def test_least_squares_closed_form():
    x, y, points = system(4, 12)
    assert np.array_equal(x, features(points, 12)) and np.linalg.matrix_rank(x) == 4
    step = 1e-6
    before, at, after = closed_form(x, y, [0.3 - step, 0.3, 0.3 + step])
    # Central differences: step^2 and rounding / step, both below 1e-9 of the speed.
    np.testing.assert_allclose((after - before) / (2 * step), -2 * x.T @ (x @ at - y), atol=1e-7)
    np.testing.assert_allclose(closed_form(x, y, [0.0]), 0)
    np.testing.assert_allclose(closed_form(x, y, [1e6])[0], np.linalg.pinv(x) @ y, rtol=1e-9)


def test_wang_figures_2_and_3_share_their_flows(tmp_path):
    norms = results_of("wang2024.fig2", tmp_path, depths=(2,))
    assert [finding.holds for finding in findings_of(norms)] == [True, True, True]
    ranks = results_of("wang2024.fig3", tmp_path, depths=(2,))
    assert [finding.holds for finding in findings_of(ranks)] == [True] * 4
    assert len(list((tmp_path / "wang2024.blowup").glob("*.nc"))) == len(ranks) == 2
    for _, data in ranks:
        s = data["singular_values"].to_numpy()
        wanted = [float(gf.linalg.effective_rank_of(row)) for row in s]
        np.testing.assert_allclose(1 + excess_rank(data), wanted, rtol=1e-13)
    with pytest.raises(ValueError, match="depths"):
        norms.experiment.cells(type(norms.grid)(depths=(1,)))


def test_wang_figure_2_can_fail(tmp_path):
    results = results_of("wang2024.fig2", tmp_path, depths=(2,), starts=("identity",))
    for data in results.cells:
        data["singular_values"][:] = data["singular_values"] ** 0.1
    growth, bound, _ = findings_of(results)
    assert (growth.holds, bound.holds) == (False, False)


@pytest.mark.slow  # compiles another depth
def test_wang_figures_2_and_3_in_full(tmp_path):
    for id in ("wang2024.fig2", "wang2024.fig3"):
        assert all(finding.holds for finding in findings_of(results_of(id, tmp_path)))


def test_flows_are_refused_in_float32(tmp_path):
    report = sweeps.run(
        "wang2024.fig1", scale="quick", out=tmp_path, jobs=1, show=False, precision="float32",
        seeds=(0,),
    )  # fmt: skip
    assert report.done == 0 and all("float64" in text for text in report.failures.values())
