"""The gradient flow of a small CP tensor of order 3 by Taylor series in long arithmetic."""

import decimal
from decimal import Decimal
from typing import NamedTuple

import numpy as np

ORDER, DIGITS = 24, 45


class End(NamedTuple):
    """Where the half-sum loss has fallen to a level: the time and what is left then.

    Attributes:
      time: when.
      log_norms: logarithms of the components' norms, in order.
      entry: the last entry of the tensor.
    """

    time: float
    log_norms: tuple[float, ...]
    entry: float


def follow(seen, values, factors, exponent, level):
    """From factors times 10^exponent until the half-sum loss of the seen entries is at a level."""
    with decimal.localcontext(decimal.Context(prec=DIGITS)):
        exact = np.vectorize(lambda x: Decimal(float(x)).scaleb(exponent), otypes=[object])
        now = [exact(f) for f in factors]
        target = {at: Decimal(b) for at, b in zip(seen, values, strict=True)}
        time = Decimal(0)
        while True:
            series = _series(now, target)
            last, size = (max(abs(x) for f in t for x in f.ravel()) for t in ([
                f[ORDER] for f in series], now))  # fmt: skip
            step = (size / last) ** (Decimal(1) / ORDER) / 20
            end = _at(series, step)
            if _loss(end, target) > level:
                now, time = end, time + step
                continue
            low, high = Decimal(0), step
            for _ in range(80):
                middle = (low + high) / 2
                over = _loss(_at(series, middle), target) > level
                low, high = (middle, high) if over else (low, middle)
            now, time = _at(series, low), time + low
            logs = [
                float(sum(np.sum(f[:, r] ** 2).ln() for f in now) / 2)
                for r in range(now[0].shape[1])
            ]
            return End(float(time), tuple(logs), float(_product(now)[-1, -1, -1]))


def _product(factors):
    a, b, c = factors
    return np.einsum("ir,jr,kr->ijk", a, b, c)


def _loss(factors, target):
    w = _product(factors)
    return sum((w[at] - b) ** 2 for at, b in target.items()) / 2


def _at(series, step):
    found = []
    for terms in series:
        value = terms[ORDER]
        for k in range(ORDER - 1, -1, -1):
            value = value * step + terms[k]
        found.append(value)
    return found


def _series(factors, target):
    """Taylor coefficients of every factor; those of products are Cauchy products."""
    terms = [[f] for f in factors]
    pairs = {"bc": [], "ac": [], "ab": []}
    residual = []
    for k in range(ORDER):
        a, b, c = terms
        for name, (x, y) in (("bc", (b, c)), ("ac", (a, c)), ("ab", (a, b))):
            pairs[name].append(sum(x[i][:, None] * y[k - i][None] for i in range(k + 1)))
        w = np.sum(
            [np.einsum("ir,jkr->ijk", a[i], pairs["bc"][k - i]) for i in range(k + 1)], axis=0
        )
        now = np.zeros(w.shape, object)
        for at, value in target.items():
            now[at] = w[at] - (value if k == 0 else 0)
        residual.append(now)
        for series, rule, name in (
            (a, "ijk,jkr->ir", "bc"), (b, "ijk,ikr->jr", "ac"), (c, "ijk,ijr->kr", "ab"),
        ):  # fmt: skip
            slope = sum(np.einsum(rule, residual[i], pairs[name][k - i]) for i in range(k + 1))
            series.append(-slope / (k + 1))
    return terms
