"""Synthetic problems: ranks, norms, statistics, and the constructions entry by entry."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from tests.helpers import refuses

KEY = jax.random.key(0)


@pytest.mark.parametrize(("shape", "rank"), [((5, 5), 2), ((6, 3), 1), ((3, 6), 3), ((1, 4), 1)])
@pytest.mark.parametrize("norm", [None, 2.5])
def test_low_rank_matrix_has_its_rank_and_norm(shape, rank, norm):
    w = gf.synthetic.low_rank_matrix(KEY, shape, rank, norm)
    assert w.shape == shape
    s = np.linalg.svd(w, compute_uv=False)
    assert np.all(s[:rank] > 1e-3)
    np.testing.assert_allclose(s[rank:], 0, atol=1e-14)
    if norm is not None:
        np.testing.assert_allclose(np.linalg.norm(w), norm, rtol=1e-14)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_low_rank_matrix_has_entries_of_variance_rank(seed):
    keys = jax.random.split(jax.random.key(seed), 4000)
    entries = jax.vmap(lambda k: gf.synthetic.low_rank_matrix(k, (2, 3), 2)[0, 0])(keys)
    squares = np.asarray(entries) ** 2  # one entry a draw: independent samples
    assert abs(squares.mean() - 2) < 4 * squares.std() / np.sqrt(squares.size)


@pytest.mark.parametrize(("shape", "rank"), [((4, 3), 2), ((3, 4, 2), 2), ((2, 2, 2, 2), 1)])
def test_low_rank_tensor_has_low_rank_unfoldings_and_unit_norm(shape, rank):
    w = np.asarray(gf.synthetic.low_rank_tensor(KEY, shape, rank))
    assert w.shape == shape
    np.testing.assert_allclose(np.linalg.norm(w), 1, rtol=1e-14)
    for axis in range(len(shape)):
        unfolded = np.moveaxis(w, axis, 0).reshape(shape[axis], -1)
        assert np.linalg.matrix_rank(unfolded) <= rank


def test_low_rank_tensor_without_a_norm_is_the_same_direction():
    plain = gf.synthetic.low_rank_tensor(KEY, (3, 2, 2), 2, norm=None)
    np.testing.assert_allclose(
        gf.synthetic.low_rank_tensor(KEY, (3, 2, 2), 2, norm=3.0),
        3 * plain / jnp.linalg.norm(plain),
        rtol=1e-13,
    )


@pytest.mark.parametrize(("shape", "count"), [((4, 5), 7), ((3, 2, 4), 24), ((2, 2), 1)])
def test_sampled_entries_are_distinct_and_in_range(shape, count):
    found = np.asarray(gf.synthetic.sample_entries(KEY, shape, count))
    assert found.shape == (count, len(shape))
    assert len({tuple(row) for row in found.tolist()}) == count
    assert np.all(found >= 0)
    assert np.all(found < np.array(shape))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sampled_entries_are_uniform(seed):
    keys = jax.random.split(jax.random.key(seed), 3000)
    found = jax.vmap(lambda k: gf.synthetic.sample_entries(k, (2, 3), 2))(keys)
    hits = np.bincount(np.asarray(found[..., 0] * 3 + found[..., 1]).ravel(), minlength=6)
    # Each cell is drawn with probability 1/3: 5 standard errors, for six cells and three seeds.
    assert np.max(np.abs(hits / 3000 - 1 / 3)) < 5 * np.sqrt(2 / 9 / 3000)


def test_of_more_entries_than_memory_holds_some_are_drawn():
    shape, count = (10**5, 10**5), 20_000
    found = np.asarray(gf.synthetic.sample_entries(KEY, shape, count))
    assert found.shape == (count, 2) and len(np.unique(found, axis=0)) == count
    assert found.min() >= 0 and np.all(found.max(axis=0) < shape)
    np.testing.assert_allclose(found.mean(axis=0), 5e4, atol=5 * 1e5 / np.sqrt(12 * count))
    np.testing.assert_array_equal(found, gf.synthetic.sample_entries(KEY, shape, count))
    other = np.asarray(gf.synthetic.sample_entries(jax.random.key(9), shape, count))
    assert not np.array_equal(found, other)


def test_matrix_completion_observes_its_truth():
    problem = gf.synthetic.matrix_completion(KEY, (5, 4), 2, 9, norm=5.0, loss="mean")
    assert problem.observations == 9
    assert problem.convention == "mean"
    np.testing.assert_allclose(np.linalg.norm(problem.truth), 5, rtol=1e-14)
    assert np.linalg.matrix_rank(problem.truth) == 2
    assert problem.loss(problem.truth) == 0
    rows, columns = problem.indices.T
    np.testing.assert_array_equal(problem.values, problem.truth[rows, columns])


def test_tensor_completion_observes_its_truth():
    problem = gf.synthetic.tensor_completion(KEY, (3, 4, 2), 2, 11)
    assert problem.observations == 11
    assert problem.convention == "mean"
    assert problem.loss(problem.truth) == 0
    np.testing.assert_array_equal(problem.values, problem.truth[tuple(problem.indices.T)])


def test_matrix_sensing_measures_its_truth():
    problem = gf.synthetic.matrix_sensing(KEY, (4, 3), 1, 6, std=0.25, norm=2.0)
    assert problem.observations == 6
    assert problem.convention == "half_sum"
    np.testing.assert_allclose(np.linalg.norm(problem.truth), 2, rtol=1e-14)
    wanted = [np.trace(a.T @ problem.truth) for a in problem.measurements]
    np.testing.assert_allclose(problem.labels, wanted, atol=1e-14)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_measurements_have_the_given_deviation(seed):
    a = np.asarray(gf.synthetic.gaussian_measurements(jax.random.key(seed), 20, (10, 8), 0.3))
    assert a.shape == (20, 10, 8)
    assert abs((a**2).mean() - 0.09) < 4 * (a**2).std() / np.sqrt(a.size)
    assert abs(a.mean()) < 4 * 0.3 / np.sqrt(a.size)


def test_least_squares_is_noiseless():
    problem = gf.synthetic.least_squares(KEY, 7, 3, loss="sum")
    assert problem.shape == (3,)
    assert problem.observations == 7
    np.testing.assert_allclose(problem.inputs @ problem.truth, problem.targets, rtol=1e-14)


@pytest.mark.parametrize(
    "make",
    [
        lambda key: gf.synthetic.matrix_completion(key, (4, 4), 1, 6).target,
        lambda key: gf.synthetic.tensor_completion(key, (2, 3, 2), 1, 6).target,
        lambda key: gf.synthetic.matrix_sensing(key, (2, 3), 1, 4).labels,
        lambda key: gf.synthetic.least_squares(key, 4, 2).targets,
    ],
)
def test_the_key_alone_decides(make):
    np.testing.assert_array_equal(make(KEY), make(jax.random.key(0)))
    assert not np.array_equal(make(KEY), make(jax.random.key(1)))


@pytest.mark.parametrize("position", list(itertools.product((0, 1), (0, 1))))
def test_norm_blowup_at_2x2_entry_by_entry(position):
    i, j = position
    problem = gf.synthetic.norm_blowup(2.0, -3.0, 0.5, unobserved=position)
    wanted = np.zeros((2, 2))
    wanted[i, 1 - j], wanted[1 - i, j], wanted[1 - i, 1 - j] = 2.0, -3.0, 0.5
    np.testing.assert_array_equal(problem.target, wanted)
    mask = np.ones((2, 2))
    mask[i, j] = 0
    np.testing.assert_array_equal(problem.mask, mask)
    assert problem.convention == "half_sum"
    # Each solution has the determinant that its free entry gives.
    w = wanted.copy()
    w[i, j] = 7.0
    assert problem.loss(w) == 0
    np.testing.assert_allclose(abs(np.linalg.det(w)), abs(0.5 * 7.0 + 6.0))


@pytest.mark.parametrize("shape", [(3, 3), (3, 5), (4, 2)])
def test_norm_blowup_in_larger_shapes(shape):
    problem = gf.synthetic.norm_blowup(shape=shape)
    wanted = np.eye(*shape)
    wanted[:2, :2] = [[0, 1], [1, 0]]
    np.testing.assert_array_equal(problem.target, wanted)
    assert problem.observations == shape[0] * shape[1] - 1
    assert problem.mask[0, 0] == 0


REFUSED = {
    "rank zero": (
        lambda: gf.synthetic.low_rank_matrix(KEY, (3, 4), 0),
        "between 1 and 3, but it is 0",
    ),
    "rank too high": (
        lambda: gf.synthetic.low_rank_matrix(KEY, (3, 4), 4),
        "between 1 and 3, but it is 4",
    ),
    "norm": (lambda: gf.synthetic.low_rank_matrix(KEY, (3, 4), 1, 0.0), "above 0, but it is 0.0"),
    "shape": (lambda: gf.synthetic.low_rank_matrix(KEY, (3,), 1), "2 entries, but it is (3,)"),
    "too many entries": (
        lambda: gf.synthetic.sample_entries(KEY, (2, 2), 5),
        "between 1 and 4, but it is 5",
    ),
    "no entry": (
        lambda: gf.synthetic.sample_entries(KEY, (2, 2), 0),
        "between 1 and 4, but it is 0",
    ),
    "tensor rank": (lambda: gf.synthetic.low_rank_tensor(KEY, (2, 2, 2), 0), "(0,)"),
    "deviation": (
        lambda: gf.synthetic.gaussian_measurements(KEY, 2, (2, 2), -1.0),
        "above 0, but it is -1.0",
    ),
    "no measurement": (lambda: gf.synthetic.gaussian_measurements(KEY, 0, (2, 2)), "(0, 2, 2)"),
    "shape for z": (lambda: gf.synthetic.norm_blowup((3, 3)), "(3, 3); a shape is given by shape="),
    "z": (lambda: gf.synthetic.norm_blowup(z=0.0), "must not be 0, but they are 0.0"),
    "z prime": (
        lambda: gf.synthetic.norm_blowup(z_prime=0),
        "must not be 0, but they are 1.0 and 0",
    ),
    "position": (lambda: gf.synthetic.norm_blowup(unobserved=(2, 0)), "but it is (2, 0)"),
    "block": (lambda: gf.synthetic.norm_blowup(shape=(1, 3)), "at least (2, 2), but it is (1, 3)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_value_and_remedy(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError) as refused:
        call()
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (lambda: gf.synthetic.low_rank_matrix(KEY, (6, 4), 1.5), "1.5"),
        (lambda: gf.synthetic.low_rank_matrix(KEY, (6, 4), "2"), "'2'"),
        (lambda: gf.synthetic.low_rank_matrix(KEY, (6, 4), True), "True"),
        (lambda: gf.synthetic.sample_entries(KEY, (6, 4), 5.5), "5.5"),
        (lambda: gf.synthetic.matrix_completion(KEY, (6, 4), 2, 0.5), "0.5"),
        (lambda: gf.synthetic.least_squares(KEY, 2.5, 3), "2.5"),
    ],
)
def test_numbers_of_things_are_whole(call, value):
    refuses(call, value, "whole number")


def test_whole_numbers_may_be_floats_and_the_hole_is_a_pair():
    for one, other in ((2.0, 2), (np.int64(2), 2)):
        np.testing.assert_array_equal(
            gf.synthetic.low_rank_matrix(KEY, (6, 4), one),
            gf.synthetic.low_rank_matrix(KEY, (6, 4), other),
        )
    assert gf.synthetic.sample_entries(KEY, (6, 4), 5.0).shape == (5, 2)
    refuses(lambda: gf.synthetic.norm_blowup(unobserved=1), "it is 1", "(0, 0)")


@pytest.mark.parametrize("make", [gf.synthetic.matrix_completion, gf.synthetic.tensor_completion])
def test_too_many_observations_are_called_so(make):
    with pytest.raises(ValueError, match="observations must be a whole number between 1 and 30"):
        make(jax.random.key(0), (6, 5), rank=1, observations=50)


@pytest.mark.parametrize(
    ("key", "remedy"),
    [(0, r"jax\.random\.key\(0\)"), (None, "random key"), (np.arange(2), "random key"),
     (jax.random.split(jax.random.key(0)), r"keys\[0\]")],
)  # fmt: skip
def test_what_is_no_random_key_is_refused(key, remedy):
    model = gf.MatrixProduct((2, 2, 2))
    calls = [
        lambda: gf.synthetic.matrix_completion(key, (3, 3), 1, 4),
        lambda: gf.synthetic.least_squares(key, 3, 2),
        lambda: model.gaussian(key, std=0.1),
        lambda: model.random_balanced(key, 0.1),
        lambda: gf.SymmetricProduct(2, 2).random_balanced(key, 0.1),
        lambda: gf.DiagonalNetwork(3, 2).random_balanced(key, 0.1),
        lambda: gf.CPTensor((2, 2, 2), 2).random_balanced(key, 0.1),
    ]
    if key is not None:
        calls += [
            lambda: model.balanced(np.eye(2), key),
            lambda: gf.SymmetricProduct(2, 2).balanced(np.eye(2), key),
            lambda: gf.baselines.cp_als(np.ones((2, 2, 2)), 1, key=key),
            lambda: gf.baselines.cp_rank(np.ones((2, 2, 2)), 1e-6, key=key),
        ]
    for call in calls:
        with pytest.raises(ValueError, match=remedy):
            call()


def test_keys_of_both_kinds_and_traced_ones_are_taken():
    model = gf.MatrixProduct((2, 2, 2))
    assert model.gaussian(jax.random.PRNGKey(0), std=0.1)[0].shape == (2, 2)
    keys = jax.random.split(jax.random.key(0), 3)
    assert jax.vmap(lambda key: model.gaussian(key, std=0.1)[0])(keys).shape == (3, 2, 2)
