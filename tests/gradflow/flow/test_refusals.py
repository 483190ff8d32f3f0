"""What a flow refuses, and with what words."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import synthetic


def refused(start=None, problem=None, model=None, **asked):
    objective = gf.Objective(
        problem or synthetic.norm_blowup(), model or gf.MatrixProduct((2, 2, 2))
    )
    start = 0.5 * np.eye(2) if start is None else start
    return lambda: gf.solve_flow(objective, start, **({"horizon": 1.0} | asked))


BALANCED = np.diag([0.5, 0.4])


WIDE = {"problem": synthetic.norm_blowup(shape=(2, 3)), "model": gf.MatrixProduct((3, 2, 2))}


TENSOR = {
    "problem": synthetic.tensor_completion(jax.random.key(0), (2, 2, 2), 1, 4),
    "model": gf.CPTensor((2, 2, 2), 1),
}


REFUSED = {
    "float32": (
        lambda: gf.solve_flow(
            gf.Objective(
                gf.astype(synthetic.norm_blowup(), jnp.float32), gf.MatrixProduct((2, 2, 2))),
            (np.eye(2, dtype=np.float32),) * 2, horizon=1.0),
        "input is float32", "jax_enable_x64"),
    "two precisions": (
        refused((np.eye(2, dtype=np.float32),) * 2), "start is float32", "gradflow.astype"),
    "no stop": (
        refused(horizon=None), "horizon, stop_loss, stop_gradient and record", "at least one"),
    "horizon": (refused(horizon=-1.0), "horizon", "above 0, but it is -1.0"),
    "horizon as text": (refused(horizon="long"), "horizon", "but it is 'long'"),
    "horizon not finite": (refused(horizon=np.inf), "horizon", "but it is inf"),
    "stop_loss": (refused(stop_loss=0.0), "stop_loss", "above 0, but it is 0.0"),
    "stop_gradient": (refused(stop_gradient=np.nan), "stop_gradient", "but it is nan"),
    "rtol": (refused(rtol=0), "rtol", "above 0, but it is 0"),
    "rtol without a digit": (refused(rtol=1e300), "1e+300", "no digit of the result"),
    "rtol below rounding": (refused(rtol=1e-20), "1e-20", "give 1e-12 or more"),
    "rtol as text": (refused(rtol="1e-3"), "'1e-3'", "a finite number"),
    "rtol as truth": (refused(rtol=True), "True", "a finite number"),
    "horizon as a number's text": (refused(horizon="2"), "'2'", "a finite number"),
    "atol": (refused(atol=-1e-9), "atol", "above 0, but it is -1e-09"),
    "max_steps": (refused(max_steps=0), "max_steps", "at least 1, but it is 0"),
    "more steps than ever": (refused(max_steps=10**30), "1000000000000000", "at most"),
    "half a step": (refused(max_steps=1.5), "max_steps", "whole number"),
    "steps as text": (refused(max_steps="many"), "max_steps", "'many'"),
    "times falling": (refused(record=[2.0, 1.0]), "[2.0, 1.0]", "rising"),
    "times repeated": (refused(record=[1.0, 1.0]), "[1.0, 1.0]", "rising"),
    "times negative": (refused(record=[-1.0, 1.0]), "[-1.0, 1.0]", "from 0 on"),
    "no times": (refused(record=[]), "[]", "rising"),
    "times not finite": (refused(record=[1.0, np.nan]), "record[1] is nan", "replace"),
    "times in a table": (refused(record=[[1.0]]), "(1, 1)", "reshape"),
    "unknown observable": (refused(observe=["rank"]), "'rank'", "known are"),
    "observable without truth": (refused(observe=["test_error"]), "no ground truth", "truth="),
    "unknown coordinates": (
        refused(coordinates="polar"), "'polar'", "'singular' or a class"),
    "one factor": (refused((np.eye(2),)), "((2, 2),)", "factors[0] is W_1"),
    "shapes of factors": (refused((np.eye(3), np.eye(2))), "(3, 3)", "factors[0] is W_1"),
    "shape of the product": (refused(np.eye(3)), "(3, 3)", "columns, hidden"),
    "start not finite": (
        refused((np.eye(2), np.diag([1.0, np.inf]))), "start[1][1, 1] is inf", "replace"),
    "start as text": (refused(("a", "b")), "start[0]", "'a'"),
    "no start": (refused(np.array(None)), "start", "None"),
    "tensor from one array": (
        refused(np.ones((2, 2, 2)), **TENSOR), "CPTensor", "needs its factors as the start"),
    "tensor, product": (
        refused((np.ones((2, 1)),) * 3, coordinates="product", **TENSOR), "CPTensor", "'factors'"),
    "rank of the start": (
        refused(np.eye(2), model=gf.MatrixProduct((2, 1, 2))), "rank 2", "larger hidden sizes"),
    "solver without error estimate": (refused(solver=diffrax.Euler()), "Euler", "error estimate"),
    "solver by name": (refused(solver="Tsit5"), "'Tsit5'", "diffrax.Tsit5()"),
    "factors of a product": (
        refused(coordinates="product", observe=["factors"]), "'product'", "coordinates='factors'"),
    "singular, repeated": (
        refused(coordinates="singular"), "the start has [0.5", "use 'auto'"),
    "singular, zero": (
        refused(np.diag([1.0, 0.0]), coordinates="singular"), "[1. 0.]", "use 'auto'"),
    "singular, depth 1": (
        refused(BALANCED, model=gf.MatrixProduct((2, 2)), coordinates="singular"),
        "depth 1", "coordinates='factors'"),
    "logdet, depth 1": (
        refused(BALANCED, model=gf.MatrixProduct((2, 2)), coordinates="logdet"),
        "depth 1", "coordinates='factors'"),
    "logdet, not 2x2": (
        refused(np.eye(2, 3), coordinates="logdet", **WIDE), "(2, 3)", "'singular' or 'product'"),
    "logdet, sensing": (
        refused(BALANCED, problem=gf.MatrixSensing([np.eye(2)], [1.0]), coordinates="logdet"),
        "MatrixSensing", "'singular' or 'product'"),
    "logdet, no determinant": (
        refused(np.diag([1.0, 0.0]), coordinates="logdet"), "non-zero determinant", "'product'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused_by_value_and_remedy(case):
    call, value, remedy = REFUSED[case]
    with pytest.raises(ValueError) as refusal:
        call()
    assert value in str(refusal.value)
    assert remedy in str(refusal.value)
