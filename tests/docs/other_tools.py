"""The other tools' side of docs/coming-from.md, in a few lines each, beside what its scripts found.

Each function takes the names that a script of the page leaves behind. Where the tool is not
installed, its rule stands here in NumPy.
"""

import diffrax
import jax
import numpy as np
import optax
import optimistix
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

import gradflow as gf
from gradflow.claims.oracles.layers import multiplied as product
from gradflow.claims.oracles.layers import slopes

close = np.testing.assert_allclose


def misfit(problem, w):
    return np.asarray(problem.mask) * (w - np.asarray(problem.target))


def of_completion(problem):
    """The gradient of a completion's loss in the factors of a product."""
    return lambda factors: slopes(factors, lambda w: 2 * problem.weight * misfit(problem, w))


def loss_of(problem, w):
    return problem.weight * np.sum(misfit(problem, w) ** 2)


def arrays(factors):
    return [np.array(factor) for factor in factors]


def adam(start, gradient, rate, steps, decay=0.0):
    """PyTorch's Adam; the rate is a function of the iteration."""
    factors = arrays(start)
    mean, square = ([np.zeros_like(f) for f in factors] for _ in range(2))
    for t in range(steps):
        for j, g in enumerate(gradient(factors)):
            g = g + decay * factors[j]
            mean[j] = 0.9 * mean[j] + 0.1 * g
            square[j] = 0.999 * square[j] + 0.001 * g**2
            root = np.sqrt(square[j] / (1 - 0.999 ** (t + 1))) + 1e-8
            factors[j] = factors[j] - rate(t) * mean[j] / (1 - 0.9 ** (t + 1)) / root
    return factors


def group_rmsprop(start, gradient, rate, steps, eps):
    """One rate for all factors, over the root of the mean squared norm of their gradients."""
    factors, mean = arrays(start), 0.0
    for t in range(steps):
        found = gradient(factors)
        mean = 0.99 * mean + 0.01 * sum(np.sum(g**2) for g in found)
        below = np.sqrt(mean / (1 - 0.99 ** (t + 1))) + eps
        factors = [f - rate / below * g for f, g in zip(factors, found, strict=True)]
    return factors


def flow(objective, start, times, stop_loss=None):
    """SciPy's solution of the flow in one long vector: times and factors."""
    shapes = [np.shape(factor) for factor in start]
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
    gradient = of_completion(objective.problem)

    def factors(y):
        return [part.reshape(s) for part, s in zip(np.split(y, ends), shapes, strict=True)]

    def vector(parts):
        return np.concatenate([np.ravel(part) for part in parts])

    def event(_, y):
        return loss_of(objective.problem, product(factors(y))) - (stop_loss or -1.0)

    event.terminal = True
    found = solve_ivp(
        lambda _, y: -vector(gradient(factors(y))), (0, times[-1]), vector(arrays(start)),
        method="LSODA", t_eval=times, rtol=1e-11, atol=1e-13, events=event,
    )  # fmt: skip
    stopped = [factors(y) for y in found.y_events[0]] if stop_loss else []
    return [factors(y) for y in np.transpose(found.y)], stopped


def shrunk(w, by):
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    return (u * np.maximum(s - by, 0)) @ vt


def soft_impute(page):
    y, z = page["y"], np.nan_to_num(page["y"])
    for _ in range(3000):
        z = np.where(np.isnan(y), shrunk(z, page["weight"]), y)
    close(page["filled"], z, atol=1e-4)


def nuclear_norm(page):
    """By plain Douglas-Rachford steps, which the library's are an acceleration of."""
    y, z = page["y"], np.nan_to_num(page["y"])
    for _ in range(5000):
        w = np.where(np.isnan(y), z, y)
        z = z + shrunk(2 * w - z, 1.0) - w
    close(np.linalg.norm(page["least"].product, "nuc"), np.linalg.norm(w, "nuc"), rtol=1e-6)


