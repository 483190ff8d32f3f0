"""MovieLens 100K: the counts that its README states, and files that the user gives."""

import importlib.util

import numpy as np
import pytest

from gradflow.problems import movielens as data

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("neighbors") is None,
    reason="the package `neighbors`, which carries MovieLens 100K, is not installed",
)


@pytest.fixture(scope="module", name="ratings")
def _ratings():
    return data.movielens_100k()


@needs_package
def test_counts_are_those_of_the_published_data(ratings):
    assert ratings.shape == (943, 1682)
    values, counts = np.unique(ratings.ratings, return_counts=True)
    assert values.tolist() == [1, 2, 3, 4, 5]
    assert counts.tolist() == [6110, 11370, 27145, 34174, 21201]
    assert len(np.unique(ratings.users)) == 943
    assert len(np.unique(ratings.items)) == 1682
    assert np.min(np.bincount(ratings.users)) == 20  # every user rated at least 20
    assert len({*zip(ratings.users.tolist(), ratings.items.tolist(), strict=True)}) == 100_000


@needs_package
def test_timestamps_span_the_months_of_the_collection(ratings):
    first, last = np.array([ratings.timestamps.min(), ratings.timestamps.max()]).astype(
        "datetime64[s]"
    )
    assert np.datetime64("1997-09-19") <= first
    assert last < np.datetime64("1998-04-24")


@needs_package
def test_the_five_folds_part_the_ratings(ratings):
    tests = []
    for k in range(1, 6):
        train, test = ratings.fold(k)
        assert (len(train), len(test)) == (80_000, 20_000)
        assert not np.intersect1d(train, test).size
        tests.append(test)
    assert np.array_equal(np.sort(np.concatenate(tests)), np.arange(100_000))


@needs_package
def test_ua_and_ub_test_ten_ratings_of_each_user(ratings):
    tests = []
    for which in "ab":
        train, test = ratings.ten_each(which)
        assert len(test) == 9430
        assert len(train) == 90_570
        assert not np.intersect1d(train, test).size
        assert np.all(np.bincount(ratings.users[test], minlength=943) == 10)
        tests.append(test)
    assert not np.intersect1d(*tests).size


@needs_package
def test_a_fold_becomes_a_completion_problem(ratings):
    train, test = ratings.fold(1)
    problem = ratings.completion(train, loss="mean")
    assert problem.shape == (943, 1682)
    assert problem.observations == 80_000
    # At W = 0 the mean loss is the mean square of the observed ratings.
    np.testing.assert_allclose(
        problem.loss(np.zeros(problem.shape)), np.mean(ratings.ratings[train] ** 2), rtol=1e-13
    )
    row, column = ratings.users[test[0]], ratings.items[test[0]]
    assert problem.mask[row, column] == 0


ROWS = [(1, 1, 5, 900), (1, 3, 3, 901), (2, 1, 4, 902), (3, 2, 1, 903), (2, 2, 2, 904)]


def write(path, rows, separator="\t", header=""):
    lines = [separator.join(map(str, row)) for row in rows]
    path.write_text("\n".join([header, *lines] if header else lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("separator", "header", "order"),
    [
        ("\t", "", (0, 1, 2, 3)),
        (",", "User,Item,Rating,Timestamp", (0, 1, 2, 3)),
        (",", "Timestamp,Rating,User,Item", (3, 2, 0, 1)),
    ],
)
def test_a_file_of_the_user_is_read(tmp_path, separator, header, order):
    rows = [tuple(row[k] for k in order) for row in ROWS]
    read = data.movielens_100k(write(tmp_path / "u.data", rows, separator, header))
    np.testing.assert_array_equal(read.users, [0, 0, 1, 2, 1])
    np.testing.assert_array_equal(read.items, [0, 2, 0, 1, 1])
    np.testing.assert_array_equal(read.ratings, [5, 3, 4, 1, 2])
    np.testing.assert_array_equal(read.timestamps, [900, 901, 902, 903, 904])
    assert read.shape == (3, 3)


def test_folds_and_problem_of_a_small_file(tmp_path):
    read = data.movielens_100k(write(tmp_path / "u.data", ROWS))
    train, test = read.fold(2)
    assert (train.tolist(), test.tolist()) == ([0, 2, 3, 4], [1])
    train, test = read.ten_each("a")
    assert (train.tolist(), test.tolist()) == ([], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(read.completion().target, [[5, 0, 3], [4, 2, 0], [0, 1, 0]])


def test_ten_each_takes_rows_in_the_order_of_the_file(tmp_path):
    rows = [(1 + (k % 2), 1 + k, 3, k) for k in range(44)]
    read = data.movielens_100k(write(tmp_path / "u.data", rows))
    assert read.ten_each("a")[1].tolist() == list(range(20))
    assert read.ten_each("b")[1].tolist() == list(range(20, 40))


@pytest.mark.parametrize("k", [0, 6, 1.5])
def test_fold_refuses_other_numbers(tmp_path, k):
    with pytest.raises(ValueError, match=f"1, 2, 3, 4 or 5, but it is {k}"):
        data.movielens_100k(write(tmp_path / "u.data", ROWS)).fold(k)


def test_ten_each_refuses_other_letters(tmp_path):
    with pytest.raises(ValueError, match="'a' or 'b', but it is 'c'"):
        data.movielens_100k(write(tmp_path / "u.data", ROWS)).ten_each("c")


@pytest.mark.parametrize(
    "text",
    ["", "1\t2\n", "1\t2\tfive\t900\n", "User,What,Rating\n1,2,3\n",
     "User,Item,Rating,Timestamp\n", "1.5\t1\t3\t900\n"],
    ids=["empty", "two columns", "text", "no such column", "header only", "fraction"],
)  # fmt: skip
def test_a_file_of_another_kind_is_refused_by_name(tmp_path, text):
    path = tmp_path / "other.data"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.data"):
        data.movielens_100k(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone is not a file; pass the path of a u\.data"):
        data.movielens_100k(tmp_path / "gone")


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    with pytest.raises(
        FileNotFoundError, match=r"pip install --no-deps neighbors==0\.2\.1.*u\.data"
    ):
        data.movielens_100k()


@needs_package
def test_another_file_in_the_package_is_refused(monkeypatch):
    monkeypatch.setattr(data, "_SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"SHA-256 .*--force-reinstall"):
        data.movielens_100k()
