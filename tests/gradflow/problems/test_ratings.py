"""Ratings: immutable, split, taken from tables, made into problems."""

import numpy as np
import pandas as pd
import pytest

import gradflow as gf
from gradflow.problems import Ratings

RNG = np.random.default_rng(0)
COUNT = 400
USERS = RNG.integers(0, 20, COUNT)
RATINGS = Ratings(USERS, np.arange(COUNT), RNG.integers(1, 6, COUNT), RNG.integers(0, 99, COUNT))


def test_ratings_can_not_be_changed():
    for name in ("users", "ratings", "user_labels"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(RATINGS, name)[0] = 7
        with pytest.raises(AttributeError):
            setattr(RATINGS, name, None)
    mine = np.zeros(2, int)
    Ratings(mine, mine, mine)
    mine[0] = 1  # whose array it was may still change it
    with pytest.raises(ValueError, match=r"items has shape \(3,\), but there are 2 users"):
        Ratings(mine, np.zeros(3), mine)


@pytest.mark.parametrize("by", ["random", "user", "whole user", "time"])
def test_a_split_parts_the_rows(by):
    train, test = RATINGS.split(0.25, by=by, seed=3)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(COUNT))
    again = RATINGS.split(0.25, by=by, seed=3)
    assert np.array_equal(train, again[0]) and np.array_equal(test, again[1])
    sizes, found = np.bincount(USERS), np.bincount(USERS[test], minlength=20)
    if by == "random":
        assert len(test) == 100
        assert not np.array_equal(test, RATINGS.split(0.25, seed=4)[1])
    elif by == "user":
        assert found.tolist() == np.floor(sizes / 4).tolist()
    elif by == "whole user":
        assert np.count_nonzero(found) == 5
        assert all(n in (0, size) for n, size in zip(found, sizes, strict=True))
    else:
        assert len(test) == 100
        assert RATINGS.timestamps[train].max() <= RATINGS.timestamps[test].min()


def test_some_of_the_ratings_keep_the_shape_and_the_labels():
    train, _ = RATINGS.split(0.5)
    part = RATINGS.take(train)
    assert (len(part), part.shape) == (len(train), RATINGS.shape)
    np.testing.assert_array_equal(part.completion().target, RATINGS.completion(train).target)
    assert repr(part) == "Ratings(200 of 400 items by 20 users)"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"test_size": 0}, "between 0 and 1, but it is 0"),
        ({"test_size": 1e-9}, "leaves no test rows of 400"),
        ({"by": "item"}, "'time', but it is 'item'"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_splits_that_cannot_be_are_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        RATINGS.split(**asked)
    with pytest.raises(ValueError, match="no timestamps; split by='random'"):
        Ratings(USERS, USERS, USERS).split(by="time")


LONG = pd.DataFrame(
    {
        "movieId": [30, 10**12, 30],
        "userId": ["b", "a", "a"],
        "note": ["x", "y", "z"],
        "rating": [4.5, 3.0, 1.0],
        "date": pd.to_datetime(["1970-01-02", "1970-01-03", "1970-01-01"]),
    }
)


def test_a_long_table():
    found = Ratings.from_frame(LONG)
    assert found.user_labels.tolist() == ["a", "b"]
    assert found.item_labels.tolist() == [30, 10**12]
    assert found.users.tolist() == [1, 0, 0]
    assert found.timestamps.tolist() == [86400, 172800, 0]
    assert found.completion().target.tolist() == [[1, 3], [4.5, 0]]
    category = LONG.assign(userId=LONG["userId"].astype("category"))
    assert Ratings.from_frame(category).users.tolist() == [1, 0, 0]
    assert Ratings.from_frame(LONG, timestamp=False, missing=1.0).ratings.tolist() == [4.5, 3]
    floats = LONG.assign(userId=[2.0, 1.0, 1.0])
    assert Ratings.from_frame(floats).user_labels.tolist() == [1, 2]


def test_a_wide_table():
    wide = LONG.pivot(index="userId", columns="movieId", values="rating")
    found = Ratings.from_frame(wide, layout="wide")
    assert (found.user_labels.tolist(), found.item_labels.tolist()) == (["a", "b"], [30, 10**12])
    assert found.completion().target.tolist() == [[1, 3], [4.5, 0]]
    np.testing.assert_array_equal(
        gf.MatrixCompletion.from_array(wide).target, found.completion().target
    )


REFUSED = {
    "no table": ([[1, 2, 3]], {}, "this is list; give pandas.DataFrame"),
    "no column": (
        LONG.drop(columns="rating"),
        {},
        "The table has no column that is surely the rat",
    ),
    "another name": (LONG, {"item": "film"}, "no column 'film', but movieId, userId"),
    "NaN rating": (LONG.assign(rating=[1, np.nan, 2]), {}, "Row 1 of the table has rating nan; dr"),
    "text": (LONG.assign(rating=["1", "x", "2"]), {}, r"Entry \[0\] is '1', which is no number"),
    "no user": (
        LONG.assign(userId=["a", None, "b"]),
        {},
        "Row 1 of the table has no user; drop it",
    ),
    "half a user": (LONG.assign(userId=[1.5, 2, 3]), {}, "Row 0 .*1.5.*, which is no whole number"),
    "infinite user": (LONG.assign(userId=[1, np.inf, 3]), {}, "Row 1 .*inf.*, which is no whole"),
    "kinds": (LONG.assign(userId=["a", 1, "b"]), {}, "of several kinds, int, str"),
    "no time": (LONG.assign(date=[None, 1, 2]), {}, "Row 0 .* no timestamp; .*timestamp=False"),
    "times as texts": (LONG.assign(date="yesterday"), {}, "pandas.to_datetime"),
    "twice": (LONG.assign(movieId=7), {}, "user a rates item 7 twice, in line 1 and line 2"),
    "users as items": (
        pd.DataFrame({"userId": [1, 2], "film": [5, 4]}),
        {"layout": "wide"},
        r"column 'userId', of users and not of an item; give table.set_index\('userId'\)",
    ),
    "users of a wide table": (LONG, {"layout": "wide", "user": "userId"}, "user = 'userId', but"),
    "items of a wide table": (LONG, {"layout": "wide", "item": "x"}, "item = 'x' is of no use wit"),
    "huge time": (LONG.assign(date=np.array([2**63] * 3, np.uint64)), {}, "of dtype uint64"),
    "layout": (LONG, {"layout": "tall"}, "'tall'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tables_that_are_off_are_refused_by_row_and_remedy(case):
    frame, asked, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        Ratings.from_frame(frame, **asked)


def test_a_matrix_too_large_to_store_is_not_stored():
    many = np.arange(40_000)
    problem = Ratings(many, many, many).completion()
    assert isinstance(problem, gf.problems.SparseCompletion) and problem.shape == (40_000, 40_000)
    with pytest.raises(ValueError, match=r"for each user and item; take fewer"):
        Ratings(np.array([0, 10**8]), np.array([0, 1]), np.ones(2)).completion()
