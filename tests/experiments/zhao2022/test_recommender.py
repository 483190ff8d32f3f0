"""The models of zhao2022's Table 2 and their training, on drawn ratings."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.zhao2022 import _ratings as zhao2022_ratings
from experiments.zhao2022 import _recommender as recommender
from experiments.zhao2022 import _training as recommender_training
from experiments.zhao2022 import table2 as zhao2022_table2
from experiments.zhao2022._ratings import Embedding, Matrix, Split
from experiments.zhao2022._recommender import Parts, Rows
from experiments.zhao2022.table2 import METHODS, Table2
from gradflow import sweeps
from gradflow.penalties.nuclear_frobenius import ratio_gradient

matplotlib.use("Agg")
USERS, ITEMS = 7, 9


@pytest.fixture(autouse=True)
def keep_precision():
    yield
    jax.config.update("jax_enable_x64", True)
    plt.close("all")


@pytest.fixture(name="known")
def _known():
    split = Split("drawn", 20, 1, 0.1)
    ratings = zhao2022_ratings.ratings_of("drawn")
    learn, test = zhao2022_ratings.rows_of(split)
    return recommender.parts(ratings, learn, test, 0.1, 1, jnp.float64)


SHAPE = (40, 60)
MATRIX = {
    "optimizer": "adam", "rate": 1e-2, "weight": 0.1, "renewed": 1, "bias": "one", "loss": "mean",
    "std": 1e-3, "steps": 60, "every": 20, "seed": 0,
}  # fmt: skip
EMBEDDINGS = {
    "optimizer": "adam", "rate": 1e-2, "user_weight": 1e-2, "item_weight": 0.0, "renewed": 1,
    "dimension": 4, "batch": 128, "epochs": 5, "seed": 0,
}  # fmt: skip


def train(model, known, **changes):
    if model == "matrix":
        return recommender_training.train_matrix(known, SHAPE, **MATRIX | changes)
    return recommender_training.train_embeddings(known, SHAPE, **EMBEDDINGS | changes)


def by_differences(function, w, step=1e-6):
    """Central differences, entry by entry."""
    found = np.zeros(w.shape)
    for at in np.ndindex(w.shape):
        shift = np.zeros(w.shape)
        shift[at] = step
        found[at] = (float(function(w + shift)) - float(function(w - shift))) / (2 * step)
    return found


def gradient_of_ratio(w, smoothing=recommender.SMOOTHING):
    w = jnp.asarray(w)
    return ratio_gradient(w, recommender.smooth_polar(w, smoothing))


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (3, 3)])
@pytest.mark.parametrize("smoothing", [0.0, 1e-3, 0.1])
def test_gradient_of_the_ratio_agrees_with_differences(shape, smoothing):
    w = np.random.default_rng(0).normal(size=shape)
    wanted = by_differences(lambda w: recommender.ratio(jnp.asarray(w), smoothing), w)
    found = gradient_of_ratio(w, smoothing)
    np.testing.assert_allclose(found, wanted, atol=1e-8)
    # A penalty that does not depend on the scale pulls at right angles.
    assert abs(np.sum(found * w)) < 1e-12


def test_gradient_of_the_ratio_from_an_svd_in_single_precision():
    # Noise of singular values up to 0.05 beside some of up to 60, as in completed ratings.
    rng = np.random.default_rng(1)
    w = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 90)) + 3e-3 * rng.normal(size=(60, 90))
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    norm = np.linalg.norm(s)
    slopes = s / np.sqrt(s**2 + (recommender.SMOOTHING * norm) ** 2)
    wanted = ((u * slopes) @ vt - np.sum(slopes * s) / norm**2 * w) / norm
    found = gradient_of_ratio(jnp.asarray(w, jnp.float32))
    assert found.dtype == jnp.float32
    size = np.max(np.abs(wanted))
    # Squares of shares of the norm are off by 1e-7, beside the smoothing's 1e-6.
    assert np.max(np.abs(found - wanted)) < 0.05 * size
    # The control: without smoothing the noise would weigh in full.
    exact = (u @ vt - np.sum(s) / norm**2 * w) / norm
    assert np.max(np.abs(exact - wanted)) > size


def test_gradient_of_the_ratio_at_zero_and_at_rank_one():
    assert not np.any(gradient_of_ratio(np.zeros((3, 5))))
    # The least ratio there is.
    w = jnp.outer(jnp.arange(1.0, 4), jnp.arange(1.0, 6))
    assert float(recommender.ratio(w, 0.0)) == pytest.approx(1)
    assert np.max(np.abs(gradient_of_ratio(w))) < 1e-6


def small_rows():
    rng = np.random.default_rng(2)
    users, items = np.divmod(rng.permutation(USERS * ITEMS)[:30], ITEMS)
    return Rows(jnp.asarray(users), jnp.asarray(items), jnp.asarray(rng.normal(size=30)))


@pytest.mark.parametrize("bias", ["one", "items", "users and items"])
@pytest.mark.parametrize("loss", ["mean", "sum"])
def test_loss_of_depth_1(bias, loss):
    rows = small_rows()
    start = recommender.matrix_start(jax.random.key(0), (USERS, ITEMS), bias, 1.0, jnp.float64)
    params = {name: part + 0.1 for name, part in start.items()}
    target = jnp.zeros((USERS, ITEMS)).at[rows.users, rows.items].set(rows.ratings)
    mask = jnp.zeros((USERS, ITEMS)).at[rows.users, rows.items].set(1)
    squares = (recommender.scores(params, rows.users, rows.items) - rows.ratings) ** 2
    wanted = np.sum(squares) / (30 if loss == "mean" else 1)
    np.testing.assert_allclose(
        recommender.matrix_loss(params, target, mask, loss), wanted, rtol=1e-13
    )
    gradient = jax.grad(recommender.matrix_loss)(params, target, mask, loss)
    for name, part in params.items():
        by_entry = by_differences(
            lambda at, name=name: recommender.matrix_loss(
                params | {name: jnp.asarray(at)}, target, mask, loss
            ),
            np.array(part),
        )
        np.testing.assert_allclose(gradient[name], by_entry, atol=1e-7)
    assert not np.any(gradient["weights"] * (1 - mask))


def test_loss_of_the_embeddings():
    rows = small_rows()
    start = recommender.embedding_start(jax.random.key(0), (USERS, ITEMS), 4, jnp.float64)
    assert not np.any(start["user_bias"]) and not np.any(start["item_bias"])
    params = {name: part + 0.1 for name, part in start.items()}
    full = params["users"] @ params["items"].T + params["user_bias"] + params["item_bias"]
    found = recommender.scores(params, rows.users, rows.items)
    np.testing.assert_allclose(found, full[rows.users, rows.items], rtol=1e-13)
    # Rows that fill a batch up do not count.
    counts = (jnp.arange(30) < 20).astype(float)
    few = Rows(*(column[:20] for column in rows))
    whole = recommender.batch_loss(params, few, jnp.ones(20))
    assert float(recommender.batch_loss(params, rows, counts)) == pytest.approx(float(whole))
    gradient = jax.grad(recommender.batch_loss)(params, rows, jnp.ones(30))
    for name, part in params.items():
        by_entry = by_differences(
            lambda at, name=name: recommender.batch_loss(
                params | {name: jnp.asarray(at)}, rows, jnp.ones(30)
            ),
            np.array(part),
        )
        np.testing.assert_allclose(gradient[name], by_entry, atol=1e-8)


def test_embeddings_start_with_the_inverse_of_the_dimension():
    start = recommender.embedding_start(jax.random.key(3), (500, 700), 16, jnp.float32)
    for name in ("users", "items"):
        assert start[name].dtype == jnp.float32
        assert float(jnp.std(start[name])) == pytest.approx(1 / 16, rel=0.05)


def test_a_step_of_gradient_descent_by_hand(known):
    changes = {"optimizer": "gd", "rate": 0.5, "weight": 0.0, "steps": 1, "every": 1, "std": 1e-9}
    found = train("matrix", known, **changes)
    # From 0, the bias goes to rate 2 mean(ratings), and each weight hardly anywhere.
    mean = np.mean(known.train.ratings)
    weights = known.train.ratings / known.train.ratings.size
    wanted = np.sqrt(np.mean((mean + weights - known.train.ratings) ** 2))
    assert found["train"][1] == pytest.approx(wanted, rel=1e-6)
    wanted = np.sqrt(np.mean((mean - known.test.ratings) ** 2))
    assert found["test"][1] == pytest.approx(wanted, rel=1e-6)


def test_an_epoch_of_one_batch_is_a_step_on_all_ratings(known):
    count = known.train.ratings.size
    alone = train("embeddings", known, optimizer="gd", rate=0.1, batch=count, epochs=1)
    filled = train("embeddings", known, optimizer="gd", rate=0.1, batch=count + 50, epochs=1)
    np.testing.assert_allclose(alone["train"], filled["train"], rtol=1e-12)


def test_a_polar_factor_that_is_kept_for_some_steps(known):
    # Large enough weights that the penalty is felt, at a rate at which W changes slowly.
    changes = {"weight": 0.5, "rate": 1e-3, "std": 0.1, "steps": 100, "every": 50}
    exact = train("matrix", known, **changes)
    kept = train("matrix", known, renewed=5, **changes)
    never = train("matrix", known, renewed=50, **changes)
    none = train("matrix", known, **changes | {"weight": 0.0})
    felt = np.max(np.abs(none["train"] - exact["train"]))
    assert np.max(np.abs(kept["train"] - exact["train"])) < 0.1 * felt
    assert np.max(np.abs(never["train"] - exact["train"])) > np.max(
        np.abs(kept["train"] - exact["train"])
    )
    # The first step has a factor of its own in any case.
    first = {"weight": 0.5, "steps": 1, "every": 1}
    assert train("matrix", known, **first)["train"][1] == pytest.approx(
        train("matrix", known, renewed=9, **first)["train"][1]
    )


@pytest.mark.parametrize("model", ["matrix", "embeddings"])
def test_training_never_looks_at_the_test_rows(known, model):
    found = train(model, known)
    other = known._replace(test=known.test._replace(ratings=known.test.ratings[::-1] + 1))
    again = train(model, other)
    seen = {"test", "test_rmse", "stopped_test_rmse"}
    for name in set(found) - seen:
        np.testing.assert_array_equal(found[name], again[name])
    assert all(np.all(found[name] != again[name]) for name in seen)


@pytest.mark.parametrize("model", ["matrix", "embeddings"])
def test_validation_rows_train_nothing_and_choose_when_to_stop(known, model):
    found = train(model, known)
    worse = known.validation.ratings + jnp.where(known.validation.users % 2, 1.0, -1.0)
    again = train(model, known._replace(validation=known.validation._replace(ratings=worse)))
    np.testing.assert_array_equal(found["train"], again["train"])
    np.testing.assert_array_equal(found["test"], again["test"])
    for run in (found, again):
        assert run["stopped_epoch"] == np.argmin(run["validation"])
        assert run["stopped_test_rmse"] == run["test"][run["stopped_epoch"]]
        assert run["test_rmse"] == run["test"][np.argmin(run["train"])]


def test_parts_are_disjoint_and_complete():
    ratings = zhao2022_ratings.ratings_of("drawn")
    for split in (Split("drawn", 20, 3, 0.1), Split("drawn", 10, 3, 0.1)):
        learn, test = zhao2022_ratings.rows_of(split)
        known = recommender.parts(ratings, learn, test, 0.1, 3, jnp.float32)
        assert known.test.users.size == 1500 * split.percent // 100
        assert known.validation.users.size == round(0.1 * len(learn))
        pairs = [
            pair
            for part in known
            for pair in zip(part.users.tolist(), part.items.tolist(), strict=True)
        ]
        assert len(pairs) == len(set(pairs)) == 1500
    first, second = (zhao2022_ratings.rows_of(Split("drawn", 10, k, 0.1))[1] for k in (1, 2))
    assert not np.array_equal(first, second)


def errors_in_turn(train):
    """A training whose errors are given: the parameters' bias is the error on one rating of 0."""
    row = Rows(jnp.array([0]), jnp.array([0]), jnp.array([0.0]))
    states = [{"weights": jnp.full((1, 1), error)} for error in train]

    def advance(state, epoch):
        return (states[epoch + 1],)

    return advance, (states[0],), Parts(row, row, row), len(train) - 1


