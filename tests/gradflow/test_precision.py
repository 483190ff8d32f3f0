"""Matrix products keep their numbers' precision: read in the programs that are compiled."""

import os
import re
import sys

import diffrax
import jax
import jax.numpy as jnp
import optax
import pytest

import gradflow as gf
from gradflow._util.precision import keep_full_products
from gradflow.descent.batch import RunningBatch
from gradflow.flow import drive
from gradflow.linalg import products as small
from tests.helpers import in_mode

PROBLEM = gf.synthetic.matrix_completion(jax.random.key(0), (4, 3), 2, 8, norm=2.0)
MODEL = gf.MatrixProduct((3, 3, 4))
START = MODEL.gaussian(jax.random.key(1), std=1.0)
SQUARE = gf.synthetic.matrix_completion(jax.random.key(0), (3, 3), 2, 6, norm=2.0)
PENALTIES = {
    "nuclear": gf.NuclearNorm(0.1),
    "ratio": gf.NuclearFrobeniusRatio(0.1),
    "ratio, polynomial": gf.NuclearFrobeniusRatio(0.1, polar="polynomial"),
    "schatten": gf.SchattenNorm(0.5, 0.1),
    "schatten ratio": gf.SchattenRatio(0.5, 1.0, 0.1),
}


@pytest.fixture(scope="module", autouse=True)
def as_of_large_matrices():
    """Products of small matrices are none of a library, and would not be found."""
    usual, small.SMALL = small.SMALL, 0
    jax.clear_caches()
    yield
    small.SMALL = usual
    jax.clear_caches()


class Caught(Exception):
    """A program was caught before it was compiled."""


def products(text):
    """The lines of a program with a product of matrices or a convolution."""
    return re.findall(r"^.*stablehlo\.(?:dot_general|dot|convolution)\b.*$", text, re.MULTILINE)


def rounded(text):
    """Those of them that may round what they multiply."""
    full = re.compile(r"precision = \[HIGHEST, HIGHEST\]|<precision HIGHEST>.*<precision HIGHEST>")
    return [line for line in products(text) if not full.search(line)]


def caught(call, *arguments, **options):
    with pytest.raises(Caught) as found:
        call(*arguments, **options)
    return str(found.value)


def descent(monkeypatch, dtype="float32", penalty=None, runs=1, mode="map"):
    """The program of a descent, or of a batch."""

    def catch(self, *args):
        raise Caught(self.batch_step.program(self.runs))

    in_mode(monkeypatch, mode)
    monkeypatch.setattr(RunningBatch, "run", catch)
    objective = gf.astype(gf.Objective(PROBLEM, MODEL, penalty), dtype)
    start = gf.astype(START, dtype)
    return caught(
        gf.run_descents, objective, [start] * runs, optax.sgd, learning_rate=0.1, max_steps=9
    )


def flow(monkeypatch, objective, start, **options):
    """The program of a flow, without what is observed."""

    def catch(*arguments):
        raise Caught(original.lower(*arguments).as_text())

    original = drive.integrate
    monkeypatch.setattr(drive, "integrate", catch)
    return caught(gf.solve_flow, objective, start, horizon=1.0, **options)


def everything(folder, call):
    """All programs that are compiled for a call."""
    jax.config.update("jax_dump_ir_to", str(folder))
    try:
        call()
    finally:
        jax.config.update("jax_dump_ir_to", None)
    return "\n".join(path.read_text() for path in sorted(folder.iterdir()))


def assert_full(text):
    assert products(text)
    assert rounded(text) == []


@pytest.mark.parametrize("runs, mode", [(1, "map"), (3, "map"), (3, "vmap")])
def test_descents(runs, mode, monkeypatch):
    assert_full(descent(monkeypatch, runs=runs, mode=mode))


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties(name, monkeypatch):
    text = descent(monkeypatch, penalty=PENALTIES[name])
    assert_full(text)
    assert len(products(text)) > len(products(descent(monkeypatch)))


@pytest.mark.parametrize("coordinates", ["factors", "product", "singular", "logdet", "ldu"])
def test_flows(coordinates, monkeypatch):
    problem = gf.synthetic.norm_blowup() if coordinates == "logdet" else SQUARE
    objective = gf.Objective(problem, gf.MatrixProduct.of(problem.shape, 2))
    w = jnp.diag(jnp.array([0.5, 0.4, 0.3])[: problem.shape[0]]) + 0.01
    solver = "auto" if coordinates == "product" else diffrax.Tsit5()
    text = flow(monkeypatch, objective, w, coordinates=coordinates, solver=solver)
    # 2 x 2 coordinates are written out in scalars.
    assert products(text) or coordinates == "logdet"
    assert rounded(text) == []


def unusual():
    """A problem of a shape that no other test has: what is compiled already is not seen again."""
    return gf.synthetic.matrix_completion(jax.random.key(0), (7, 13), 2, 67)


ELSEWHERE = {
    "soft_impute": lambda: gf.baselines.soft_impute(unusual(), weight=0.5, max_iterations=3),
    "minimum_nuclear_norm": lambda: gf.baselines.minimum_nuclear_norm(unusual(), max_iterations=3),
    "optspace": lambda: gf.baselines.optspace(unusual(), 2, max_iterations=3),
    "cp_als": lambda: gf.baselines.cp_als(
        jnp.arange(182.0).reshape(7, 2, 13) ** 0.5, 2, key=jax.random.key(0), sweeps=2
    ),
    "starts": lambda: gf.MatrixProduct((17, 19, 17)).balanced(jnp.ones((17, 17))),
    "synthetic": lambda: gf.synthetic.matrix_sensing(jax.random.key(0), (17, 13), 2, 11),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_compiled_on_the_way(name, tmp_path):
    assert_full(everything(tmp_path, ELSEWHERE[name]))


def test_another_precision_is_taken_by_name_and_seen_here(monkeypatch):
    with jax.default_matmul_precision("tensorfloat32"):
        text = descent(monkeypatch, penalty=PENALTIES["ratio"])
        assert len(rounded(text)) == len(products(text)) > 0
        objective = gf.Objective(SQUARE, gf.MatrixProduct.of(SQUARE.shape, 2))
        assert rounded(flow(monkeypatch, objective, jnp.eye(3) + 0.01, coordinates="product"))
    assert_full(descent(monkeypatch))


def test_what_was_chosen_by_name_stays(monkeypatch):
    option = "jax_default_matmul_precision"
    assert getattr(jax.config, option) == "highest"
    try:
        for chosen, wanted in [("high", "high"), (None, "highest")]:
            jax.config.update(option, chosen)
            keep_full_products()
            assert getattr(jax.config, option) == wanted
    finally:
        jax.config.update(option, "highest")
    monkeypatch.delitem(sys.modules, "jax")
    for chosen, wanted in [("tensorfloat32", "tensorfloat32"), ("", "highest")]:
        monkeypatch.setenv(option.upper(), chosen)
        keep_full_products()
        assert os.environ[option.upper()] == wanted
