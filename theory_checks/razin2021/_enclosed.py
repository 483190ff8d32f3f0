"""Rigorous enclosures of CP factorisations whose three seen entries are those of a 2x2 block."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from gradflow.claims import ByConstruction
from gradflow.claims.hypotheses import Met

from ..razin2020._enclosed import Flow
from ..razin2020._fields import Rows, Whole
from ..razin2020._proofs import Point

HALF, QUARTER, SMALL = Fraction(1, 2), Fraction(1, 4), Fraction(1, 16)


class Components(Whole):
    """Sums of outer products: of each (a_1, a_2), (b_1, b_2) and the first entries c on other axes.

    Their second entries do not move, for no entry that is seen depends on them.

    Args:
      order: of the tensor.
      rank: how many components there are.
    """

    def __init__(self, order: int, rank: int):
        super().__init__(order, (1, 1, 0))
        self.rank = rank

    @property
    def title(self) -> str:
        """Order and components."""
        return f"order {self.depth}, R = {self.rank}"

    def met(self, first: Point) -> dict[str, Met]:
        """What the claim asks for."""
        found = "one component" if self.rank == 1 else "broken on purpose"
        return {"R = 1": ByConstruction(found)}

    def _parts(self, x: Sequence[Any]) -> list[Sequence[Any]]:
        each = len(x) // self.rank
        return [x[k : k + each] for k in range(0, len(x), each)]

    def velocities(self, x: Sequence[Any]) -> list[Any]:
        """Minus the gradient of the half-sum loss."""
        (_, w12), (w21, w22) = self.product(x)
        g12, g21, found = w12 - 1, w21 - 1, []
        for a1, a2, b1, b2, *c in self._parts(x):
            whole = _all(c)
            found += [
                -(g12 * b2 * whole), -((g21 * b1 + w22 * b2) * whole),
                -(g21 * a2 * whole), -((g12 * a1 + w22 * a2) * whole),
            ]  # fmt: skip
            push = g12 * a1 * b2 + g21 * a2 * b1 + w22 * a2 * b2
            found += [-(push * _all([*c[:k], *c[k + 1 :]])) for k in range(len(c))]
        return found

    def product(self, x: Sequence[Any]) -> Rows:
        """The 2x2 block."""
        blocks = []
        for a1, a2, b1, b2, *c in self._parts(x):
            whole = _all(c)
            blocks.append([a1 * b1 * whole, a1 * b2 * whole, a2 * b1 * whole, a2 * b2 * whole])
        w11, w12, w21, w22 = (sum(parts[1:], parts[0]) for parts in zip(*blocks, strict=True))
        return [[w11, w12], [w21, w22]]

    def determinant(self, x: Sequence[Any]) -> Any:
        """That of the block."""
        (a, b), (c, d) = self.product(x)
        return a * d - b * c


def _all(factors: Sequence[Any]) -> Any:
    """Their product."""
    found = 1
    for factor in factors:
        found = factor * found
    return found


ONE = (
    Flow("vectors of size 1/2", Components(3, 1), (HALF, QUARTER, HALF, HALF, HALF)),
    Flow("vectors of size 1/16", Components(3, 1), (SMALL, SMALL, SMALL, SMALL, SMALL)),
    Flow("vectors of size 1/2", Components(4, 1), (HALF, QUARTER, HALF, HALF, HALF, HALF)),
    Flow("vectors of size 1/2", Components(5, 1), (HALF, QUARTER, HALF, HALF, *[HALF] * 3)),
)
TWO = (
    Flow("vectors of size 1/2", Components(3, 2),
         (HALF, QUARTER, HALF, HALF, HALF, QUARTER, HALF, -HALF, HALF, -QUARTER)),
)  # fmt: skip
