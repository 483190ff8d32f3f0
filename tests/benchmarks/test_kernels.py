"""Kernels are counted in what XLA writes; without its compiler for GPUs a benchmark says so."""

import io

import pytest
from rich.console import Console

from benchmarks import kernels, tiny_batches

PROGRAM = """
%body.1 (p.2: (f64[9], f64[9,2,2])) -> (f64[9], f64[9,2,2]) {
  %p.2 = (f64[9]{0}, f64[9,2,2]{2,1,0}) parameter(0)
  %a.3 = f64[9]{0} get-tuple-element(%p.2), index=0
  %b.4 = f64[9,2,2]{2,1,0} get-tuple-element(%p.2), index=1
  %counter.5 = s64[] fusion(), kind=kLoop, calls=%c.1
  %fused.6 = f64[9,2,2]{2,1,0} fusion(%a.3, %b.4), kind=kLoop, calls=%c.2
  ROOT %two.7 = (f64[9]{0}, pred[9]{0}) fusion(%fused.6), kind=kInput, calls=%c.3
}

ENTRY %main (x: f64[9]) -> f64[9] {
  %w.1 = (f64[9]{0}) while(%t.1), condition=%go, body=%body.1, backend_config={"known_trip_count":{"n":"4"}}
  %w.2 = (f64[9]{0}) while(%t.1), condition=%go, body=%body.9, backend_config={"known_trip_count":{"n":"32"}}
}
"""  # noqa: E501


def test_kernels_of_a_loop_and_what_they_move():
    matrices, numbers, truths = 9 * 4 * 8, 9 * 8, 9
    moved = [2 * matrices + numbers, matrices + numbers + truths]
    assert list(kernels.kernels(PROGRAM, 4)) == moved
    with pytest.raises(RuntimeError, match="0 loops of 5 rounds"):
        list(kernels.kernels(PROGRAM, 5))


def test_without_the_compiler_it_is_told_how_to_have_it(tmp_path):
    said = io.StringIO()
    assert kernels.main(kernels.Options(plugin=tmp_path), Console(file=said, width=200)) != 0
    assert "make kernels" in said.getvalue()


def test_both_ways_of_a_tiny_batch_are_compared(monkeypatch, tmp_path):
    for name, value in (("JAX_PLATFORMS", "cpu"), ("JAX_ENABLE_X64", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tiny_batches, "CASES", ((2, 2, "sgd", 3),))
    monkeypatch.setattr(tiny_batches, "WORK", 300)
    said = io.StringIO()
    options = tiny_batches.Options(
        json=tmp_path / "found.json", cases=(0,), dtypes=("float64",), repetitions=1
    )
    assert tiny_batches.main(options, Console(file=said, width=200)) == 0
    assert "side by side" in said.getvalue()
    assert (tmp_path / "found.json").is_file()
