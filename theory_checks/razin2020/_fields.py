r"""Velocities of factors of 2x2 products under the half-sum loss, as polynomials.

Where z = z' and W_{N+1-l} = W_l^T at time 0, this stays so, for W_{N+1-l} and W_l^T obey the same
equations. So half of the factors are enough, and directions that leave this set, in which
distances grow most, do not occur.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from gradflow.claims import ByConstruction, Measured
from gradflow.claims.hypotheses import Met
from gradflow.claims.proofs.interval import Interval, interval

from ._proofs import Point

Rows = list[list[Any]]
Velocities = Callable[[Sequence[Any]], list[Any]]
Observed = tuple[Any, Any, Any]
HALF = Fraction(1, 2)


def matrix(x: Sequence[Any]) -> Rows:
    """Of four entries, row by row."""
    return [[x[0], x[1]], [x[2], x[3]]]


def turned(a: Rows) -> Rows:
    """The transpose."""
    return [[a[0][0], a[1][0]], [a[0][1], a[1][1]]]


def times(a: Rows, b: Rows) -> Rows:
    """A B."""
    return [[r[0] * b[0][j] + r[1] * b[1][j] for j in (0, 1)] for r in a]


def det(a: Rows) -> Any:
    """The determinant."""
    return a[0][0] * a[1][1] - a[0][1] * a[1][0]


def factors(x: Sequence[Any]) -> list[Rows]:
    """Four entries each."""
    return [matrix(x[k : k + 4]) for k in range(0, len(x), 4)]


def _down(*slopes: Rows) -> list[Any]:
    return [-x for a in slopes for row in a for x in row]


def _pulled(a: Rows, w: Rows, observed: Observed) -> Rows:
    """A G with the loss's gradient G, whose first entry is 0."""
    z, z2, eps = observed
    g12, g21, g22 = w[0][1] - z, w[1][0] - z2, w[1][1] - eps
    return [[r[1] * g21, r[0] * g12 + r[1] * g22] for r in a]


class Whole:
    """Depth 1 or 2, with all factors, W_1 first.

    Args:
      observed: z, z', epsilon.
    """

    def __init__(self, depth: int, observed: Observed):
        self.depth, self.observed = depth, observed

    @property
    def title(self) -> str:
        """The depth."""
        return f"depth {self.depth}"

    def met(self, first: Point) -> dict[str, Met]:
        """What claims ask for, from W(0)."""
        if self.depth == 1:
            return {"square": ByConstruction("one factor, 2x2")}
        z, z2, _ = self.observed
        return {
            "depth at least 2": Measured(self.depth, above=1),
            "balanced": ByConstruction("exactly, at time 0"),
            "det W(0) z z' > 0": Measured(float(first.det.a) * float(z * z2), above=0),
            "gradient flow": ByConstruction(self.followed),
        }

    followed = "of all factors"
    copies = 1
    """How many times the squared length of the unknowns is that of all factors."""

    def velocities(self, x: Sequence[Any]) -> list[Any]:
        """W_1' = -W_2^T G, W_2' = -G W_1^T."""
        if self.depth == 1:
            z, z2, eps = self.observed
            return [x[0] * 0, z - x[1], z2 - x[2], eps - x[3]]
        one, two = factors(x)
        w = times(two, one)
        z, z2, eps = self.observed
        other = _pulled(one, turned(w), (z2, z, eps))  # W_1 G^T
        return _down(_pulled(turned(two), w, self.observed), turned(other))

    def product(self, x: Sequence[Any]) -> Rows:
        """W."""
        first, *rest = factors(x)
        return times(rest[0], first) if rest else first

    def point(self, x: Sequence[Interval]) -> Point:
        """W, and what bounds are made of."""
        (a, b), (c, d) = self.product(x)
        return Point(((a, b), (c, d)), self.observed, self.determinant(x))

    def determinant(self, x: Sequence[Any]) -> Any:
        """That of W, from those of the factors."""
        found = 1
        for one in factors(x):
            found = found * det(one)
        return found


class Mirrored(Whole):
    r"""Depth 2, 3 or 4, with W_{N+1-l} = W_l^T.

    The unknowns are W_1; B = sqrt(2) W_1 and W_2; W_1 and W_2. Up to a common factor of time,
    each is the gradient flow of the loss on them.
    """

    followed = "the last factors are the first, transposed, at time 0 and so always"

    @property
    def copies(self) -> int:
        """Both halves; at depth 3 the root of 2 in B has counted them."""
        return 1 if self.depth == 3 else 2

    def velocities(self, x: Sequence[Any]) -> list[Any]:
        """For symmetric G: A' = -A G; B' = -M B G, M' = -B G B^T / 2; W_1' and W_2'."""
        first, *rest = factors(x)
        w = self.product(x)
        if not rest:
            return _down(_pulled(first, w, self.observed))
        if self.depth == 3:
            pulled = _pulled(first, w, self.observed)
            inner = times(pulled, turned(first))
            return _down(times(_symmetric(rest[0]), pulled), [[HALF * e for e in r] for r in inner])
        (second,) = rest
        pulled = _pulled(times(second, first), w, self.observed)
        return _down(times(turned(second), pulled), times(pulled, turned(first)))

    def product(self, x: Sequence[Any]) -> Rows:
        """W."""
        first, *rest = factors(x)
        if self.depth == 3:
            w = times(turned(first), times(_symmetric(rest[0]), first))
            return [[_half(e) for e in row] for row in w]
        for one in rest:
            first = times(one, first)
        (a, b), (c, d) = first
        across = a * b + c * d
        return [[a * a + c * c, across], [across, b * b + d * d]]

    def determinant(self, x: Sequence[Any]) -> Any:
        """That of W, from those of the factors."""
        first, *rest = factors(x)
        if self.depth == 3:
            return det(first) ** 2 * det(_symmetric(rest[0])) / 4
        found = det(first)
        for one in rest:
            found = found * det(one)
        return found**2


def _half(x: Any) -> Any:
    return x * interval(HALF) if hasattr(x, "_mpi_") else x * HALF


def _symmetric(m: Rows) -> Rows:
    """Of W_2 at depth 3, which stays symmetric, so that the field is a gradient everywhere."""
    middle = _half(m[0][1] + m[1][0])
    return [[m[0][0], middle], [middle, m[1][1]]]
