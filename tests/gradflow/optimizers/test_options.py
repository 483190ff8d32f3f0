"""PyTorch's further options, against its documented rules written down in NumPy."""

from functools import partial

import numpy as np
import pytest

from gradflow import optimizers
from tests.golden.make_optimizers import CASES as TORCH_CASES
from tests.golden.make_optimizers import STEPS as TORCH_STEPS
from tests.gradflow.optimizers.test_optimizers import BOTH, golden, gradients, paths

STEPS = 100


def sgd(lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """torch.optim.SGD."""
    buffer = None

    def step(t, f, g):
        nonlocal buffer
        g = g + weight_decay * f
        if momentum:
            buffer = g if t == 1 else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        return f - lr * g

    return step


def rmsprop(lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    """torch.optim.RMSprop."""
    square = mean = buffer = 0.0

    def step(t, f, g):
        nonlocal square, mean, buffer
        g = g + weight_decay * f
        square = alpha * square + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        inside = square - mean**2 if centered else square
        scaled = g / (np.sqrt(np.maximum(inside, 0)) + eps)
        buffer = momentum * buffer + scaled
        return f - lr * (buffer if momentum else scaled)

    return step


def adam(lr, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled=False):
    """torch.optim.Adam and AdamW."""
    m = v = largest = 0.0

    def step(t, f, g):
        nonlocal m, v, largest
        if decoupled:
            f = f * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * f
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        largest = np.maximum(largest, v)
        root = np.sqrt(largest if amsgrad else v) / np.sqrt(1 - b2**t) + eps
        return f - lr / (1 - b1**t) * m / root

    return step


def adagrad(lr, eps=1e-10, weight_decay=0.0):
    """torch.optim.Adagrad."""
    total = 0.0

    def step(t, f, g):
        nonlocal total
        g = g + weight_decay * f
        total = total + g**2
        return f - lr * g / (np.sqrt(total) + eps)

    return step


def adamax(lr, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0):
    """torch.optim.Adamax."""
    m = u = 0.0

    def step(t, f, g):
        nonlocal m, u
        g = g + weight_decay * f
        m, u = b1 * m + (1 - b1) * g, np.maximum(b2 * u, np.abs(g) + eps)
        return f - lr / (1 - b1**t) * m / u

    return step


def adadelta(lr, rho=0.9, eps=1e-6, weight_decay=0.0):
    """torch.optim.Adadelta."""
    square = moved = 0.0

    def step(t, f, g):
        nonlocal square, moved
        g = g + weight_decay * f
        square = rho * square + (1 - rho) * g**2
        delta = np.sqrt(moved + eps) / np.sqrt(square + eps) * g
        moved = rho * moved + (1 - rho) * delta**2
        return f - lr * delta

    return step


def nadam(lr, b1=0.9, b2=0.999, eps=1e-8, momentum_decay=4e-3, weight_decay=0.0):
    """torch.optim.NAdam."""
    m = v = 0.0
    product = 1.0

    def step(t, f, g):
        nonlocal m, v, product
        g = g + weight_decay * f
        mu, after = (b1 * (1 - 0.5 * 0.96 ** (s * momentum_decay)) for s in (t, t + 1))
        product *= mu
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        root = np.sqrt(v / (1 - b2**t)) + eps
        f = f - lr * (1 - mu) / (1 - product) * g / root
        return f - lr * after / (1 - product * after) * m / root

    return step


def radam(lr, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0):
    """torch.optim.RAdam."""
    m = v = 0.0
    limit = 2 / (1 - b2) - 1

    def step(t, f, g):
        nonlocal m, v
        g = g + weight_decay * f
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        rho = limit - 2 * t * b2**t / (1 - b2**t)
        corrected = m / (1 - b1**t)
        if rho <= 5:
            return f - lr * corrected
        rect = np.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
        return f - lr * corrected * rect * np.sqrt(1 - b2**t) / (np.sqrt(v) + eps)

    return step


DECAY = {"weight_decay": 0.05}
CASES = {
    "gd, decay": ("gd", sgd, 0.02, DECAY),
    "momentum, decay": ("momentum", partial(sgd, momentum=0.9), 0.01, DECAY),
    "momentum, dampening": (
        "momentum", partial(sgd, momentum=0.9), 0.02, {"dampening": 0.5, **DECAY}),
    "nesterov": ("momentum", partial(sgd, momentum=0.9), 0.01, {"nesterov": True, **DECAY}),
    "adam, decay": ("adam", adam, 0.02, DECAY),
    "amsgrad, decay": ("amsgrad", partial(adam, amsgrad=True), 0.02, DECAY),
    "adamw, amsgrad": (
        "adamw", partial(adam, decoupled=True), 0.02, {"amsgrad": True, "weight_decay": 0.3}),
    "adagrad, decay": ("adagrad", adagrad, 0.1, DECAY),
    "adamax, decay": ("adamax", adamax, 0.02, DECAY),
    "adadelta, decay": ("adadelta", adadelta, 1.0, DECAY),
    "nadam, decay": ("nadam", nadam, 0.02, {"weight_decay": 0.2}),
    "radam, decay": ("radam", radam, 0.02, DECAY),
    "rmsprop, decay": ("rmsprop", rmsprop, 0.01, DECAY),
    "rmsprop, momentum": ("rmsprop", rmsprop, 0.002, {"momentum": 0.9}),
    "rmsprop, centered": ("rmsprop", rmsprop, 0.005, {"centered": True}),
    "rmsprop, all": ("rmsprop", rmsprop, 0.002, {"centered": True, "momentum": 0.5, **DECAY}),
}  # fmt: skip


def numpy_path(make, rate, options):
    """The factors after each step, flattened."""
    factors = [np.asarray(f) for f in BOTH]
    rules, seen = [make(rate, **options) for _ in factors], []
    for t in range(1, STEPS + 1):
        slopes = gradients(factors)
        factors = [rule(t, f, np.asarray(g)) for rule, f, g in
                   zip(rules, factors, slopes, strict=True)]  # fmt: skip
        seen.append(np.concatenate([f.ravel() for f in factors]))
    return np.array(seen)


@pytest.fixture(scope="module", name="found")
def _found():
    """All paths by one program."""
    makes = {c: partial(optimizers.named(n), **more) for c, (n, _, _, more) in CASES.items()}
    return paths(makes, {c: rate for c, (_, _, rate, _) in CASES.items()}, BOTH, STEPS)


@pytest.mark.parametrize("case", CASES)
def test_a_hundred_steps_are_those_of_the_documented_rule(found, case):
    _, make, rate, options = CASES[case]
    wanted = numpy_path(make, rate, options)
    np.testing.assert_allclose(found[case], wanted, rtol=0, atol=1e-11)
    for name in options:
        without = numpy_path(make, rate, {k: v for k, v in options.items() if k != name})
        assert np.abs(without - wanted).max() > 1e-3, f"{name} changes nothing"


PLAIN = {
    "gd": sgd, "momentum": partial(sgd, momentum=0.9), "rmsprop": rmsprop, "adam": adam,
    "amsgrad": partial(adam, amsgrad=True), "adamax": adamax, "adagrad": adagrad,
    "adamw": partial(adam, decoupled=True, weight_decay=1e-2), "adadelta": adadelta,
    "nadam": nadam, "radam": radam,
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_the_rules_without_options_are_those_of_pytorch(name):
    # Round-off of 1e-16, grown in 100 steps: measured 2e-15.
    found = numpy_path(PLAIN[name], TORCH_CASES[name].rate, {})[np.array(TORCH_STEPS) - 1]
    np.testing.assert_allclose(found, golden(name), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("momentum", {"nesterov": True, "dampening": 0.1}, "no dampening, but they are 0.9 and"),
        ("momentum", {"nesterov": True, "momentum": 0.0}, "a momentum above 0"),
        ("momentum", {"dampening": 1.0}, "dampening must be at least 0 and below 1"),
        ("rmsprop", {"momentum": -0.1}, "momentum must be at least 0"),
        *[(name, {"weight_decay": -1.0}, "weight_decay must be a finite number of at least 0")
          for name in optimizers.BY_NAME if name != "group_rmsprop"],
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        optimizers.named(name)(0.1, **options)
