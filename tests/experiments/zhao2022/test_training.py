"""Training of the models of zhao2022's Table 2, on drawn ratings."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.zhao2022 import _ratings as zhao2022_ratings
from experiments.zhao2022 import _recommender as recommender
from experiments.zhao2022 import _training as recommender_training
from experiments.zhao2022._ratings import Split
from experiments.zhao2022._recommender import Parts, Rows


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
