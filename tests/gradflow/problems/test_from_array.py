"""Arrays with gaps become problems; what is masked, missing or not stored is never fitted."""

import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse
from matplotlib import image
from PIL import Image

import gradflow as gf

Y = np.array([[1.0, 0.0, 3.0], [4.0, 5.0, 6.0]])
SEEN = np.array([[True, True, False], [False, True, True]])
GAPS = np.where(SEEN, Y, np.nan)
WILD = np.where(SEEN, Y, 1e300)
SPARSE = scipy.sparse.coo_array((Y[SEEN], np.nonzero(SEEN)), shape=Y.shape)
NULLABLE = pd.DataFrame(GAPS).astype("Float64")
FORMATS = ("coo", "csr", "csc", "lil", "dok")
GIVEN = {
    "NaN": (GAPS, {}),
    "lists with None": ([[1, 0, None], [None, 5, 6]], {}),
    "mask of booleans": (WILD, {"mask": SEEN}),
    "mask of numbers": (GAPS, {"mask": SEEN.astype(float)}),
    "mask of pandas": (WILD, {"mask": pd.DataFrame(SEEN)}),
    "masked array": (np.ma.array(np.where(SEEN, Y, np.nan), mask=~SEEN), {}),
    "masked values that look well": (np.ma.array(Y, mask=~SEEN), {}),
    "masked array and mask": (
        np.ma.array(WILD, mask=[[0, 0, 1], [0, 0, 0]]), {"mask": [[1, 1, 1], [0, 1, 1]]}),
    "rows that are masked arrays": (
        [np.ma.array(y, mask=~seen) for y, seen in zip(Y, SEEN, strict=True)], {}),
    "lists with masked entries": ([[1.0, 0.0, np.ma.masked], [np.ma.masked, 5.0, 6.0]], {}),
    "99 is missing": (np.where(SEEN, Y, 99).astype(int), {"missing": 99}),
    "DataFrame": (pd.DataFrame(GAPS, index=list("ab"), columns=list("xyz")), {}),
    "DataFrame with NA": (NULLABLE, {}),
    "DataFrame of objects": (NULLABLE.astype(object), {}),
    "jax": (gf.astype(GAPS, float), {}),
    **{f"sparse {kind}": (SPARSE.asformat(kind), {}) for kind in FORMATS},
    "sparse matrix": (scipy.sparse.csr_matrix(SPARSE), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", GIVEN)
def test_what_is_observed_is_fitted_and_nothing_else(case):
    array, asked = GIVEN[case]
    problem = gf.MatrixCompletion.from_array(array, loss="mean", **asked)
    np.testing.assert_array_equal(problem.target, np.where(SEEN, Y, 0))
    np.testing.assert_array_equal(problem.mask, SEEN)
    np.testing.assert_array_equal(problem.indices, np.argwhere(SEEN))
    assert problem.convention == "mean"


@pytest.mark.parametrize("kind", ["bsr", "dia"])
def test_formats_that_store_blocks_and_diagonals(kind):
    found = gf.MatrixCompletion.from_array(scipy.sparse.coo_array(np.eye(2)).asformat(kind, True))
    assert found.indices.tolist() == [[0, 0], [1, 1]]


def test_every_kind_of_completion_takes_arrays():
    tensor = np.arange(8.0).reshape(2, 2, 2)
    tensor[0, 1, 0] = np.nan
    problem = gf.TensorCompletion.from_array(tensor)
    assert (problem.shape, problem.observations) == ((2, 2, 2), 7)
    slices = [[np.ma.array(row, mask=np.isnan(row)) for row in part] for part in tensor]
    assert gf.TensorCompletion.from_array(slices).observations == 7
    stacked = scipy.sparse.coo_array((np.ones(2), ([0, 1], [0, 1], [1, 0])), shape=(2, 2, 2))
    assert gf.TensorCompletion.from_array(stacked).indices.tolist() == [[0, 0, 1], [1, 1, 0]]
    huber = gf.problems.HuberCompletion.from_array(GAPS, delta=2.0)
    assert float(huber.delta) == 2.0
    signs = gf.problems.LogisticCompletion.from_array(np.sign(GAPS - 2))
    assert signs.values.tolist() == [-1, -1, 1, 1]


INF, TWICE = GAPS.copy(), scipy.sparse.coo_array((np.ones(2), ([0, 0], [1, 1])), shape=(2, 2))
INF[1, 1] = np.inf
BLOCK = scipy.sparse.bsr_array(np.tri(2), blocksize=(2, 2))
DIAGONAL = scipy.sparse.dia_array(([[1.0, 0.0, 3.0]], [0]), shape=(3, 3))
TABLE = pd.DataFrame(Y, columns=list("xyz"))
REFUSED = {
    "infinite": (INF, {}, "Entry [1, 1] is inf", "put nan"),
    "NaN behind a 1": (GAPS, {"mask": np.ones((2, 3))}, "entry [0, 2] is observed, but it is nan",
                       "leave it away"),
    "mask of another shape": (Y, {"mask": SEEN.T}, "shape (3, 2), but the array has shape (2, 3)",
                              "a 1 or a 0"),
    "weights as mask": (Y, {"mask": SEEN * 0.5}, "holds", "mask != 0"),
    "texts": ([["1", "2"]], {}, "dtype is <U1", "convert"),
    "a text": (np.array([[1, "x"]], object), {}, "Entry [0, 1] is 'x'", "give numbers"),
    "complex": (Y * 1j, {}, "complex128", "convert"),
    "ragged": ([[1, 2], [3]], {}, "no regular one", "rows of one length"),
    "nothing": (np.full((2, 2), np.nan), {}, "No entry of the array of shape (2, 2)", "mask is 1"),
    "nothing stored": (scipy.sparse.csr_array((2, 2)), {}, "stores no entry", "holds some"),
    "stored twice": (TWICE, {}, "entry [0, 1] more than once", "sum_duplicates()"),
    "stored NaN": (scipy.sparse.csr_array([[np.nan, 1.0]]), {}, "is nan", "remove or replace"),
    "blocks": (BLOCK, {}, "stores whole blocks", "give it as 'csr'"),
    "a zero on a diagonal": (DIAGONAL, {}, "'dia' stores whole", "give it as 'csr'"),
    "sparse table": (pd.DataFrame.sparse.from_spmatrix(SPARSE), {}, "is sparse", "to_coo()"),
    "turned mask": (TABLE, {"mask": pd.DataFrame(SEEN, columns=list("zyx"))},
                    "columns is ['z', 'y', 'x'], but the table's ['x'", "reindex_like"),
    "rows of two lengths": ([np.ma.array([1.0, 2.0]), [3.0]], {}, "regular", "rows of one length"),
    "sparse and mask": (SPARSE, {"mask": SEEN}, "stored entries are observed", "toarray()"),
    "missing": (Y, {"missing": "NA"}, "'NA'", "one number"),
    "a tensor": (np.ones((2, 2, 3)), {}, "2 axes, but its shape is (2, 2, 3)", "TensorCompletion"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_array_with_gaps_is_refused_by_value_and_remedy(case):
    array, asked, value, remedy = REFUSED[case]
    with pytest.raises(ValueError) as refused:
        gf.MatrixCompletion.from_array(array, **asked)
    assert value in str(refused.value) and remedy in str(refused.value)


def test_files_of_arrays(tmp_path):
    np.save(tmp_path / "a.npy", GAPS)
    np.savez(tmp_path / "b.npz", GAPS)
    np.savez(tmp_path / "c.npz", other=Y.T, ratings=GAPS)
    scipy.sparse.save_npz(tmp_path / "d.npz", SPARSE.tocsr())
    scipy.io.mmwrite(tmp_path / "e.mtx", SPARSE)
    for name, asked in [("a.npy", {}), ("b.npz", {}), ("c.npz", {"key": "ratings"}),
                        ("d.npz", {}), ("e.mtx", {})]:  # fmt: skip
        problem = gf.MatrixCompletion.from_file(tmp_path / name, **asked)
        np.testing.assert_array_equal(problem.target, np.where(SEEN, Y, 0))
        np.testing.assert_array_equal(problem.mask, SEEN)
    (tmp_path / "f.npz").write_bytes((tmp_path / "d.npz").read_bytes()[:200])
    (tmp_path / "g.csv").write_text("1,2\n")
    for name, asked, word in [
        ("c.npz", {}, "holds other, ratings; say which by key="),
        ("c.npz", {"key": "x"}, "no array 'x'; it holds other"),
        ("a.npy", {"key": "x"}, "Only an .npz file has names"),
        ("f.npz", {}, "f.npz cannot be read"),
        ("g.csv", {}, "gradflow.read_ratings"),
    ]:
        with pytest.raises(ValueError, match=word):
            gf.MatrixCompletion.from_file(tmp_path / name, **asked)
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.npy"):
        gf.MatrixCompletion.from_file(tmp_path / "gone.npy")


def test_pictures(tmp_path):
    shades = np.array([[0, 51], [102, 255]], np.uint8)
    image.imsave(tmp_path / "grey.png", shades, cmap="gray", vmin=0, vmax=255)
    problem = gf.MatrixCompletion.from_file(tmp_path / "grey.png", mask=[[1, 1], [1, 0]])
    np.testing.assert_allclose(problem.target, [[0, 0.2], [0.4, 0]], atol=1e-7)
    assert gf.TensorCompletion.from_file(tmp_path / "grey.png").shape == (2, 2)
    colours = np.zeros((2, 3, 4), np.uint8)
    colours[..., 0], colours[..., 3] = 255, 255
    colours[1, 2, 3] = 0  # red, and one place fully transparent
    image.imsave(tmp_path / "red.png", colours)
    matrix = gf.MatrixCompletion.from_file(tmp_path / "red.png")
    assert (matrix.shape, matrix.observations) == ((2, 3), 5)
    np.testing.assert_allclose(matrix.values, 0.299, rtol=1e-6)
    tensor = gf.TensorCompletion.from_file(tmp_path / "red.png")
    assert (tensor.shape, tensor.observations, float(tensor.target[0, 0, 0])) == ((2, 3, 3), 15, 1)


def test_pictures_whose_brightness_or_number_is_not_known_are_refused(tmp_path):
    shades = [Image.fromarray(np.full((2, 2), shade, np.uint8)) for shade in (0, 255)]
    for name in ("moving.gif", "pages.tiff"):
        shades[0].save(tmp_path / name, save_all=True, append_images=shades[1:])
        with pytest.raises(ValueError, match=rf"{name} holds 2 pictures; save the one"):
            gf.MatrixCompletion.from_file(tmp_path / name)
    for kind in (np.float32, np.int32):
        Image.fromarray(np.eye(2, dtype=kind)).save(tmp_path / "wide.tiff")
        with pytest.raises(ValueError, match=r"of 32 bits .* give from_array an array"):
            gf.MatrixCompletion.from_file(tmp_path / "wide.tiff")
    deep = np.array([[0, 13107], [26214, 65535]], np.uint16)
    for name in ("deep.png", "deep.tiff"):
        Image.fromarray(deep).save(tmp_path / name)
        found = gf.MatrixCompletion.from_file(tmp_path / name).target
        np.testing.assert_allclose(found, [[0, 0.2], [0.4, 1]], atol=1e-7)  # of float32
