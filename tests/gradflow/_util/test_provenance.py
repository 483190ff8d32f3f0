"""What stored runs say of functions and optimisers."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest

import gradflow as gf
from gradflow._util.provenance import describe_function, fingerprint

CLIPPED = optax.chain(optax.clip(1.0), optax.sgd(0.1))
WORDS = {
    "a name": (optax.adam, "adam"),
    "a partial": (functools.partial(optax.adam, b1=0.5), "adam(b1=0.5)"),
    "a partial of ours": (
        functools.partial(gf.optimizers.momentum, momentum=0.5),
        "momentum(momentum=0.5)",
    ),
    "a chain": (CLIPPED, "chain(clip(max_delta=1.0), chain(identity(), scale(step_size=-0.1)))"),
    "a method": (dict().get, "dict.get"),
}


@pytest.mark.parametrize("kind", WORDS)
def test_a_function_is_described_in_words(kind):
    function, words = WORDS[kind]
    assert describe_function(function) == words


def test_optimisers_that_differ_are_described_differently():
    different = [
        optax.adam(1e-2),
        optax.adam(2e-2),
        optax.adam(1e-2, b1=0.5),
        optax.adam(optax.cosine_decay_schedule(1e-2, 100)),
        optax.adam(optax.cosine_decay_schedule(1e-2, 200)),
        optax.adam(lambda t: 1e-2),
        optax.adam(lambda t: 2e-2),
        CLIPPED,
        optax.chain(optax.clip(2.0), optax.sgd(0.1)),
        optax.sgd(0.1),
        optax.sgd(0.1, momentum=0.9),
        optax.inject_hyperparams(optax.sgd)(learning_rate=0.1),
        optax.inject_hyperparams(optax.sgd)(learning_rate=0.2),
        gf.optimizers.adam(1e-2),
        gf.optimizers.adam(jnp.asarray(2e-2)),
        gf.optimizers.amsgrad(1e-2),
    ]
    assert len({describe_function(one) for one in different}) == len(different)


def test_the_same_optimiser_is_described_the_same_twice():
    for made in (
        lambda: optax.adam(optax.cosine_decay_schedule(1e-2, 100)),
        lambda: gf.optimizers.nadam(0.1),
        lambda: optax.adam(lambda t: 0.1),
    ):
        first, second = describe_function(made()), describe_function(made())
        assert first == second
        assert " at 0x" not in first


def test_random_keys_are_told_apart():
    told = {describe_function(optax.add_noise(0.1, 0.5, jax.random.key(k))) for k in (1, 1, 2)}
    assert len(told) == 2
    assert fingerprint(jax.random.key(1)) == fingerprint(jax.random.key(1))


def test_a_function_that_knows_itself_comes_to_an_end():
    def calls_itself(n):
        return n and calls_itself(n - 1)

    assert describe_function(calls_itself).endswith("(calls_itself=...)")


def test_a_run_tells_its_optimiser():
    objective = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2)))
    run = gf.run_descent(objective, (jnp.eye(2),), CLIPPED, max_steps=1)
    assert run.config["optimizer"] == WORDS["a chain"][1]
