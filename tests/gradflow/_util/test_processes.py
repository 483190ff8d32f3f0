"""Cores and compiler flags of this process."""

import multiprocessing
import os

import pytest

from gradflow._util import processes as machine
from gradflow._util.processes import compile_quickly, cores, next_number, take_core


@pytest.fixture
def affinity(monkeypatch):
    """Three cores, and what is asked of them."""
    asked = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 2, 7}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, to: asked.append(to), raising=False)
    return asked


def test_processes_take_a_core_each(affinity):
    for number in range(3):
        take_core(number, 3)
    assert affinity == [{2}, {4}, {7}]
    take_core(3, 3)  # one that was started in the place of another
    assert affinity[-1] == {2}


def test_fewer_or_more_processes_than_cores_stay_free(affinity):
    for of in (1, 2, 4):
        take_core(0, of)
    assert affinity == []


def test_a_system_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    take_core(0, 2)
    assert cores() >= 1


def test_numbers_are_drawn_once():
    counter = multiprocessing.get_context("spawn").Value("i", 0)
    assert [next_number(counter) for _ in range(3)] == [0, 1, 2]


def test_quick_flags_keep_what_was_given(monkeypatch):
    monkeypatch.setattr(machine, "version", lambda name: "0.10.9")
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=2 --other=1")
    compile_quickly()
    flags = os.environ["XLA_FLAGS"].split()
    assert flags[:2] == ["--xla_backend_optimization_level=2", "--other=1"]
    assert len(flags) == 5 and "--xla_cpu_use_fusion_emitters=false" in flags
    compile_quickly()
    assert os.environ["XLA_FLAGS"].split() == flags


def test_quick_flags_are_for_a_version_that_knows_them(monkeypatch):
    for version, count in {"0.9.2": 0, "0.11.2": 3, "0.12.0.1": 3, "1.0.0": 0}.items():
        monkeypatch.setattr(machine, "version", lambda name, version=version: version)
        monkeypatch.setenv("XLA_FLAGS", "--other=1")
        compile_quickly()
        flags = os.environ["XLA_FLAGS"].split()
        assert flags[0] == "--other=1" and len(flags) == 1 + count
        assert "--xla_cpu_use_fusion_emitters=false" not in flags