def test_training_ends_when_its_error_rises_three_times():
    curve = [5.0, 3.0, 4.0, 3.5, 3.6, 3.7, 3.8, 1.0]
    found, _ = recommender_training.follow(*errors_in_turn(curve), rises=3)
    assert (found["epochs"], found["epoch"], found["test_rmse"]) == (6, 1, 3.0)
    found, _ = recommender_training.follow(*errors_in_turn(curve), rises=None)
    assert (found["epochs"], found["epoch"]) == (7, 7)


def test_a_run_that_diverges_says_so():
    found, _ = recommender_training.follow(*errors_in_turn([5.0, 3.0, np.nan, 1.0]), rises=3)
    assert found["diverged"] == 1 and found["epochs"] == 2
    assert found["validation_rmse"] == found["stopped_test_rmse"] == np.inf


@pytest.mark.parametrize("loss", ["mean", "sum"])
def test_gradient_descent_diverges_in_one_bias_where_it_must(known, loss):
    # The bias' curvature is 2 for the mean and twice the number of ratings for the sum.
    found = train("matrix", known, optimizer="gd", rate=0.5, weight=0.0, loss=loss, steps=200)
    assert found["diverged"] == (loss == "sum")


@pytest.fixture(scope="module", name="results")
def _results(tmp_path_factory):
    out = tmp_path_factory.mktemp("table2")
    report = sweeps.run("zhao2022.table2", scale="quick", out=out, jobs=1, show=False)
    assert not report.failures
    return sweeps.load("zhao2022.table2", scale="quick", out=out)


