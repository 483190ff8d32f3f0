"""Programs are dropped before they take more memory maps than a process may have."""

import jax
import jax.numpy as jnp
import optax
import pytest

import gradflow as gf
from gradflow._util import programs

pytestmark = pytest.mark.skipif(not programs._MAPS.exists(), reason="needs Linux's /proc")


@pytest.fixture
def crowded(monkeypatch):
    """A process that looks at its maps after one program, and finds them too many."""
    monkeypatch.setattr(programs, "_LOOK_AFTER", 1)
    monkeypatch.setattr(programs, "_COMFORTABLE", 0)
    monkeypatch.setattr(programs._Known, "others", 0)
    monkeypatch.setattr(programs._Known, "compiled", 0)


def compiled():
    program = jax.jit(lambda x: 3 * x + 1)
    program(jnp.ones(2)).block_until_ready()
    assert program._cache_size() == 1
    return program


def test_room_is_made_where_something_was_compiled(crowded):
    programs.make_room()
    programs._Known.compiled, programs._Known.others = 0, 0
    program = compiled()
    assert programs._Known.compiled > 0
    assert programs.make_room() and program._cache_size() == 0
    assert not programs.make_room()  # since then nothing was


def test_maps_that_are_no_programs_are_not_counted_again(crowded, monkeypatch):
    monkeypatch.setattr(programs, "_COMFORTABLE", 100)
    there = [500]
    monkeypatch.setattr(programs, "_maps", lambda: there[0])
    assert programs.forget_programs(100) and programs._Known.others == 500
    assert not programs.forget_programs(100)
    there[0] = 601
    assert programs.forget_programs(100)
    programs._Known.others, there[0] = 64_000, 65_000
    assert programs.forget_programs(10_000)  # a crash is near


@pytest.mark.parametrize("run", [
    lambda *posed: gf.solve_flow(*posed, horizon=0.1),
    lambda *posed: gf.run_descent(*posed, optax.sgd, learning_rate=0.1, max_steps=2),
], ids=["flow", "descent"])  # fmt: skip
def test_engines_make_room(run, crowded, monkeypatch):
    asked = []
    monkeypatch.setattr(programs, "forget_programs", lambda most: asked.append(most) is None)
    programs._Known.compiled = 1
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
    run(objective, objective.factorization.identity(0.1))
    assert asked == [programs._COMFORTABLE]
