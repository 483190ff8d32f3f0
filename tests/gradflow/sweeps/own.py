"""The sweep of one's own that tests run."""

import dataclasses
from pathlib import Path

from gradflow import sweeps
from gradflow.sweeps.experiment import items_of
from tests.helpers import status

OWN = Path(__file__).with_name("own_sweep.py")


QUICK = {"scale": "quick", "module": OWN, "show": False}


RATES, SEEDS = (0.1, 0.05), (0, 1)  # of the quick grid


def command(name, out, *arguments):
    return status(name, "own.sweep", "--module", OWN, "--quick", "--out", out, *arguments)


def own_experiment():
    return sweeps.find("own.sweep", OWN)


def names_of(**changes):
    experiment = own_experiment()
    grid = dataclasses.replace(experiment.grid("quick", "paper"), **changes)
    return {experiment.name(item) for item in items_of(experiment, grid, "float64")}
