"""The sweep of one's own that tests run."""

import dataclasses
from pathlib import Path

import pytest

from gradflow import sweeps
from gradflow.cli import main
from gradflow.sweeps.experiment import items_of

OWN = Path(__file__).with_name("own_sweep.py")
QUICK = {"scale": "quick", "module": OWN, "show": False}
RATES, SEEDS = (0.1, 0.05), (0, 1)  # of the quick grid


def status(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code


def command(name, out, *arguments):
    return status(name, "own.sweep", "--module", OWN, "--scale", "quick", "--out", out, *arguments)


def own_experiment():
    return sweeps.find("own.sweep", OWN)


def names_of(**changes):
    experiment = own_experiment()
    grid = dataclasses.replace(experiment.grid("quick", "paper"), **changes)
    return {experiment.name(item) for item in items_of(experiment, grid, "float64")}