def test_quick_scale_fills_the_table_and_draws(results, tmp_path):
    assert results.missing == 0
    chosen = zhao2022_table2.choose(results)
    wanted = {(m, p, how) for m in ("depth 1", "embeddings") for p in (10, 20) for how in METHODS}
    assert set(chosen) == wanted
    assert all(len(one.errors) == 2 for one in chosen.values())
    results.experiment.plot(results).savefig(tmp_path / "table2.png")
    found = results.experiment.compare(results)
    assert len(found) == 24
    # Drawn ratings are not those of the paper: nothing is said to reproduce.
    assert all(one.printed is None for one in found)
    gains = [one for one in found if "beats" in one.statement]
    assert len(gains) == 8 and all(one.holds is not None for one in gains)


@pytest.mark.parametrize("named", ["", "stopped_"])
def test_configurations_are_chosen_by_validation(results, named):
    key = ("depth 1", 20, "Adam+penalty")

    def chosen():
        return zhao2022_table2.choose(results, stopped=bool(named))[key]

    runs = [
        (cell, data)
        for cell, data in results
        if isinstance(cell, Matrix)
        and cell.split.percent == 20
        and zhao2022_ratings.method_of(cell) == "Adam+penalty"
    ]
    on_first = {cell: data for cell, data in runs if cell.split.number == 1}
    errors = {cell: float(data[f"{named}validation_rmse"]) for cell, data in on_first.items()}
    before = chosen()
    assert isinstance(before.cell, Matrix) and before.tried == len(on_first) > 1
    assert before.cell == min(errors, key=lambda cell: errors[cell])
    assert before.errors[1] == on_first[before.cell][f"{named}test_rmse"]
    # Test errors turned round change no choice; validation errors do.
    for name, wanted in ((f"{named}test_rmse", min), (f"{named}validation_rmse", max)):
        for _, data in runs:
            data[name][...] = 10 - data[name]
        assert chosen().cell == wanted(errors, key=lambda cell: errors[cell])
    for name in ("test_rmse", "validation_rmse"):
        for _, data in runs:
            data[named + name][...] = 10 - data[named + name]


