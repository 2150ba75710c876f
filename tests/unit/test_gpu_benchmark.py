"""The checks of a GPU against the CPU, with the CPU as its own peer: what they compare is there, and they can fail."""

import runpy

import pytest
import torch

PARTS = {"posterior": 2, "fits": 6, "geodesics": 3}


@pytest.fixture(scope="module")
def gpu(repository):
    return runpy.run_path(str(repository / "benchmarks" / "gpu.py"))


@pytest.mark.parametrize("part", ["posterior", pytest.param("fits", marks=pytest.mark.slow), "geodesics"])
def test_the_cpu_has_the_numbers_of_the_cpu(gpu, capsys, monkeypatch, part):
    monkeypatch.setitem(
        gpu["main"].__globals__, "record", lambda rows: pytest.fail("a small run is recorded")
    )
    gpu["main"](["--small", "--device", "cpu", part])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("ok ") for line in lines) >= PARTS[part]
    assert not any(line.startswith("FAILED") for line in lines)
    assert any("times as fast as the CPU" in line and "peak" in line for line in lines)


@pytest.mark.parametrize("error", [2e-3, float("nan")])
def test_numbers_of_its_own_fail(gpu, capsys, monkeypatch, error):
    """A device that is off by more than rounding, and one that gives no number."""
    names = gpu["main"].__globals__
    monkeypatch.setitem(names, "relative", lambda one, two: error)
    monkeypatch.setitem(names, "on_both", lambda what, run, device: [run("cpu")] * 2)
    with pytest.raises(SystemExit, match="1 checks failed: posterior, marginal"):
        gpu["main"](["--small", "--device", "cpu", "posterior"])
    assert f"FAILED posterior, marginal: {error:.2e}" in capsys.readouterr().out


def test_differences_are_relative_to_the_largest_entry(gpu):
    one = torch.tensor([2.0, -4.0, 1.0])
    assert gpu["relative"](one, one + torch.tensor([0.0, 0.0, 0.5])) == 0.125


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_ends(gpu, capsys):
    gpu["main"]([])
    assert capsys.readouterr().out == "torch finds no GPU here: nothing to measure\n"


def test_parts_that_it_does_not_have_are_refused(gpu, capsys):
    with pytest.raises(SystemExit):
        gpu["main"](["fist"])
    assert "parts: fist: must be of posterior, fits, geodesics, sampling, size" in capsys.readouterr().err