def matrix_factorization(page):
    fitted = tuple(page["fitted"].T)
    mask = np.zeros(page["y"].shape)
    mask[fitted] = 2 / len(page["fitted"])
    factors = adam(
        page["start"],
        lambda factors: slopes(factors, lambda w: mask * (w - page["y"])),
        lambda t: 0.01,
        page["run"].times[page["best"]],
    )
    close(factors[1], page["u"], atol=1e-7)
    errors = (page["u"] @ page["v"] - page["y"])[tuple(page["kept"].T)]
    close(page["run"]["mean_squared_error"][page["best"]], np.mean(errors**2))


def outer(factors):
    return np.einsum("ir,jr,kr->ijk", *factors)


def sweep(filled, factors):
    """One of alternating least squares."""
    for n in range(3):
        one, other = (factors[m] for m in range(3) if m != n)
        rows = np.einsum("jr,kr->jkr", one, other).reshape(-1, one.shape[1])
        unfolded = np.moveaxis(filled, n, 0).reshape(len(factors[n]), -1)
        factors[n] = np.linalg.lstsq(rows, unfolded.T)[0].T
    return factors


def parafac_with_mask(page):
    filled = np.where(page["mask"], page["truth"], 0.0)
    unfolded = [np.moveaxis(filled, n, 0).reshape(filled.shape[n], -1) for n in range(3)]
    factors = [np.linalg.svd(one)[0][:, :2] for one in unfolded]
    for _ in range(2500):
        factors = sweep(filled, factors)
        filled = np.where(page["mask"], page["truth"], outer(factors))
    close(outer(factors), page["truth"], atol=1e-4)
    close(page["model"].product(page["factors"]), outer(factors), atol=1e-4)


def parafac_by_rank(page):
    tensor, norm = page["tensor"], np.linalg.norm(page["tensor"])
    factors = [factor.copy() for factor in page["first"]]
    for _ in range(1000):
        factors = sweep(tensor, factors)
    close(
        page["found"].relative_residual, np.linalg.norm(outer(factors) - tensor) / norm, rtol=1e-6
    )
    factors = [np.random.default_rng(0).normal(size=(n, 3)) for n in tensor.shape]
    for _ in range(1000):
        factors = sweep(tensor, factors)
    assert np.mean((outer(factors) - tensor) ** 2) < page["rank"].tolerance


def ratings_one_by_one(page):
    """Stochastic descent in the order of the table: another order than the page's."""
    ratings, train, test = page["ratings"], page["train"], page["test"]
    q, p = page["start"][0].T.tolist(), page["start"][1].tolist()
    rows = list(
        zip(
            *(x[train].tolist() for x in (ratings.users, ratings.items, ratings.ratings)),
            strict=True,
        )
    )
    for user, item, rating in 40 * rows:
        own, its = p[user], q[item]
        e = rating - sum(a * b for a, b in zip(own, its, strict=True))
        p[user] = [a + 0.02 * e * b for a, b in zip(own, its, strict=True)]
        q[item] = [b + 0.02 * e * a for a, b in zip(own, its, strict=True)]
    predicted = np.sum(np.array(p)[ratings.users[test]] * np.array(q)[ratings.items[test]], axis=1)
    rmse = np.sqrt(np.mean((predicted - ratings.ratings[test]) ** 2))
    close(np.sqrt(page["run"]["mean_squared_error"][-1]), rmse, atol=0.03)


def embeddings_with_biases(page):
    y, seen = np.nan_to_num(page["y"]), ~np.isnan(page["y"])

    def gradient(factors):
        users, items, of_users, of_items = factors
        e = 2 / np.sum(seen) * seen * (users @ items.T + of_users + of_items.T - y)
        return e @ items, e.T @ users, e.sum(1, keepdims=True), e.sum(0)[:, None]

    found = adam(page["start"], gradient, lambda t: 0.01, 1000)
    for ours, theirs in zip(page["run"].final.values(), found, strict=True):
        close(ours, theirs, atol=1e-6)