def test_a_configuration_that_is_not_kept_says_on_how_many_splits_it_was_run(results):
    key = ("depth 1", 20, "Adam+penalty")
    searched = [
        data for cell, data in results
        if isinstance(cell, Matrix) and cell.split.percent == 20 and cell.loss == "sum"
    ]  # fmt: skip
    assert len(searched) == 1
    before = searched[0]["validation_rmse"].copy()
    searched[0]["validation_rmse"][...] = 0.0
    assert "over 1 of 2 splits" in str(zhao2022_table2.choose(results)[key])
    searched[0]["validation_rmse"][...] = before


def test_a_penalty_that_does_harm_is_found_out(results):
    penalised = [data for cell, data in results if "penalty" in zhao2022_ratings.method_of(cell)]
    held = []
    for shift in (-100, 200, -100):
        for data in penalised:
            for name in ("test_rmse", "stopped_test_rmse"):
                data[name][...] = data[name] + shift
        found = results.experiment.compare(results)
        held.append({one.holds for one in found if "beats" in one.statement})
    assert held[:2] == [{True}, {False}]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data", "netflix"), ("folds", (0,)), ("draws", (0,)), ("held_out", 0.0),
        ("held_out", 1.0), ("bias", "none"), ("std", 0.0), ("epochs", 0),
    ],
)  # fmt: skip
def test_grids_out_of_range_are_refused(field, value):
    grid = dataclasses.replace(Table2().grid("quick", "paper"))
    object.__setattr__(grid, field, value)  # as where no annotation is checked
    with pytest.raises(ValueError, match=field):
        Table2().cells(grid)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Matrix, "optimizer", "adamax"), (Matrix, "rate", 0.0), (Matrix, "weight", -1.0),
        (Matrix, "steps", 30), (Matrix, "loss", "half"), (Embedding, "user_weight", np.inf),
        (Embedding, "dimension", 0),
    ],
)  # fmt: skip
def test_cells_out_of_range_are_refused(kind, field, value):
    cells = Table2().cells(Table2().grid("quick", "paper"))
    good = next(cell for cell in cells if isinstance(cell, kind))
    cell = dataclasses.replace(good)
    object.__setattr__(cell, field, value)  # as where no annotation is checked
    with pytest.raises(ValueError, match=field):
        zhao2022_ratings.check(cell)


def test_missing_ratings_are_named_before_any_work(monkeypatch):
    grid = Table2().grid("paper", "paper")
    monkeypatch.setattr(zhao2022_table2, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install --no-deps neighbors==0\.2\.1"):
        Table2().cells(grid)
    assert Table2().cells(dataclasses.replace(grid, data="drawn"))


@pytest.mark.skipif(
    importlib.util.find_spec("neighbors") is None,
    reason="the package `neighbors`, which carries MovieLens 100K, is not installed",
)
def test_paper_scale_is_of_the_real_ratings():
    cells = Table2().cells(Table2().grid("paper", "paper"))
    assert {cell.split.data for cell in cells} == {"movielens"}
    tests = {cell.split: len(zhao2022_ratings.rows_of(cell.split)[1]) for cell in cells}
    assert all(size == 1000 * split.percent for split, size in tests.items())
