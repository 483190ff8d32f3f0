r"""Balanced factors, spectral powers and Adam's scalings in exact rational arithmetic.

The algebra of zhao2022 can be checked without any rounding. Take rational orthogonal matrices
Q_0, ..., Q_N (products of reflections) and a rational diagonal D >= 0, and let
W_j = Q_j D Q_{j-1}^T. These factors are balanced, W = W_N ... W_1 = Q_N D^N Q_0^T, and the powers

    (W W^T)^(k/N) = Q_N D^(2k) Q_N^T,    (W^T W)^(k/N) = Q_0 D^(2k) Q_0^T

are rational, the zeroth one the identity. Adam's S_j = (g^2 + s^2)^(-1/2) is rational where the
root h is chosen first: any rational h >= |g|, h > 0, belongs to the variance s^2 = h^2 - g^2 >= 0.

Matrices are NumPy arrays of `fractions.Fraction`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from gradflow.claims import Case, Confirmation, Settings
from gradflow.claims.hypotheses import Met


def exact(values: Any) -> np.ndarray:
    """An array of fractions from integers, fractions or decimal strings."""
    return np.vectorize(Fraction, otypes=[object])(np.asarray(values))


def eye(n: int) -> np.ndarray:
    """The identity in fractions."""
    return exact(np.eye(n, dtype=int))


def unit(n: int, i: int) -> np.ndarray:
    """The i-th unit vector as a column, from 0."""
    return eye(n)[:, [i]]


def vec(x: np.ndarray) -> np.ndarray:
    """Column-major vectorisation, as the paper states for its vec."""
    return x.T.reshape(-1)


def chain(matrices: Sequence[np.ndarray], n: int) -> np.ndarray:
    """M_k ... M_2 M_1 for (M_1, M_2, ..., M_k); the identity of size n if there is none."""
    return reduce(lambda product, m: m @ product, matrices, eye(n))


@dataclass(frozen=True)
class Instance:
    """Balanced factors with all their spectral powers.

    Attributes:
      name: what is special.
      frames: Q_0, ..., Q_N; the middle ones are square of the hidden size.
      roots: the diagonal of D, the N-th roots of the singular values.
      gradient: of the loss in W.
      scalings: S_1, ..., S_N, of the shapes of the factors.
    """

    name: str
    frames: tuple[np.ndarray, ...]
    roots: np.ndarray
    gradient: np.ndarray
    scalings: tuple[np.ndarray, ...] = ()

    @property
    def depth(self) -> int:
        """The number N of factors."""
        return len(self.frames) - 1

    @property
    def factors(self) -> tuple[np.ndarray, ...]:
        """W_1, ..., W_N."""
        k = len(self.roots)
        pairs = zip(self.frames[:-1], self.frames[1:], strict=True)
        return tuple(high[:, :k] * self.roots @ low[:, :k].T for low, high in pairs)

    @property
    def w(self) -> np.ndarray:
        """The product."""
        return chain(self.factors, len(self.frames[0]))

    def left(self, k: int) -> np.ndarray:
        """(W W^T)^(k/N)."""
        return self._power(self.frames[-1], k)

    def right(self, k: int) -> np.ndarray:
        """(W^T W)^(k/N)."""
        return self._power(self.frames[0], k)

    def _power(self, frame: np.ndarray, k: int) -> np.ndarray:
        if k == 0:
            return eye(len(frame))
        front = frame[:, : len(self.roots)]
        return front * self.roots ** (2 * k) @ front.T

    def above(self, j: int) -> np.ndarray:
        """W_N ... W_{j+1}, the paper's A^T for layer j (from 1)."""
        return chain(self.factors[j:], len(self.factors[j - 1]))

    def below(self, j: int) -> np.ndarray:
        """W_{j-1} ... W_1, the paper's B^T for layer j (from 1)."""
        return chain(self.factors[: j - 1], len(self.frames[0]))

    def layer_gradient(self, j: int) -> np.ndarray:
        """Equation (13): A L B, the gradient in W_j."""
        return self.above(j).T @ self.gradient @ self.below(j).T

    def hypotheses(self) -> dict[str, bool]:
        """What the paper takes over from arora2019, and what makes the powers the right ones."""
        w, n = self.w, self.depth
        balanced = all(
            equal(high.T @ high, low @ low.T)
            for low, high in zip(self.factors[:-1], self.factors[1:], strict=True)
        )
        root = self.left(1)
        is_root = n == 1 or equal(reduce(np.matmul, [root] * n), w @ w.T)
        return {"balanced factors": balanced, "the N-th root of W W^T is one": is_root}

    def scaled(self) -> dict[str, bool]:
        """That every S_j is (g^2 + s^2)^(-1/2) of a variance s^2 >= 0."""
        met = all(
            bool(np.all(s > 0) and np.all(1 / s**2 - self.layer_gradient(j) ** 2 >= 0))
            for j, s in enumerate(self.scalings, 1)
        )
        return {"each S_j belongs to a variance s_j^2 >= 0": met}

    def show(self) -> str:
        """Factors and gradient in plain numbers."""
        parts = [f"W_{j} = {plain(f)}" for j, f in enumerate(self.factors, 1)]
        parts.append(f"gradient {plain(self.gradient)}")
        parts += [f"S_{j} = {plain(s)}" for j, s in enumerate(self.scalings, 1)]
        return ", ".join(parts)