def odeint(page):
    objective, noise = page["objective"], page["noise"]

    def path(scale):
        return flow(objective, [scale * np.asarray(f) for f in noise], [0.5, 1.0, 2.0])[0]

    for k, factors in enumerate(path(0.1)):
        close(page["path"].factors[1][k], factors[1], atol=1e-7)
    ahead, back = (loss_of(objective.problem, product(path(0.1 + h)[-1])) for h in (1e-4, -1e-4))
    close(page["slope"], (ahead - back) / 2e-4, rtol=1e-4)


def diffeqsolve(page):
    objective = page["objective"]

    def velocity(t, factors, args):
        return jax.tree.map(lambda g: -g, jax.grad(objective.loss)(factors))

    found = diffrax.diffeqsolve(
        diffrax.ODETerm(velocity), diffrax.Tsit5(), 0.0, 100.0, None, page["start"],
        stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-11),
        event=diffrax.Event(
            lambda t, y, args, **_: objective.loss(y) - 1e-3, optimistix.Newton(1e-10, 1e-10)
        ),
    )  # fmt: skip
    assert found.ts is not None and found.ys is not None
    close(page["flow"].times[-1], found.ts[-1], rtol=1e-6)
    close(page["flow"].final["W_1"], found.ys[0][-1], atol=1e-6)


def linear_layers(page):
    x, targets = page["x"], page["targets"]
    layers = [layer.copy() for layer in page["layers"]]
    for _ in range(50):
        inputs = [x]
        for layer in layers:
            inputs.append(inputs[-1] @ layer.T)
        back = 2 * (inputs.pop() - targets) / targets.size
        for k in (2, 1, 0):
            gradient, back = back.T @ inputs[k], back @ layers[k]
            layers[k] = layers[k] - 0.1 * gradient
    for ours, theirs in zip(page["start"], page["layers"][::-1], strict=True):
        close(ours, theirs.T)
    for ours, theirs in zip(page["run"].final.values(), layers[::-1], strict=True):
        close(ours, theirs.T, atol=1e-10)


