"""Families of problems: every one of them, one of each that are alike, and simpler ones."""

from itertools import islice, permutations, product, takewhile

import numpy as np
import pytest

from gradflow.conjectures import (
    CommutingSensing,
    GivenStart,
    ProductCompletions,
    Regressions,
    SmallStarts,
    SymmetricCompletions,
)

RANDOM = [
    SymmetricCompletions(largest_start=2),
    Regressions(depth=3, largest_start=3),
    CommutingSensing(),
    ProductCompletions(),
    ProductCompletions(balanced=False),
]


def up_to(family, cost):
    return list(takewhile(lambda each: family.cost(each) <= cost, family.simplest_first()))


def alike(entries, size):
    """All that differ by the order and the signs of rows."""
    for order in permutations(range(size)):
        for signs in product((1, -1), repeat=size):
            yield tuple(
                sorted(
                    (*sorted((order[i], order[j])), signs[i] * signs[j] * value)
                    for i, j, value in entries
                )
            )


def test_every_symmetric_completion_is_enumerated_once():
    family, cost = SymmetricCompletions(sizes=(2, 3), largest=2), 10
    each = [entries for entries, _ in up_to(family, cost)]
    found = [min(alike(entries, 1 + max(e[1] for e in entries))) for entries in each]
    assert len(found) == len(set(found))
    wanted = set()
    for size in (2, 3):
        places = [(i, j) for i in range(size) for j in range(i, size)]
        for values in product(range(-2, 3), repeat=len(places)):
            entries = tuple((*p, v) for p, v in zip(places, values, strict=True) if v)
            whole = entries and max(e[1] for e in entries) == size - 1
            if whole and family.cost((entries, ())) <= cost and family.build((entries, ())):
                wanted.add(min(alike(entries, size)))
    assert set(found) == wanted


def test_every_regression_is_enumerated():
    family = Regressions(sizes=((1, 2),), largest=2)
    found = {data for data, _ in family.simplest_first() if family.build((data, ()))}
    assert found == {((a, b, y),) for a, b, y in product((1, 2), repeat=3) if a <= b}
    unequal = Regressions(sizes=((1, 2),), largest=1, largest_start=2)
    assert [s for _, s in unequal.simplest_first() if s] != []


def test_enumeration_is_by_rising_cost():
    for family in (SymmetricCompletions(sizes=(2, 3)), Regressions(largest_start=2)):
        costs = [family.cost(each) for each in islice(family.simplest_first(), 200)]
        assert costs == sorted(costs)


@pytest.mark.parametrize("family", RANDOM)
def test_random_ones_are_built_and_become_simpler(family):
    rng, built = np.random.default_rng(0), 0
    for _ in range(50):
        trial = family.build(family.draw(rng))
        if trial is None:
            continue
        built += 1
        model = trial.objective.factorization
        assert [np.shape(factor) for factor in trial.start] == list(model.factor_shapes)
        if built > 1:
            continue
        smaller = [each for each in family.simpler(trial.integers) if family.build(each)]
        assert any(family.cost(each) < family.cost(trial.integers) for each in smaller)
    assert built > 10


def test_commuting_measurements_commute():
    rng = np.random.default_rng(0)
    trials = filter(
        None, (CommutingSensing().build(CommutingSensing().draw(rng)) for _ in range(50))
    )
    for trial in trials:
        a = np.asarray(trial.objective.problem.measurements)
        assert np.max(np.abs(a[0] @ a[-1] - a[-1] @ a[0])) == 0


def test_a_row_that_goes_takes_its_entries_along():
    entries = ((0, 0, 1), (0, 1, 2), (1, 2, 3))
    start = ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    assert (((0, 1, 3),), ((5, 6), (8, 9))) in list(
        SymmetricCompletions().simpler((entries, start))
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SymmetricCompletions(sizes=(1, 2)), "at least 2"),
        (lambda: SymmetricCompletions(largest=0), "largest"),
        (lambda: Regressions(sizes=((2, 2),)), "fewer data than entries"),
        (lambda: Regressions(sizes=3), "fewer data than entries"),
        (lambda: Regressions(depth=1), "depth"),
        (lambda: CommutingSensing(measurements=0), "measurements"),
        (lambda: ProductCompletions(size=0), "size"),
        (lambda: SmallStarts(alpha=1.0), "below 1"),
        (lambda: GivenStart(coordinates="polar"), "'polar'"),
    ],
)
def test_refusals(make, said):
    with pytest.raises(ValueError, match=said):
        make()
