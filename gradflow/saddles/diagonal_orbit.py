r"""The way of a diagonal network from one saddle to the next, in rooms; see `diagonal`."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gradflow.ode import LinearlyImplicitExtrapolation
from gradflow.saddles.ways import crossing


class Regression(NamedTuple):
    """A least squares problem and the start of its diagonal network.

    Attributes:
      inputs: (n, size) with the loss |inputs beta - targets|^2 / 2.
      targets: (n,).
      plus: (size,) a_+, positive or 0.
      minus: (size,) a_-.
      depth: D.
    """

    inputs: np.ndarray
    targets: np.ndarray
    plus: np.ndarray
    minus: np.ndarray
    depth: int

    @property
    def size(self) -> int:
        """The entries of beta."""
        return self.inputs.shape[1]

    @property
    def hessian(self) -> Float[np.ndarray, "size size"]:
        """Second derivatives of the loss in beta."""
        return self.inputs.T @ self.inputs

    def gradient(self, beta: Float[np.ndarray, " size"]) -> Float[np.ndarray, " size"]:
        """G."""
        return self.inputs.T @ (self.inputs @ beta - self.targets)

    def loss(self, beta: Float[np.ndarray, " size"]) -> float:
        """The loss."""
        return float(np.sum((self.inputs @ beta - self.targets) ** 2) / 2)

    def starts(self, sign: Float[np.ndarray, " size"]) -> Float[np.ndarray, " size"]:
        """a_+ or a_-."""
        return np.where(sign > 0, self.plus, self.minus)

    def thresholds(self, sign: Float[np.ndarray, " size"]) -> Float[np.ndarray, " size"]:
        """theta_+ or theta_-; infinite where the parameter is 0."""
        a = self.starts(sign)
        alive = np.where(a > 0, a, 1.0)
        low = self.depth - 2
        theta = np.full(self.size, 0.25) if low == 0 else alive**-low / (self.depth * low)
        return np.where(a > 0, theta, np.inf)

    def room(self, size: float, i: int, sign: float) -> float:
        """The room r of an entry |beta_i|."""
        a = (self.plus if sign > 0 else self.minus)[i]
        return float(_rooms(self, size) + (np.log(a) / 2 if self.depth == 2 else 0.0))

    def log_size(self, room: float, i: int, sign: float) -> float:
        """The logarithm of |beta_i| of a room."""
        low = self.depth - 2
        if low == 0:
            a = (self.plus if sign > 0 else self.minus)[i]
            return 2 * float(np.log(a)) - 4 * room
        return -self.depth / low * float(np.log(self.depth * low * room))

    def tail(self, size: float, rate: float) -> float:
        """The integral of |beta_i| over the time in which it falls from a size to 0."""
        return size ** (2 / self.depth) / (2 * self.depth * rate)


class DiagonalOrbit(NamedTuple):
    """A way from saddle to saddle.

    Attributes:
      times: of the records, from 0 on.
      losses: there.
      half: the time when the loss is half way.
      end: when the way ends.
      moved: (size,) how far the dual has moved by then, what is left to come included.
      rooms: (size,) of the active entries at the end, with what is left to come; 0 of others.
      settled: whether the end is the saddle.
    """

    times: np.ndarray
    losses: np.ndarray
    half: float
    end: float
    moved: np.ndarray
    rooms: np.ndarray
    settled: bool


def follow(
    problem: Regression,
    before: Float[np.ndarray, " size"],
    after: Float[np.ndarray, " size"],
    first: int,
    sign: Float[np.ndarray, " size"],
    small: float,
    rate: float,
) -> DiagonalOrbit:
    """Follow the active entries to the next saddle, and the dual of all along.

    Args:
      problem: the regression.
      before: beta at the saddle that is left.
      after: beta at the next.
      first: the entry that comes up.
      sign: the signs of the active entries, 0 of others.
      small: the size of the new entry at the beginning.
      rate: |G| of the new entry there.
    """
    active = sign != 0
    begin = np.where(np.arange(problem.size) == first, small, np.abs(before))
    inputs, targets, signs = map(jnp.asarray, (problem.inputs, problem.targets, sign))
    rooms = np.asarray(_rooms(problem, np.where(active, begin, 1.0)))
    goal = (problem.loss(before) + problem.loss(after)) / 2
    size = float(np.max(np.abs(after)))
    leaving = active & (after == 0)
    goal_size = (1e-4 if problem.depth > 2 else 1e-10) * size

    def advance(y: Any, length: float) -> tuple[np.ndarray, np.ndarray, bool]:
        found, losses, fine = _advance(
            inputs, targets, signs, problem.depth, jnp.asarray(y), jnp.asarray(length)
        )
        return np.asarray(found), np.asarray(losses), bool(fine)

    y, t, half = np.where(active, rooms, 0.0), 0.0, np.nan
    length = 2.0 / rate if problem.depth == 2 else float(rooms[first]) / rate / 4
    times, losses, settled = [np.zeros(1)], [np.array([problem.loss(before)])], False
    for _ in range(60):
        found, seen, fine = advance(y, length)
        if not fine:
            break
        if np.isnan(half) and seen[-1] < goal:
            half = t + crossing(
                lambda s, y=y: float(advance(y, s)[1][-1]) - goal, 1e-9 * length, length
            )
        times.append(t + np.linspace(0, length, len(seen) + 1)[1:])
        losses.append(seen)
        t, y = t + length, found
        beta = np.asarray(_beta(signs, jnp.asarray(y), problem.depth))
        off = np.abs(beta - after)
        kept = active & ~leaving
        near = goal_size if np.any(leaving) else 1e-10 * size
        if np.all(off[leaving] < near) and np.all(off[kept] < 10 * near):
            settled = True
            break
        length *= 1.3
    beta = np.abs(np.asarray(_beta(signs, jnp.asarray(y), problem.depth)))
    moved = np.where(active, sign * (rooms - y), y)
    rest = _yet_to_come(problem, beta, after, leaving, sign) if settled else 0.0
    found_rooms = np.array(
        [problem.room(b, i, sign[i]) if active[i] else 0.0 for i, b in enumerate(beta)]
    )
    return DiagonalOrbit(
        np.concatenate(times), np.concatenate(losses), half, t, moved - rest,
        found_rooms + sign * rest, settled,
    )  # fmt: skip


def _yet_to_come(
    problem: Regression, beta: np.ndarray, after: np.ndarray, leaving: np.ndarray, sign: np.ndarray
) -> np.ndarray:
    """The integral of G - G_end over the rest of time, while entries fall to 0 and others adapt."""
    gradient, hessian = problem.gradient(after), problem.hessian
    kept = np.flatnonzero(after)
    missing = np.zeros(problem.size)
    for j in np.flatnonzero(leaving):
        slope = abs(gradient[j])
        if slope == 0:
            continue
        push = hessian[:, j]
        reply = np.linalg.solve(hessian[np.ix_(kept, kept)], push[kept])
        missing += (push - hessian[:, kept] @ reply) * sign[j] * problem.tail(beta[j], slope)
    return missing


def _rooms(problem: Regression, size: Any) -> Any:
    """Rooms of entries, but for the start's constant at D = 2."""
    low = problem.depth - 2
    if low == 0:
        return -np.log(size) / 4
    return size ** (-low / problem.depth) / (problem.depth * low)


