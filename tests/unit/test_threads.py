"""The threads of a job change no byte of what it makes."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl
import torch

from hessgeo.free_energies.base import free_energy_dataset
from hessgeo.grids import Grid
from hessgeo.pipeline import context
from hessgeo.pipeline.chain import fit_free_energy
from hessgeo.pipeline.estimation import distance_posterior
from hessgeo.pipeline.schema import defaults

GRID = Grid(((-1.0, 1.0), (-1.0, 1.0)), (16, 16))


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job of any number of threads; what its context sets for this process is put back."""
    before = torch.get_num_threads(), threadpoolctl.threadpool_info()
    for variable in context.THREAD_VARIABLES:
        monkeypatch.setenv(variable, os.environ.get(variable, "1"))

    def make(threads):
        return SimpleNamespace(
            rule="fit_free_energy",
            input=SimpleNamespace(),
            output=SimpleNamespace(),
            params={},
            wildcards={},
            log=[str(tmp_path / "job.log")],
            threads=threads,
        )

    yield make
    torch.set_num_threads(before[0])
    threadpoolctl.threadpool_limits({pool["prefix"]: pool["num_threads"] for pool in before[1]})


def made(job):
    """Posterior and free energy of images of two kinds, as the scripts of these steps make them, as bytes."""
    a, b = GRID.points.T
    near = np.tanh(4 * (a + 0.5 * b))
    noise = 0.02 * np.random.default_rng(3).standard_normal((GRID.size, 6))
    embedding = np.column_stack([near, 1 + 0.3 * a, b, a * b, a**2, b**2]) + noise
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    settings = {"posterior": {**defaults("study")["posterior"], "cells": 12, "sources": 32}}
    found = {}
    with context.script_context(job) as step:
        options = {"seed": 0, "threads": step.threads, "progress": False}
        data, _ = distance_posterior(embedding, GRID.points, GRID, settings["posterior"], **options)
        found |= {name: getattr(data, name) for name in ("mean", "central_moment", "marginal", "entropy")}
        for fit in ("dual", "spline"):
            chosen = {**defaults("study")["free_energy"], "fit": fit, "splines": [10, 10]}
            free_energy = fit_free_energy(data, embedding, GRID, chosen, seed=0, progress=False)
            fields = free_energy_dataset(free_energy, GRID, attributes={})
            found |= {f"{fit} {name}": fields[name].to_numpy() for name in fields}
    return {name: values.tobytes() for name, values in found.items()}


def test_a_posterior_and_fits_have_the_same_bytes_on_one_thread_and_on_several(job):
    one, several = made(job(1)), made(job(3))
    assert {"mean", "dual fisher_metric_error", "spline fisher_metric_error"} <= set(one)
    assert [name for name in one if one[name] != several[name]] == []