def with_scalings(instance: Instance, excess: Sequence[np.ndarray]) -> Instance:
    """Give an instance S_j = 1 / (|g_j| + excess_j), that is a variance excess (2|g| + excess)."""
    scalings = tuple(1 / (abs(instance.layer_gradient(j)) + e) for j, e in enumerate(excess, 1))
    return Instance(instance.name, instance.frames, instance.roots, instance.gradient, scalings)


def orthogonal(rng: np.random.Generator, n: int) -> np.ndarray:
    """A rational orthogonal matrix: the product of two reflections."""
    result = eye(n)
    for _ in range(2):
        v = exact(rng.integers(1, 4, size=(n, 1)) * rng.choice([-1, 1], size=(n, 1)))
        result = result @ (eye(n) - 2 * (v @ v.T) / (v.T @ v)[0, 0])
    return result


def instances(settings: Settings, square: bool = False) -> Iterator[Instance]:
    """Random instances: depths 1 to 5, rectangular ones, repeated and vanishing singular values.

    Args:
      settings: seed and how many.
      square: only square ones, where L and S_j have the same shape.
    """
    rng = np.random.default_rng(settings.seed)
    shapes = [(2, 2), (3, 3)] if square else [(1, 2), (2, 2), (2, 3), (3, 2)]
    if settings.full:
        shapes += [(4, 4)] if square else [(3, 3), (4, 2), (1, 1)]
    for depth in (1, 2, 3, 4, 5):
        for rows, columns in shapes:
            k = min(rows, columns)
            for kind in ("generic", "repeated", "rank-deficient"):
                if kind != "generic" and (k == 1 or depth in (1, 5)):
                    continue
                roots = exact(rng.permutation(np.arange(1, k + 1))) / 2
                if kind == "repeated":
                    roots[1] = roots[0]
                if kind == "rank-deficient":
                    roots[-1] = Fraction(0)
                sizes = (columns, *[k] * (depth - 1), rows)
                made = Instance(
                    f"{rows}x{columns}, depth {depth}, {kind}",
                    tuple(orthogonal(rng, n) for n in sizes),
                    roots,
                    exact(rng.integers(-3, 4, size=(rows, columns))),
                )
                shapes_of = [f.shape for f in made.factors]
                yield with_scalings(
                    made, [exact(rng.integers(1, 6, size=shape)) / 2 for shape in shapes_of]
                )


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of fractions are the same."""
    return a.shape == b.shape and bool(np.all(a == b))


def relative(a: np.ndarray, b: np.ndarray) -> Fraction:
    """The largest difference relative to the largest number; 0 only where a = b exactly."""
    gap, sizes = np.abs(np.ravel(a - b)), np.abs([*np.ravel(a), *np.ravel(b)])
    return max(gap) / max(sizes) if any(gap) else Fraction(0)


def exact_case(
    name: str,
    left: Any,
    right: Any,
    hypotheses: Mapping[str, Met],
    text: str,
    size: float,
    notes: str = "",
) -> Case:
    """Compare two sides in exact arithmetic; the case is its own confirmation.

    Args:
      name: of the case.
      left: what the definitions give: a number or an array of fractions.
      right: what is printed.
      hypotheses: as of any case.
      text: the numbers from which both sides follow.
      size: as of any case.
      notes: as of any case.
    """
    left, right = exact(left), exact(right)

    def confirm(_: int) -> Confirmation:
        return Confirmation(
            not equal(left, right),
            f"{text}: by definition {plain(left)}, printed {plain(right)}",
            (left, right),
        )

    return Case(
        name=name,
        residual=relative(left, right),
        floor=0.0,
        hypotheses=hypotheses,
        size=size,
        confirm=confirm,
        notes=notes,
    )


def plain(x: Any) -> str:
    """Fractions in plain numbers: 3/5, or rows in brackets."""
    x = np.asarray(x)
    if x.ndim == 0:
        return str(x[()])
    return "[" + ", ".join(plain(row) for row in x) + "]"