def _beta(sign: Array, y: Array, depth: int) -> Array:
    """Beta of the rooms of active entries; 0 of others."""
    left, low = jnp.where(sign != 0, y, 1.0), depth - 2
    if low == 0:
        return sign * jnp.exp(-4 * left)
    return sign * (depth * low * left) ** (-depth / low)


@eqx.filter_jit
def _advance(
    inputs: Array, targets: Array, sign: Array, depth: int, y: Array, length: Array
) -> tuple[Array, Array, Array]:
    """The rooms of active entries and the dual of others after a time; ten losses up to then.

    Rooms, since from depth 3 on the dual is large where they are small.
    """

    def residual(y: Array) -> Array:
        return inputs @ _beta(sign, y, depth) - targets

    def field(t: Any, y: Array, args: Any) -> Array:
        gradient = inputs.T @ residual(y)
        return jnp.where(sign != 0, sign * gradient, -gradient)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field), LinearlyImplicitExtrapolation(6), 0.0, length, None, y,
        stepsize_controller=diffrax.PIDController(rtol=1e-11, atol=1e-12),
        saveat=diffrax.SaveAt(ts=jnp.linspace(0.0, length, 11)[1:]), max_steps=20_000, throw=False,
    )  # fmt: skip
    assert solution.ys is not None
    losses = jax.vmap(lambda y: jnp.sum(residual(y) ** 2) / 2)(solution.ys)
    return solution.ys[-1], losses, solution.result == diffrax.RESULTS.successful