def adam_with_decay(page):
    gradient = of_completion(page["problem"])
    found = adam(page["start"], gradient, lambda t: 0.05 * 0.5 ** (t // 100), 400, decay=1e-3)
    objective = gf.Objective(page["problem"], page["objective"].factorization, gf.WeightDecay(1e-3))
    penalised = gf.run_descent(
        objective, page["start"], gf.optimizers.adam,
        learning_rate=optax.exponential_decay(0.05, 100, 0.5, staircase=True), max_steps=400,
    )  # fmt: skip
    for name, theirs in zip(("W_1", "W_2"), found, strict=True):
        close(page["run"].final[name], theirs, atol=1e-7)
        close(penalised.final[name], theirs, atol=1e-7)


def own_loop(page):
    optimizer, objective = optax.adabelief(1e-2), page["objective"]

    @jax.jit
    def iterate(factors, state):
        gradient = jax.grad(objective.loss)(factors)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(factors, updates), state

    factors, state = page["start"], optimizer.init(page["start"])
    for _ in range(page["run"].times[-1]):
        factors, state = iterate(factors, state)
    for ours, theirs in zip(page["run"].final.values(), factors, strict=True):
        close(ours, theirs, atol=1e-9)


def scipys_flow(page):
    found, _ = flow(page["objective"], page["start"], [1, 10, 100])
    for values, factors in zip(page["flow"]["singular_values"][1:], found, strict=True):
        close(values, np.linalg.svd(product(factors))[1], atol=1e-6)


def scipys_minimum(page):
    problem, x0 = page["problem"], np.asarray(page["x0"])
    shapes = page["objective"].factorization.factor_shapes
    cut = int(np.prod(shapes[0]))

    def factors(x):
        return x[:cut].reshape(shapes[0]), x[cut:].reshape(shapes[1])

    def value_and_gradient(x):
        gradient = of_completion(problem)(factors(x))
        return loss_of(problem, product(factors(x))), np.concatenate([g.ravel() for g in gradient])

    for ours, theirs in zip(page["value_and_gradient"](x0), value_and_gradient(x0), strict=True):
        close(ours, theirs, rtol=1e-12, atol=1e-14)
    found = minimize(
        value_and_gradient, x0, jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-7}
    )
    rank = gf.linalg.effective_rank(product(factors(found.x)))
    close(page["rank"], rank, atol=1e-2)


def record_before(run, iteration):
    """Later on these rules bounce at a rate's distance, which multiplies rounding."""
    return int(np.flatnonzero(run.times <= iteration)[-1])


def deep_factorisation(page):
    run, start = page["runs"][0], page["starts"][0]
    k = record_before(run, 300)
    gradient = of_completion(page["problem"])
    found = product(group_rmsprop(start, gradient, 0.01, int(run.times[k]), 1e-4))
    close(run["loss"][k], loss_of(page["problem"], found), rtol=1e-6)
    close(run["effective_rank"][k], gf.linalg.effective_rank(found), rtol=1e-6)


def ratio_penalty(page):
    problem = page["problem"]

    def gradient(factors):
        (w,) = factors
        u, s, vt = np.linalg.svd(w)
        norm = np.linalg.norm(s)
        return [2 * misfit(problem, w) + 0.5 * (u @ vt - np.sum(s) / norm**2 * w) / norm]

    run = page["run"]
    k = record_before(run, 300)
    (found,) = adam(page["start"], gradient, lambda t: 1e-2, int(run.times[k]))
    close(run["singular_values"][k], np.linalg.svd(found)[1], rtol=1e-5)
    (found,) = adam(page["start"], gradient, lambda t: 1e-2, 3000)
    close(run.final["W_1"], found, atol=1e-2)


def tiny_tensor(page):
    problem, run = page["problem"], page["run"]

    def gradient(factors):
        e = 2 * problem.weight * misfit(problem, outer(factors))
        a, b, c = factors
        return [
            np.einsum("ijk,jr,kr->ir", e, b, c),
            np.einsum("ijk,ir,kr->jr", e, a, c),
            np.einsum("ijk,ir,jr->kr", e, a, b),
        ]

    found = outer(group_rmsprop(page["start"], gradient, 1e-2, int(run.times[-1]), 1e-6))
    close(run["product"][-1], found, atol=1e-6)


def norm_blowup(page):
    """At depth 3, where the determinant is above rounding yet."""
    _, (stopped,) = flow(page["objective"], page["start"], [1e4], stop_loss=1.5e-4)
    close(page["entry"], product(stopped)[0, 0], rtol=1e-5)


OTHERS = {
    "SoftImpute on a matrix with NaN": soft_impute,
    "NuclearNormMinimization": nuclear_norm,
    "MatrixFactorization with early stopping": matrix_factorization,
    "parafac with a mask": parafac_with_mask,
    "CP by ALS, and the tensor rank": parafac_by_rank,
    "Ratings from a DataFrame, SVD, RMSE": ratings_one_by_one,
    "Embeddings with biases": embeddings_with_biases,
    "odeint of a gradient flow, and backwards through it": odeint,
    "diffeqsolve with a solver of one's choice and an event": diffeqsolve,
    "A stack of nn.Linear, MSELoss and SGD": linear_layers,
    "Adam with weight decay and a scheduler": adam_with_decay,
    "One's own training loop": own_loop,
    "solve_ivp of a flow": scipys_flow,
    "minimize with L-BFGS": scipys_minimum,
    "Depth and scale of the start, effective rank along the run": deep_factorisation,
    "Adam with the ratio of nuclear and Frobenius norm": ratio_penalty,
    "Tensors from a tiny start": tiny_tensor,
    "Norms that blow up, 2x2": norm_blowup,
}
"""By the headings of the page."""
