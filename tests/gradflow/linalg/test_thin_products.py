"""Products of thin factors against the products themselves."""

import jax
import numpy as np
import pytest

from gradflow.linalg import thin_products

RNG = np.random.default_rng(0)
LEFT, RIGHT = RNG.normal(size=(7, 2)), RNG.normal(size=(2, 5))
AT = np.stack(np.divmod(RNG.permutation(35)[:21], 5), axis=1)
VALUES = RNG.normal(size=21)


@pytest.mark.parametrize("chunk", [4, 7, 21, 50])  # with a rest, without, one, none
def test_entries_and_misfits_in_chunks(chunk, monkeypatch):
    monkeypatch.setitem(thin_products._CHUNKS, "cpu", chunk)
    w, (i, j) = LEFT @ RIGHT, AT.T
    np.testing.assert_allclose(thin_products.entries(LEFT, RIGHT, AT), w[i, j], atol=1e-14)
    found = thin_products.misfit(LEFT, RIGHT, AT, VALUES)
    residual = np.zeros_like(w)
    residual[i, j] = w[i, j] - VALUES
    np.testing.assert_allclose(found.squares, np.sum(residual**2), rtol=1e-14)
    np.testing.assert_allclose(found.left, residual @ RIGHT.T, atol=1e-13)
    np.testing.assert_allclose(found.right, LEFT.T @ residual, atol=1e-13)
    by_jax = jax.grad(thin_products.squared_misfit, argnums=(0, 1))(LEFT, RIGHT, AT, VALUES)
    for half, whole in zip(found[1:], by_jax, strict=True):
        np.testing.assert_allclose(2 * half, whole, atol=1e-13)


@pytest.mark.parametrize("shapes", [((7, 2), (2, 5)), ((3, 4), (4, 5)), ((1, 1), (1, 1))])
def test_singular_values(shapes):
    left, right = (RNG.normal(size=shape) for shape in shapes)
    wanted = np.linalg.svd(left @ right, compute_uv=False)
    found = thin_products.singular_values(left, right)
    assert len(found) == min(shapes[0][0], shapes[0][1], shapes[1][1])
    np.testing.assert_allclose(found, wanted[: len(found)], atol=1e-13)
    np.testing.assert_allclose(thin_products.norm(left, right), np.linalg.norm(wanted), rtol=1e-13)


def test_a_norm_takes_no_decomposition_into_singular_values():
    programs = [
        str(jax.make_jaxpr(function)(LEFT, RIGHT))
        for function in (thin_products.norm, thin_products.singular_values)
    ]
    assert ["svd" in program for program in programs] == [False, True]
